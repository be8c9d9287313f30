# shellcheck shell=bash
# Stages 1 to 3 of run.sh, for all domains; it sources this.

prepare_data() { # stage 1
    local limit=() domain source part
    [ "$resume" = true ] || forget_commands
    if [ "$preset" = tiny ]; then # a few utterances of each set
        limit=(--limit 8)
    fi
    do_run egs2/librispeech/asr1/local/data.sh --corpus mini --out "$data" "${limit[@]}"
    if [ "$general" = librispeech ]; then
        do_run egs2/librispeech/asr1/local/data.sh --corpus librispeech --out "$data"
    fi
    if [ "$baseline" = train ]; then
        do_run egs2/librispeech/asr1/local/baseline_data.sh --out "$data" \
            --paired "$data/${general}_train" --spoken "$spoken" \
            --factors "$speed_perturb_factors" "${limit[@]}"
    fi
    for domain in $domains; do
        source=()
        if [ "$corpus" = real ] && [[ $domain =~ ^(music|chatbot)$ ]]; then
            source=(--corpus real)
        fi
        do_run "egs2/$domain/asr1/local/data.sh" "${source[@]}" --out "$data" \
            "${limit[@]}"
        if uses tts; then
            for part in train dev; do
                do_run python -m spft.bin.synthesize --engine flite --jobs "$cores" \
                    --text "$data/${domain}_text/$part/text" \
                    --out "$data/${domain}_tts_$part"
            done
        fi
    done
}

make_features() { # stage 2: models, and what the frozen encoder makes of all speech
    local domain folder text extractor extract combine
    local sets=("$data/${general}_test") train_sets=("$data/${general}_train")
    for domain in $domains; do
        sets+=("$data/${domain}_dev" "$data/${domain}_test")
        if uses tts; then sets+=("$data/${domain}_tts_"{train,dev}); fi
    done
    if [ "$fusion" = true ]; then # the second pass must not forget it
        sets+=("$data/${general}_dev")
    fi
    [ -z "$speed_perturb_factors" ] || train_sets[0]+=_sp
    if [ "$spoken" != 0 ]; then train_sets+=("$data/general_tts"); fi
    if [ "$baseline" = train ]; then sets+=("${train_sets[@]}" "$data/${general}_dev"); fi
    if uses pre_fine_tune; then sets+=("$data/${general}_"{train,dev}); fi
    for folder in "${sets[@]}"; do need "$folder/wav.scp" 1; done
    if [ "$preset" = tiny ]; then
        text=("$data/general_train/text")
        for domain in $domains; do text+=("$data/${domain}_text/train/text"); done
        do_run python -m spft.bin.make_tiny_llm --text "${text[@]}" --out "$llm"
    fi
    # Any other is a folder, or transformers' to fetch.
    [ "$llm" != smollm2-135m ] || do_run python -m spft.bin.fetch_models "$llm"
    if [ "$encoder" = cached ]; then # frozen, so its frames need computing only once
        extractor=$(model encoder_conf.extractor)
        # Of others transformers fetches what is not a folder.
        [[ $extractor = */* ]] || do_run python -m spft.bin.fetch_models "$extractor"
        extract=(python -m spft.bin.extract_features --encoder "$extractor"
            --data "${sets[@]}" --dump "$dump")
        if [ "$shards" -gt 1 ]; then
            rm -rf "$exp/log/features" # what is done and valid stays so by itself
            sharded features "$shards" "--shard \$JOB/$shards" "${extract[@]}"
            extract+=(--merge "$shards")
        fi
        do_run "${extract[@]}"
    fi
    if [ "$baseline" = train ]; then
        combine=(python -m spft.bin.combine_data --data "${train_sets[@]}" --dump "$dump")
        do_run "${combine[@]}" --out "$data/baseline_train"
        # Speech that the encoder understood: from the rest the LLM would learn to guess.
        do_run "${combine[@]}" --out "$data/baseline_read" --max_cer 0.06
    fi
}

make_baseline() { # stage 3
    local weights dev=$data/${general}_dev options=() confusions start
    if [ "$baseline" = shipped ]; then
        weights=$exp/baseline/model.safetensors
        [ ! -e "$weights" ] || cmp -s "$weights" "$shipped/model.safetensors" ||
            die "$exp/baseline is not the shipped one: go on from it by --stage 4," \
                "or remove it"
        for weights in "$exp/baseline/checkpoint.pth" "$exp/baseline.old"; do
            [ ! -e "$weights" ] || die "$weights is of a training of your own: go on by" \
                "--baseline train --resume true, or remove it"
        done
        rm -rf "$exp/baseline" "$exp/baseline.tmp"
        do_run cp -r "$shipped" "$exp/baseline.tmp"
        do_run mv "$exp/baseline.tmp" "$exp/baseline" # whole, or not there
    else
        need "$data/baseline_train/text" 2
        # Not a copy from an earlier call, which --resume would take for this training.
        ! cmp -s "$exp/baseline/model.safetensors" "$shipped/model.safetensors" ||
            rm -r "$exp/baseline"
        if [ "$encoder" = cached ]; then # of its first passes
            confusions=$exp/confusions.json
            do_run python -m spft.bin.learn_confusions --data "$data/baseline_train" \
                --dump "$dump" --out "$confusions"
            options=(--adapt_conf "confusions=$confusions")
        fi
        if [ "$projector" = ctc ]; then
            train "$(conf baseline_ctc.yaml)" "$data/baseline_train" "$dev" \
                "$exp/baseline_ctc" --model "$(conf model.yaml)" -- \
                "${espnet_options[@]}"
            train "$(conf baseline_text.yaml)" "$data/general_text/"{train,dev} \
                "$exp/baseline_text" --model "$(conf model.yaml)" -- \
                "${espnet_options[@]}" "${options[@]}"
            start=(--init "$exp/baseline_ctc" "$exp/baseline_text")
        else # nothing to learn before audio and text meet
            start=(--model "$(conf model.yaml)")
        fi
        train "$(conf baseline.yaml)" "$data/baseline_read" "$dev" "$exp/baseline" \
            "${start[@]}" -- "${espnet_options[@]}"
        if [ "$encoder" = cached ]; then cp "$confusions" "$exp/baseline/"; fi
    fi
}
