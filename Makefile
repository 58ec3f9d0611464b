# Two commands serve a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3))
VENV ?= .venv
SOURCES := $(shell find src -type f -not -name '*.pyc') meson.build pyproject.toml
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-all bench lint types install clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## make .venv and install glassloop into it, with what its tests need

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(VENV)/bin/python $(SOURCES) requirements/test.txt
	$(VENV)/bin/python -m pip install -q -r requirements/test.txt
	$(VENV)/bin/python -m pip install -q --force-reinstall --no-deps .
	@touch $@

test: $(INSTALLED)  ## set up and run the tests
	$(VENV)/bin/python -m pytest -q

clean:  ## remove what the other targets made
	rm -rf $(VENV) build
