SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
RUN_VENV := .venv
DEV_VENV := .venv-dev
KAFKA_JARS := .cache/kafka
INSTALL := pip install --quiet --disable-pip-version-check --require-hashes
PACKAGES := detectors ingest storage alerts hanhtrinh

.PHONY: help
help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: $(RUN_VENV)/.installed ## Install what is missing and run everything in one process; ARGS="--demo --for 60s"
	$(RUN_VENV)/bin/hanhtrinh run $(ARGS)

.PHONY: test
test: check services ## Run the checks and all tests against real servers, installed first where missing; ARGS="-k word"
	$(DEV_VENV)/bin/pytest --numprocesses 3 --dist loadfile $(ARGS)

.PHONY: check
check: $(DEV_VENV)/.installed ## Lint, types and import rules
	$(DEV_VENV)/bin/ruff check .
	$(DEV_VENV)/bin/ruff format --check .
	$(DEV_VENV)/bin/mypy
	$(DEV_VENV)/bin/lint-imports

.PHONY: format
format: $(DEV_VENV)/.installed ## Format the code and mend what the linter can
	$(DEV_VENV)/bin/ruff check --fix .
	$(DEV_VENV)/bin/ruff format .

.PHONY: bench
bench: services $(DEV_VENV)/.installed ## Measure and print tables and JSON; ARGS="worker" for one of them
	$(DEV_VENV)/bin/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: services $(DEV_VENV)/.installed ## Strike the running chain with a hundred kills and more; ARGS="--seed 7 --only worker"
	$(DEV_VENV)/bin/python -m tests.chaos $(ARGS)

.PHONY: agree
agree: $(DEV_VENV)/.installed ## Compare all figures of a simulated month with its raw rows; ARGS="--vehicles 20 --days 3"
	$(DEV_VENV)/bin/python -m tests.month $(ARGS)

.PHONY: report-images
report-images: $(DEV_VENV)/.installed ## Draw the first page of every report in a folder by LibreOffice; ARGS="agreement"
	$(DEV_VENV)/bin/python docs/images/reports.py $(ARGS)

.PHONY: bench-load
bench-load: services $(DEV_VENV)/.installed ## Measure a whole country on this machine; ARGS="--soak 3600" to watch its memory
	$(DEV_VENV)/bin/python -m benchmarks.load $(ARGS)

.PHONY: bench-panels
bench-panels: services $(DEV_VENV)/.installed ## Measure dashboards and reports on 100 million fixes; ARGS="--fixes 10000000" for fewer
	$(DEV_VENV)/bin/python -m benchmarks.panels $(ARGS)

.PHONY: fuzz
fuzz: $(DEV_VENV)/.installed ## Throw a million inputs at every decoder and reader; ARGS="--inputs 1000000 --seed 7"
	$(DEV_VENV)/bin/python -m tests.fuzz $(ARGS)

.PHONY: lock
lock: $(DEV_VENV)/.installed ## Write requirements*.txt again from pyproject.toml; ARGS="--upgrade" for newer versions
	CUSTOM_COMPILE_COMMAND="make lock" $(DEV_VENV)/bin/pip-compile $(LOCK) --output-file requirements.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(DEV_VENV)/bin/pip-compile $(LOCK) --extra dev --constraint requirements.txt \
		--output-file requirements-dev.txt pyproject.toml

.PHONY: dashboards
dashboards: $(DEV_VENV)/.installed ## Write dashboards/json again from the Python code
	$(DEV_VENV)/bin/python -m dashboards

.PHONY: dashboard-images
dashboard-images: services $(DEV_VENV)/.installed ## Draw the dashboards of a simulated week; ARGS="control-room-en" for one
	$(DEV_VENV)/bin/python -W ignore -m tests.dashboard_images $(ARGS)

.PHONY: env-example
env-example: $(DEV_VENV)/.installed ## Write .env.example again from the settings
	$(DEV_VENV)/bin/python -m hanhtrinh.env_example > .env.example

LOCK = --quiet --generate-hashes --strip-extras --allow-unsafe --all-build-deps --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links $(ARGS)

.PHONY: services
services: programs $(KAFKA_JARS)/.installed ## Install the servers of the tests

.PHONY: kafka
kafka: $(KAFKA_JARS)/.installed ## Fetch the jars of the tests' Kafka

.PHONY: programs
programs:
	@tests/services/programs

$(RUN_VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hanhtrinh needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(RUN_VENV)
	$(RUN_VENV)/bin/$(INSTALL) --requirement requirements.txt
	$(RUN_VENV)/bin/pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

$(DEV_VENV)/.installed: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hanhtrinh needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(DEV_VENV)
	$(DEV_VENV)/bin/$(INSTALL) --requirement requirements-dev.txt
	$(DEV_VENV)/bin/pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

$(KAFKA_JARS)/.installed: tests/services/kafka/pom.xml | programs
	rm -rf $(KAFKA_JARS)
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DincludeScope=runtime \
		-DoutputDirectory="$(CURDIR)/$(KAFKA_JARS)"
	touch $@
