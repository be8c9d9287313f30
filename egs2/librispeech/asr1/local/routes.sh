#!/usr/bin/env bash
# Four ways to a baseline on about the same training time, compared on LibriSpeech's
# development speakers, and on the test speakers, by greedy search: what the decoder reads
# is seen alone. Needs LIBRISPEECH; goes on where it stopped.
#   egs2/librispeech/asr1/local/routes.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../.."

# Options, with their defaults.
routes=all         # or some of them, by name
budget=1           # 1: some 25 minutes of one core each; 3: three times the updates
seed=0             # of training
ngpu=auto          # GPUs for training: auto (1 if there is one), 0, 1
exp=exp/routes     # folder of the routes

usage() {
    cat <<'TEXT'
Routes: stack (MLP over stacked frames), ctc (a CTC head's letters as LLM tokens, with a
residual), ctc_text (its decoder learns on misspelt text first), first_pass (the encoder's
own transcript in place of the letters: the default).

TEXT
}
. tools/parse_options.sh egs2/librispeech/asr1/local/routes.sh "$@"
. tools/path.sh
. tools/db.sh
[ -n "$LIBRISPEECH" ] || die "LIBRISPEECH is not set; see tools/db.sh"
data=data dump=dump preset=default resume=true launch=()
mkdir -p "$exp"
# shellcheck source=local/helpers.sh
. local/helpers.sh
[ "$ngpu" != 0 ] || export CUDA_VISIBLE_DEVICES= # also of what decodes
ngpu=$(gpus "$ngpu")
[[ $budget =~ ^[1-9][0-9]*$ ]] || die "--budget: a number from 1"
end_with_jobs
same_options "$exp/options" "budget=$budget" "seed=$seed"
all=(stack ctc ctc_text first_pass)
[ "$routes" != all ] || routes="${all[*]}"
sets=("$data/librispeech_"{train,dev,test})

if [ ! -e "$dump/librispeech_train" ] || [ ! -e "$exp/confusions.json" ]; then
    mkdir -p "$data"
    lock exclusive "$data" "end it"
    do_run egs2/librispeech/asr1/local/data.sh --corpus librispeech --out "$data"
    do_run egs2/librispeech/asr1/local/baseline_data.sh --out "$data" \
        --paired "${sets[0]}"
    do_run python -m spft.bin.fetch_models moonshine-base
    do_run python -m spft.bin.extract_features --encoder moonshine-base \
        --data "${sets[@]}" --dump "$dump"
    do_run python -m spft.bin.learn_confusions --data "${sets[0]}" --dump "$dump" \
        --out "$exp/confusions.json"
fi
lock shared "$data" "end it"

head_of() { # head_of ROUTE MODEL EPOCHS: a CTC head
    train conf/baseline_ctc.yaml "${sets[@]:0:2}" "$exp/$1/head" --model "$2" -- \
        --ngpu "$ngpu" --max_epoch $(($3 * budget))
}
read_text() { # read_text ROUTE MODEL UPDATES: a decoder that follows misspelt text
    train conf/baseline_text.yaml "$data/general_text/"{train,dev} "$exp/$1/text" \
        --model "$2" -- --ngpu "$ngpu" --adapt_conf "confusions=$exp/confusions.json" \
        --num_iters_per_epoch $((budget * $3)) --max_epoch 1 \
        --scheduler_conf warmup_steps=20
}
listen() { # listen ROUTE UPDATES [option…]: audio and text meet
    train conf/baseline.yaml "${sets[@]:0:2}" "$exp/$1/paired" "${@:3}" --ngpu "$ngpu" \
        --num_iters_per_epoch $((budget * $2)) --max_epoch 1 \
        --scheduler_conf warmup_steps=20
}

for route in $routes; do
    of=$exp/$route
    if finished "$of/decode_plain/librispeech_test/score.json"; then continue; fi
    case $route in
        stack)
            listen "$route" 130 --model conf/tuning/model_stack.yaml -- \
                --trainable "^projector\\." lora_
            ;;
        ctc)
            head_of "$route" conf/presets/letters/model.yaml 4
            listen "$route" 110 --init "$of/head" --
            ;;
        ctc_text)
            [ -e "$exp/ctc/head/model.safetensors" ] ||
                die "ctc_text has the CTC head of the route ctc: run that first"
            rm -rf "$of/head"
            mkdir -p "$of"
            cp -rp "$exp/ctc/head" "$of/head"
            read_text "$route" conf/presets/letters/model.yaml 66
            listen "$route" 80 --init "$of/head" "$of/text" --
            ;;
        first_pass)
            head_of "$route" conf/model.yaml 4
            read_text "$route" conf/model.yaml 66
            listen "$route" 80 --init "$of/head" "$of/text" --
            ;;
        *) die "--routes: no route '$route'" ;;
    esac
    do_run python -m spft.bin.decode --config conf/tuning/decode_greedy.yaml \
        --systems "$route=$of/paired" --data "${sets[@]:1:2}" --dump "$dump" --out "$exp"
    for set in librispeech_dev librispeech_test; do
        do_run python -m spft.bin.score --data "$data/$set" \
            --decode "$of/decode_plain/$set"
    done
done

rows=()
for route in "${all[@]}"; do
    [ ! -e "$exp/$route/decode_plain/librispeech_test/score.json" ] ||
        rows+=("$exp/$route")
done
python -m spft.bin.compare --title "Routes to a baseline" \
    --set librispeech_dev librispeech_test --rows "${rows[@]}" \
    --commands "$exp/commands.log" --out "$exp/ROUTES.md"
