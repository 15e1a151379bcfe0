# What a person types. Every target makes the virtual environment it needs; PYTHON picks the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet -e '.[test]'  # setuptools warns of every editable install
	@touch $@

install: $(VENV)/.installed  ## make the virtual environment

demo: $(VENV)/.installed  ## train on drawn products, export, and make a picture from the export (ten minutes on two cores, or less)
	$(BIN)/python -m trainer.task --conditional --condition colour --condition print --condition backdrop --precision auto --job-dir runs/demo
	$(BIN)/packshot sample runs/demo --n 64 --seed 7 --out demo.png

test: $(VENV)/.installed  ## run the tests, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.installed  ## run the tests that `make test` leaves out: every family through XLA and in low precision, the sizes of papers, a server under load
	$(BIN)/python -m pytest -n 2 -m slow

goldens: $(VENV)/.installed  ## write what ten steps of every family compute, after a change that is meant to change it
	$(BIN)/python tests/make_goldens.py

check: $(VENV)/.installed  ## lint and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed  ## put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## measure this machine beside PyTorch, into docs/performance.md (about a quarter of an hour)
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks.run

clean:  ## remove the virtual environment and what the tools leave behind
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache

.PHONY: help install demo test test-slow goldens check format bench clean
