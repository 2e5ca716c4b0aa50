#!/usr/bin/env bash
# All tests, with branch coverage of every file; CI=true also fails on a skip. Three processes: one of them has the tests
# with faults, which mostly wait (tests/fixtures/schedule.py).
set -euo pipefail
rm -f .coverage .coverage.*
# What tests write goes to memory where there is enough: on a disk, each commit of a database waits for it.
if [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -1)" -gt 4000000 ]; then
    find /dev/shm -maxdepth 1 -name 'docex-tests-*' -mmin +180 -exec rm -rf {} + # of runs that were killed
    folder=$(mktemp -d -p /dev/shm docex-tests-XXXXXX)
    trap 'rm -rf "$folder"' EXIT
    set -- --basetemp="$folder/tests" "$@"
fi
pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report= --durations=25 -q "$@"
coverage report
