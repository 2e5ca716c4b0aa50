#!/usr/bin/env bash
# All tests, with branch coverage of every file; CI=true also fails on a skip. Three processes: one of them has the tests
# with faults, which mostly wait (tests/fixtures/schedule.py).
set -euo pipefail
rm -f .coverage .coverage.*
pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report= --durations=25 -q "$@"
coverage report
