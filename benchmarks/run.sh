#!/usr/bin/env bash
# All benchmarks, one after the other, into benchmarks/results/<device>.md.
#   benchmarks/run.sh [cpu|cuda] [quick]      (quick: fewer points, for a first look)
# What they need of the recipe is made first if it is not there. Nothing else should run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${1:-cpu}
quick=()
[ "${2:-}" != quick ] || quick=(--batches 1 16 --beams 4)
if [ ! -e exp/music/ngram/ngram.arpa ] || [ ! -e exp/baseline/model.safetensors ]; then
    ./run.sh --domains music --stop_stage 3
    ./run.sh --domains music --stage 6 --stop_stage 6
fi
# shellcheck source=tools/path.sh
. tools/path.sh
out=benchmarks/results/$device.md
mkdir -p benchmarks/results

# shellcheck disable=SC2016  # backticks are markdown
show() { # show TITLE COMMAND…: its output under its command
    printf '\n## %s\n\n```sh\npython -m %s\n```\n\n' "$1" "${*:2}"
    python -m "${@:2}"
}
{
    echo "# Benchmarks, $device"
    show "Machine and its ceiling" benchmarks.ceiling --device "$device"
    show "Text-only stages" benchmarks.text_stage --device "$device" \
        --text data/music_text/train/text
    show "Paired training" benchmarks.paired_stage --device "$device" \
        --model exp/baseline --data data/music_test
    show "Search" benchmarks.search --model exp/baseline --data data/music_test \
        --lm exp/music/lm --ngram exp/music/ngram "${quick[@]}"
    if [ "$device" = cpu ]; then
        show "Growth" benchmarks.growth --out benchmarks/results/growth
        show "Stages of the default run" benchmarks.stages --before 91981d9
    fi
} >"$out.tmp"
mv "$out.tmp" "$out"
echo "$out"
