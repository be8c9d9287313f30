#!/usr/bin/env bash
# Data preparation of the chatbot domain; run from the repository root.
#   egs2/chatbot/asr1/local/data.sh [--corpus mini|sgd] [option…]
# mini (default): the embedded corpus. sgd: its dev and test sets, but with the
# user turns of Schema-Guided Dialogue ($SGD) as adaptation text.
# Further options go to the last `python -m spft.bin.prepare_data`.
set -euo pipefail

corpus=mini
if [ "${1:-}" = --corpus ]; then
    corpus=${2:?"--corpus needs a name: mini or sgd"}
    shift 2
fi

# shellcheck source=tools/db.sh
. tools/db.sh
mini=(python -m spft.bin.prepare_data mini --domain chatbot
    --source egs2/chatbot/asr1/downloads)
case ${corpus} in
    mini) "${mini[@]}" "$@" ;;
    sgd)
        "${mini[@]}"
        python -m spft.bin.prepare_data sgd --domain chatbot --text-only "$@"
        ;;
    *)
        echo "error: unknown corpus '${corpus}'; choose mini or sgd" >&2
        exit 1
        ;;
esac
