# make lab    opens the tour in JupyterLab          make gallery  trains the gallery of finished runs
# make test   runs everything that CI runs          make evidence measures the paper's claims on it: EVIDENCE.md
# make unit   runs its quick tests only             make slow     runs its other tests
# make site   writes the notebooks as pages: _site  make bench    runs the benchmarks
# make clean  removes .venv, pages and caches       make mutants  says how many small faults the core's tests notice
# make gpu    checks and times all of it on a GPU   make variants trains every variant of LoRA with and without CoTo
# make merging trains the adapters that are merged  make merged   merges them by every rule, and scores them

PYTHON ?= python3
LAB_ARGS ?=
GALLERY_ARGS ?=
VARIANTS_ARGS ?=
MERGING_ARGS ?=
MERGED_ARGS ?=
BENCH_ARGS ?=
GPU_ARGS ?=
MUTANTS_ARGS ?=
NOTEBOOK ?= 00_tour
CELL_SECONDS ?= 120

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
TORCH := $(shell grep -m 1 '^torch==' constraints.txt)

# By default glibc returns large freed blocks to the system and requests them again, page by page, at the next step. Activations
# are freed at every step. With these two lines glibc keeps them; without, a step with ten rows takes thousands of page faults.
export MALLOC_MMAP_THRESHOLD_ := 1073741824
export MALLOC_TRIM_THRESHOLD_ := 4294967296

# pip would compile all modules of all packages, which takes longer than to install them; Python compiles what is imported, and
# keeps it unless this variable forbids it, as in some containers.
export PIP_COMPILE := 0
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab test unit slow environments gallery variants merging merged evidence bench gpu mutants site clean
.DELETE_ON_ERROR:

# The address that JupyterLab prints opens the notebook, too. In a container one is often root, and JupyterLab then refuses to start
# without --allow-root.
lab: $(VENV)/.lab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/notebooks/$(NOTEBOOK).ipynb $(LAB_ARGS)

# Two processes share the tests, and each computes with one thread: first all that is quick; then what is slow (tests/conftest.py
# says what), a file in one process, since its tests share what took long to make; and the notebooks as they are. Our "warnings
# are errors" is for pytest's own process, so it is off for nbval. nbval interrupts a cell that takes longer than CELL_SECONDS and
# then expects the later ones to fail; training takes the interrupt as Stop and goes on, so a later cell that passes after a
# timeout has to count as a failure (xfail_strict). All ways of running notebooks take the fast scale (shorter trainings), as a
# setup cell's own output says.
test: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(MAKE) unit
	$(MAKE) slow

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests --ignore=tests/browser

slow: $(VENV)/.test environments
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow tests --ignore=tests/browser
	COTO_LAB_FAST=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -x -p no:warnings -o xfail_strict=true \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=$(CELL_SECONDS) notebooks
	COTO_LAB_FAST=1 $(BIN)/python -m pytest tests/browser

gallery: $(VENV)/.lab
	$(BIN)/python data/make_gallery.py $(GALLERY_ARGS)

variants: $(VENV)/.lab
	$(BIN)/python data/make_variants.py $(VARIANTS_ARGS)

merging: $(VENV)/.lab
	$(BIN)/python data/make_merging.py $(MERGING_ARGS)

merged: $(VENV)/.lab
	$(BIN)/python data/make_merged.py $(MERGED_ARGS)

evidence: $(VENV)/.test
	$(BIN)/python data/make_evidence.py

bench: $(VENV)/.test
	@test -e benchmarks/bench.py || { echo "there are no benchmarks in this checkout (benchmarks/bench.py)" >&2; exit 1; }
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

gpu: $(VENV)/.lab
	$(BIN)/python benchmarks/gpu.py $(GPU_ARGS)

mutants: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py $(MUTANTS_ARGS)

site: $(VENV)/.test
	$(BIN)/python pages/build.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist test-results _site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +

# Stamps: a second make installs nothing. A copied folder needs `make clean` first: .venv holds its old path, so a stamp that a
# copy kept would be wrong. PyTorch comes first and by itself, so that pip takes the build that fits this
# machine (CPU or CUDA) before any other package asks for it.
$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt $(TORCH)
	touch $@

$(VENV)/.lab: $(VENV)/.torch pyproject.toml
	$(PIP) install -c constraints.txt -e ".[lab]"
	touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) install -c constraints.txt -e ".[test]"
	touch $@ $(VENV)/.lab

# Two environments more, in $(VENV)/lowest and $(VENV)/colab, that share its torch: the lowest versions that the package admits,
# and what Colab has (tests/test_environments.py). They are made at the same time.
environments: $(VENV)/.test
	$(MAKE) -j 2 $(VENV)/.lowest $(VENV)/.colab

$(VENV)/.lowest $(VENV)/.colab: $(VENV)/.%: $(VENV)/.test tests/%.txt tests/environments.py
	$(BIN)/python tests/environments.py $*
	touch $@
