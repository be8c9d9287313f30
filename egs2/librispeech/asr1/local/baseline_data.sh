#!/usr/bin/env bash
# What the baseline learns from beside the paired data; run from the repository root.
set -euo pipefail

# Options, with their defaults.
paired=            # data directory with speech and transcripts
out=data           # folder of data directories
spoken=0           # so many of WordNet's sentences are synthesised, for their words
factors=           # the paired data at these speeds too, e.g. "0.9 1.0 1.1"
limit=             # for trying out: at most so many sentences of text

usage() {
    cat <<'TEXT'
Writes general_text (WordNet's sentences and the transcripts), general_tts (sentences
spoken by flite) and, with --factors, <paired>_sp.

TEXT
}
. tools/parse_options.sh "$0" "$@"
[ -n "$paired" ] || die "--paired: which data directory?"
. tools/db.sh

options=(--out "$out" --paired "$paired" --spoken "$spoken")
python -m spft.bin.prepare_data general_text "${options[@]}" ${limit:+--limit "$limit"}
jobs=$(env -u OMP_NUM_THREADS nproc)
if [ "$spoken" != 0 ]; then
    python -m spft.bin.synthesize --engine flite --jobs "$jobs" \
        --text "$out/general_spoken/text" --out "$out/general_tts"
fi
if [ -n "$factors" ]; then
    # shellcheck disable=SC2086  # a list of numbers
    python -m spft.bin.perturb_speed --data "$paired" --factors $factors --jobs "$jobs"
fi
