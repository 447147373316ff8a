# `make demo` and `make test` work from nothing but Python 3.11 to 3.13, make and the package index.
#
#   make demo        the built-in example (one minute)         make lint         style, types, layers
#   make test        everything but the slow tests             make format       let ruff format the code
#   make test-slow   the slow tests                            make clean        remove caches
#   make lock        resolve requirements.lock anew            make test-newest  the tests on the newest versions
#                                                              make test-oldest  the tests on the lowest versions
#
# VENV names the environment's folder, PYTHON the Python that makes it, JOBS the test processes. The environment holds
# what requirements.lock says, to the hash of every file; those of test-newest and test-oldest are made anew each time,
# beside it, from what pyproject.toml allows.

VENV ?= .venv
# The first Python on the path that the lock is resolved for.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
JOBS ?= 2
PYTEST_ARGS ?=
# Empty, the versions in the lock stay where they still fit.
LOCK_ARGS ?= --upgrade

BIN := $(VENV)/bin
# This clone's sources come first, so one environment can serve several clones at once.
export PYTHONPATH := $(CURDIR)/src
# Threads that spin while they wait take the CPU from those that work (two test processes on two cores).
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
# What packages without wheels (seqeval) and polysense itself are built with. Without build isolation, that is the lock's too.
BUILD_TOOLS := setuptools|setuptools-scm|vcs-versioning|typing-extensions|packaging|wheel|hatchling|pathspec|pluggy|trove-classifiers|editables
COMPILE := "$(BIN)/uv" pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

.PHONY: help env demo test test-slow test-newest test-oldest pytest lint format lock clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

# The stamp is named by the hash of the lock and of pyproject.toml (entry points): a change of either makes the
# environment anew, nothing else does.
env:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 was found; install one, or name it: make PYTHON=..." >&2; exit 2; }
	@set -e; \
	hash=$$("$(PYTHON)" -c "import hashlib; print(hashlib.sha256(open('requirements.lock', 'rb').read() + open('pyproject.toml', 'rb').read()).hexdigest()[:12])"); \
	if ! test -e "$(VENV)/.polysense-$$hash" || ! "$(BIN)/python" -c '' 2>/dev/null; then \
		echo "installing requirements.lock into $(VENV) (once; a few minutes)"; \
		"$(PYTHON)" -m venv --clear "$(VENV)"; \
		awk '/^[a-z]/ { keep = /^($(BUILD_TOOLS))==/ } keep' requirements.lock > "$(VENV)/build-tools.lock"; \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$(VENV)/build-tools.lock"; \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --require-hashes -r requirements.lock; \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
		echo "$(CURDIR)" > "$(VENV)/.polysense-$$hash"; \
	elif test "$$(cat "$(VENV)/.polysense-$$hash")" != "$(CURDIR)"; then \
		"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
		echo "$(CURDIR)" > "$(VENV)/.polysense-$$hash"; \
	fi

demo: env
	"$(BIN)/polysense" demo $(if $(OUTPUT),-o "$(OUTPUT)")

# Last, so that pytest's summary ends the output and its exit code is make's.
test: lint
	@$(TEST_ENV) "$(BIN)/python" -m pytest -m "not slow" -n $(JOBS) --dist worksteal -q $(PYTEST_ARGS)

test-slow: env
	@$(TEST_ENV) "$(BIN)/python" -m pytest -m slow -q $(PYTEST_ARGS)

# Third parties' deprecations are listed at the end instead of failing; every other warning still is an error.
test-newest: env
	@"$(BIN)/uv" venv --quiet --clear --python "$(BIN)/python" "$(VENV)-newest"
	@"$(BIN)/uv" pip install --quiet --python "$(VENV)-newest/bin/python" --upgrade -e '.[dev]'
	@$(TEST_ENV) "$(VENV)-newest/bin/python" -m pytest --list-deprecations -m "not slow" -n $(JOBS) --dist worksteal -q $(PYTEST_ARGS)

test-oldest: env
	@"$(BIN)/uv" venv --quiet --clear --python "$(BIN)/python" "$(VENV)-oldest"
	@"$(BIN)/uv" pip install --quiet --python "$(VENV)-oldest/bin/python" --resolution lowest-direct -e '.[dev]'
	@$(TEST_ENV) "$(VENV)-oldest/bin/python" -m pytest --list-deprecations -m "not slow" -n $(JOBS) --dist worksteal -q $(PYTEST_ARGS)

lint: env
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check --quiet .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

format: env
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

# The newest versions that fit together, for every Python and platform of [tool.uv]; then what `polysense doctor` says
# of them.
# Where an older environment is at hand, its resolver serves.
lock:
	@test -x "$(BIN)/uv" || $(MAKE) --no-print-directory env
	$(COMPILE) $(LOCK_ARGS) --output-file requirements.lock
	"$(BIN)/python" scripts/make_tested_versions.py

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
