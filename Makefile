# Everything from a fresh clone: `make demo` shows it, `make test` tests it. Needs Python 3.11 or later and a network.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python that is new enough; name another with `make install PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# Least share of lines and branches, in percent, that the tests must run through.
COVERAGE_FLOOR ?= 90
# Test processes at a time, each with one thread.
JOBS ?= 2
# Threads that wait must sleep: spinning ones slow every other process down.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install test soak compose-test check demo bench clean

help:
	@echo "make install  prepare $(VENV): pinned requirements and this project"
	@echo "make demo     start the service, search three budgets on real handwriting (ARGS='--once' ends when done, '--out DIR')"
	@echo "make test     run the tests (ARGS='tests/models -k shared' for some, without the coverage floor)"
	@echo "make soak     the long forms of the fault tests, half an hour or more"
	@echo "make compose-test  bring the containers up on a real engine and run a search in them"
	@echo "make check    ruff, mypy, import-linter"
	@echo "make bench    run the benchmarks, hours in all (BENCH=objective for one)"
	@echo "make clean    remove $(VENV) and what tools left behind; runs/ stays"

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed. Install it or name it: make install PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) lacks its venv module (on Debian: apt install python3-venv)." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

test: install
ifdef ARGS
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS)
else
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not soak" -n $(JOBS) --cov --cov-report=term \
		--cov-fail-under=$(COVERAGE_FLOOR)
endif

soak: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --ignore tests/acceptance/test_compose.py $(ARGS)

compose-test: install
	$(BIN)/python -m pytest -m soak tests/acceptance/test_compose.py $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v npx >/dev/null; then npx --yes --package typescript@5.9.3 tsc -p service/dashboard/jsconfig.json; \
	else echo "The types of the dashboard's scripts are not checked: npx is not here."; fi

demo: install
	$(BIN)/bmtas demo $(ARGS)

bench: install
	@set -e; for script in $(if $(BENCH),benchmarks/$(BENCH).py,$(sort $(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(BIN)/python $$script $(ARGS); done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build *.egg-info
