#!/usr/bin/env bash
# Set up what is missing and run the tests, two at a time; options go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
. tools/path.sh
exec python -m pytest -n 2 --dist loadgroup "$@"
