#!/usr/bin/env bash
# A domain of a real text corpus, with dev and test spoken by Kokoro-82M; run from the
# repository root by the recipes that have one (`./run.sh --corpus real`).
set -euo pipefail

# Options, with their defaults.
domain=            # names the sets
reader=            # of spft.bin.prepare_data: snips or sgd
out=data           # folder of data directories
dev=160            # utterances
test=510           # utterances
limit=             # for trying out: at most so many utterances a set

usage() {
    cat <<'TEXT'
Writes <domain>_text, <domain>_dev and <domain>_test. Voices, speaking rates, rooms and
noise are drawn by the utterance's name; dev and test share no voice. What is spoken
already is not spoken again.

TEXT
}
. tools/parse_options.sh "$0" "$@"
sizes=(--sizes "$dev" "$test")
[ -z "$limit" ] || sizes+=(--limit "$limit")
python -m spft.bin.prepare_data "$reader" --domain "$domain" --out "$out" "${sizes[@]}"
declare -A voices=(
    [dev]="af_alloy af_aoede af_jessica af_kore af_river am_adam am_eric am_santa
        bf_alice bm_daniel"
    [test]="af_bella af_heart af_nicole af_nova af_sarah af_sky am_echo am_fenrir
        am_liam am_michael am_onyx am_puck bf_emma bf_isabella bf_lily bm_fable
        bm_george bm_lewis"
)
for set in dev test; do
    # shellcheck disable=SC2086  # a list of names
    python -m spft.bin.synthesize --jobs "$(nproc)" --voices ${voices[$set]} \
        --text "$out/${domain}_$set/text" --out "$out/${domain}_$set"
done
