# shellcheck shell=bash
# Put the recipe's own Python and package first. Source it from the repository root.
if [ ! -x .venv/bin/python ]; then
    echo "error: .venv is missing; run tools/setup.sh first" >&2
    return 1
fi
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# One driver, one locale: Kaldi's tables are sorted by bytes.
export LC_ALL=C.UTF-8 PYTHONUTF8=1 TOKENIZERS_PARALLELISM=false
