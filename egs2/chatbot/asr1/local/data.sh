#!/usr/bin/env bash
# Data preparation of the chatbot domain, from the embedded corpus or, with --corpus real,
# from Schema-Guided Dialogue ($SGD); local/domain_data.sh --help lists all options.
set -euo pipefail
exec local/domain_data.sh --domain chatbot --reader sgd "$@"
