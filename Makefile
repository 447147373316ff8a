# `make demo` and `make test` work from nothing but Python 3.11 or later, make and the package index.
#
#   make demo        the built-in example (three minutes)      make lint     style, types, layers
#   make test        everything but the slow tests             make format   let ruff format the code
#   make test-slow   the slow tests                            make clean    remove caches
#
# VENV names the environment's folder, PYTHON the Python that makes it, JOBS the test processes.

VENV ?= .venv
# The first Python on the path that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
JOBS ?= 2
PYTEST_ARGS ?=

BIN := $(VENV)/bin
# This clone's sources come first, so one environment can serve several clones at once.
export PYTHONPATH := $(CURDIR)/src
# Threads that spin while they wait take the CPU from those that work (two test processes on two cores).
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.PHONY: help env demo test test-slow pytest lint format clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

# The stamp is named by the hash of pyproject.toml: a changed dependency installs again, nothing else does.
env:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later was found; install one, or name it: make PYTHON=..." >&2; exit 2; }
	@set -e; \
	hash=$$("$(PYTHON)" -c "import hashlib; print(hashlib.sha256(open('pyproject.toml', 'rb').read()).hexdigest()[:12])"); \
	if ! test -e "$(VENV)/.polysense-$$hash" || ! "$(BIN)/python" -c '' 2>/dev/null; then \
		echo "installing into $(VENV) (once; a few minutes)"; \
		"$(PYTHON)" -m venv "$(VENV)"; \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
		rm -f "$(VENV)"/.polysense-*; \
		echo "$(CURDIR)" > "$(VENV)/.polysense-$$hash"; \
	elif test "$$(cat "$(VENV)/.polysense-$$hash")" != "$(CURDIR)"; then \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
		echo "$(CURDIR)" > "$(VENV)/.polysense-$$hash"; \
	fi

demo: env
	"$(BIN)/polysense" demo $(if $(OUTPUT),-o "$(OUTPUT)")

# Last, so that pytest's summary ends the output and its exit code is make's.
test: lint
	@$(TEST_ENV) "$(BIN)/python" -m pytest -m "not slow" -n $(JOBS) -q $(PYTEST_ARGS)

test-slow: env
	@$(TEST_ENV) "$(BIN)/python" -m pytest -m slow -q $(PYTEST_ARGS)

lint: env
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check --quiet .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

format: env
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
