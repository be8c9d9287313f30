#!/usr/bin/env bash
# Make the recipe of a new domain out of its text, then: egs2/<name>/asr1/run.sh
#   tools/new_domain.sh medical --text notes.txt [--entities drugs.txt]
#       [--test recordings/ [--dev recordings/] | --synthesize 100]
# docs/tutorial.md goes through it; options: python -m spft.bin.new_domain --help
set -euo pipefail
here=$PWD
cd "$(dirname "$(readlink -f "$0")")/.."
case ${1:-} in
    -h | --help) ;;
    -* | "")
        echo "error: the domain's name comes first: tools/new_domain.sh NAME --text …" >&2
        exit 1
        ;;
esac
tools/setup.sh
. tools/path.sh
if [[ " $* " =~ \ (-h|--help)\  ]]; then exec python -m spft.bin.new_domain --help; fi

# Paths are the user's, relative to where he is.
options=() path=false name=$1 speak=false
for option in "$@"; do
    [[ ! $option =~ ^--synthesize(=|$) ]] || speak=true
    if [[ $option =~ ^(--(text|entities|test|dev)=)([^/].*)$ ]]; then
        option=${BASH_REMATCH[1]}$here/${BASH_REMATCH[3]}
    fi
    if [ "$path" = true ] && [[ $option != /* ]]; then option=$here/$option; fi
    path=false
    [[ ! $option =~ ^--(text|entities|test|dev)$ ]] || path=true
    options+=("$option")
done
python -m spft.bin.new_domain "${options[@]}"
downloads=egs2/$name/asr1/downloads
if [ "$speak" = true ]; then
    command=(python -m spft.bin.synthesize --corpus "$downloads" --jobs)
    command+=("$(env -u OMP_NUM_THREADS nproc)")
    if ! "${command[@]}"; then
        echo "the recipe is there; speech goes on by: . tools/path.sh; ${command[*]}" >&2
        exit 1
    fi
fi
echo "next: egs2/$name/asr1/run.sh"
