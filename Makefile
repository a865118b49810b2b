# Every command that a person types. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint format check clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## set up the virtual environment

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; make PYTHON=python3.12 ... picks another one" >&2; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(VENV)/bin/uv pip install --python $(VENV)/bin/python -c constraints.txt -e '.[dev]'
	@touch $@

demo:  ## run the whole pipeline on generated images and write its report (under 10 minutes on 2 cores)
	@started=$$(date +%s) && $(MAKE) --no-print-directory install && dvc repro && bestie report \
	    && bestie summary --since $$started

test: install  ## run the tests (under 12 minutes on 2 cores)
	@python -m pytest -m "not slow"

test-all: install  ## run all tests, the slow ones too
	@python -m pytest

lint: install  ## correct what can be corrected by a machine
	@ruff check --fix . && ruff format .

check: install  ## style, types, import contracts
	@ruff check . && ruff format --check . && mypy && lint-imports --no-cache

clean:  ## remove checkpoints and caches of tools, but no data
	@rm -rf .bestie .mypy_cache .ruff_cache .pytest_cache .hypothesis
