# Two commands need nothing but Python 3.11+, make and git: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# One thread a process: the engine runs several processes, and threads of theirs would fight for the same cores.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0
# A file of tests stays in one process; some start a Ray of their own, so more of them than there are cores would only wait.
TEST_PROCESSES ?= 2

.PHONY: help setup demo test test-clips test-cluster lint clean

help:
	@echo "make setup       .venv with the pinned packages (3 to 4 minutes, 6 GB)"
	@echo "make demo        the whole line on drawn videos: runs/demo/report.html, runs/demo/summary.json"
	@echo "make test        the test suite; needs nothing outside this folder"
	@echo "make test-clips CLIPS=folder [YUNET=file]   checks on real clips"
	@echo "make test-cluster   checks on several machines made of namespaces; needs root and Debian packages, of which it tells"
	@echo "make lint        ruff: rules and layout"
	@echo "make clean       remove runs/ (not .venv)"

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there; install Python 3.11 to 3.13 or say make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) must be Python 3.11 to 3.13; say make PYTHON=python3.12"; exit 2; }
	@echo "setting up $(VENV): about 4 minutes and 6 GB, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "this Python cannot make environments; on Debian: apt-get install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/python jobs/pipeline.py demo

test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

test-clips: $(STAMP)
	@test -n "$(CLIPS)" || { echo "say which clips: make test-clips CLIPS=folder [YUNET=file]"; exit 2; }
	@$(BIN)/python -m pytest tests/clips --clips "$(CLIPS)" $(if $(YUNET),--yunet "$(YUNET)")

test-cluster: $(STAMP)
	@$(BIN)/python -m pytest tests/cluster/real --cluster

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf runs
