# Each target makes .venv on first use. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
# Where `make demo` leaves its models, records and leaderboard.
RESULTS ?= demo
# Processes that run test files side by side; 0 runs all in one, `make test WORKERS=auto` one a core.
WORKERS ?= 0
# Idle threads that spin take the cores that busy ones need.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint bench clean

demo: .venv/.runtime
	$(BIN)/unibench demo --results $(RESULTS)

test: .venv/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python benchmarks/pretraining.py

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.runtime: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ .venv/.runtime
