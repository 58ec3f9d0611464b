# Two commands serve a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3))
VENV ?= .venv
LINT_VENV ?= .venv-lint
BENCH_VENV ?= .venv-bench
SOAK_SECONDS ?= 600
SOURCES := $(shell find src -type f -not -name '*.pyc') meson.build pyproject.toml
INSTALLED := $(VENV)/.installed
LINT_INSTALLED := $(LINT_VENV)/.installed
BENCH_INSTALLED := $(BENCH_VENV)/.installed
# Peers that do not install everywhere: each is left out where it fails.
BENCH_PEERS := "rloop>=0.5" "rsloop>=0.1.60" "blazio>=0.1" "aiofastnet>=1"

.PHONY: help demo test test-stock test-all bench bench-smoke bench-plot soak lint types sanitize install print-python clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED)  ## 10,000 downloads at once on glassloop, beside stock asyncio and threads
	$(VENV)/bin/python -m pip install -q -r requirements/demo.txt
	$(VENV)/bin/python examples/demo.py

test: $(INSTALLED)  ## set up and run the tests
	$(VENV)/bin/python -m pytest -q

test-stock: $(INSTALLED)  ## the tests of the loop on asyncio's own tasks, as where the layout proof fails
	GLASSLOOP_TASKS=stock $(VENV)/bin/python -m pytest -q tests/core tests/contract tests/stress

test-all:  ## the whole suite, CPython's own tests included, on each Python that is found
	tools/test-all

bench: $(BENCH_INSTALLED)  ## compare with other event loops, side by side (about 25 minutes)
	$(BENCH_VENV)/bin/python -m benchmarks --json bench-results/latest.json --markdown bench-results/latest.md

bench-smoke: $(BENCH_INSTALLED)  ## check that every benchmark runs and gets right answers (under a minute)
	$(BENCH_VENV)/bin/python -m benchmarks --smoke

bench-plot: $(BENCH_INSTALLED)  ## draw docs/benchmarks.svg from what the last `make bench` wrote
	$(BENCH_VENV)/bin/python -m benchmarks.plot

soak: $(INSTALLED)  ## all kinds of load at once for SOAK_SECONDS (600), with checksums; nothing may be left
	$(VENV)/bin/python tests/stress/soak.py --seconds $(SOAK_SECONDS)

lint: $(LINT_INSTALLED)  ## ruff and cython-lint
	$(LINT_VENV)/bin/ruff check .
	$(LINT_VENV)/bin/ruff format --check .
	PATH="$(abspath $(LINT_VENV))/bin:$$PATH" cython-lint src

types: $(LINT_INSTALLED)  ## mypy, and the stubs of the compiled modules against the modules
	$(LINT_VENV)/bin/mypy
	$(LINT_VENV)/bin/python -m mypy.stubtest glassloop --allowlist tools/stubtest-allowlist.txt \
	  --ignore-unused-allowlist --ignore-disjoint-bases

sanitize:  ## the tests on modules built with AddressSanitizer and UBSan
	PYTHON=$(PYTHON) tools/sanitize

install: $(INSTALLED)  ## make .venv and install glassloop into it, with what its tests need

$(VENV)/bin/python $(LINT_VENV)/bin/python $(BENCH_VENV)/bin/python:
	$(PYTHON) -m venv $(@D)/..

$(INSTALLED): $(VENV)/bin/python $(SOURCES) requirements/test.txt requirements/programs.txt
	$(VENV)/bin/python -m pip install -q -r requirements/programs.txt
	$(VENV)/bin/python -m pip install -q --force-reinstall --no-deps .
	@touch $@

$(LINT_INSTALLED): $(LINT_VENV)/bin/python $(SOURCES) requirements/lint.txt
	$(LINT_VENV)/bin/python -m pip install -q -r requirements/lint.txt
	$(LINT_VENV)/bin/python -m pip install -q --force-reinstall --no-deps .
	@touch $@

$(BENCH_INSTALLED): $(BENCH_VENV)/bin/python $(SOURCES) requirements/bench.txt
	$(BENCH_VENV)/bin/python -m pip install -q -r requirements/bench.txt
	@for peer in $(BENCH_PEERS); do \
	  $(BENCH_VENV)/bin/python -m pip install -q --only-binary :all: "$$peer" 2>/dev/null \
	  || echo "$$peer does not install here: it is left out"; done
	$(BENCH_VENV)/bin/python -m pip install -q --force-reinstall --no-deps .
	@touch $@

print-python:
	@echo $(PYTHON)

clean:  ## remove what the other targets made
	rm -rf .venv .venv-* build dist bench-results
