#!/usr/bin/env bash
# Make the recipe of a new domain out of its text, then: egs2/<name>/asr1/run.sh
#   tools/new_domain.sh medical --text notes.txt [--entities drugs.txt]
#       [--test recordings/ [--dev recordings/] | --synthesize 100]
# docs/tutorial.md goes through it; options: python -m spft.bin.new_domain --help
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
tools/setup.sh
. tools/path.sh

# Paths are the user's, relative to where he is.
options=() path=false name=
for option in "$@"; do
    if [ "$path" = true ] && [[ $option != /* ]]; then option=$here/$option; fi
    [ -n "$name" ] || name=$option
    path=false
    [[ ! $option =~ ^--(text|entities|test|dev)$ ]] || path=true
    options+=("$option")
done
python -m spft.bin.new_domain "${options[@]}"
downloads=egs2/$name/asr1/downloads
if grep -q '"rate"' "$downloads/test.jsonl"; then
    # Resumable: `python -m spft.bin.synthesize --corpus …` goes on where it stopped.
    python -m spft.bin.synthesize --corpus "$downloads" --jobs "$(nproc)"
fi
echo "next: egs2/$name/asr1/run.sh"
