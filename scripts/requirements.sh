#!/usr/bin/env bash
# Pin every Python requirement with its hashes (no registry host is written down).
set -euo pipefail
compile() { .venv/bin/uv pip compile -q --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command "make requirements" "$@"; }
compile pyproject.toml --all-extras --group dev -o requirements/dev.txt
compile pyproject.toml --all-extras -o requirements/run.txt
echo 'atheris==3.0.0' | compile - -o requirements/fuzz.txt  # the last for Python 3.11; only `make fuzz` installs it
echo 'slither-analyzer==0.11.6' | compile - -o requirements/slither.txt  # a venv of its own: it needs web3 below 8
