# shellcheck shell=bash
# Options as Kaldi's scripts have them. A script sets each one's default on a line of its
# own, `name=default # what it is`, from a comment that begins "Options" to an empty line,
# then sources this with its name and "$@": --a_name VALUE, or --a-name, sets $a_name.
# --help prints the options below what the script's function `usage` says. Where the
# comment begins with [one|other], no other value is taken. Defines die.

die() { echo "error: $*" >&2; exit 1; }

list_options() { # list_options SCRIPT
    sed -n '/^# Options/,/^$/s/^\([a-z_]*\)=\("[^"]*"\|[^ ]*\) *# \(.*\)/  --\1 \2\t\3/p' "$1"
}

script=$1
shift
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            echo "Options and defaults:"
            list_options "$script" | while IFS=$'\t' read -r option what; do
                [ ${#option} -lt 36 ] || { echo "$option"; option=; }
                printf '%-36s%s\n' "$option" "$what"
            done
            exit
            ;;
    esac
    given=${1#--} given=${given//-/_}
    if [[ $1 != --* ]] || ! list_options "$script" | grep -q -e "^  --$given "; then
        die "unknown option '$1'; $script --help lists them"
    fi
    [ $# -ge 2 ] || die "$1 needs a value"
    choices=$(list_options "$script" | sed -n "s/^  --$given .*\t\[\([a-z|]*\)\].*/\1/p")
    [[ -z $choices || $2 =~ ^($choices)$ ]] || die "$1 '$2': one of ${choices//|/, }"
    printf -v "$given" %s "$2"
    shift 2
done
unset script given choices
