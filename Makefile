# On a fresh machine with Python 3.11: `make demo` or `make test`; each makes .venv, installs and runs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEPENDENCIES := setup.cfg pyproject.toml constraints.txt
# NequIP and SevenNet cannot be installed beside MACE: their adapters are tested in an environment of their own.
ADAPTERS := .venv-adapters

.PHONY: demo test test-adapters lint bench clean

demo: $(VENV)/demo.done
	$(BIN)/fluxan demo

test: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-adapters: $(ADAPTERS)/test.done
	OMP_NUM_THREADS=1 $(ADAPTERS)/bin/python -m pytest tests/potentials/adapters

bench: $(VENV)/test.done
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 $(BIN)/python -m benchmarks.run

lint: $(VENV)/test.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "needs $(PYTHON); name another with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.done: $(DEPENDENCIES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/test.done: $(DEPENDENCIES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@ $(VENV)/demo.done

$(ADAPTERS)/test.done: setup.cfg pyproject.toml .ci/constraints-adapters.txt
	$(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/python -m pip install --quiet --constraint .ci/constraints-adapters.txt \
		--editable ".[nequip,sevennet]" "pytest>=8" "pytest-timeout>=2.3"
	touch $@

clean:
	rm -rf $(VENV) $(ADAPTERS) demo build *.egg-info
