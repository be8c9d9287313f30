#!/usr/bin/env bash
# Stage 7 for one domain: decode and score every system, without and with LM fusion.
#   tools/decode_domain.sh DOMAIN DATA DUMP EXP GENERAL CONFIG KEEP_PROMPT
set -euo pipefail

domain=$1 data=$2 dump=$3 exp=$4 general=$5 config=$6 keep_prompt=$7
tests=("$data/${domain}_test" "$data/${general}_test")
text=$data/${domain}_text/train/text

do_run() {
    printf '%q ' "$@" >>"$exp/commands.log"
    echo >>"$exp/commands.log"
    "$@"
}

for system in base no_prompt soft_prompt; do
    model=$exp/$domain/$system
    [ "$system" != base ] || model=$exp/baseline
    if [ ! -e "$model/model.safetensors" ]; then
        echo "error: $model is missing; run ./run.sh --stage 3 --stop_stage 5 first" >&2
        exit 1
    fi
    for tag in plain lm; do
        out=$exp/$domain/$system/decode_$tag
        options=()
        if [ "$tag" = lm ]; then
            options=(--lm "$exp/$domain/lm" --ngram "$exp/$domain/ngram"
                --tune "$data/${domain}_dev")
        fi
        if [ "$system" = soft_prompt ] && [ "$keep_prompt" = true ]; then
            options+=(--keep_prompt)
        fi
        do_run python -m spft.bin.decode --model "$model" --config "$config" \
            --dump "$dump" --data "${tests[@]}" --out "$out" "${options[@]}"
        for test in "${tests[@]}"; do
            do_run python -m spft.bin.score --data "$test" \
                --decode "$out/$(basename "$test")" --adaptation-text "$text"
        done
    done
done
