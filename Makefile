# `make` lists what can be made.
PYTHON ?= python3
BIN := .venv/bin
# The constraints hold for what builds the package as well: older versions of pip read the first variable for it, newer
# ones the second.
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint bench certify docs versions clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/demo  ## install, show recorded runs, train a small study, test, report (3 minutes)
	@$(BIN)/ultraslow demo

test: .venv/test  ## install what the tests need and run them, on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile

slow: .venv/test  ## run the slow tests of the packages as well (trainings of every recipe, jobs)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet -m slow --ignore tests/statistics

lint: .venv/dev  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/test .venv/bench  ## measure speed; prints a table and writes bench.json
	@$(BIN)/python tests/benchmarks/run.py

certify: .venv/test  ## simulate the error rates of the statistics (20 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/statistics -m slow --quiet

docs: .venv/docs  ## write the pages that come from code and data, and build the site
	@$(BIN)/python docs/build.py
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs 2 docs docs/_build/html
	@echo "open docs/_build/html/index.html"

versions: .venv/dev  ## run the suite on the oldest dependencies, and each extra alone
	@$(BIN)/nox --session lowest alone

clean:  ## remove the environment, the demo and caches
	rm -rf .venv .nox demo dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")'
	@$(PYTHON) -m venv .venv

# Stamps: an environment is installed again when its versions change.
.venv/demo .venv/test .venv/dev .venv/bench .venv/docs: .venv/%: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing ultraslow[$*] into .venv (a minute or two)"
	@$(INSTALL) --editable '.[$*]'
	@touch $@
