#!/usr/bin/env bash
# Make the virtual environment. Debian ships python3 without ensurepip, so say (or, as root, install) what is missing.
set -euo pipefail
python=$1 venv=$2
[ -x "$venv/bin/pip" ] && exit 0
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "docex needs Python 3.11 or newer; $python is older. Use: make PYTHON=python3.11" >&2; exit 1; }
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "python3-venv is missing: installing it" >&2
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    elif command -v sudo >/dev/null; then
        sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        echo "run as root once: apt-get install python3-venv" >&2; exit 1
    fi
fi
"$python" -m venv "$venv"
