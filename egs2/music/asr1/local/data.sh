#!/usr/bin/env bash
# Data preparation of the music domain; run from the repository root.
#   egs2/music/asr1/local/data.sh [--corpus mini|real] [option…]
# mini (default): the embedded corpus. real: SNIPS ($SNIPS), dev and test synthesised;
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
        python -m spft.bin.prepare_data mini --domain music \
            --source egs2/music/asr1/downloads "$@"
        ;;
    real) local/real_domain.sh --domain music --reader snips "$@" ;;
    *)
        echo "error: unknown corpus '${corpus}'; choose mini or real" >&2
        exit 1
        ;;
esac
