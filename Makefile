# Two commands do everything: `make demo` and `make test`. Both need Python 3.11+, pip and make, and nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo docs drill test test-slow soak check spark test-spark lock clean help

help:
	@echo "make demo   set up .venv, run the main job on the bundled sample, print what creators earned"
	@echo "make test   set up .venv, lint, check types, run every test that is not slow (marker slow)"
	@echo "make test-slow   set up .venv, run the others"
	@echo "make soak SEEDS=1-40   live through platforms at random, with everything that goes wrong, and check them after every step"
	@echo "make test-spark   add Spark to .venv (430 MB to load; Java 17 or 21 must be there) and run its tests"
	@echo "make docs   make a site with search out of docs/, in build/site"
	@echo "make drill  lose everything on the sample, restore it from a backup, prove it; LAKE=\"host=... dbname=...\" for a lake"
	@echo "make lock   resolve pyproject.toml anew into the files requirements*.lock"

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
	$(BIN)/lint-imports --no-cache

# A file's tests stay together, so that the homes they share are built once; in order, so that the longest begin first.
# Each of the two processes has a core to itself: with threads of its own, BLAS would wait for itself.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test: check
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.ready
	$(PYTEST) -m slow --durations=15 --durations-min=5

# In an environment of its own: whoever pays creators needs no site generator.
$(VENV)-docs/.ready: requirements-docs.lock
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	@touch $@

# Strict: a link that leads nowhere, or a docstring that does not fit its function, stops it.
docs: $(VENV)/.ready $(VENV)-docs/.ready
	$(BIN)/python docs/reference.py docs/reference
	$(VENV)-docs/bin/zensical build --clean --strict

SEEDS ?= 1-40
soak: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.search $(SEEDS)

# In a lock of its own: 430 MB to load and a Java are much to ask for what the two commands above do without.
spark: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-spark.lock

test-spark: spark
	$(BIN)/pytest -m spark

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev,lake]'
	$(VENV)-lock/bin/python -m pip freeze --exclude creator-earnings > requirements.lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev,spark]'
	$(VENV)-lock/bin/python -m pip freeze --exclude creator-earnings | grep -vxFf requirements.lock > requirements-spark.lock
	$(VENV)-lock/bin/python -m pip uninstall --quiet --yes --requirement requirements-spark.lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev,deploy]'
	$(VENV)-lock/bin/python -m pip freeze --exclude creator-earnings | grep -vxFf requirements.lock > deploy/requirements.lock
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check zensical 'mkdocstrings[python]'
	$(VENV)-lock/bin/python -m pip freeze > requirements-docs.lock
	rm -rf $(VENV)-lock

drill: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/drill.sh $(if $(LAKE),"$(LAKE)")

clean:
	rm -rf $(VENV) $(VENV)-docs docs/reference build/site
