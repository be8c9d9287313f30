#!/usr/bin/env bash
# Data preparation of the music domain; run from the repository root.
#   egs2/music/asr1/local/data.sh [--corpus mini|snips] [option…]
# mini (default): the embedded corpus. snips: its dev and test sets, but with the
# SNIPS sentences ($SNIPS) as adaptation text.
# Further options go to the last `python -m spft.bin.prepare_data`.
set -euo pipefail

corpus=mini
if [ "${1:-}" = --corpus ]; then
    corpus=${2:?"--corpus needs a name: mini or snips"}
    shift 2
fi

# shellcheck source=tools/db.sh
. tools/db.sh
mini=(python -m spft.bin.prepare_data mini --domain music
    --source egs2/music/asr1/downloads)
case ${corpus} in
    mini) "${mini[@]}" "$@" ;;
    snips)
        "${mini[@]}"
        python -m spft.bin.prepare_data snips --domain music --text-only "$@"
        ;;
    *)
        echo "error: unknown corpus '${corpus}'; choose mini or snips" >&2
        exit 1
        ;;
esac
