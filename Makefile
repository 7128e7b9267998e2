# Everything starts here. `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= test

export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# two busy threads that wait actively on shared cores run at a quarter of their speed
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo demo-finetune docs server deploy worker check test test-fast campaign browser postgresql fuse clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-$(EXTRAS): $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

# peers that tests compare with: cellmap-models asks for torchvision and imports it nowhere,
# dacapo-ml can share no environment with Prefect 3; where one cannot be had its tests are skipped
$(VENV)/.peers: $(VENV)/.installed-test tests/peers/build_dacapo.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'cellmap-models==0.2.4' \
	|| echo 'no cellmap-models here: the tests against it will be skipped'
	$(BIN)/python tests/peers/build_dacapo.py .venv-dacapo \
	|| echo 'no dacapo-ml here: the tests against it will be skipped'
	@touch $@

install: $(VENV)/.installed ## the environment in .venv

demo: $(VENV)/.installed ## train, validate, keep the best and prune, on generated data
	$(BIN)/python -m flows.demo

demo-finetune: $(VENV)/.installed ## what a start is worth: fine-tuning against training from scratch
	$(BIN)/python -m flows.demo_finetune

server: $(VENV)/.installed ## Prefect's server and pages on http://127.0.0.1:4200
	$(BIN)/python -m deployments server

deploy: $(VENV)/.installed ## deployments, work pool and automations, brought to what the code says
	$(BIN)/python -m deployments deploy

worker: $(VENV)/.installed ## a worker that runs one flow at a time
	$(BIN)/python -m deployments worker

check: $(VENV)/.installed-$(EXTRAS) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Debian's Chromium, for the tests that look at pages; where it cannot be had they are skipped
browser:
	@command -v chromium >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } \
	|| echo 'no Chromium here: the tests of pages will be skipped'

# Debian's PostgreSQL, for the test of Prefect's server on it; where it cannot be had it is skipped
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && apt-get install -qq -y --no-install-recommends postgresql >/dev/null; } \
	|| echo 'no PostgreSQL here: the test of the server on it will be skipped'

# Debian's FUSE, for the tests on file systems that lack something; without it they are skipped
fuse:
	@ldconfig -p 2>/dev/null | grep -q libfuse \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && apt-get install -qq -y --no-install-recommends libfuse3-dev >/dev/null; } \
	|| echo 'no FUSE here: the tests on poor file systems will be skipped'

# one process for the deployments, one for the flows, which wait much, and one for the rest
test: $(VENV)/.installed-$(EXTRAS) $(VENV)/.peers browser postgresql fuse ## all tests (about twenty minutes on 2 cores)
	$(BIN)/python -m pytest --durations=5 --numprocesses 3 --dist loadfile

test-fast: $(VENV)/.installed-$(EXTRAS) ## the tests to run all the time (under 2 minutes)
	$(BIN)/python -m pytest -m 'not slow and not campaign'

campaign: $(VENV)/.installed-$(EXTRAS) ## what a store survives, with counts; runs that are killed
	$(BIN)/python -m pytest -m campaign --timeout 3600 --ignore=tests/store
	$(BIN)/python -m pytest -m campaign --timeout 3600 --numprocesses 2 --dist loadgroup tests/store

docs: $(VENV)/.installed ## the documentation as a site in build/docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict --site-dir build/docs

clean: ## forget the environment and what the demo left
	rm -rf $(VENV) .venv-* demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
