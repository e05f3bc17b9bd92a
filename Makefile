# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-slow results lint types clean

# One virtual environment serves both commands; it is made anew when a pin or a dependency changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/scoregrain analyze unet-16 digits --out demo-report --overwrite

test: lint types $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python -m pytest -q --doctest-modules src --pyargs src

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

results: $(VENV)/.installed
	$(BIN)/python docs/build_results.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo-report .mypy_cache .ruff_cache .pytest_cache
