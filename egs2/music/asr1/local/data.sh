#!/usr/bin/env bash
# Data preparation of the music domain, from the embedded corpus or, with --corpus real,
# from SNIPS ($SNIPS); local/domain_data.sh --help lists all options.
set -euo pipefail
exec local/domain_data.sh --domain music --reader snips "$@"
