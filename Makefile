# `make head` turns a photo into a 3D head in out/; `make test` checks the package. Both need Python 3.10-3.12 and make.
PYTHON ?= python3
VENV ?= .venv
PHOTO ?= astronaut
OUT ?= out
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export OMP_WAIT_POLICY ?= passive

.PHONY: head test lint gallery clean

head: $(STAMP)
	$(BIN)/gen3dface head $(if $(filter astronaut,$(PHOTO)),--example astronaut,"$(PHOTO)") -o "$(OUT)"

test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	tools/link_types.sh build/types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/types $(BIN)/mypy

gallery: $(STAMP)
	$(BIN)/python benchmarks/likeness.py -o out/likeness --gallery docs

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) out
