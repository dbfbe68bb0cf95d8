# Everything a person or CI runs. The virtual environment is made on first use and kept.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test torture simulate coverage check fmt docs build smoke bench walks clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.ready  ## set up and run the demo
	$(BIN)/dagbox demo

# As many processes as processors; the tests of a file share one, and with it the nodes that they start.
test: $(VENV)/.ready  ## set up and pass the tests
	$(BIN)/python -m pytest -n logical --dist loadfile

# What is tried is told at the end, with the seeds; `make torture FIRST_SEED=... DAGBOX_HISTORY_S=...` tries that again.
torture simulate: export FIRST_SEED := $(or $(FIRST_SEED),$(shell date +%s))
torture simulate: export SEEDS ?= 2000
torture: export DAGBOX_HISTORIES ?= 10
torture: export DAGBOX_HISTORY_S ?= 60
torture: export DAGBOX_HISTORY_SEED ?= $(FIRST_SEED)
torture: export DAGBOX_DAMAGES ?= 3000
torture: export DAGBOX_DAMAGE_SEED ?= $(FIRST_SEED)
torture: export DAGBOX_CRASH_SELECTIONS ?= 100
torture: export DAGBOX_FAULT_STEP ?= 1
torture: export DAGBOX_REENTRY_STEP ?= 1
torture: export DAGBOX_STORM_S ?= 60
torture: export DAGBOX_EXAMPLES ?= 10
torture: export DAGBOX_PROGRAMS ?= 100000

torture: $(VENV)/.ready  ## look for faults for an hour: kills, power losses, damages, random histories and inputs
	$(BIN)/python -m pytest -m 'torture or hypothesis' --timeout 3600

simulate: $(VENV)/.ready  ## look for faults of broker, workers and locks in simulations with new seeds
	$(BIN)/python -m pytest -m torture tests/simulation --timeout 3600

coverage: $(VENV)/.ready  ## pass the tests and print which lines they ran, processes included
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n logical --dist loadfile --timeout 600
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.ready  ## style, types, layers, structure, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/structure.py
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/architecture_docs.py --check
	$(BIN)/python scripts/cli_docs.py --check
	$(BIN)/python scripts/shell_docs.py --check
	$(BIN)/python scripts/protocol_docs.py --check
	$(BIN)/python scripts/limits_docs.py --check

fmt: $(VENV)/.ready  ## format the code, sort its imports
	$(BIN)/ruff check --fix --select I,F401 --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.ready  ## write the generated pages and the generated client
	$(BIN)/python scripts/unasync.py
	$(BIN)/python scripts/architecture_docs.py
	$(BIN)/python scripts/cli_docs.py
	$(BIN)/python scripts/shell_docs.py
	$(BIN)/python scripts/protocol_docs.py
	$(BIN)/python scripts/limits_docs.py

build: $(VENV)/.ready  ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --outdir dist .

smoke: $(VENV)/.ready  ## install the wheel without extras in clean environments, and use it
	$(BIN)/python scripts/smoke_wheel.py

bench: $(VENV)/.ready  ## measure against the peers
	$(BIN)/python -m dagbox.bench

walks: $(VENV)/.ready  ## count how execution moves between files
	$(BIN)/python scripts/walks.py

clean:  ## remove the environment, caches and what was built
	rm -rf $(VENV) dist build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
