#!/usr/bin/env bash
# Data preparation of a domain; run from the repository root. The domain is the name of
# the recipe's folder. From downloads/*.jsonl if they are there; otherwise the user's
# own data/<domain>_text/{train,dev} and data/<domain>_{dev,test} are checked.
# Options go to `python -m spft.bin.prepare_data mini`.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
domain=$(basename "$(dirname "${recipe}")")

if [ -e "${recipe}/downloads/adapt.jsonl" ]; then
    python -m spft.bin.prepare_data mini --domain "${domain}" \
        --source "egs2/${domain}/asr1/downloads" \
        --names "egs2/${domain}/asr1/downloads/names.txt" "$@"
else
    out=data
    if [ "${1:-}" = --out ]; then out=$2; fi
    if [ ! -e "${out}/${domain}_text/train" ]; then
        echo "error: no data of ${domain}: let tools/new_domain.sh make the recipe of your" \
            "files, or write ${out}/${domain}_text/{train,dev} and" \
            "${out}/${domain}_{dev,test}" >&2
        exit 1
    fi
    python -m spft.bin.validate_data --check_audio "${out}/${domain}_"{dev,test} \
        --not_in "${out}/${domain}_text/"{train,dev}
fi
