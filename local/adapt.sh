# shellcheck shell=bash
# Stages 4 to 7 of run.sh, for one domain; it sources this.

# All but adapt_all is for `domain`, whose adaptation text and its dev part are `text`.

tune_prompt() { # stage 4
    local options=()
    [ -z "$prompt_vectors" ] || options=(--adapt_conf "length=$prompt_vectors")
    train "$(conf prompt.yaml "$domain")" "${text[@]}" "$exp/$domain/prompt" \
        --init "$exp/baseline" -- "${text_options[@]}" "${options[@]}"
}

prompt_length() { # prompt_length YAML
    python -m spft.bin.show_config "$1" adapt_conf.length
}

tune_decoder() { # tune_decoder METHOD: stage 5
    local init=$exp/baseline sets=("${text[@]}") options=() length yaml
    case $1 in
        soft_prompt) init=$exp/$domain/prompt ;;
        noisy_text)
            options=(--adapt noisy_text)
            [ ! -e "$exp/baseline/confusions.json" ] ||
                options+=(--adapt_conf "confusions=$exp/baseline/confusions.json")
            ;;
        pre_fine_tune)
            init=$exp/$domain/no_prompt
            sets=("$data/${general}_"{train,dev})
            ;;
        empty_prompt) # as long as the prompt that it is compared with
            length=$prompt_vectors yaml=$exp/$domain/prompt/config.yaml
            [ -e "$yaml" ] || yaml=$(conf prompt.yaml "$domain")
            [ -n "$length" ] || length=$(prompt_length "$yaml")
            options=(--adapt "$1" --adapt_conf "length=$length")
            ;;
        tts) sets=("$data/${domain}_tts_"{train,dev}) ;;
        *) options=(--adapt "$1") ;;
    esac
    train "$(conf_of "$1" "$domain")" "${sets[@]}" "$exp/$domain/$1" \
        --init "$init" -- "${text_options[@]}" "${options[@]}"
}

train_lms() { # stage 6
    local lm=$exp/$domain/lm ngram=$exp/$domain/ngram made_of
    made_of="seed $seed, $llm, "
    made_of+=$(sum_of "${text[@]/%//text}" "$(conf lm.yaml "$domain")" "$llm/tokenizer.json")
    if [ "$(cat "$ngram/made_of" 2>/dev/null)" = "$made_of" ] && [ "$resume" = true ]; then
        if compgen -G "$lm/valid.loss.*.pth" >/dev/null && finished "$ngram/ngram.arpa"; then
            return
        fi # else the LM goes on
    else
        rm -rf "$lm" "$ngram"
        mkdir -p "$ngram"
        echo "$made_of" >"$ngram/made_of"
    fi
    train_lm "$(conf lm.yaml "$domain")" "$lm"
    do_run python -m spft.bin.train_ngram --text "${text[0]}/text" \
        --tokenizer "$llm" --out "$ngram"
}

decode_systems() { # stage 7; `tests`: what is to be decoded
    local system model systems=() options=() lms guard=() dev=$data/${domain}_dev
    local general_dev=$data/${general}_dev
    for system in base $methods; do
        model=$exp/$domain/$system
        [ "$system" != base ] || model=$exp/baseline
        systems+=("$system=$model")
    done
    options=(--config "$(conf decode.yaml "$domain")" --systems "${systems[@]}"
        --dump "$dump" --out "$exp/$domain")
    [ "$keep_prompt" = false ] || options+=(--keep_prompt)
    [ "$resume" = false ] || options+=(--resume)
    if [ "$fusion" = true ]; then
        lms=(--lm "$exp/$domain/lm" --ngram "$exp/$domain/ngram")
        each_system decode "${options[@]}" "${lms[@]}" \
            --data "${tests[@]}" "$general_dev" --tune "$dev"
        [ "$protect" = false ] || guard=(--protect "$general_dev")
        each_system second_pass "${options[@]}" "${lms[@]}" --data "${tests[@]}" \
            --tune "$dev" "${guard[@]}" --phrases "${text[0]}"
    else # dev is for stage 9, which packs what is best there
        each_system decode "${options[@]}" --data "${tests[@]}" --tune "$dev"
    fi
}

each_system() { # each_system COMMAND option…: of spft.bin, a shard for each system
    local command=(python -m "spft.bin.$1" "${@:2}")
    if [ "$shards" -gt 1 ]; then
        # shellcheck disable=SC2016  # cmd.sh expands it
        sharded "$1_$domain" "${#systems[@]}" '--only $JOB' "${command[@]}"
    else
        do_run "${command[@]}"
    fi
}

score_systems() { # stage 7
    local test set system tag folders first_pass
    for test in "${tests[@]}"; do
        folders=() set=$(basename "$test")
        for system in base $methods; do
            for tag in "${tags[@]}"; do
                folders+=("$exp/$domain/$system/decode_$tag/$set")
            done
        done
        if [ -e "$dump/$set/first_pass" ]; then # what the LLM starts from
            first_pass=$exp/$domain/first_pass/decode_plain/$set
            mkdir -p "$first_pass"
            cp "$dump/$set/first_pass" "$first_pass/text"
            folders+=("$first_pass")
        fi
        do_run python -m spft.bin.score --data "$test" --decode "${folders[@]}" \
            --adaptation_text "${text[0]}/text"
    done
}

adapt() { # adapt DOMAIN: its stages 4 to 7
    local domain=$1 method system tag tags=(plain lm second) stale
    local text=("$data/$1_text/train" "$data/$1_text/dev")
    local tests=("$data/$1_test" "$data/${general}_test")
    [ "$fusion" = true ] || tags=(plain)
    if [ "$resume" = false ]; then # what these stages make anew is not in old results
        for system in base $methods; do
            stale=()
            if [ "$system" != base ] && [ "$stage" -le 5 ] && [ "$stop_stage" -ge 5 ]; then
                stale=("*") # tuned anew
            elif [ "$stop_stage" -ge 7 ]; then
                stale=("${tags[@]}") # decoded anew
            elif [ "$stop_stage" -eq 6 ]; then
                stale=("${tags[@]:1}") # of other LMs
            fi
            for tag in "${stale[@]}"; do # unquoted: it may be all
                rm -rf "$exp/$domain/$system"/decode_$tag/{decode.json,*/score{.json,_wer,_entity}}
            done
        done
    fi
    # Of the shards; the commands leave by themselves what is finished.
    rm -rf "$exp/log"/{decode,second_pass}_"$domain"
    if on 4 && uses soft_prompt; then tune_prompt; fi
    if on 5; then
        for method in $methods; do tune_decoder "$method"; done
    fi
    if on 6 && [ "$fusion" = true ]; then train_lms; fi
    if on 7; then
        decode_systems
        score_systems
        if uses soft_prompt; then
            do_run python -m spft.bin.prompt_map --model "$exp/$domain/soft_prompt" \
                --data "$data/${domain}_dev" --text "${text[0]}/text" --dump "$dump" \
                --out "$exp/$domain/prompt_map.json"
        fi
    fi
}

say_who() { # say_who NAME: before each line; a progress bar's states become lines
    stdbuf -o0 tr '\r' '\n' | sed -u "/^ *\$/d; s/^/[$1] /"
}

adapt_beside_others() { # adapt_beside_others DOMAIN: in a shell of its own
    end_with_jobs
    adapt "$1"
}

adapt_all() { # stages 4 to 7 of all domains, $nj at a time
    local domain names failed=() threads
    local -A jobs=()
    read -ra names <<<"$domains"
    [ "$nj" -le ${#names[@]} ] || nj=${#names[@]}
    [ "$nj" -ge 1 ] || nj=1
    if [ "$nj" -gt 1 ]; then
        # Two jobs of one thread each do more than one of two threads.
        threads=$((OMP_NUM_THREADS / nj))
        export OMP_NUM_THREADS=$((threads > 1 ? threads : 1)) TQDM_MININTERVAL=10
    fi
    for domain in $domains; do # one that fails does not stop the others
        while [ "$(jobs -rp | wc -l)" -ge "$nj" ]; do sleep 1; done
        set -m # a process group of its own
        if [ "$nj" -gt 1 ]; then
            adapt_beside_others "$domain" > >(say_who "$domain") 2>&1 &
        else
            adapt_beside_others "$domain" &
        fi
        set +m
        jobs[$domain]=$!
    done
    for domain in $domains; do wait "${jobs[$domain]}" || failed+=("$domain"); done
    [ ${#failed[@]} -eq 0 ] || die "failed, see above: ${failed[*]}"
}
