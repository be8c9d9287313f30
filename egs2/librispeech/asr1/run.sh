#!/usr/bin/env bash
# The general domain: data, features and baseline; then the baseline's error rate on
# LibriSpeech speakers that it never heard. Needs LIBRISPEECH (tools/db.sh). Takes the
# driver's options but --preset, --expdir and --corpus; `--baseline shipped` measures this
# repository's weights.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
case " $* " in
    *" --help "* | *" -h "*) exec ./run.sh --help ;;
    *" --preset "* | *" --expdir "* | *" --corpus "*)
        echo "error: --preset, --expdir, --corpus: the default ones only" >&2 && exit 1
        ;;
    *" --stop_stage "* | *" --stop-stage "*) stop=true ;;
esac
./run.sh --domains "" --general librispeech --baseline train --stage 1 --stop_stage 3 "$@"
[ -z "${stop:-}" ] || exit 0 # a part of it only
. tools/path.sh
out=exp/librispeech/base/decode_plain/librispeech_test
python -m spft.bin.decode --systems base=exp/baseline --config conf/decode.yaml \
    --data data/librispeech_test --out exp/librispeech
python -m spft.bin.score --data data/librispeech_test --decode "$out"
grep -m 2 -e SPKR -e Sum/Avg "$out/score_wer/result.txt"
