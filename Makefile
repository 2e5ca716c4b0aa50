# docex: `make demo` shows it, `make test` checks it. Everything lands in this folder (.venv, node_modules, .tools).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ := .tools/fuzz/bin
SECONDS ?= 600
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)

.PHONY: help demo test lint fmt bench fuzz install tools requirements contracts clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: install ## four members exchange certificates on real nodes and a real chain (half a minute)
	@$(BIN)/docex demo

test: install tools ## every test, with branch coverage
	scripts/test.sh

lint: install .tools/slither/.installed ## ruff, mypy --strict, import-linter, contracts, slither and the lock files' hygiene
	scripts/lint.sh

fmt: install ## format and fix what can be fixed
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

bench: install tools ## the benchmarks (minutes; quote medians)
	$(BIN)/python -m benchmarks

fuzz: .tools/fuzz/.installed ## fuzz the readers of strangers' bytes for SECONDS (600) in all
	$(FUZZ)/python -m tests.fuzz.run --seconds $(SECONDS)

install: $(VENV)/.installed node_modules/.installed ## Python and Node packages, pinned and hashed

tools: install .tools/bin/age .tools/.apt .tools/slither/.installed ## the tools the tests run: age, zstd, tar, openssl, slither

contracts: install ## compile the contracts into docex/ledger/artifacts
	$(BIN)/python scripts/compile_contracts.py

requirements: $(VENV)/.uv ## pin the Python requirements again
	scripts/requirements.sh

clean: ## remove what the other targets installed and built
	rm -rf $(VENV) node_modules .tools .cache .coverage* htmlcov docex-demo

$(VENV)/.uv: requirements/uv.txt
	scripts/venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.installed: $(VENV)/.uv requirements/dev.txt pyproject.toml
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q docex keys storage # a first command starts as fast as the second
	@touch $@

node_modules/.installed: package-lock.json $(VENV)/.uv
	scripts/node.sh
	@touch $@

.tools/bin/age: tools/age/go.sum $(VENV)/.uv
	scripts/age.sh

.tools/.apt: $(VENV)/.uv
	scripts/debian-tools.sh
	@touch $@

.tools/fuzz/.installed: requirements/run.txt requirements/fuzz.txt $(VENV)/.uv
	scripts/venv.sh $(PYTHON) .tools/fuzz
	$(BIN)/uv pip install -q --python $(FUZZ)/python --require-hashes -r requirements/run.txt -r requirements/fuzz.txt
	@touch $@

.tools/slither/.installed: requirements/slither.txt $(VENV)/.uv
	scripts/venv.sh $(PYTHON) .tools/slither
	$(BIN)/uv pip install -q --python .tools/slither/bin/python --require-hashes -r requirements/slither.txt
	@touch $@
