# Switchyard. `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLUSTER ?= sandbox
KEEP ?=
WORKERS ?= auto

# Tests and the demo start processes by the hundred: without the cache each compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check e2e sandbox bench generate lock clean

help: ## what each target does
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment with the locked dependencies

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Switchyard needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## an embedded cluster, services placed, served, re-placed, and one moved under its users
	$(BIN)/switchyard demo $(if $(KEEP),--keep)

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(STAMP) ## format, lint, types, layers, generated files
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

e2e: $(STAMP) ## conformance and scenarios on CLUSTER=sandbox|envtest|kind|current
	SWITCHYARD_CLUSTER=$(CLUSTER) $(BIN)/python -m pytest tests/conformance e2e

sandbox: $(STAMP) ## an embedded cluster that stays until Ctrl-C
	$(BIN)/switchyard sandbox up

bench: $(STAMP) ## benchmarks, reported and never asserted
	$(BIN)/python -m tests.benchmarks

generate: $(STAMP) ## CRDs, chart templates and reference pages from the models
	$(BIN)/python scripts/generate.py

UV_LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

lock: $(STAMP) ## requirements/*.lock anew from pyproject.toml (needs uv)
	$(UV_LOCK) --extra sandbox --extra plot --group dev pyproject.toml -o requirements/dev.lock
	$(UV_LOCK) --extra router --constraints requirements/dev.lock pyproject.toml -o requirements/operator.lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
