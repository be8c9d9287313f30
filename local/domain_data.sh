#!/usr/bin/env bash
# Data of a domain that has an embedded corpus and a real one: text, with dev and test
# spoken by Kokoro-82M. Run from the repository root by the recipes of such domains.
set -euo pipefail

# Options, with their defaults.
domain=            # names the sets
reader=            # of the real corpus, in spft.bin.prepare_data
corpus=mini        # [mini|real] the embedded one, or that of the reader
out=data           # folder of data directories
dev=160            # utterances of the real one
test=510           # utterances of the real one
limit=             # for trying out: at most so many utterances a set

usage() {
    cat <<'TEXT'
Writes <domain>_text, <domain>_dev and <domain>_test. Voices, speaking rates, rooms and
noise are drawn by the utterance's name; dev and test share no voice. What is spoken
already is not spoken again. The real corpus is found by tools/db.sh.

TEXT
}
. tools/parse_options.sh "$0" "$@"
options=(--domain "$domain" --out "$out")
options+=(--names "egs2/$domain/asr1/downloads/names.txt") # of the user's, if any
[ -z "$limit" ] || options+=(--limit "$limit")
if [ "$corpus" = mini ]; then
    exec python -m spft.bin.prepare_data mini "${options[@]}" \
        --source "egs2/$domain/asr1/downloads"
fi
# shellcheck source=tools/db.sh
. tools/db.sh
python -m spft.bin.prepare_data "$reader" "${options[@]}" --sizes "$dev" "$test"
declare -A voices=(
    [dev]="af_alloy af_aoede af_jessica af_kore af_river am_adam am_eric am_santa
        bf_alice bm_daniel"
    [test]="af_bella af_heart af_nicole af_nova af_sarah af_sky am_echo am_fenrir
        am_liam am_michael am_onyx am_puck bf_emma bf_isabella bf_lily bm_fable
        bm_george bm_lewis"
)
for set in dev test; do
    # shellcheck disable=SC2086  # a list of names
    python -m spft.bin.synthesize --jobs "$(env -u OMP_NUM_THREADS nproc)" --voices ${voices[$set]} \
        --text "$out/${domain}_$set/text" --out "$out/${domain}_$set"
done
