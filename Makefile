# One command does everything, set-up included. `make help` lists them.
#   PYTHON=python3.12   the interpreter that makes the virtual environment (3.11 or newer)
#   VENV=.venv          where it stands
#   JOBS=2              processes that the tests run in, of one thread each
#   ARGS="-k igc -x"    further arguments of the command that the target runs

PYTHON ?= python3
VENV ?= .venv
NIGHTLY ?= .venv-nightly
ARGS ?=
JOBS ?= 2
export KERAS_BACKEND = torch
# Threads that wait for work by spinning take the cores from whatever else runs: beside a second
# busy process a training step took 16 times as long.
demo docs test test-nightly: export OMP_WAIT_POLICY = PASSIVE

BIN = $(VENV)/bin
# Scripts of another project, or of an activated environment, must not come first.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help demo test test-nightly lint style format gpu-test docs benchmark clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-data ## show what a trained multigrid network sees, then train it anew
	@echo "First the network that comes with the package, on digits that it never saw:"
	$(BIN)/keras-mg evaluate segment-digits --weights digits --output-dir demo_output/shipped
	@echo "Look at demo_output/shipped/segmentation.png while the same network is trained anew:"
	$(BIN)/keras-mg train segment-digits --output-dir demo_output $(ARGS)

# Neighbours stay in one process, which makes what they share once.
test: lint ## check style and types, then run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-nightly: $(NIGHTLY)/.installed ## run the tests on the Keras of tomorrow (ARGS="tests/training")
	OMP_NUM_THREADS=1 $(NIGHTLY)/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: style ## check style and types
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python tests/typing/calls.py

style: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## write the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu-test: $(VENV)/.installed-dev ## run the tests that need CUDA
	$(BIN)/python -m pytest -m gpu $(ARGS)

docs: $(VENV)/.installed-docs ## build the documentation as a site, in build/docs/site
	$(BIN)/python -m tools.docs $(ARGS)

benchmark: $(VENV)/.installed-dev ## compare the speed with hand-written PyTorch (ARGS="NAME ...")
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the virtual environment, caches and what the demo wrote
	rm -rf $(VENV) $(NIGHTLY) demo_output build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An install is repeated only when what it installs has changed.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	@touch $@

# The two distributions of Keras write the same files: the nightly one is installed last.
$(NIGHTLY)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(NIGHTLY)
	$(NIGHTLY)/bin/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	$(NIGHTLY)/bin/python -m pip uninstall --quiet --yes keras
	$(NIGHTLY)/bin/python -m pip install --quiet --pre --no-deps keras-nightly
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "keras-mg needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments." >&2; \
	  echo "Debian and Ubuntu: apt install python3-venv; or name another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
