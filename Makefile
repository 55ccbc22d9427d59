# Everything runs in environments that this file makes; nothing of the system's Python is used beyond making them.
#   .venv          the project: requirements/base.txt
#   .venvs/lint    the checks:  requirements/lint.txt      .venvs/bench  the peers of benchmarks/: requirements/bench.txt
#   .venvs/flink   Apache Flink: requirements/flink.txt    for `make stream` and `make stream-test`, with Java 17
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
PORT ?= 4610

# uv does not read pip's settings: hand on the ones that a machine may carry in the environment.
# PyTorch's build for CPUs comes from there too; elsewhere uv knows where it is (PyPI's brings several GB of CUDA).
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
else
export UV_TORCH_BACKEND ?= cpu
endif
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_EXTRA_INDEX_URL
export UV_INDEX ?= $(PIP_EXTRA_INDEX_URL)
endif
# What the caller set for its own Python must not leak into ours; without byte code every import takes twice as long.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

UV = .venv/bin/uv
BASE = .venv/.installed
LINT = .venvs/lint/.installed
BENCH = .venvs/bench/.installed
FLINK = .venvs/flink/.installed

.PHONY: help setup demo stream stream-test test test-slow lint bench lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Demo on your own data: make demo DATA=cards.csv.gz MINUTES=fees.csv; beside another demo: make demo PORT=4710"

setup: $(BASE) ## Make the project's environment in .venv

demo: $(BASE) ## Run both workloads on this machine, from data to production; and a bad canary comes back
	.venv/bin/mlops demo --port $(PORT) $(if $(DATA),--data "$(DATA)") $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(KEEP),--keep)

stream: $(BASE) $(FLINK) ## Run the stream alone, with the Apache Flink job itself, from a simulated API to the feature store
	.venv/bin/python -m seed_code.ingestion.flink.check .venvs/flink/bin/python
	.venv/bin/mlops stream-demo --aggregate flink --port $(PORT)

stream-test: $(BASE) $(FLINK) ## Hold Flink and the Python operator against each other on a million events made to disagree
	.venv/bin/python -m seed_code.ingestion.flink.check .venvs/flink/bin/python
	.venv/bin/python -m pytest -m flink tests

test: $(BASE) ## The tests (no network, no AWS account, no Docker)
	tests/install-browser
	.venv/bin/python -m pytest -n auto

test-slow: $(BASE) ## The tests that take long: two demos at once; restarts; the stream for half an hour; each image's environment
	.venv/bin/python -m pytest -m "slow or image" --ignore tests/pipelines/deploy --ignore tests/pipelines/monitor
	# In one process each: their last tests hold the roles' policies against what all the others called.
	.venv/bin/python -m pytest -m "not image" tests/pipelines/deploy
	.venv/bin/python -m pytest -m "not image" tests/pipelines/monitor

lint: $(BASE) $(LINT) ## ruff, mypy, import-linter, cfn-lint, checkov
	.venvs/lint/bin/ruff check .
	.venvs/lint/bin/ruff format --check .
	.venvs/lint/bin/mypy --python-executable .venv/bin/python
	.venvs/lint/bin/lint-imports
	.venv/bin/cfn-lint template/*.yml
	.venvs/lint/bin/checkov --directory template --skip-download --quiet --compact

# Accuracy wants data that is not ours to bring, and hours: its head says how it is run.
bench: $(BASE) $(BENCH) ## Run every benchmark and keep its result in benchmarks/results
	@set -e; for program in $(filter-out %/forecaster_accuracy.py,$(wildcard benchmarks/*.py)); do echo "== $$program"; .venv/bin/python "$$program"; done

UPGRADE = --upgrade
COMPILE = $(UV) pip compile -q $(UPGRADE) --python-version 3.11 --no-header --no-annotate --no-emit-index-url
lock: $(UV) ## Pin again what setup.py and requirements/*.in ask for
	# The pin of an earlier lock, which names no build, would prefer the one with several GB of CUDA.
	sed -i.bak '/^torch==/d' requirements/*.txt seed_code/*/requirements.txt
	$(COMPILE) --extra all setup.py -o requirements/base.txt
	for tools in lint bench flink; do $(COMPILE) requirements/$$tools.in -o requirements/$$tools.txt || exit 1; done
	for image in seed_code/*/requirements.in; do \
	  $(COMPILE) -c requirements/base.txt $$image -o $${image%.in}.txt || exit 1; done
	# A pin names a version, not one machine's build of it.
	sed -i.bak 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/*.txt seed_code/*/requirements.txt
	rm -f requirements/*.bak seed_code/*/*.bak

clean: ## Remove the environments and all local state
	rm -rf .venv .venvs .mlops *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# uv comes from pip, in the version of the lock; the lock then keeps it.
$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "make: \`$(PYTHON)\` is not on the path. Python 3.11 is needed: install it, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check "$$(grep '^uv==' requirements/base.txt)"

# Byte code is compiled now, so that the first run is as fast as the next.
$(BASE): requirements/base.txt setup.py | $(UV)
	$(UV) pip sync -q --python .venv/bin/python --compile-bytecode requirements/base.txt
	$(UV) pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venvs/%/.installed: requirements/%.txt | $(UV)
	$(UV) venv -q --clear --python .venv/bin/python .venvs/$*
	$(UV) pip sync -q --python .venvs/$*/bin/python requirements/$*.txt
	@touch $@
