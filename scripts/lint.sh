#!/usr/bin/env bash
# Every static check; each prints what it is before it runs, so that a red run names itself.
set -euo pipefail
step() { echo "== $*"; "$@"; }
step ruff check .
step ruff format --check -q .
step mypy
step lint-imports --no-cache
step python scripts/compile_contracts.py --check
step contracts/slither.sh .tools/slither/bin/slither
step scripts/hygiene.sh
