# Needs Python 3.11 or later and make, nothing else. Everything lands in .venv and .bulkhead.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
# What `bulkhead up`, pytest or a benchmark is given besides: make test ARGS="-k outbox -x"
ARGS   ?=

# Where bytecode is forbidden, as many images do, every process would compile a thousand modules anew.
export PYTHONDONTWRITEBYTECODE :=

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq

.DEFAULT_GOAL := help
.PHONY: help up demo check test bench lock format clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

up: $(VENV)/.runtime ## Install if need be, then start everything on this machine
	@$(BIN)/bulkhead up $(ARGS)

demo: $(VENV)/.runtime ## Walk through what Bulkhead does, on databases of its own
	@$(BIN)/bulkhead demo $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, import contracts, shape, spelling, unit tests
	@$(BIN)/python tools/check.py

test: $(VENV)/.dev ## The whole test suite, with real databases
	@tools/install_servers.sh
	@# One more than the cores of a small machine: workers wait for servers a good part of their time.
	$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(VENV)/.bench ## Every benchmark, each against its baseline
	@set -e; for bench in $$(grep -l __main__ benches/*.py); do echo "== $$bench"; PYTHONPATH=tools $(BIN)/python $$bench $(ARGS); done

format: $(VENV)/.dev ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

# The lock files name no index, so that any mirror serves. Needs uv.
COMPILE := uv pip compile pyproject.toml --group build --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock"

lock: ## Resolve the dependencies anew
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --upgrade --extra test --extra dev \
		--constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --upgrade --extra test --extra bench \
		--constraint requirements-dev.lock --output-file requirements-bench.lock

clean: ## Remove what was installed and built; leaves .bulkhead, which holds data
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools benches docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps: a target runs again only when its lock file or pyproject.toml has changed.

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Bulkhead needs Python 3.11 or later. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
		echo "Install them (Debian, Ubuntu: apt install python3-venv) and repeat." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created requirements.lock pyproject.toml
	@echo "Installing Bulkhead into $(VENV) ..."
	@$(PIP) install --no-compile --require-hashes -r requirements.lock
	@$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing what the tests and checks need ..."
	@$(PIP) install --no-compile --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo "Installing what the benchmarks compare with ..."
	@$(PIP) install --no-compile --require-hashes -r requirements-bench.lock
	@touch $@
