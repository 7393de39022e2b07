# Each target does its own set-up: a machine needs only Python (>= 3.10, for the tests >= 3.11) with pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo serve test lint bench docs clean

demo: $(VENV)/.run
	$(BIN)/unnoise generate "a red apple, 3d" --seed 7 --out outputs/demo.png --enlarge 8 --show-every 10

serve: $(VENV)/.serve
	$(BIN)/unnoise serve --open

# The networks of most tests are tiny: threads would wait for each other longer than they compute. Where a process of
# the tests dies, all end: a new one beside files that are whole already waits for ever (pytest-xdist 3.8.0).
test: $(VENV)/.test
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--no-loadscope-reorder --max-worker-restart=0

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/training.py

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.serve: $(VENV)/.run
	$(PIP) --editable ".[serve]"
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[test]"
	$(PIP) --no-deps k-diffusion==0.1.1.post1  # parity only; its dependencies are not needed
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) --editable ".[lint]"
	touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) docs/_build outputs
