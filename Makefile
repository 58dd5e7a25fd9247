# Every target works in a fresh checkout with nothing but Python >= 3.11 and make: it builds .venv by itself when needed.
#   make run ARGS=--auto        make test ARGS="-k verdict"        make setup PYTHON=/usr/local/bin/python3.12

PYTHON ?= python3
ARGS ?=
PY = .venv/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check
STEPS = .venv/.installed
TABLES = ony_core/taxonomy/compact.json

.PHONY: help setup run test test-real soak bench dist lint audit clean
.DELETE_ON_ERROR:

help:
	@printf '%s\n' \
	  'make setup      build .venv and install ony into it (.venv/bin/ony)' \
	  'make run        ony demo: one gated call from the agent to a key press and back (ARGS=--auto answers by itself)' \
	  'make test       the whole suite that needs only Python' \
	  'make test-real  the real peers: installs and drives Claude Code (needs node and npm)' \
	  'make soak       the long suites in full' \
	  'make bench      each benchmark as a ratio to its yardstick' \
	  'make dist       dist/ony, dist/ony.pyz, wheel, sdist, SHA256SUMS' \
	  'make lint       ruff, mypy and bandit' \
  'make audit      pip-audit: known holes in what is installed (needs the network)' \
	  'make clean      what the targets above made, except .venv'

setup: $(STEPS)-run $(TABLES)

run: $(STEPS)-run $(TABLES)
	.venv/bin/ony demo $(ARGS)

test: $(STEPS)-test $(TABLES)
	@echo 'left out: tests/real (needs node, npm and the network: make test-real); full counts of the long suites (make soak)'
	$(PY) -m pytest -rfEs -n 2 --dist loadfile tests $(ARGS)

test-real: $(STEPS)-test $(TABLES)
	$(PY) -m pytest -rfEs -s -o norecursedirs='.*' tests/real $(ARGS)

soak: $(STEPS)-test $(TABLES)
	$(PY) -m pytest -rfEs --soak tests $(ARGS)
	$(PY) -m tests.mutation

bench: $(STEPS)-test $(TABLES)
	$(PY) -m tests.bench $(ARGS)

dist: $(STEPS)-dist $(TABLES)
	$(PY) scripts/dist.py

lint: $(STEPS)-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check scripts tests/real tests/bench tests/world.py
	$(PY) -m mypy
	$(PY) -m bandit -q -c pyproject.toml -r ony_core

audit: $(STEPS)-test
	$(PY) -m pip_audit --skip-editable --local

clean:
	rm -rf $(TABLES) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PY):
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "ony: there is no $(PYTHON): install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ony: $$($(PYTHON) -V 2>&1) is too old: install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "ony: $(PYTHON) cannot build a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv), or name another Python with PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

$(TABLES): $(wildcard ony_core/taxonomy/*.toml ony_core/taxonomy/*.py) | $(PY)
	$(PY) -m ony_core.taxonomy.compact

$(STEPS)-run: pyproject.toml | $(PY)
	$(PIP) -e .
	@touch $@

$(STEPS)-test: pyproject.toml | $(PY)
	$(PIP) -e '.[test]'
	@touch $@ $(STEPS)-run

$(STEPS)-dist: pyproject.toml | $(PY)
	$(PIP) -e '.[dist]'
	@touch $@ $(STEPS)-run
