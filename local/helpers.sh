# shellcheck shell=bash
# What the stages of run.sh have in common; it, local/studies.sh and routes.sh source this.
# It reads their variables: exp, preset, resume, launch, run.sh's also domains and methods,
# and of what is trained also dump, seed, ngpu, text, llm.

declare -A held=() # folder: the file that is locked
lock() { # lock exclusive|shared FOLDER ELSE: until this and all that it runs end
    local status=0 busy=75 file=${held[$2]:-}
    if [ -z "$file" ]; then exec {file}>"$2/.lock" && held[$2]=$file; fi
    # Where there is no flock, or the file system has none, it goes without.
    flock "--$1" --nonblock --conflict-exit-code "$busy" "$file" 2>/dev/null || status=$?
    [ "$status" -ne "$busy" ] ||
        die "another run.sh, or what it left running, is at work in $2; wait for it, or $3"
}
uses() { # uses METHOD: whether it is one of --methods
    [[ " $methods " = *" $1 "* ]]
}
runs() { # runs N: whether stage N is to run
    [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]
}
on() { # on N: the same, and says so
    runs "$1" || return 1
    echo "stage $1" >&2
}
gpus() { # gpus auto|NUMBER: how many train; auto: one if there is one
    if [ "$1" != auto ]; then
        echo "$1"
    elif command -v nvidia-smi >/dev/null && # torch takes seconds to say
        python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        echo 1
    else
        echo 0
    fi
}
same_options() { # same_options FILE NAME=VALUE…: results below are of one setting
    local file=$1
    shift
    if [ -e "$file" ] && [ "$(cat "$file")" != "$*" ]; then
        die "$(dirname "$file") is of $(cat "$file"), not $*; remove or rename it"
    fi
    echo "$*" >"$file"
}
sum_of() { # sum_of FILE…: a number that changes with them; what is not there is empty
    { cat "$@" 2>/dev/null || true; } | cksum | cut -d ' ' -f 1
}
need() { # need FILE STAGE
    [ -e "$1" ] || die "$1 is missing; first do the same with --stage $2 --stop_stage $2"
}
forget_commands() { # those that this run will give again; other domains' stay
    local folder line names=()
    for folder in egs2/*/asr1/local/data.sh; do
        folder=${folder#egs2/}
        [ "${folder%%/*}" = librispeech ] || names+=("${folder%%/*}")
    done
    touch "$exp/commands.log"
    while IFS= read -r line; do
        # What leads to $exp names none; of `music` and `music_hi` the longer is found.
        if [[ ${line//"$exp/"//} =~ /($(IFS='|' && echo "${names[*]:-nothing}"))[_/] &&
            " $domains " != *" ${BASH_REMATCH[1]} "* ]]; then
            printf '%s\n' "$line"
        fi
    done <"$exp/commands.log" >"$exp/commands.log.tmp"
    mv "$exp/commands.log.tmp" "$exp/commands.log"
}
stop_jobs() { # and all that they run; waits until they have cleared up
    local job jobs
    trap '' HUP INT TERM # a second signal must not cut this short
    mapfile -t jobs < <(jobs -rp)
    for job in "${jobs[@]}"; do kill -- "-$job" 2>/dev/null || true; done
    trap - HUP INT TERM # but may end the waiting
    # For these alone: what reads the output of this shell ends after it.
    for job in "${jobs[@]}"; do wait "$job" || true; done
}
end_with_jobs() { # from here on this shell does not end without its jobs
    local off='trap "" HUP INT TERM QUIT; exit'
    trap stop_jobs EXIT
    # shellcheck disable=SC2064  # now
    trap "$off 129" HUP && trap "$off 130" INT && trap "$off 131" QUIT && trap "$off 143" TERM
}
job() { # job COMMAND…: run it in a process group of its own, which a signal can end
    set -m
    "$@" </dev/null & # who reads a terminal in the background waits for ever
    set +m
    wait $!
}
do_run() { # do_run COMMAND…: run it; keep it, with its seconds, for the report
    local line start=$SECONDS
    line=$(printf '%q ' "$@")
    job "$@"
    echo "$line # $((SECONDS - start)) s" >>"$exp/commands.log"
}
finished() { # finished FILE: with --resume, whether it is there; its step is skipped
    [ "$resume" = true ] && [ -e "$1" ] || return 1
    echo "finished already: $(dirname "$1")" >&2
}
sharded() { # sharded NAME SHARDS OPTION COMMAND…: $JOB in the option is the shard's number
    do_run tools/cmd.sh --backend "$backend" --sbatch "$sbatch" --log "$exp/log/$1" \
        --shards "$2" --command "$(printf '%q ' "${@:4}") $3"
}
find_conf() { # find_conf NAME [DOMAIN]: the preset's file, else the domain's, else the default
    local file
    for file in "conf/presets/$preset/$1" ${2:+"egs2/$2/asr1/conf/$1"} "conf/$1"; do
        if [ -e "$file" ]; then echo "$file"; return; fi
    done
    return 1
}
conf() { # conf NAME [DOMAIN]: the same, which must be there
    find_conf "$@" || die "no configuration $1"
}
conf_of() { # conf_of METHOD DOMAIN: of its tuning, its own or the one that methods share
    find_conf "$1.yaml" "$2" || conf decoder.yaml "$2"
}
model() { # model KEY [DEFAULT]: of the architecture
    python -m spft.bin.show_config "$(conf model.yaml)" "$1" ${2:+--default "$2"}
}
train_lm() { # train_lm CONFIG OUT: on `text`, over the LLM's tokens
    do_run python -m spft.bin.prepare_lm --text "${text[0]}/text" \
        --valid "${text[1]}/text" --tokenizer "$llm" --out "$2/data" --seed "$seed"
    do_run python -m spft.bin.train_lm --config "$1" --data "$2/data" \
        --output_dir "$2" --ngpu "$((ngpu > 0 ? 1 : 0))" --seed "$seed"
}
train() { # train CONFIG TRAIN VALID OUT [option…]
    local command=(python -m spft.bin.train --config "$1" --train "$2" --valid "$3"
        --out "$4" --dump "$dump" --seed "$seed")
    if [ "$resume" = true ] && [ -e "$4/model.safetensors" ]; then
        job "${command[@]}" --resume "${@:5}" # if it was trained as it would be now
    else
        do_run "${command[@]}" "${launch[@]}" "${@:5}"
    fi
}
