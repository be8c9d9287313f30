#!/usr/bin/env bash
# Benchmarks, one after the other, each into benchmarks/results/<device>_<name>.md
# (cpu_amx where the processor multiplies matrices of bfloat16, else cpu_avx512 where it
# has AVX-512).
#   benchmarks/run.sh [cpu|cuda] [name…]       (names as below; default: all)
# What they need of the recipe is made first if it is not there. Nothing else should run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${1:-cpu}
case $device in
    cpu | cuda) ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \?//p' "$0" && exit ;;
    *) echo "error: the device comes first, cpu or cuda, not '$device'" >&2 && exit 1 ;;
esac
[ "$device" = cuda ] || export CUDA_VISIBLE_DEVICES= # where there is a GPU as well
names=("${@:2}")
if [ ${#names[@]} = 0 ]; then
    names=(ceiling text_stage paired_stage search second_pass)
    if [ "$device" = cpu ]; then names+=(growth); fi
fi
if [ ! -e exp/music/ngram/ngram.arpa ] || [ ! -e exp/baseline/model.safetensors ]; then
    ./run.sh --domains music --stop_stage 3
    ./run.sh --domains music --stage 6 --stop_stage 6
fi
# shellcheck source=tools/path.sh
. tools/path.sh
mkdir -p benchmarks/results
label=$device
if [ "$device" = cpu ]; then # by what it computes with
    if grep -qw amx_bf16 /proc/cpuinfo 2>/dev/null; then
        label=cpu_amx
    elif grep -qw avx512f /proc/cpuinfo 2>/dev/null; then
        label=cpu_avx512
    fi
fi

paired=(--model exp/baseline --data data/music_test)
for name in "${names[@]}"; do
    case $name in
        ceiling) options=(--device "$device") ;;
        text_stage)
            options=(--device "$device" --text data/music_text/train/text)
            [ "$device" = cpu ] || options+=(--batches 20)
            ;;
        paired_stage)
            options=(--device "$device" "${paired[@]}")
            [ "$device" = cpu ] || options+=(--batch 32 --batches 20)
            ;;
        search) options=("${paired[@]}" --lm exp/music/lm --ngram exp/music/ngram) ;;
        second_pass)
            options=("${paired[@]}" --lm exp/music/lm --ngram exp/music/ngram
                --phrases data/music_text/train)
            ;;
        growth) options=(--plot "benchmarks/results/${label}_growth.svg") ;;
        *) echo "error: no benchmark '$name'" >&2 && exit 1 ;;
    esac
    out=benchmarks/results/${label}_$name.md
    {
        # shellcheck disable=SC2016  # backticks are markdown
        printf '```sh\npython -m benchmarks.%s\n```\n\n' "$name ${options[*]}"
        python -m "benchmarks.$name" "${options[@]}"
    } >"$out.tmp"
    mv "$out.tmp" "$out"
    echo "$out"
done
