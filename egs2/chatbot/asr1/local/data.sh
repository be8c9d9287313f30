#!/usr/bin/env bash
# Data preparation of the chatbot domain; run from the repository root.
#   egs2/chatbot/asr1/local/data.sh [--corpus mini|real] [option…]
# mini (default): the embedded corpus. real: Schema-Guided Dialogue ($SGD), dev and test synthesised;
# options as in local/real_domain.sh.
set -euo pipefail

corpus=mini
if [ "${1:-}" = --corpus ]; then
    corpus=${2:?"--corpus needs a name: mini or real"}
    shift 2
fi

# shellcheck source=tools/db.sh
. tools/db.sh
case ${corpus} in
    mini)
        python -m spft.bin.prepare_data mini --domain chatbot \
            --source egs2/chatbot/asr1/downloads "$@"
        ;;
    real) local/real_domain.sh --domain chatbot --reader sgd "$@" ;;
    *)
        echo "error: unknown corpus '${corpus}'; choose mini or real" >&2
        exit 1
        ;;
esac
