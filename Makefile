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
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
# What the caller set for its own Python must not leak into ours; without byte code every import takes twice as long.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

UV = .venv/bin/uv
BASE = .venv/.installed
LINT = .venvs/lint/.installed
BENCH = .venvs/bench/.installed
FLINK = .venvs/flink/.installed

# The lock that `make requirements` has installed, kept in the environment itself.
LOCKED = .venv/.locked

.PHONY: help setup requirements .locked demo stream stream-test test test-slow rights lint bench lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Demo of the cardholders alone: make demo FAST=1; left there to look around: KEEP=1; with a bad canary: ROLLBACK=1"
	@echo "  Demo on your own data: make demo DATA=cards.csv.gz MINUTES=fees.csv; beside another demo: make demo PORT=4710"

setup: $(BASE) ## Make the project's environment in .venv

# For builds, which call `.venv/bin/python -m pipelines.cli`: the project itself is not installed, for builds of several
# commits may share .venv by a link. What is installed is told from a copy of the lock, not by times, which a checkout sets
# anew. Two builds may come at once: one installs, and the other waits.
requirements: ## Make .venv of exactly requirements/base.txt, without the project itself
	@mkdir -p .venv
	@cmp -s requirements/base.txt $(LOCKED) || $(PYTHON) -c "$$WAITING" $(MAKE) --no-print-directory .locked

define WAITING
import fcntl, subprocess, sys
with open(".venv/.installing", "w") as turn:
    fcntl.flock(turn, fcntl.LOCK_EX)
    sys.exit(subprocess.call(sys.argv[1:]))
endef
export WAITING

# By its true path: programs name the Python that they were installed for, and the link to it goes with the build.
.locked: PLACE = $(shell cd .venv && pwd -P)
.locked:
	@cmp -s requirements/base.txt $(LOCKED) || { set -e; \
	  rm -f $(LOCKED) $(BASE); \
	  uv=$$(command -v $(UV) || command -v uv || true); \
	  [ -x $(PLACE)/bin/python ] || if [ -n "$$uv" ]; then "$$uv" venv -q --allow-existing --python $(PYTHON) $(PLACE); \
	    else $(PYTHON) -m venv $(PLACE); fi; \
	  [ -n "$$uv" ] || { uv=$(PLACE)/bin/uv; \
	    $(PLACE)/bin/python -m pip install -q --disable-pip-version-check "$$(grep '^uv==' requirements/base.txt)"; }; \
	  "$$uv" pip sync -q --python $(PLACE)/bin/python requirements/base.txt; \
	  cp requirements/base.txt $(LOCKED).new; mv $(LOCKED).new $(LOCKED); }

demo: $(BASE) ## A project's whole life on this machine, from its creation over production and retraining to its end
	.venv/bin/mlops demo --port $(PORT) $(if $(FAST),--fast) $(if $(ROLLBACK),--roll-back) $(if $(DATA),--data "$(DATA)") \
	  $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(KEEP),--keep)

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

# What roles call: in a demo with its end, and in the tests that reach further (failures, roll-backs, rejections, stops).
# Of the demo alone more is left over than of all: what it lists is to look at, and the last line is what must hold.
RIGHTS = .mlops/rights
REACHING = tests/pipelines/deploy tests/pipelines/monitor tests/pipelines/delivery tests/pipelines/projects \
  tests/pipelines/test_template_deployed.py tests/pipelines/test_stacks_role.py tests/pipelines/api \
  tests/pipelines/test_cost_stopped_execution.py tests/pipelines/ingestion/test_rights_of_the_stream.py
rights: $(BASE) ## Record what every role calls, and hold the templates' policies against it
	rm -rf $(RIGHTS); mkdir -p $(RIGHTS)
	.venv/bin/mlops demo --port $(PORT) --keep
	-.venv/bin/localcloud iam report --port $(PORT) --unused
	.venv/bin/mlops project destroy mlops-demo --yes
	.venv/bin/localcloud calls --port $(PORT) --json > $(RIGHTS)/demo.json
	.venv/bin/mlops down
	for tests in $(REACHING); do \
	  RIGHTS_FOLDER=$(CURDIR)/$(RIGHTS) .venv/bin/python -m pytest -m "not image and not flink" $$tests || exit 1; done
	.venv/bin/python -m tests.pipelines.recorded_calls $(RIGHTS)/*.json
	.venv/bin/python -m pytest tests/pipelines/test_rights_mutation.py

lint: $(BASE) $(LINT) ## ruff, mypy, import-linter, cfn-lint, checkov
	.venvs/lint/bin/ruff check .
	.venvs/lint/bin/ruff format --check .
	.venvs/lint/bin/mypy --python-executable .venv/bin/python
	.venvs/lint/bin/lint-imports
	.venv/bin/cfn-lint $(filter-out template/seed.yml,$(wildcard template/*.yml))
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
