#!/usr/bin/env bash
# All tests on three processes (many wait more than they work), with branch coverage of every file; CI=true also fails on a skip.
set -euo pipefail
rm -f .coverage .coverage.*
pytest -n 3 --dist loadgroup --cov --cov-report= -q "$@"
coverage report
