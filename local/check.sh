# shellcheck shell=bash
# What run.sh refuses before it begins: options, inputs of its stages, configurations.

check_options() { # before set-up: it needs nothing but the shell
    local number words twice known method domain file name reserved
    for number in "$stage" "$stop_stage"; do
        [[ $number =~ ^[1-9]$ ]] || die "stage '$number' is not one of 1 to 9"
    done
    [ "$stage" -le "$stop_stage" ] || die "--stage $stage comes after --stop_stage $stop_stage"
    [[ $preset = default || ( -n $preset && -d conf/presets/$preset && $preset != */* ) ]] ||
        die "no preset '$preset' in conf/presets/"
    [[ $max_epoch =~ ^([1-9][0-9]*)?$ ]] || die "--max_epoch: a number from 1"
    [[ $prompt_vectors =~ ^([1-9][0-9]*)?$ ]] || die "--prompt_vectors: a number from 1"
    for words in "$domains" "$methods"; do
        # shellcheck disable=SC2086  # a list of names
        twice=$(printf '%s\n' $words | sort | uniq -d | head -n 1)
        [ -z "$twice" ] || die "--domains, --methods: '$twice' is there twice"
    done
    known=" no_prompt pre_fine_tune empty_prompt upsample_mask soft_prompt noisy_text tts "
    for method in $methods; do
        [[ $known = *" $method "* ]] ||
            die "--methods: '$method' is none of:$known"
    done
    [[ ! $methods =~ pre_fine_tune || $methods =~ no_prompt.*pre_fine_tune ]] ||
        die "--methods: pre_fine_tune goes on from no_prompt; name that before it"
    [[ " auto base $methods " = *" $packed "* ]] ||
        die "--packed: '$packed' is neither base nor in --methods"
    [[ $stage -gt 1 || " $methods " != *" tts "* ]] || command -v flite >/dev/null ||
        die "--methods tts: flite speaks the text; apt-get install flite"
    [ "$keep_prompt" = false ] || [ "$stop_stage" -lt 9 ] ||
        die "--keep_prompt true: packs decode without it; add --stop_stage 8"
    [ "$keep_prompt" = false ] || [[ " $methods " = *" soft_prompt "* ]] ||
        die "--keep_prompt true: none of --methods has a prompt; add soft_prompt"
    [[ -z $prompt_vectors || " $methods " =~ \ (soft|empty)_prompt\  ]] ||
        die "--prompt_vectors: none of --methods has a prompt; add soft_prompt"
    [[ $shards =~ ^[1-9][0-9]*$ ]] || die "--shards: a number from 1"
    for number in "$ngpu" "$nj" "$spoken"; do
        [[ $number =~ ^(auto|[0-9]+)$ ]] ||
            die "--ngpu, --nj, --spoken: a number or auto, not '$number'"
    done
    [[ $seed =~ ^[0-9]+$ ]] || die "--seed: a number, not '$seed'"
    [ "$backend" = local ] || [ "$shards" -gt 1 ] || die "--backend $backend: add --shards N"
    [ -z "$sbatch" ] || [ "$backend" = slurm ] || die "--sbatch: add --backend slurm"
    [ "$protect" = true ] || [ "$fusion" = true ] || die "--protect false: there is no second pass"
    reserved=" base baseline baseline_ctc baseline_text general log real report routes studies "
    [ -n "$domains" ] || [ "$stop_stage" -le 3 ] || die "--domains '': add --stop_stage 3"
    for domain in $domains; do
        [[ $domain != */* && -e egs2/$domain/asr1/local/data.sh && $domain != librispeech ]] ||
            die "no recipe of a domain in egs2/$domain/asr1"
        [[ $reserved != *" $domain "* && ! -d conf/presets/$domain ]] ||
            die "no domain can be called '$domain': its results would mix with others"
        for file in "egs2/$domain/asr1/conf"/*; do # what a domain may have of its own
            name=${file##*/}
            [[ ! -e $file || " prompt.yaml decoder.yaml lm.yaml decode.yaml " = *" $name "* ||
                ( $name = *.yaml && $known = *" ${name%.yaml} "* ) ]] ||
                die "$file is not read: all domains share a baseline (conf/presets/)"
        done
    done
    for file in "conf/presets/$preset"/*.yaml; do
        name=${file##*/}
        [[ ! -e $file || $name = model.yaml || -e conf/$name || $known = *" ${name%.yaml} "* ]] ||
            die "$file is not read: no file of conf/ has that name"
    done
}

check_domain() { # check_domain DOMAIN: what the first of its stages to run reads
    local method set sets=() text=$data/$1_text length
    if [ "$stop_stage" -ge 7 ] && [ "$encoder" = cached ]; then
        sets=("$1_dev" "$1_test" "${general}_test")
        [ "$fusion" = false ] || sets+=("${general}_dev")
        for set in "${sets[@]}"; do need "$dump/$set/first_pass_written" 2; done
    fi
    if [ "$stage" -le 5 ] && [ "$stop_stage" -ge 5 ]; then # speech to tune on
        sets=()
        ! uses tts || sets+=("$1_tts_"{train,dev})
        ! uses pre_fine_tune || sets+=("${general}_"{train,dev})
        for set in "${sets[@]}"; do
            need "$data/$set/wav.scp" 1
            [ "$encoder" != cached ] || need "$dump/$set/first_pass_written" 2
        done
    fi
    if [ "$stage" -ge 2 ] && [ "$stage" -le 6 ]; then # stage 1 checks what it writes
        need "$text/train/text" 1
        job python -m spft.bin.validate_data "$data/$1_"{dev,test} --not_in "$text"/{train,dev}
    fi
    case $stage in
        4) need "$exp/baseline/model.safetensors" 3 ;;
        5)
            need "$exp/baseline/model.safetensors" 3
            ! uses soft_prompt || need "$exp/$1/prompt/model.safetensors" 4
            ;;
        7) [ "$fusion" = false ] || need "$exp/$1/ngram/ngram.arpa" 6 ;;
    esac
    if [ "$stage" -ge 6 ] && [ "$stop_stage" -ge 7 ]; then
        need "$exp/baseline/model.safetensors" 3
        for method in $methods; do
            [ -e "$exp/$1/$method/model.safetensors" ] || die "$exp/$1/$method: not tuned;" \
                "do so with --stage 5 --stop_stage 5, or leave it out of --methods"
        done
    fi
    if [ "$stage" -gt 4 ] && [ -n "$prompt_vectors" ] && uses soft_prompt; then
        length=$(prompt_length "$exp/$1/prompt/config.yaml")
        [ "$length" = "$prompt_vectors" ] || die "--prompt_vectors $prompt_vectors:" \
            "$exp/$1/prompt has $length; begin at --stage 4"
    fi
}

check_configurations() { # of all stages to run and all domains, before the first
    local domain method file options=()
    if runs 3 && [ "$baseline" = train ]; then
        options+=(--stages "$(conf baseline.yaml)")
        [ "$projector" != ctc ] ||
            options+=(--stages "$(conf baseline_ctc.yaml)" "$(conf baseline_text.yaml)")
    fi
    for domain in $domains; do
        if runs 4 && uses soft_prompt; then
            options+=(--stages "$(conf prompt.yaml "$domain")")
        fi
        if runs 5; then
            for method in $methods; do
                options+=(--stages "$(conf_of "$method" "$domain")")
            done
        fi
        if runs 6 && [ "$fusion" = true ]; then
            options+=(--lm "$(conf lm.yaml "$domain")")
        fi
        if runs 7; then options+=(--decode "$(conf decode.yaml "$domain")"); fi
        if runs 9; then
            file=$(conf decode.yaml "$domain")
            [ "$(python -m spft.bin.show_config "$file" keep_prompt --default False)" = \
                False ] || die "$file: keep_prompt: packs decode without it; add --stop_stage 8"
        fi
    done
    if [ "$stage" -le 5 ] && [ "$preset" != tiny ]; then # tiny's LLM is made in stage 2
        options+=(--model "$(conf model.yaml)")
    fi
    [ ${#options[@]} -eq 0 ] || job python -m spft.bin.check_config "${options[@]}"
}
