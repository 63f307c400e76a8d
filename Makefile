# make demo    install, train funnel on the embedded funnel data set, write ranked lists and plots
# make test    install, check style, run the test suite
# make test-all  the same with every model taken through every contract (several times as long)
#
# Needed: make and Python 3.11 or newer. Everything is installed into $(VENV), nothing elsewhere.
# A second 'make demo' shows the finished run again; remove runs/demo to train anew.
# PYTHON=...   the interpreter to build the environment with (default: the first suitable one found)
# LOCK=        install the newest versions that pyproject.toml allows, not the tested ones of the lock file
# ARGS=...     more arguments for pytest, e.g. make test ARGS="-k bvae -x"

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := runs/demo
SELECTION = -m "not exhaustive"
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python python3.13 python3.12 python3.11)
SUITABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
# The tested versions for the environment's Python, as pip constraints; none for a Python without a lock file.
MINOR = $(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
LOCK ?= $(wildcard requirements-$(MINOR).lock)
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet $(addprefix --constraint ,$(LOCK))

.PHONY: help demo test test-all format lock clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/created:
	@for candidate in $(CANDIDATES); do \
	  if $$candidate -c '$(SUITABLE)' >/dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$($$candidate --version) ..."; \
	    $$candidate -m venv --clear $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	for candidate in $(CANDIDATES); do $$candidate --version 2>&1 | sed "s|^|  $$candidate: |"; done; \
	echo "mbjax needs Python 3.11 or newer with venv and ensurepip. None of these is: $(CANDIDATES)."; \
	echo "Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12"; \
	exit 1

$(VENV)/installed: $(VENV)/created pyproject.toml requirements.txt
	@echo "Installing mbjax into $(VENV) (a few minutes the first time) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "Installing the test tools ..."
	@$(PIP) --editable '.[test]'
	@touch $@

demo: $(VENV)/installed
	@echo
	@echo "1. Train: 3,000 made-up users view, favor, cart and buy; funnel, the default model, learns from the first part of it. One to four minutes, most of it compiling what later runs find compiled."
	$(BIN)/mbjax train --dataset=demo --train.epochs=2 --train.eval_every=1 --train.batch_size=128 --model.steps=30 --workdir=$(DEMO) $(if $(wildcard $(DEMO)/config.yaml),--resume)
	@echo
	@echo "How to read the table, block 'buy'. HR@5: for what share of the users who bought something later a purchase is"
	@echo "among the first five of all 1,000 items."
	@echo "  funnel      the model: what the user may go on with and what may be new to him, in one list"
	@echo "  popularity  what everybody buys"
	@echo "  own_items   what the user viewed, favored or put into the cart: hard to beat for these 'visited' items, and it"
	@echo "              finds nothing 'unvisited', which is what learning is for"
	@echo "  optimum     the best list that there can be, known because the users are made up (best for all purchases"
	@echo "              together; it leaves unvisited ones for later)"
	@echo
	@echo "2. Write lists: the 20 best items for every user and behavior, each with its probability."
	$(BIN)/mbjax recommend --workdir=$(DEMO) --top-k=20
	@echo
	@echo "3. Look at one user. An item that is under 'such as' and under 'ranked next' was met by another behavior only."
	$(BIN)/python examples/look_at_a_user.py $(DEMO) 17
	@echo
	@echo "Learning curves and bars: $(DEMO)/plots/*.png; every epoch: $(DEMO)/metrics.csv; lists: $(DEMO)/recommendations/*.parquet"
	@echo "What the data hold:   $(BIN)/mbjax data demo"
	@echo "A log of your own:    $(BIN)/mbjax train --dataset=log.csv --log.behaviors=view,cart,buy"
	@echo "Where to go on:       README.md, docs/README.md, $(BIN)/mbjax train --help"

test: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(SELECTION) $(ARGS)

test-all: SELECTION =
test-all: test

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Resolves the newest allowed versions in a fresh environment of the same Python and records them.
lock: $(VENV)/created
	$(BIN)/python -m venv --clear $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check install --quiet '.[test]'
	@{ echo "# Versions that the test suite passed with on Python $(MINOR). Written by 'make lock'."; \
	   $(VENV)/lock/bin/python -m pip freeze --exclude mbjax; } > requirements-$(MINOR).lock
	@echo "Wrote requirements-$(MINOR).lock; run 'make test' before committing it."
	@rm -rf $(VENV)/lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
