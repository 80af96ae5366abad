# One verb each. `make demo` needs Python ≥ 3.11, make and a package index; `make test` Chromium and npm besides.
.DEFAULT_GOAL := help
.PHONY: help demo test quick proof coverage check fmt bench bench-against load browser gallery lighthouse attack sbom clean

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8701
API_PORT ?= 8700
PROFILE ?= ordinary
SECONDS ?= 60
# Half of a test's time is waiting for servers that were stopped on purpose: three workers for two cores, and whoever is idle takes over.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 3 / 2)

# The tests of what coverage is measured of, and of the two floors that use it most.
COVERED := $(addprefix tests/zpcode/,rules wire services projection exports)

help: ## what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "需要 Python 3.11 或更新版本 / Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Pinned twice: direct dependencies in pyproject.toml, what they depend on in constraints.txt.
$(VENV)/.local: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[local]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[local,dev]'
	@touch $@ $(VENV)/.local

demo: $(VENV)/.local ## everything running on this machine; HOST=… binds another address
	@exec $(BIN)/zpcode demo --host $(HOST) --port $(PORT) --api-port $(API_PORT)

browser: ## Chromium, fonts and npm tools for the browser tests, where they are missing (Debian; as root)
	@sh tests/browser/install.sh

test: $(VENV)/.dev browser ## all tests but the minute-long ones, against a real PostgreSQL, a real Valkey and a real Chromium
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not proof"

quick: $(VENV)/.dev ## unit tests, and the tests of what is changed against main; under a minute
	$(BIN)/python -m tests.quick

proof: $(VENV)/.dev browser coverage ## what takes minutes by nature: servers that fall, processes killed in series, faults put into the code; and coverage
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m proof

coverage: $(VENV)/.dev ## branch coverage of rules, wire and services by their own tests; fails below 95 %
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not proof" --cov --cov-report=term $(COVERED)

attack: $(VENV)/.dev ## attack a demo with what strangers, customers and stolen credentials can do, and print what was tried
	$(BIN)/python -m tests.attack $(NAMES)

check: $(VENV)/.dev ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## format, and fix automatically what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## figures as ratios within one run, into build/bench.json
	$(BIN)/python -m loadtests.bench.run

bench-against: $(VENV)/.dev ## the scan path against an older revision, old and new in alternating rounds; REV=…
	@test -n "$(REV)" || { echo "用法 / usage: make bench-against REV=HEAD~1" >&2; exit 2; }
	$(BIN)/python -m loadtests.bench.against $(REV)

load: $(VENV)/.dev ## a load test on this machine; PROFILE=ordinary|double11|recall|scraper|lines, SECONDS=…
	$(BIN)/python -m loadtests run $(PROFILE) --seconds $(SECONDS)

sbom: $(VENV)/.dev ## what the service is made of at run time, CycloneDX, and its licences; fails on one that is not accepted
	$(BIN)/python -m tests.sbom

gallery: $(VENV)/.dev browser ## every page in both languages, two sizes, two themes, into build/gallery/index.html; PICTURES=1: the README's too
	$(BIN)/python -m tests.browser.gallery $(if $(PICTURES),--pictures)

lighthouse: $(VENV)/.dev browser ## three pages on a simulated slow 4G phone, into build/lighthouse.json; fails where what must hold does not
	$(BIN)/python -m tests.browser.lighthouse

clean: ## throw away the virtual environment, the demo's state and what was built
	rm -rf $(VENV) .zpcode build tests/browser/node_modules
