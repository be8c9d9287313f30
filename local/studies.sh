#!/usr/bin/env bash
# What each choice of stages 4 and 5 is worth: one row a choice, judged on a domain's
# development set, never on its test set. Reads what stages 1 to 3 of run.sh write.
# Goes on where it stopped: a scored row stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Options, with their defaults.
domain=music       # recipe below egs2/
preset=default     # as run.sh was given
max_epoch=1        # of both stages: the rows are compared with each other only
general=general_dev # speech whose embeddings one row starts from
rows=all           # or some of them, by name
seed=0             # of training
ngpu=auto          # GPUs for training: auto (1 if there is one), 0, 1

usage() {
    cat <<'TEXT'
Writes exp/studies/<domain>/<row>/ and STUDIES.md beside them. Rows: no_prompt, d_10 to
d_200 (vectors), normal, text, audio (where the prompt starts), sgd, adafactor, mlp (how
it is learnt), full (all of the LLM, with LoRA), kept (the prompt stays at inference),
lstm, transformer (LM of weight 0.2 in the search). Not in "all": learning rates of step
2, of the soft prompt (lr_1e-3) and of plain tuning in steps as small (no_prompt_1e-3).

TEXT
}
. tools/parse_options.sh local/studies.sh "$@"
. tools/path.sh
data=data dump=dump exp=exp resume=true launch=()
vectors=30 # of the prompt, but in the rows d_…
if [ "$preset" != default ]; then data+=/$preset dump+=/$preset exp+=/$preset; fi
baseline=$exp/baseline exp+=/studies/$domain # here helpers.sh keeps commands.log
[ -e "$data/${domain}_text" ] || die "no $data/${domain}_text;" \
    "first run egs2/$domain/asr1/run.sh --stop_stage 3"
mkdir -p "$exp"
# shellcheck source=local/helpers.sh
. local/helpers.sh
end_with_jobs
lock shared "$data" "end it" # several calls may share out the rows
lock shared "${baseline%/*}" "end it" # with the baseline, which run.sh may make anew
text=("$data/${domain}_text/train" "$data/${domain}_text/dev")
dev=$data/${domain}_dev
[ -e "$baseline/model.safetensors" ] || die "no $baseline;" \
    "first run egs2/$domain/asr1/run.sh --stop_stage 3"
[ "$ngpu" != 0 ] || export CUDA_VISIBLE_DEVICES= # also of what decodes
ngpu=$(gpus "$ngpu")
same_options "$exp/options" "max_epoch=$max_epoch" "seed=$seed" "general=$general" \
    "baseline=$(sum_of "$baseline/model.safetensors")" \
    "text=$(sum_of "${text[@]/%//text}" "$dev"/{wav.scp,text,entities})" \
    "configuration=$(sum_of "$(conf prompt.yaml "$domain")" \
        "$(conf_of soft_prompt "$domain")" "$(conf_of no_prompt "$domain")" \
        "$(conf lm.yaml "$domain")" "$(conf decode.yaml "$domain")" \
        conf/tuning/lm_transformer.yaml)"
llm=$(model llm_conf.name)
all=(no_prompt d_30 d_10 d_50 d_100 d_200 normal text audio sgd adafactor mlp full kept
    lstm transformer)
[ "$rows" != all ] || rows="${all[*]}"
for folder in "$exp"/{d,lr,no_prompt}_*/; do # of earlier calls
    row=$(basename "$folder")
    [[ " ${all[*]} " = *" $row "* || $row = *"*" ]] || all+=("$row")
done
for row in $rows; do
    if [[ " ${all[*]} " != *" $row "* ]]; then
        [[ $row =~ ^(d_[1-9][0-9]*|(lr|no_prompt)_[1-9]e-[1-9])$ ]] ||
            die "--rows: no row '$row'; --help lists them"
        all+=("$row")
    fi
done

prompt() { # prompt ROW START [option…]: step 1 of a row
    train "$(conf prompt.yaml "$domain")" "${text[@]}" "$exp/$1/prompt" --init "$2" -- \
        --ngpu "$ngpu" --max_epoch "$max_epoch" --adapt_conf "length=$vectors" "${@:3}"
}
decoder() { # decoder ROW START METHOD [option…]: step 2 of a row, as of a method
    train "$(conf_of "$3" "$domain")" "${text[@]}" "$exp/$1/decoder" --init "$2" -- \
        --ngpu "$ngpu" --max_epoch "$max_epoch" "${@:4}"
}
judge() { # judge ROW MODEL TAG [option…]: decode and score dev
    do_run python -m spft.bin.decode --config "$(conf decode.yaml "$domain")" --systems "$1=$2" \
        --data "$dev" --dump "$dump" --out "$exp" "${@:4}"
    do_run python -m spft.bin.score --data "$dev" --adaptation_text "${text[0]}/text" \
        --decode "$exp/$1/decode_$3/${domain}_dev"
}
variant() { # variant ROW [option…]: both steps, and dev
    prompt "$1" "$baseline" "${@:2}"
    decoder "$1" "$exp/$1/prompt" soft_prompt
    judge "$1" "$exp/$1/decoder" plain
}
fused() { # fused ROW CONFIG: an LM in the search of the row d_30
    rm -rf "$exp/$1/lm"
    train_lm "$2" "$exp/$1/lm"
    judge "$1" "$exp/d_30/decoder" lm --lm "$exp/$1/lm" --lm_weight 0.2
}

for row in $rows; do
    scored=("$exp/$row"/decode_*/"${domain}_dev/score.json")
    if finished "${scored[-1]}"; then continue; fi
    if [[ $row =~ ^(full|kept|lstm|transformer|lr_.*)$ ]]; then
        [ -e "$exp/d_30/decoder/model.safetensors" ] ||
            die "row $row starts from d_30; first do the same with --rows d_30"
    fi
    case $row in
        no_prompt)
            decoder "$row" "$baseline" no_prompt --adapt no_prompt
            judge "$row" "$exp/$row/decoder" plain
            ;;
        no_prompt_*)
            decoder "$row" "$baseline" soft_prompt --adapt no_prompt \
                --optim_conf "lr=${row#no_prompt_}"
            judge "$row" "$exp/$row/decoder" plain
            ;;
        lr_*)
            decoder "$row" "$exp/d_30/prompt" soft_prompt --optim_conf "lr=${row#lr_}"
            judge "$row" "$exp/$row/decoder" plain
            ;;
        d_*) variant "$row" --adapt_conf "length=${row#d_}" ;;
        normal) variant "$row" --adapt_conf init=normal ;;
        text)
            start=$(sed -E 's/^\S+\s+//; 3q' "${text[0]}/text" | tr '\n' ' ')
            variant "$row" --adapt_conf init=text --adapt_conf "init_text=${start% }"
            ;;
        audio)
            if [ "$(model encoder)" = cached ]; then
                do_run python -m spft.bin.extract_features --data "$data/$general" \
                    --encoder "$(model encoder_conf.extractor)" --dump "$dump"
            fi
            do_run python -m spft.bin.audio_prompt --model "$baseline" --dump "$dump" \
                --data "$data/$general" --length "$vectors" --out "$exp/$row/start"
            prompt "$row" "$exp/$row/start"
            decoder "$row" "$exp/$row/prompt" soft_prompt
            judge "$row" "$exp/$row/decoder" plain
            ;;
        sgd) variant "$row" --optim sgd --optim_conf lr=1.0 --optim_conf momentum=0.9 ;;
        adafactor) variant "$row" --optim adafactor --optim_conf lr=0.3 ;;
        mlp) variant "$row" --adapt_conf hidden_size=256 ;;
        full)
            decoder "$row" "$exp/d_30/prompt" soft_prompt --trainable "^llm\\." \
                --optim_conf lr=2.0e-5
            judge "$row" "$exp/$row/decoder" plain
            ;;
        kept) judge "$row" "$exp/d_30/decoder" plain --keep_prompt ;;
        lstm) fused "$row" "$(conf lm.yaml "$domain")" ;;
        transformer) fused "$row" conf/tuning/lm_transformer.yaml ;;
    esac
done

done_rows=()
for row in "${all[@]}"; do
    scored=("$exp/$row"/decode_*/"${domain}_dev/score.json")
    [ -e "${scored[-1]}" ] || continue
    case $row in
        lstm | transformer) done_rows+=("$row=$exp/$row/decode_lm") ;; # others: plain
        *) done_rows+=("$exp/$row") ;;
    esac
done
python -m spft.bin.compare --title "Studies of $domain" --set "${domain}_dev" \
    --rows "${done_rows[@]}" --commands "$exp/commands.log" --out "$exp/STUDIES.md"
