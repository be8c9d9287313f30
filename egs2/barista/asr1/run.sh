#!/usr/bin/env bash
# This domain: the driver's stages and options. Its name is that of the folder.
set -euo pipefail
domain=$(basename "$(dirname "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)")")
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
if [[ " $* " = *" --domains "* ]]; then
    echo "error: --domains: this recipe is of $domain alone; several are ./run.sh's" >&2
    exit 1
fi
exec ./run.sh "$@" --domains "$domain"
