# Two commands from a fresh clone:   make demo   and   make test
# Everything is installed into .venv; nothing outside the folder is touched.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-slow notebooks check docs bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

# The stamps are newer than pyproject.toml exactly when what it asks for is installed.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev --group datumaro
	$(BIN)/python -m pip install --quiet --no-deps "datumaro~=1.13.0"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: check
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# All walkthroughs from top to bottom; `make test` runs the first, `make test-slow` the others, too.
notebooks: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/notebooks

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	$(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.installed-dev
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) dist build demo-output site
