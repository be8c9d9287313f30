#!/usr/bin/env bash
# Text-only domain adaptation of a speech LLM, from data to a scored comparison.
# `./run.sh` is the main job; `./run.sh --help` prints stages and options.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

# Options, with their defaults. Each is also an option of the command line.
stage=1            # first stage to run
stop_stage=9       # last stage to run
preset=default     # or a folder of conf/presets: tiny (random models), large, your own
domains="music chatbot" # recipes below egs2/
corpus=mini        # [mini|real] music, chatbot: embedded, or SNIPS, SGD (in data/real, exp/real)
baseline=auto      # [auto|shipped|train] auto: trained for models of your own
spoken=auto        # sentences spoken to train on; auto: 8000 if flite and WORDNET are there
speed_perturb_factors=auto # of speech that a baseline is trained on; auto: 0.9 1.0 1.1; "": none
expdir=            # folder of experiments; empty: exp[/PRESET][/real]
general=auto       # [auto|general|librispeech] general domain; auto: librispeech if LIBRISPEECH is set
methods="no_prompt soft_prompt noisy_text" # of decoder tuning, see above; "": none
max_epoch=         # of stages 4 and 5; empty: the domain's configuration
prompt_vectors=    # length d of the soft prompt; empty: the domain's configuration
packed=auto        # what stage 9 packs: auto (each domain's best on dev sets), base, a method
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
# shellcheck source=local/check.sh
. local/check.sh
check_options

tools/setup.sh
. tools/path.sh
. tools/db.sh
# shellcheck source=local/helpers.sh
. local/helpers.sh
end_with_jobs
cores=$(env -u OMP_NUM_THREADS nproc) # nproc obeys that variable
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cores}

if [ "$preset" = default ]; then data=data dump=dump exp=exp; else
    data=data/$preset dump=dump/$preset exp=exp/$preset
fi
if [ "$corpus" = real ]; then data+=/real dump+=/real exp+=/real; fi
exp=$(realpath -ms --relative-base=. "${expdir:-$exp}") # one name for one folder
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
[ "$baseline $general" != "train general" ] || [ "$preset" = tiny ] || [ "$stage" -gt 3 ] ||
    echo "warning: a baseline of your own is trained on the little speech that comes with" \
        "the recipe, enough for nothing but a trial; set LIBRISPEECH (tools/db.sh)" >&2
[[ $baseline = train || $spoken =~ ^(auto|0)$ ]] || die "--spoken: add --baseline train"
if [ "$spoken" = auto ]; then
    spoken=0
    if [ "$preset" != tiny ] && [ -n "$WORDNET" ] && command -v flite >/dev/null; then
        spoken=8000
    fi
fi
[[ $baseline = train || $speed_perturb_factors = auto ]] ||
    die "--speed_perturb_factors: add --baseline train"
if [ "$speed_perturb_factors" = auto ]; then
    speed_perturb_factors="0.9 1.0 1.1"
    [ "$preset" != tiny ] || speed_perturb_factors=
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

# shellcheck source=local/prepare.sh
. local/prepare.sh
# shellcheck source=local/adapt.sh
. local/adapt.sh
if [ "$launcher" = auto ]; then
    launcher=
    threads=$((ngpu > 1 && OMP_NUM_THREADS > ngpu ? OMP_NUM_THREADS / ngpu : 1))
    [ "$ngpu" -le 1 ] || launcher="env OMP_NUM_THREADS=$threads torchrun --standalone \
        --nproc_per_node $ngpu"
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

check_configurations
if on 1; then prepare_data; fi
if on 2; then make_features; fi
lock shared "$data" "$readers" # the stages from here on read it
if [ "$stage" -le 7 ] && [ "$stop_stage" -ge 4 ]; then
    for domain in $domains; do check_domain "$domain"; done # before hours of training
fi
if on 3; then make_baseline; fi
if [ "$stage" -le 7 ] && [ "$stop_stage" -ge 4 ]; then adapt_all; fi

results=$exp/RESULTS.md
if on 8; then
    # shellcheck disable=SC2086  # a list of names
    job python -m spft.bin.report --exp "$exp" --data "$data" --domains $domains \
        --general "${general}_test" --out "$results"
fi

if on 9; then
    systems=() pack=$exp/pack.zip options=()
    [ "$fusion" = true ] || options=(--no_fusion)
    read -ra choice <<<"base $methods"
    [ "$packed" = auto ] || choice=("$packed")
    for domain in $domains; do systems+=("$domain=$(IFS=, && echo "${choice[*]}")"); done
    [ ${#systems[@]} -gt 0 ] || die "stage 9: no domain to pack"
    # A domain's own recipe leaves the pack of several as it is.
    [ ${#systems[@]} -gt 1 ] || pack=$exp/$domain/pack.zip
    do_run python -m spft.bin.pack --exp "$exp" --data "$data" --systems "${systems[@]}" \
        --config "$(conf decode.yaml)" --results "$results" --out "$pack" "${options[@]}"
fi
