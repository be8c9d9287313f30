#!/usr/bin/env bash
# What the baseline learns from beside the paired data; run from the repository root.
#   egs2/librispeech/asr1/local/baseline_data.sh --out data --paired data/librispeech_train \
#       --spoken 8000 [option of prepare_data…]
# data/general_text: WordNet's sentences and the transcripts; data/general_tts: as many of
# the sentences as --spoken says, by flite, for their words; data/<paired>_sp: three speeds.
set -euo pipefail

[ "$1 $3 $5" = "--out --paired --spoken" ] || {
    echo "error: --out DIR --paired DIR --spoken N, in this order" >&2
    exit 1
}
out=$2 paired=$4 spoken=$6
# shellcheck source=tools/db.sh
. tools/db.sh
sizes=()
[ "$spoken" = 0 ] || sizes=(--spoken "$spoken")
python -m spft.bin.prepare_data general_text --out "$out" --paired "$paired" \
    "${sizes[@]}" "${@:7}"
if [ "$spoken" != 0 ]; then
    python -m spft.bin.synthesize --engine flite --jobs "$(nproc)" \
        --text "$out/general_spoken_1/text" --out "$out/general_tts"
fi
if [ $# = 6 ]; then # a limited set is for trying out
    python -m spft.bin.perturb_speed --data "$paired" --factors 0.9 1.0 1.1
fi
