#!/usr/bin/env bash
# Run a command once a shard: side by side on this machine, or as a Slurm array.
set -euo pipefail

# Options, with their defaults.
backend=local      # local or slurm
shards=1           # how many
at_once=auto       # of them at the same time; auto: one a GPU or core here, all on Slurm
command=           # a shell's; $JOB in it is the shard's number, from 1
log=               # folder of the shards' logs, <shard>.log
tries=2            # shards that fail are tried again
sbatch=            # sbatch's options (slurm), e.g. "--partition gpu --gres gpu:1"

usage() {
    cat <<'TEXT'
Example: tools/cmd.sh --shards 4 --log exp/log \
    --command 'python -m spft.bin.extract_features --data data/x --shard $JOB/4'
After a failure the same call runs only the shards that are missing.

TEXT
}
# shellcheck source=tools/parse_options.sh
. "$(dirname "$0")/parse_options.sh" "$0" "$@"
[[ $backend =~ ^(local|slurm)$ ]] || die "--backend: local or slurm, not '$backend'"
if [ -z "$command" ] || [ -z "$log" ]; then die "--command and --log are needed"; fi
gpus=()
if [ "$backend" = local ] && [ -n "${CUDA_VISIBLE_DEVICES-all}" ]; then # "": use none
    mapfile -t gpus < <(tr ',' '\n' <<<"${CUDA_VISIBLE_DEVICES-$(nvidia-smi \
        --query-gpu=index --format=csv,noheader 2>/dev/null || true)}" | grep . || true)
fi
if [ "$at_once" = auto ]; then
    at_once=$shards
    if [ "$backend" = local ]; then
        places=${#gpus[@]}
        [ "$places" -gt 0 ] || places=$(nproc)
        at_once=$((shards > places ? places : shards))
    fi
fi
for number in "$shards" "$at_once" "$tries"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "--shards, --at_once, --tries: numbers from 1"
done
if [ "$backend" = local ]; then # processes that share cores must share threads
    threads=$(($(nproc) / at_once))
    export OMP_NUM_THREADS=$((threads > 1 ? threads : 1))
else # their cores are not this machine's
    unset OMP_NUM_THREADS
fi
[ "$backend" = local ] || command -v sbatch >/dev/null || die "there is no sbatch here"

mkdir -p "$log"
if [ "$(cat "$log/command" 2>/dev/null)" != "$shards $command" ]; then
    rm -f "$log"/*.done
    echo "$shards $command" >"$log/command"
fi

missing() { # the shards that are not done, one a line
    local shard
    for ((shard = 1; shard <= shards; shard++)); do
        [ -e "$log/$shard.done" ] || echo "$shard"
    done
}
run_local() { # run_local SHARD…
    # A process of xargs has one slot as long as it lives: its GPU.
    # shellcheck disable=SC2016  # expanded by the job
    printf '%s\n' "$@" | log=$log command=$command gpus=${gpus[*]} \
        xargs -P "$at_once" --process-slot-var slot -n 1 bash -c \
        'JOB=$1; read -ra gpus <<<"$gpus"
        [ ${#gpus[@]} = 0 ] || export CUDA_VISIBLE_DEVICES=${gpus[slot % ${#gpus[@]}]}
        { eval "$command"; } >"$log/$JOB.log" 2>&1 && touch "$log/$JOB.done"' - || true
}
if [ "$backend" = slurm ]; then # sbatch may be ended, and then its jobs go on
    name=spft_$(realpath "$log" | cksum | cut -d ' ' -f 1)
    end_array() { scancel --name "$name" 2>/dev/null || true; }
    end_array # of a call that could not do so
    trap end_array EXIT
    trap 'exit 129' HUP && trap 'exit 130' INT && trap 'exit 143' TERM
fi
run_slurm() { # run_slurm SHARD…
    local list script
    list=$(IFS=,; echo "$*")
    # shellcheck disable=SC2016  # expanded by the job
    script='JOB=$SLURM_ARRAY_TASK_ID; { '$command'; } && touch '$(printf %q "$log")'/$JOB.done'
    # shellcheck disable=SC2086  # options
    sbatch --wait --array "$list%$at_once" --job-name "$name" --output "$log/%a.log" \
        $sbatch --wrap "$script" >&2 &
    wait $! || true
}

for ((try = 1; try <= tries; try++)); do
    mapfile -t todo < <(missing)
    [ ${#todo[@]} -gt 0 ] || break
    [ "$try" = 1 ] || echo "trying again: shards ${todo[*]}" >&2
    "run_$backend" "${todo[@]}"
done
mapfile -t todo < <(missing)
if [ ${#todo[@]} -gt 0 ]; then
    tail -n 5 "$log/${todo[0]}.log" >&2 || true
    die "shards ${todo[*]} failed; see $log/${todo[0]}.log"
fi
rm -f "$log"/*.done "$log/command"
