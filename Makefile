# Each target makes .venv on first use. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
# Idle threads that spin take the cores that busy ones need.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint bench clean

# make demo CORPUS=folder/of/LANG.txt.zst DATA=folder/of/OWNER/NAME/datasets
LANGUAGES ?= en,de,es,fr,ru,zh,ar,tr,sw,hi
TASKS ?= xnli_snli,wikiann,stsb_multi,sts17

demo: .venv/.runtime
	@test -n "$(CORPUS)" -a -n "$(DATA)" || { echo "make demo needs CORPUS=FOLDER (LANG.txt files) and DATA=FOLDER (a mirror laid out OWNER/NAME)"; exit 2; }
	$(BIN)/unibench train --size xxsmall --corpus $(CORPUS) --languages $(LANGUAGES) --objectives mlm --budget 5m
	$(BIN)/unibench train --size xxsmall --corpus $(CORPUS) --languages $(LANGUAGES) --budget 5m
	$(BIN)/unibench run --model all --tasks $(TASKS) --data $(DATA) --train-limit 4000 --eval-limit 500 --seeds 2
	$(BIN)/unibench report --significance --baseline mlm-xxsmall

test: .venv/.dev
	$(BIN)/python -m pytest

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
