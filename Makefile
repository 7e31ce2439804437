# Everything runs in a virtual environment of its own; nothing is installed outside it and a cache folder.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST = $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-servers check format chaos real-model bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.runtime ## the main job on this machine: no server to install, no API key
	@$(BIN)/python examples/demo.py

test: test-unit test-servers ## every test, with real Valkey, Redis, Celery workers and MinIO

test-unit: $(VENV)/.dev ## the fast tests: no servers, under a minute
	$(PYTEST) tests -m "not servers" -n auto

test-servers: $(VENV)/.dev ## the tests that need real servers, which it fetches or builds first; two processes, servers each
	$(BIN)/python -m tests.servers install
	$(PYTEST) tests -m servers -n 2 --dist loadfile

# The lint includes ruff's S rules, which are bandit's: no pickle, no shell, no eval, no unsafe YAML.
# The last step asks whether versions we pin have known vulnerabilities; where nobody can be asked it says
# so in capitals (and fails in CI). `make check AUDIT=no` leaves it out, as loudly.
check: $(VENV)/.dev ## format, lint (security rules too), types, fast tests, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests -m "not servers" -n auto -q
	@AUDIT=$(AUDIT) $(BIN)/python -m tests.advisories

format: $(VENV)/.dev ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

SEED ?=
MINUTES ?= 3
chaos: $(VENV)/.dev ## faults on purpose for MINUTES, drawn from SEED: every promise checked from the outside
	$(BIN)/python -m tests.servers install
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

real-model: $(VENV)/.runtime ## 20 trials against a small open model on this machine (optional; about 200 MB)
	@$(BIN)/python examples/real_model.py

bench: $(VENV)/.dev ## what a trial costs this machine, as ratios measured in one run
	$(BIN)/python -m benchmarks

clean: ## forget the environment and what runs left here
	rm -rf $(VENV) .salvo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Salvo needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "This Python cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing Salvo into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing what the tests need into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@
