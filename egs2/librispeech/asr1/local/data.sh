#!/usr/bin/env bash
# Data preparation of the general, paired data; run from the repository root.
#   egs2/librispeech/asr1/local/data.sh [--corpus mini|librispeech] [option…]
# mini (default): the embedded corpus, as data/general_{train,dev,test}. librispeech:
# LibriSpeech itself ($LIBRISPEECH), as data/librispeech_{train,dev,test}.
# Further options go to `python -m spft.bin.prepare_data`.
set -euo pipefail

corpus=mini
if [ "${1:-}" = --corpus ]; then
    corpus=${2:?"--corpus needs a name: mini or librispeech"}
    shift 2
fi

# shellcheck source=tools/db.sh
. tools/db.sh
case ${corpus} in
    mini)
        python -m spft.bin.prepare_data mini --domain general \
            --source egs2/librispeech/asr1/downloads "$@"
        ;;
    librispeech) python -m spft.bin.prepare_data librispeech "$@" ;;
    *)
        echo "error: unknown corpus '${corpus}'; choose mini or librispeech" >&2
        exit 1
        ;;
esac
