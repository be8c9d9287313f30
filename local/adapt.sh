# shellcheck shell=bash
# Stages 4 to 7 of run.sh, for one domain; it sources this.

check_domain() { # check_domain DOMAIN: what the first of its stages to run reads
    local method sentences="$data/$1_text/train/text"
    case $stage in
        4) need "$exp/baseline/model.safetensors" 3 && need "$sentences" 1 ;;
        5)
            need "$exp/baseline/model.safetensors" 3 && need "$sentences" 1
            if [[ $methods =~ soft_prompt ]]; then
                need "$exp/$1/prompt/model.safetensors" 4
            fi
            ;;
        6) need "$sentences" 1 ;;
        7)
            for method in $methods; do
                need "$exp/$1/$method/model.safetensors" 5
            done
            [ "$fusion" = false ] || need "$exp/$1/ngram/ngram.arpa" 6
            ;;
    esac
}
adapt() { # adapt DOMAIN: its stages 4 to 7
    local domain=$1 length=() tests systems options test set decode decodes
    local method system init model config
    local text=("$data/${domain}_text/train" "$data/${domain}_text/dev")
    local tags=(plain lm second) tag
    [ "$fusion" = true ] || tags=(plain)
    if [ "$resume" = false ]; then # what these stages make anew is not in old results
        for system in base $methods; do
            rm -f "$exp/$domain/$system"/decode_*/{decode.json,*/score.json}
        done
        rm -rf "$exp/log/decode_$domain"
    fi
    if on 4 && [[ $methods =~ soft_prompt ]]; then
        [ -z "$prompt_vectors" ] || length=(--adapt_conf "length=$prompt_vectors")
        train "$(conf prompt.yaml "$domain")" "${text[@]}" "$exp/$domain/prompt" \
            --init "$exp/baseline" -- "${text_options[@]}" "${length[@]}"
    fi
    if on 5; then
        for method in $methods; do
            if [ "$method" = tts ]; then
                train "$(conf tts.yaml "$domain")" "$data/${domain}_"{tts,dev} \
                    "$exp/$domain/tts" --init "$exp/baseline" -- \
                    "${text_options[@]}"
                continue
            fi
            if [ "$method" = pre_fine_tune ]; then
                train "$(conf pre_fine_tune.yaml "$domain")" \
                    "$data/${general}_"{train,dev} "$exp/$domain/$method" \
                    --init "$exp/$domain/no_prompt" -- "${text_options[@]}"
                continue
            fi
            config=decoder.yaml init=$exp/baseline options=(--adapt "$method")
            if [ "$method" = soft_prompt ]; then init=$exp/$domain/prompt options=(); fi
            if [ "$method" = noisy_text ]; then
                config=noisy_text.yaml
                [ ! -e "$exp/baseline/confusions.json" ] ||
                    options+=(--adapt_conf "confusions=$exp/baseline/confusions.json")
            fi
            train "$(conf "$config" "$domain")" "${text[@]}" "$exp/$domain/$method" \
                --init "$init" -- "${text_options[@]}" "${options[@]}"
        done
    fi
    if on 6 && [ "$fusion" = true ] && ! finished "$exp/$domain/ngram/ngram.arpa"; then
        rm -rf "${exp:?}/$domain/lm" "$exp/$domain/ngram"
        do_run python -m spft.bin.prepare_lm --text "${text[0]}/text" \
            --valid "${text[1]}/text" --tokenizer "$llm" --out "$exp/$domain/lm/data" \
            --seed "$seed"
        do_run python -m spft.bin.train_lm --config "$(conf lm.yaml "$domain")" \
            --data "$exp/$domain/lm/data" --output_dir "$exp/$domain/lm" \
            --ngpu "$ngpu" --seed "$seed"
        do_run python -m spft.bin.train_ngram --text "${text[0]}/text" \
            --tokenizer "$llm" --out "$exp/$domain/ngram"
    fi
    if on 7; then
        tests=("$data/${domain}_test" "$data/${general}_test")
        systems=()
        for system in base $methods; do
            model=$exp/$domain/$system
            [ "$system" != base ] || model=$exp/baseline
            finished "$exp/$domain/$system/decode_${tags[-1]}/decode.json" ||
                systems+=("$system=$model")
        done
        options=()
        if [ "$fusion" = true ]; then
            options=(--lm "$exp/$domain/lm" --ngram "$exp/$domain/ngram"
                --tune "$data/${domain}_dev" --phrases "${text[0]}")
        fi
        if [ "$keep_prompt" = true ]; then options+=(--keep_prompt); fi
        decode=(python -m spft.bin.decode --config "$(conf decode.yaml "$domain")"
            --systems "${systems[@]}" --data "${tests[@]}" --dump "$dump"
            --out "$exp/$domain" "${options[@]}")
        if [ ${#systems[@]} = 0 ]; then
            : # all decoded
        elif [ "$shards" -gt 1 ]; then
            sharded "decode_$domain" "${#systems[@]}" "${decode[@]}" --only JOB
        else
            do_run "${decode[@]}"
        fi
        for test in "${tests[@]}"; do
            decodes=()
            set=$(basename "$test")
            for system in base $methods; do
                for tag in "${tags[@]}"; do
                    decodes+=("$exp/$domain/$system/decode_$tag/$set")
                done
            done
            if [ -e "$dump/$set/first_pass" ]; then # what the LLM starts from
                decodes+=("$exp/$domain/first_pass/decode_plain/$set")
                mkdir -p "${decodes[-1]}"
                LC_ALL=C sort "$dump/$set/first_pass" >"${decodes[-1]}/text"
            fi
            do_run python -m spft.bin.score --data "$test" --decode "${decodes[@]}" \
                --adaptation-text "${text[0]}/text"
        done
        if [[ $methods =~ soft_prompt ]]; then
            do_run python -m spft.bin.prompt_map --model "$exp/$domain/soft_prompt" \
                --data "$data/${domain}_dev" --text "${text[0]}/text" --dump "$dump" \
                --out "$exp/$domain/prompt_map.json"
        fi
    fi
}
