#!/usr/bin/env bash
# All tests on two processes, with branch coverage of every file; CI=true also fails on a skip.
set -euo pipefail
rm -f .coverage .coverage.*
pytest -n 2 --dist loadgroup --cov --cov-report= -q "$@"
coverage report
