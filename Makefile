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
# Threads that wait leave the cores to those that work.
export OMP_WAIT_POLICY ?= PASSIVE
# One thread for each of pytest's processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto
EXPORT := $(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header --format requirements.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-29s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  % is one of: $(PACKAGES)"
	@echo "  SMOKE=1 makes a demo end within twenty seconds; PIP=pip lets test-isolated install by plain pip"

# --- set-up -----------------------------------------------------------------

.tools/uv/bin/uv:
	@echo "uv is not installed: taking it from the package index into .tools/uv"
	@$(PYTHON) -m venv .tools/uv || { rm -rf .tools/uv; echo "error: $(PYTHON) cannot make an environment: install its venv module, or uv"; exit 2; }
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

.venv/synced: $(UV) pyproject.toml $(MEMBERS)
	$(UV) sync --all-packages --inexact
	@touch $@

.PHONY: setup peers lock
setup: .venv/synced ## install all packages and tools into .venv
peers: .venv/synced ## add what is held against: KeOps, torchcfm, DebyeCalculator, diffpy.structure, diffpy.srfit
	$(UV) sync --all-packages --inexact --group peers
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

# --- reproduce --------------------------------------------------------------
# A run is $(RESULTS)/<package>/<preset>/<seed>/; the file it writes last is the target, so that a second make goes on
# with what was cut off and skips what is done.

RESULTS ?= results
TABLES := $(BIN)/python -m benchmarks.tables
preset_of = $(notdir $(patsubst %/,%,$(dir $(@D))))
seed_of = $(notdir $(@D))
runs = $(foreach preset,$(2),$(foreach seed,$(3),$(RESULTS)/$(1)/$(preset)/$(seed)/$(4)))

.PHONY: papers paper-cbldm paper-gradient-flow-drifting paper-qkd-cil tune-qkd-cil smoke
papers: paper-cbldm paper-gradient-flow-drifting paper-qkd-cil ## make every table from nothing
smoke: ## every paper target with a few steps, into results/smoke
	$(MAKE) papers SMOKE=1 RESULTS=results/smoke

# Measured curves with the metal to look for, where their files are at hand.
CURVES ?= $(or $(PAPERTRIO_DATA),../shared/data)/pdf/experimental
METAL_Au144PET_100K := Au
METAL_Pt_JQ_S1 := Pt
CURVE_NAMES := $(foreach name,Au144PET_100K Pt_JQ_S1,$(if $(wildcard $(CURVES)/$(name).gr),$(name)))
CBLDM_RUNS := $(call runs,cbldm,simulated $(CURVE_NAMES),0,candidates.csv)
$(filter-out %/simulated/0/candidates.csv,$(CBLDM_RUNS)): | .venv/synced
	$(BIN)/cbldm recover $(CURVES)/$(preset_of).gr --element $(METAL_$(preset_of)) --candidates 20 --out $(@D) $(if $(SMOKE),--max-atoms 60)
$(filter %/simulated/0/candidates.csv,$(CBLDM_RUNS)): | .venv/synced
	$(BIN)/cbldm demo --out $(@D) $(smoke_flag)
# Models, from nothing: hours on a CPU. What was cut off goes on.
CBLDM := $(RESULTS)/cbldm
CBLDM_MODELS := $(if $(SMOKE),robust-smoke,robust-geometry robust-distance graph-cvae robust-random robust-size)
$(CBLDM_MODELS:%=$(CBLDM)/models/%.trained): | .venv/synced
	@mkdir -p $(@D)
	$(BIN)/cbldm train $(if $(wildcard $(basename $@)/config.json),--resume $(basename $@),$(notdir $(basename $@)) --out $(basename $@))
	@touch $@
# How each split is judged: methods, and the models that are asked.
CBLDM_ALL := retrieval retrieval+search model model+search both both+search
CBLDM_METHODS_geometry := $(CBLDM_ALL) diffusion+search prior+search
CBLDM_METHODS_random := retrieval model model+search both both+search
CBLDM_METHODS_size := $(CBLDM_ALL)
CBLDM_METHODS_type := retrieval retrieval+search
CBLDM_METHODS_instrument := retrieval retrieval+search both+search
CBLDM_METHODS_experimental := retrieval retrieval+search both+search
CBLDM_MODELS_geometry := robust-geometry
CBLDM_MODELS_instrument := robust-geometry
CBLDM_MODELS_experimental := robust-geometry
CBLDM_MODELS_random := robust-random
CBLDM_MODELS_size := robust-size
CBLDM_SPLITS := geometry random size type instrument $(if $(CURVE_NAMES),experimental)
CBLDM_TABLES := $(CBLDM_SPLITS:%=$(CBLDM)/evaluate-%/report.md) $(CBLDM)/evaluate-geometry-baselines/report.md $(CBLDM)/evaluate-geometry-noise/report.md
evaluated = $(patsubst evaluate-%,%,$(notdir $(@D)))
models_of = $(if $(CBLDM_MODELS_$(1)),$(if $(SMOKE),robust-smoke,$(CBLDM_MODELS_$(1))))
weights_of = $(if $(1),--weights $(1:%=$(CBLDM)/models/%))
CBLDM_JOBS ?= 4
CBLDM_WORDS = --jobs $(CBLDM_JOBS) $(if $(SMOKE),--clusters 2 --max-atoms $(if $(filter size,$(evaluated)),160,20))
.SECONDEXPANSION:
$(CBLDM_SPLITS:%=$(CBLDM)/evaluate-%/report.md): $$(patsubst %,$(CBLDM)/models/%.trained,$$(call models_of,$$(evaluated))) | .venv/synced
	$(BIN)/cbldm evaluate --split $(evaluated) --methods $(CBLDM_METHODS_$(evaluated)) $(call weights_of,$(call models_of,$(evaluated))) $(if $(filter experimental,$(evaluated)),--curves $(CURVES)) $(CBLDM_WORDS) --out $(@D)
CBLDM_BASELINES := $(if $(SMOKE),robust-smoke,robust-geometry robust-distance graph-cvae)
$(CBLDM)/evaluate-geometry-baselines/report.md: $(CBLDM_BASELINES:%=$(CBLDM)/models/%.trained) | .venv/synced
	$(BIN)/cbldm evaluate --split geometry --methods model model+search $(call weights_of,$(CBLDM_BASELINES)) $(CBLDM_WORDS) --out $(@D)
$(CBLDM)/evaluate-geometry-noise/report.md: $(patsubst %,$(CBLDM)/models/%.trained,$(call models_of,geometry)) | .venv/synced
	$(BIN)/cbldm evaluate --split geometry --noise 0.01 --methods retrieval retrieval+search model+search both+search $(call weights_of,$(call models_of,geometry)) $(CBLDM_WORDS) --out $(@D)
paper-cbldm: $(CBLDM_RUNS) $(CBLDM_TABLES) ## all splits with all methods, and structures recovered from measured curves (CURVES=folder CBLDM_JOBS=4)
	@cat $(CBLDM_TABLES:report.md=table.md)
	@$(TABLES) $(RESULTS)/cbldm --file candidates.csv --figures "type=type" "parameters=parameters" "atoms=atoms" "Rw=rw"

GFD := $(RESULTS)/gradient-flow-drifting
GFD_SETS := $(if $(SMOKE),8gaussians sphere,8gaussians 25grid moons checkerboard swissroll pinwheel two_spirals ring sphere)
GFD_IMAGES := $(if $(SMOKE),digits,digits digits-conditional)
GFD_RUNS := $(call runs,gradient-flow-drifting,$(GFD_SETS) $(GFD_IMAGES),$(if $(SMOKE),0,0 1 2 3 4),evaluation.json)
GFD_WORDS := $(if $(SMOKE),--objective.steps 10 --draws 1 --frames 5)
GFD_SET_WORDS := $(if $(SMOKE),--flow.steps 5 --regression.steps 10)
GFD_IMAGE_WORDS := $(if $(SMOKE),--objective.encoder.steps 10)
$(GFD_RUNS): | .venv/synced
	$(BIN)/gradient-flow-drifting train $(if $(wildcard $(@D)/config.json),--resume $(@D),$(preset_of) --seed $(seed_of) --out $(@D) $(GFD_WORDS) $(if $(findstring digits,$(preset_of)),$(GFD_IMAGE_WORDS),$(GFD_SET_WORDS)))
$(GFD)/paper/paper.html: | .venv/synced
	$(BIN)/gradient-flow-drifting paper --out $(@D) $(smoke_flag)
paper-gradient-flow-drifting: $(GFD)/paper/paper.html $(GFD_RUNS) ## divergences and kernels side by side, generators on the toy data sets and on digits, five seeds
	@$(TABLES) $(GFD) --file evaluation.json --figures "W₂=w2.value" "floor=w2.floor" "W₂/floor=w2_over_floor" "coverage=coverage.value" "high-quality share=high_quality.value" "off-support share=off_support.value" "sliced W₂=sliced_w2.value" "sliced floor=sliced_w2.floor" "precision=precision.value" "precision floor=precision.floor" "recall=recall.value" "recall floor=recall.floor"
	@cat $(GFD)/paper/modes.md; echo; echo $(GFD)/paper/paper.html

# CIFAR-100 and Omniglot as arrays with ViT-Tiny's weights, and data sets in folders, where they are given.
CIFAR100 ?=
OMNIGLOT ?=
VIT_TINY ?=
SETS ?=
JOBS ?= 2
QKD := $(RESULTS)/qkd-cil
QKD_ARRAYS := $(if $(CIFAR100),cifar100-small=$(CIFAR100)) $(if $(OMNIGLOT),omniglot-small=$(OMNIGLOT))
QKD_SETS := digits-b0-inc2 $(QKD_ARRAYS) $(SETS)
names = $(foreach set,$(1),$(firstword $(subst =, ,$(set))))
QKD_PAPER := $(BIN)/python -m benchmarks.qkd_cil.paper
QKD_WORDS := --jobs $(JOBS) $(if $(VIT_TINY),--weights $(VIT_TINY)) $(if $(SMOKE),--smoke --seeds 1993)
paper-qkd-cil: .venv/synced ## all methods, three seeds (CIFAR100=a.npz OMNIGLOT=b.npz VIT_TINY=w.safetensors SETS="imagenet-r-b0-inc20=folder")
	$(QKD_PAPER) $(QKD) $(QKD_SETS:%=--set %) $(QKD_WORDS)
	@for set in $(call names,$(QKD_SETS)); do $(BIN)/qkd-cil compare $(QKD)/$${set}_qkd $$(ls -d $(QKD)/$${set}_* | grep -v _qkd$$) --out $(QKD)-$$set; done
	for set in $(call names,$(QKD_SETS)); do $(BIN)/python -m benchmarks.qkd_cil.gates $(QKD)/$${set}_qkd/* --out $(QKD)-$$set || exit 1; done
	@$(TABLES) $(QKD) --file result.json --figures "average=summary.average_accuracy" "last=summary.last_accuracy" "forgetting=summary.forgetting" "routing=summary.average_routing_accuracy" "CPU seconds=cpu_seconds"
tune-qkd-cil: .venv/synced ## try the learning rates that paper-qkd-cil takes, into benchmarks/results/qkd-cil/*tuning.json
	$(QKD_PAPER) $(QKD)-tuning $(QKD_ARRAYS:%=--set %) $(QKD_WORDS) --tune
	for set in $(call names,$(QKD_ARRAYS)); do $(BIN)/python -m benchmarks.qkd_cil.gates $(QKD)-tuning/$${set}_qkd/* --tune || exit 1; done
