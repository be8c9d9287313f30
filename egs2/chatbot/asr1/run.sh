#!/usr/bin/env bash
# The chatbot domain: the driver's stages and options, for this domain alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
exec ./run.sh --domains chatbot "$@"
