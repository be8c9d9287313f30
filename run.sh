#!/usr/bin/env bash
# Text-only domain adaptation of a speech LLM, from data to a scored comparison.
# `./run.sh` is the main job; `./run.sh --help` prints stages and options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Options, with their defaults. Each is also an option of the command line.
stage=1            # first stage to run
stop_stage=9       # last stage to run
preset=default     # or a folder of conf/presets: tiny (random models), large, your own
domains="music chatbot" # recipes below egs2/
corpus=mini        # [mini|real] music, chatbot: embedded, or SNIPS, SGD (in data/real, exp/real)
baseline=auto      # [auto|shipped|train] auto: trained for models of your own
spoken=auto        # sentences spoken to train on; auto: 8000 if flite and WORDNET are there
expdir=            # folder of experiments; empty: exp[/PRESET][/real]
general=auto       # [auto|general|librispeech] general domain; auto: librispeech if LIBRISPEECH is set
methods="no_prompt soft_prompt" # of decoder tuning, see above; "": none
max_epoch=         # of stages 4 and 5; empty: the domain's configuration
prompt_vectors=    # length d of the soft prompt; empty: the domain's configuration
packed=auto        # what stage 9 packs: auto (each domain's best on dev), base, a method
keep_prompt=false  # [true|false] also at inference, before the audio
fusion=true        # [true|false] false: no LMs (stage 6), no second pass, which needs them
protect=true       # [true|false] choose the second pass's weights on general dev as well
ngpu=auto          # GPUs for training: auto (1 if there is one), 0 (nor for the rest), 1, …
launcher=auto      # of training; auto: torchrun for several GPUs; "srun … torchrun …"
nj=auto            # domains adapted at the same time; auto: one a core, 1 on a GPU
seed=0             # of training
resume=false       # [true|false] true: what stages 3 to 7 finished stays as it is
shards=1           # parts of stage 2, by tools/cmd.sh; over 1: a decode job a system
backend=local      # [local|slurm] of shards
sbatch=            # sbatch's options, e.g. "--partition gpu --gres gpu:1"

usage() {
    cat <<'TABLE'
Usage: ./run.sh [--option value]…

stage  what                     reads                 writes
    1  data preparation         downloads/, db.sh     data/<set>/, data/<domain>_text/
    2  models, encoder features stage 1               .cache/models, dump/<set>/
    3  baseline                 paired general data   exp/baseline
    4  prompt stage, text only  baseline, text        exp/<domain>/prompt
    5  decoder stage, text only prompt, text          exp/<domain>/<method>
    6  LM training              text                  exp/<domain>/{lm,ngram}
    7  decode and score         all above, test sets  exp/<domain>/<system>/decode_<tag>/
    8  report                   scores                exp/RESULTS.md, exp/report/
    9  pack                     one system a domain   exp/pack.zip; one domain: its own
(ESPnet's asr.sh counts its stages differently.)

Methods: no_prompt, pre_fine_tune (goes on from no_prompt: name it after that),
empty_prompt, upsample_mask, soft_prompt, noisy_text, tts (the text spoken). To add one
later, repeat the call with --resume true and the method added to --methods.

TABLE
}
. tools/parse_options.sh ./run.sh "$@"
for number in "$stage" "$stop_stage"; do
    [[ $number =~ ^[1-9]$ ]] || die "stage '$number' is not one of 1 to 9"
done
[ "$stage" -le "$stop_stage" ] || die "--stage $stage comes after --stop_stage $stop_stage"
[ "$preset" = default ] || [ -d "conf/presets/$preset" ] ||
    die "no preset '$preset' in conf/presets/"
[[ $max_epoch =~ ^([1-9][0-9]*)?$ ]] || die "--max_epoch: a number from 1"
[[ $prompt_vectors =~ ^([1-9][0-9]*)?$ ]] || die "--prompt_vectors: a number from 1"
known=" no_prompt pre_fine_tune empty_prompt upsample_mask soft_prompt noisy_text tts "
for method in $methods; do
    [[ $known = *" $method "* ]] ||
        die "--methods: '$method' is none of:$known"
done
[[ ! $methods =~ pre_fine_tune || $methods =~ no_prompt.*pre_fine_tune ]] ||
    die "--methods: pre_fine_tune goes on from no_prompt; name that before it"
[[ " auto base $methods " = *" $packed "* ]] ||
    die "--packed: '$packed' is neither base nor in --methods"
[ "$keep_prompt" = false ] || [ "$stop_stage" -lt 9 ] ||
    die "--keep_prompt true: packs decode without it; add --stop_stage 8"
[[ $shards =~ ^[1-9][0-9]*$ ]] || die "--shards: a number from 1"
for number in "$ngpu" "$nj" "$spoken"; do
    [[ $number =~ ^(auto|[0-9]+)$ ]] ||
        die "--ngpu, --nj, --spoken: a number or auto, not '$number'"
done
[[ $seed =~ ^[0-9]+$ ]] || die "--seed: a number, not '$seed'"
[ "$backend" = local ] || [ "$shards" -gt 1 ] || die "--backend $backend: add --shards N"
[ -z "$sbatch" ] || [ "$backend" = slurm ] || die "--sbatch: add --backend slurm"
[ "$protect" = true ] || [ "$fusion" = true ] || die "--protect false: there is no second pass"
[ -n "$domains" ] || [ "$stop_stage" -le 3 ] || die "--domains '': add --stop_stage 3"
for domain in $domains; do
    [[ -e egs2/$domain/asr1/local/data.sh && $domain != librispeech ]] ||
        die "no recipe of a domain in egs2/$domain/asr1"
    for file in "egs2/$domain/asr1/conf"/*; do # what a domain may have of its own
        case ${file##*/} in
            prompt.yaml | decoder.yaml | noisy_text.yaml | pre_fine_tune.yaml) ;;
            tts.yaml | lm.yaml | decode.yaml | \*) ;;
            *) die "$file is not read: all domains share a baseline (conf/presets/)" ;;
        esac
    done
done

tools/setup.sh
. tools/path.sh
. tools/db.sh
# shellcheck source=local/helpers.sh
. local/helpers.sh
cores=$(env -u OMP_NUM_THREADS nproc) # nproc obeys that variable
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cores}

if [ "$preset" = default ]; then data=data dump=dump exp=exp; else
    data=data/$preset dump=dump/$preset exp=exp/$preset
fi
if [ "$corpus" = real ]; then data+=/real dump+=/real exp+=/real; fi
exp=${expdir:-$exp}
shipped=egs2/librispeech/asr1/baseline
if [ "$general" = auto ]; then
    if [ -n "$LIBRISPEECH" ] && [ "$preset" != tiny ]; then
        general=librispeech
    else
        general=general
    fi
fi
if [ "$baseline" != train ]; then # the shipped one fits the default models only
    if [ ! -e "conf/presets/$preset/model.yaml" ]; then
        baseline=shipped
    elif [ "$baseline" = shipped ]; then
        die "--baseline shipped: preset $preset has models of its own"
    else
        baseline=train
    fi
fi
[[ $baseline = train || $spoken =~ ^(auto|0)$ ]] || die "--spoken: add --baseline train"
if [ "$spoken" = auto ]; then
    spoken=0
    if [ "$preset" != tiny ] && [ -n "$WORDNET" ] && command -v flite >/dev/null; then
        spoken=8000
    fi
fi
[ "$ngpu" != 0 ] || export CUDA_VISIBLE_DEVICES= # also of what decodes
ngpu=$(gpus "$ngpu")
if [ "$nj" = auto ]; then nj=$((ngpu > 0 ? 1 : cores)); fi
mkdir -p "$exp" "$data"
lock exclusive "$exp" "name all domains in one call, or give --expdir"
access=shared # to data and features
[ "$stage" -gt 2 ] || access=exclusive
readers="begin at --stage 3, which only reads it"
lock "$access" "$data" "$readers"

# shellcheck source=local/adapt.sh
. local/adapt.sh
if [ "$launcher" = auto ]; then
    launcher=
    [ "$ngpu" -le 1 ] || launcher="torchrun --standalone --nproc_per_node $ngpu"
fi
launch=()
[ -z "$launcher" ] || launch=(--launcher "$launcher")
# A launcher starts one process a GPU.
espnet_options=(--ngpu "$((ngpu > 1 ? 1 : ngpu))")
text_options=("${espnet_options[@]}") # of stages 4 and 5
[ -z "$max_epoch" ] || text_options+=(--max_epoch "$max_epoch")

encoder=$(model encoder)
projector=$(model projector)
llm=$(model llm_conf.name)

if on 1; then
    [ "$resume" = true ] || forget_commands
    # The tiny preset looks at a few utterances of each set.
    limit=()
    [ "$preset" != tiny ] || limit=(--limit 16)
    do_run egs2/librispeech/asr1/local/data.sh --corpus mini --out "$data" "${limit[@]}"
    if [ "$general" = librispeech ]; then
        do_run egs2/librispeech/asr1/local/data.sh --corpus librispeech --out "$data"
    fi
    if [ "$baseline" = train ]; then
        speeds=true
        [ "$preset" != tiny ] || speeds=false
        do_run egs2/librispeech/asr1/local/baseline_data.sh --out "$data" \
            --paired "$data/${general}_train" --spoken "$spoken" --speeds "$speeds" \
            "${limit[@]}"
    fi
    for domain in $domains; do
        source=()
        if [ "$corpus" = real ] && [[ $domain =~ ^(music|chatbot)$ ]]; then
            source=(--corpus real)
        fi
        do_run "egs2/$domain/asr1/local/data.sh" "${source[@]}" --out "$data" \
            "${limit[@]}"
        if [[ $methods =~ tts ]]; then
            for part in train dev; do
                do_run python -m spft.bin.synthesize --engine flite --jobs "$cores" \
                    --text "$data/${domain}_text/$part/text" \
                    --out "$data/${domain}_tts_$part"
            done
        fi
    done
fi

sets=("$data/${general}_test")
for domain in $domains; do
    sets+=("$data/${domain}_dev" "$data/${domain}_test")
    [[ ! $methods =~ tts ]] || sets+=("$data/${domain}_tts_"{train,dev})
done
[ "$fusion" = false ] || sets+=("$data/${general}_dev") # what must not be forgotten
train_sets=("$data/${general}_train")
[ "$preset" = tiny ] || train_sets[0]+=_sp # speed-perturbed
[ "$spoken" = 0 ] || train_sets+=("$data/general_tts")
if [ "$baseline" = train ]; then sets+=("${train_sets[@]}" "$data/${general}_dev"); fi
[[ ! $methods =~ pre_fine_tune ]] || sets+=("$data/${general}_"{train,dev})

if on 2; then
    for folder in "${sets[@]}"; do need "$folder/wav.scp" 1; done
    if [ "$preset" = tiny ]; then
        text=("$data/general_train/text")
        for domain in $domains; do text+=("$data/${domain}_text/train/text"); done
        do_run python -m spft.bin.make_tiny_llm --text "${text[@]}" --out "$llm"
    fi
    if [ "$encoder" = cached ]; then # frozen, so its frames need computing only once
        extractor=$(model encoder_conf.extractor)
        do_run python -m spft.bin.fetch_models "$extractor"
        extract=(python -m spft.bin.extract_features --encoder "$extractor"
            --data "${sets[@]}" --dump "$dump")
        if [ "$shards" -gt 1 ]; then
            rm -rf "$exp/log/features" # what is done and valid stays so by itself
            sharded features "$shards" "${extract[@]}" --shard "JOB/$shards"
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
fi

lock shared "$data" "$readers" # the stages from here on read it
if on 3; then
    if [ "$baseline" = shipped ]; then
        weights=$exp/baseline/model.safetensors
        [ ! -e "$weights" ] || cmp -s "$weights" "$shipped/model.safetensors" ||
            die "$exp/baseline is not the shipped one: go on from it by --stage 4," \
                "or remove it"
        rm -rf "$exp/baseline" "$exp/baseline.tmp"
        do_run cp -r "$shipped" "$exp/baseline.tmp"
        do_run mv "$exp/baseline.tmp" "$exp/baseline" # whole, or not there
    else
        need "$data/baseline_train/text" 2
        dev=$data/${general}_dev options=()
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
        [ "$encoder" != cached ] || cp "$confusions" "$exp/baseline/"
    fi
fi

say_who() { # say_who NAME: before each line; a progress bar's states become lines
    stdbuf -o0 tr '\r' '\n' | sed -u "/^ *\$/d; s/^/[$1] /"
}

if [ "$stage" -le 7 ] && [ "$stop_stage" -ge 4 ]; then
    for domain in $domains; do check_domain "$domain"; done
    read -ra names <<<"$domains"
    [ "$nj" -le ${#names[@]} ] || nj=${#names[@]}
    if [ "$nj" -le 1 ]; then
        for domain in $domains; do adapt "$domain"; done
    else
        # Two jobs of one thread each do more than one of two threads.
        threads=$((OMP_NUM_THREADS / nj))
        export OMP_NUM_THREADS=$((threads > 1 ? threads : 1)) TQDM_MININTERVAL=10
        declare -A jobs=()
        stop_jobs() { # and all that they run, when this ends before them
            local job
            for job in $(jobs -rp); do kill -- "-$job" 2>/dev/null || true; done
        }
        trap stop_jobs EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        set -m # each in a process group of its own
        for domain in $domains; do
            while [ "$(jobs -rp | wc -l)" -ge "$nj" ]; do sleep 1; done
            adapt "$domain" > >(say_who "$domain") 2>&1 &
            jobs[$domain]=$!
        done
        set +m
        failed=()
        for domain in $domains; do wait "${jobs[$domain]}" || failed+=("$domain"); done
        [ ${#failed[@]} -eq 0 ] || die "failed, see above: ${failed[*]}"
    fi
fi

results=$exp/RESULTS.md
if on 8; then
    # shellcheck disable=SC2086  # a list of names
    python -m spft.bin.report --exp "$exp" --data "$data" --domains $domains \
        --general "${general}_test" --out "$results"
fi

if on 9; then
    systems=() pack=$exp/pack.zip
    read -ra choice <<<"base $methods"
    [ "$packed" = auto ] || choice=("$packed")
    for domain in $domains; do systems+=("$domain=$(IFS=, && echo "${choice[*]}")"); done
    [ ${#systems[@]} -gt 0 ] || die "stage 9: no domain to pack"
    # A domain's own recipe leaves the pack of several as it is.
    [ ${#systems[@]} -gt 1 ] || pack=$exp/$domain/pack.zip
    do_run python -m spft.bin.pack --exp "$exp" --data "$data" --systems "${systems[@]}" \
        --config "$(conf decode.yaml)" --results "$results" --out "$pack"
fi
