# make book [PRESET=reduced|paper] [DEVICE=auto|cpu|cuda]    make pdf    make rehearsal    make test    make faults    make constraints    make dist    make clean
# The first of them installs the versions of constraints.txt, which were tested; LATEST=1: the newest allowed ones, beside them.

PYTHON ?= python3
DEVICE ?= auto

VENV := .venv$(if $(LATEST),-latest)
BIN := $(VENV)/bin

.PHONY: book pdf rehearsal test faults constraints dist clean

# The report, from the committed records; with a PRESET what it lacks is trained first.
book: $(VENV)/installed
	@$(BIN)/at-repro book $(if $(PRESET),--preset $(PRESET)) --device $(DEVICE)

# The same as one PDF, printed by the system's Chromium.
pdf: $(VENV)/installed
	@$(BIN)/at-repro book --pdf $(if $(PRESET),--preset $(PRESET)) --device $(DEVICE)

# The same study on generated images, in minutes: a try of everything, and no result.
rehearsal: $(VENV)/installed
	@$(BIN)/at-repro book --preset smoke --device $(DEVICE)

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env tests notebooks

# Tries what can go wrong: kills, full disks, damaged files, bad input. Minutes; writes the table that the book shows.
faults: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults --full --output book/faults.json

# The versions that are installed, once they passed `make test`: no local build (+cpu), and nothing from elsewhere than the index.
constraints: $(VENV)/installed
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools --exclude wheel | \
		sed -e '/ @ /d' -e 's/+.*//' > constraints.txt

# The wheel and the source distribution, in dist/.
dist: $(VENV)/installed
	$(BIN)/python -m build --no-isolation --outdir dist

# One environment for both: the tests execute notebooks and build the book, so they need what the book needs.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < $(if $(LATEST),(4, 0),(3, 15)))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 $(if $(LATEST),or newer,to 3.14); name one that is: make PYTHON=python3.12"; exit 1; }
	@test ! -d $(VENV) || test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" || \
		{ echo "$(VENV) is of another Python, and made anew"; rm -rf $(VENV); }
	@echo "making $(VENV) and installing the package with its dependencies: once, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(if $(LATEST),,--constraint constraints.txt) --editable '.[test]'
	@touch $@

# What was built, but not .venv, which takes long to make again. Of the records only those of the preset smoke go.
clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find at_repro tests notebooks -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
