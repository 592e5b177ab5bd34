# mailjam: `make demo` and `make test` work on a fresh machine with Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test examples fuzz lint format types architecture check crash benchmarks clean

demo: $(VENV)/.runtime
	$(BIN)/mailjam demo

test: $(VENV)/.development
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST)

examples: $(VENV)/.development
	$(BIN)/python -m pytest -q examples

# MINUTES=10 make fuzz: each target for that long.
fuzz: $(VENV)/.development
	@$(PIP) install -e '.[fuzz]'
	for target in smtp pop3 imap nntp sasl wildmat dialogue conversion mime formats; do $(BIN)/python tests/fuzz/fuzz.py $$target -max_total_time=$$(( $(or $(MINUTES),1) * 60 )) || exit 1; done

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.development
	$(BIN)/mypy

architecture: $(VENV)/.development
	$(BIN)/lint-imports

check: test lint types architecture

# Kill the server at random instants 200 times and compare with what it had acknowledged.
crash: $(VENV)/.development
	$(BIN)/python -m harness.crash --rounds $(or $(ROUNDS),200)

benchmarks: $(VENV)/.development
	for program in benchmarks/*.py; do echo "== $$program"; PYTHONPATH=. $(BIN)/python $$program || exit 1; done

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV)…"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.development: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) for tests…"
	@$(PIP) install -e '.[$(EXTRAS)]'
	@touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .ruff_cache
