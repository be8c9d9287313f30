#!/usr/bin/env bash
# tools/show_result.sh [exp]: word and entity errors of all decodes as markdown tables.
set -euo pipefail

case ${1:-} in
    -h | --help) sed -n '2s/^# //p' "$0" && exit ;;
esac
exp=${1:-exp}
if [ ! -d "${exp}" ]; then
    echo "error: ${exp}: no such directory; give the experiments' directory" >&2
    exit 1
fi

echo "# RESULTS"
found=false
for system in "${exp}"/*/*/; do
    system=${system%/}
    [[ $system != *.old ]] || continue # of a training that is not at its end
    results=("${system}"/decode_*/*/score_wer/result.txt)
    if [ -e "${results[0]}" ]; then
        found=true
        printf '\n## %s\n\n### WER\n\n' "${system#"${exp}/"}"
        echo "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|"
        echo "|---|---|---|---|---|---|---|---|---|"
        for result in "${results[@]}"; do
            dataset=${result#"${system}/"}
            # The first Sum/Avg line is that of the percentages.
            sed -n "/Sum\/Avg/{s#.*Sum/Avg##; s#[ |][ |]*#|#g; s#^#|${dataset%/score_wer/*}#; p; q}" \
                "${result}"
        done
    fi
    for result in "${system}"/decode_*/*/score_entity/result.txt; do
        [ -e "${result}" ] || continue
        # A set without entities has only the head and an empty sum.
        [ "$(grep -c '^|' "${result}")" -gt 3 ] || continue
        found=true
        dataset=${result#"${exp}/"}
        printf '\n### EER of %s\n\n' "${dataset%/score_entity/*}"
        grep '^|' "${result}"
    done
done
if ! ${found}; then
    echo "error: ${exp}: no score_wer/result.txt in it; decode and score first" >&2
    exit 1
fi
