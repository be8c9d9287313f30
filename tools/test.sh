#!/usr/bin/env bash
# Set up what is missing and run the tests, two files at a time; options go to pytest
# (-n 0: all in one process, for --pdb and -s).
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
. tools/path.sh
exec python -m pytest -n 2 --no-loadscope-reorder "$@"
