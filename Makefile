# Everything a person or CI runs. The virtual environment is made on first use and kept.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test check bench clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.ready  ## set up and run the demo
	$(BIN)/dagbox demo

test: $(VENV)/.ready  ## set up and pass the tests
	$(BIN)/python -m pytest

check: $(VENV)/.ready  ## style, types, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/cli_docs.py --check
	$(BIN)/python scripts/shell_docs.py --check
	$(BIN)/python scripts/protocol_docs.py --check

bench: $(VENV)/.ready  ## measure against the peers
	$(BIN)/python -m dagbox.bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
