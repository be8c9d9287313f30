# shellcheck shell=bash
# Put the recipe's own Python and package first. Source it from the repository root.
if [ ! -x .venv/bin/python ]; then
    echo "error: .venv is missing; run tools/setup.sh first" >&2
    return 1
fi
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# One driver, one locale: Kaldi's tables are sorted by bytes.
export LC_ALL=C.UTF-8 PYTHONUTF8=1 TOKENIZERS_PARALLELISM=false
# Tensors of 100 MB come and go by the thousand: glibc should keep their memory rather than
# give it back and fault it in anew each time (a tenth to a quarter of a training step).
keep=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-$keep:glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1}
unset keep
