#!/usr/bin/env bash
# A domain's recipe: the driver's stages and options, for this domain alone. The domain is
# the name of the folder: egs2/<domain>/asr1/run.sh.
set -euo pipefail
domain=$(basename "$(dirname "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)")")
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
if [[ " $* " = *" --domains "* ]]; then
    echo "error: --domains: this recipe is of $domain alone; several are ./run.sh's" >&2
    exit 1
fi
exec ./run.sh "$@" --domains "$domain"
