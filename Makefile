# `make head` turns a photo into a 3D head in out/; `make test` checks the package. Both need Python 3.10-3.12 and make.
PYTHON ?= python3
VENV ?= .venv
PHOTO ?= astronaut
OUT ?= out
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export OMP_WAIT_POLICY ?= passive

.PHONY: head test lint gallery clean

# through the environment: names may hold spaces, quotes and $
head: export PHOTO_FILE := $(value PHOTO)
head: export OUT_FOLDER := $(value OUT)
head: $(STAMP)
	@if [ "$$PHOTO_FILE" = astronaut ]; \
	then $(BIN)/gen3dface head -o "$$OUT_FOLDER" --example astronaut; \
	else $(BIN)/gen3dface head -o "$$OUT_FOLDER" -- "$$PHOTO_FILE"; fi

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
