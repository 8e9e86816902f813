# Two commands do all the set-up: `make demo` and `make test`.
#   PYTHON=python3.11        the interpreter the environment is made from
#   TORCH_INDEX=<url>        where pip finds torch (a CPU-only index saves gigabytes); default: pip's own
#   ROOT=.                   where store/ and runs/ go
PYTHON ?= python3
VENV ?= .venv
ROOT ?= .
TORCH_INDEX ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-cluster soak check bench format clean

demo: $(STAMP)
	$(BIN)/presight run quickstart --root $(ROOT)

test: $(STAMP)
	$(BIN)/python -P -m pytest $(PYTEST)

test-cluster: $(STAMP)
	$(BIN)/python -P -m pytest -m cluster tests/slurm $(PYTEST)

soak: $(STAMP)
	$(BIN)/python -P -m pytest -m soak $(PYTEST)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python -P $$each || exit 1; done

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An installed torch is respected: one that PYTHON has is seen through --system-site-packages, and a torch that the
# environment holds already is not replaced by the version that the tests ran with.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Presight needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv \
		$$($(PYTHON) -c 'import torch' 2>/dev/null && echo --system-site-packages) $(VENV)
	@cp constraints.txt $(VENV)/constraints.txt
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then sed -i.all '/^torch==/d' $(VENV)/constraints.txt; \
		else $(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch; fi
	$(PIP) install -c $(VENV)/constraints.txt -e '.[dev,report]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
