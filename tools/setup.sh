#!/usr/bin/env bash
# Set up everything in this folder: .venv with the versions of requirements.lock, and
# sclite where it may be installed. Safe to run again: it does what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "error: $*" >&2; exit 1; }

suits() { # suits PYTHON: ESPnet wants 3.12 or 3.13
    "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))' \
        2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23].*/bin/python; do
        if command -v "$candidate" >/dev/null && suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

find_uv() {
    if command -v uv; then return; fi
    if [ ! -x .cache/uv/bin/uv ]; then
        local any
        any=$(find_python || command -v python3) ||
            die "no python3 found; install Python 3.12 or 3.13, or uv"
        "$any" -m venv .cache/uv >&2 ||
            die "python3 has no venv; install python3-venv, or uv"
        .cache/uv/bin/pip install --quiet 'uv>=0.8,<1' >&2 ||
            die "uv cannot be installed by pip; check the network"
    fi
    echo .cache/uv/bin/uv
}

stamp=.venv/.lock.sha256
lock=$(sha256sum requirements.lock)
installed() { [ "$(cat "$stamp" 2>/dev/null)" = "$lock" ]; }
if ! installed; then # one at a time
    mkdir -p .cache
    exec 9>.cache/setup.lock
    flock 9 2>/dev/null || true
fi
if ! installed; then
    uv=$(find_uv)
    python=$(find_python) || python=3.12 # uv fetches it
    echo "setup: installing into .venv (Python: $python)" >&2
    "$uv" venv --quiet --clear --python "$python" .venv ||
        die "no Python 3.12 or 3.13, and uv cannot fetch one; install it"
    # Compiled now, for every user of .venv and also where PYTHONDONTWRITEBYTECODE is set:
    # there each command would compile torch and ESPnet anew, which takes longer than it.
    "$uv" pip install --quiet --compile-bytecode --python .venv/bin/python \
        -r requirements.lock ||
        die "packages cannot be installed; check the network, the disk, and that there is" \
            "a C++ compiler (apt-get install g++ python3-dev)"
    echo "$lock" >"$stamp"
fi

if ! command -v sclite >/dev/null && [ ! -x /usr/lib/sctk/bin/sclite ]; then
    tried=.venv/sctk_tried # once: without a mirror of Debian it takes a minute
    if [ ! -e "$tried" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        echo "setup: apt-get install sctk (sclite)" >&2 && touch "$tried" &&
        { timeout 60 apt-get install -y -qq sctk || { timeout 60 apt-get update -qq &&
            timeout 60 apt-get install -y -qq sctk; }; } >/dev/null 2>&1; then
        echo "setup: installed sctk" >&2
    else
        echo "setup: no sclite; our own scorer writes the same report" \
            "(to have it: apt-get install sctk)" >&2
    fi
fi
