# `make demo` and `make test` need only Python 3.11 to 3.13, make and git. Targets first install the packages into .venv if needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CLIPS_STAMP := $(VENV)/installed-clips
# Ray starts one process per core; one thread per process keeps them from competing for the cores.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0
# Each test file runs in one process. Some files start a Ray cluster, so many more processes than cores do not help. Files begin in the order of their
# names: by default those with few tests, which are often the slowest here, begin last, and the other processes wait for them.
TEST_PROCESSES ?= 2
PARALLEL := --dist loadfile --no-loadscope-reorder
FAULT_TESTS ?= tests/cluster/faults
CLUSTER_TESTS ?= tests/cluster/real
CLUSTER_NET ?= 10.77.0

# The browser of `make test-browser`; Debian's package is chromium.
CHROMIUM ?= /usr/bin/chromium

.PHONY: help setup demo test test-fast test-clips test-browser test-compiler test-faults test-cluster lint docs clean

help:
	@echo "make setup          install the pinned packages into .venv (3 to 4 minutes, 6 GB)"
	@echo "make demo           run the whole pipeline on synthetic videos: runs/demo/report.html, runs/demo/runs/"
	@echo "make test           run the test suite; needs nothing outside this folder"
	@echo "make test-fast      run the tests that are quick and do not start Ray (a few minutes)"
	@echo "make test-clips CLIPS=folder [YUNET=file] [PEOPLE=folder]   run the tests on real clips"
	@echo "make test-browser [CHROMIUM=file]   run the tests of the HTML pages in headless Chromium"
	@echo "make test-compiler  run the tests that compile the encoder's blocks; needs a C++ compiler and Python's headers"
	@echo "make test-faults    run the tests in which processes are killed and machines are lost, on a local Ray"
	@echo "make test-cluster   run the tests on several machines (Linux namespaces); needs root and Debian packages, which it names"
	@echo "make lint           ruff (rules and format), deptry (declared dependencies) and basedpyright (types)"
	@echo "make docs           build the documentation into site/; a broken link is an error"
	@echo "make clean          remove runs/ and site/ (not .venv)"

$(STAMP): pyproject.toml constraints.txt
	@test "$$(uname -s)" = Linux || { echo "abaw_ray runs on Linux; use WSL 2 or a container"; exit 2; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; install Python 3.11 to 3.13, or run make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is not Python 3.11 to 3.13; run make PYTHON=python3.12"; exit 2; }
	@echo "installing into $(VENV): about 4 minutes and 6 GB, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/abaw-ray pipeline demo

test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) $(PARALLEL)

test-fast: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) $(PARALLEL) -m "not slow"

$(CLIPS_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[clips]'
	@touch $@

test-clips: $(CLIPS_STAMP)
	@test -n "$(CLIPS)" || { echo "name the folder of clips: make test-clips CLIPS=folder [YUNET=file] [PEOPLE=folder]"; exit 2; }
	@$(BIN)/python -m pytest tests/clips --clips "$(CLIPS)" $(if $(YUNET),--yunet "$(YUNET)") $(if $(PEOPLE),--people "$(PEOPLE)")

test-browser: $(STAMP)
	@test -x "$(CHROMIUM)" || { echo "$(CHROMIUM) not found; on Debian: apt-get install chromium, or name another one: make test-browser CHROMIUM=file"; exit 2; }
	@$(BIN)/python -m pytest tests/browser --chromium "$(CHROMIUM)" -rP

test-compiler: $(STAMP)
	@$(BIN)/python -m pytest tests/encoder/test_compiled_blocks.py --compiler -m compiler

test-faults: $(STAMP)
	@$(BIN)/python -m pytest $(FAULT_TESTS) --faults --numprocesses $(TEST_PROCESSES) $(PARALLEL)

test-cluster: $(STAMP)
	@$(BIN)/python -m pytest $(CLUSTER_TESTS) --cluster --cluster-net $(CLUSTER_NET)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/deptry .
	@$(BIN)/basedpyright --level error

docs: $(STAMP)
	@$(BIN)/mkdocs build --strict

clean:
	rm -rf runs site
