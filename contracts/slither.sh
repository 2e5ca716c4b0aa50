#!/usr/bin/env bash
# Slither over the contracts; fails on any finding, and when slither misses a source (it would then report nothing).
# Works on a copy with OpenZeppelin beside it: slither does not follow forge's remapping out of the forge root.
# Usage: contracts/slither.sh [path of slither]
set -euo pipefail
slither=$(command -v "${1:-slither}") || { echo "slither is not installed: run make tools" >&2; exit 1; }
slither=$(realpath "$slither")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/src" "$work/"
mkdir -p "$work/@openzeppelin"
cp -r "$here/../node_modules/@openzeppelin/contracts" "$work/@openzeppelin/contracts"
cd "$work"
status=0
# timestamp: membership, keys and revocations are periods of block time by design; a proposer's few seconds decide nothing.
# pragma, solc-version: OpenZeppelin's open pragmas; what compiles them is pinned.
"$slither" src --solc "$here/solc" --solc-standard-json --filter-paths @openzeppelin \
    --exclude timestamp,pragma,solc-version >log 2>&1 || status=$?
cat log
if grep -qE "^ERROR|Missing|Traceback" log; then echo "slither missed sources" >&2; exit 1; fi
if ! grep -qE "analyzed \([1-9][0-9]* contracts" log; then echo "slither analysed nothing" >&2; exit 1; fi
exit "$status"
