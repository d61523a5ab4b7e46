# Two commands do everything: `make demo` and `make test`. Both need Python 3.11+, pip and make, and nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test check lock clean help

help:
	@echo "make demo   set up .venv, run the main job on the bundled sample, print what creators earned"
	@echo "make test   set up .venv, lint, check types, run every test"
	@echo "make lock   resolve pyproject.toml anew into requirements.lock"

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "creator-earnings needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/earnings demo

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	$(VENV)-lock/bin/python -m pip freeze --exclude creator-earnings > requirements.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV)
