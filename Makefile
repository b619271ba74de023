# `make` lists the targets. What it needs: Python 3.11 to 3.13 and git.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PACKAGES := qkd-cil gradient-flow-drifting cbldm
MEMBERS := $(wildcard packages/*/pyproject.toml) shared/pyproject.toml
UV := $(or $(shell command -v uv),.tools/uv/bin/uv)
PYTHON ?= python3
BIN := .venv/bin
import_name = $(subst -,_,$(1))
smoke_flag = $(if $(SMOKE),--smoke)
# One thread for each of pytest's processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto
EXPORT := $(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header --format requirements.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  % is one of: $(PACKAGES)"
	@echo "  SMOKE=1 makes a demo end within twenty seconds; PIP=pip lets test-isolated install by plain pip"

# --- set-up -----------------------------------------------------------------

.tools/uv/bin/uv:
	@echo "uv is not installed: taking it from the package index into .tools/uv"
	@$(PYTHON) -m venv .tools/uv || { rm -rf .tools/uv; echo "error: $(PYTHON) cannot make an environment: install its venv module, or uv"; exit 2; }
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

.venv/synced: $(UV) pyproject.toml $(MEMBERS)
	$(UV) sync --all-packages
	@touch $@

.PHONY: setup lock
setup: .venv/synced ## install all packages and tools into .venv
lock: $(UV) ## resolve anew within exclude-newer: uv.lock and requirements.lock
	$(UV) lock --upgrade
	$(EXPORT) --output-file requirements.lock

# --- use --------------------------------------------------------------------

.PHONY: demo $(PACKAGES:%=demo-%)
demo: $(PACKAGES:%=demo-%) ## run the main job of each package on an embedded default
	@echo; echo "The results lie in:"; for package in $(PACKAGES); do echo "  results/demo/$$package"; done
demo-%: ## the same for one package
$(PACKAGES:%=demo-%): demo-%: .venv/synced
	@echo; echo "== $* =="
	@rm -rf results/demo/$*
	$(BIN)/$* demo --out results/demo/$* $(smoke_flag)

# --- hold -------------------------------------------------------------------

.PHONY: test $(PACKAGES:%=test-%) test-shared test-workspace test-slow test-gpu test-isolated check wheels
test: .venv/synced ## run all tests but the slow ones
	$(PYTEST) -m "not slow and not gpu"
test-%: ## the tests of one package
$(PACKAGES:%=test-%): test-%: .venv/synced
	$(PYTEST) -m "not slow and not gpu" tests/$(call import_name,$*)
test-shared: .venv/synced ## the tests of the shared package
	$(PYTEST) -m "not slow and not gpu" tests/papertrio_shared
test-workspace: .venv/synced ## the rules of the whole
	$(PYTEST) -m "not slow and not gpu" tests/workspace
test-slow: .venv/synced ## what repeats often, fuzzes much or needs large input
	$(PYTEST) -m slow --timeout 3600
test-gpu: .venv/synced ## what needs a CUDA device
	$(BIN)/pytest -m gpu
test-isolated: .venv/synced wheels ## install each wheel alone into a bare environment and run its demo
	$(BIN)/python tests/workspace/isolated.py --uv $(UV) --installer $(or $(PIP),uv) $(PACKAGES)
check: .venv/synced ## format, lint, types and lock
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(EXPORT) | diff requirements.lock - >/dev/null || { echo "error: requirements.lock is not what pyproject.toml resolves to: run make lock"; exit 1; }
	@echo "requirements.lock is up to date"
wheels: $(UV) ## build the wheels into dist/
	@rm -rf dist
	$(UV) build --quiet --all-packages --wheel --out-dir dist
	@ls dist

# --- measure ----------------------------------------------------------------

.PHONY: bench $(PACKAGES:%=bench-%) bench-gpu
bench: $(PACKAGES:%=bench-%) ## measure speed on this machine, into benchmarks/results/
bench-%: ## the same for one package
$(PACKAGES:%=bench-%): bench-%: .venv/synced
	$(BIN)/python -m benchmarks.run --package $*
bench-gpu: .venv/synced ## measure speed on a CUDA device
	$(BIN)/python -m benchmarks.run --device gpu
