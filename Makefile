# Everything here sets itself up: nothing is needed but Python 3.11 or newer, with its venv module.
#
# Tests, lint and benchmarks run on the checkout; `make run` and `.venv/bin/hopbench` on the package
# as a user would install it, which is installed again whenever a source has changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
ROOMS  := hopbench services loadgen analysis scenarios
SOURCES := $(shell find $(ROOMS) -type f -not -path '*/__pycache__/*' 2>/dev/null)

# What pip installs beside the package, read from pyproject.toml: dependency groups themselves are
# known to pip from 25.1 on, and Python 3.11 comes with an older one.
DEV := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")

.PHONY: help run test test-slow test-real test-browser bench null-truth lint format proto clean

help:
	@echo "make run           run the scenario 'checkout' and show what is wrong with it"
	@echo "make test          the fast tests"
	@echo "make test-slow     tests with real processes"
	@echo "make test-real     against Docker where it answers, and the real parts that are named:"
	@echo "                   HOPBENCH_TEST_KAFKA=HOST:PORT HOPBENCH_TEST_JAEGER=http://HOST:PORT"
	@echo "                   HOPBENCH_TEST_JAEGER_OTLP=HOST:PORT"
	@echo "make test-browser  the report in a real browser"
	@echo "make bench         speed and memory against their targets"
	@echo "make null-truth    whether verdicts keep their level, by simulation (minutes)"
	@echo "make lint          ruff, formatting, types"
	@echo "make proto         generate services/pb from proto/"

.make/libraries: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hopbench needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@mkdir -p .make
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c '$(DEV)' > .make/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c requirements.lock -r .make/dev.txt .
	@rm -rf build hopbench.egg-info
	@touch $@

.make/package: .make/libraries $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --force-reinstall .
	@rm -rf build hopbench.egg-info
	@touch $@

run: .make/package
	$(BIN)/hopbench run checkout

# On two cores; tests of one file run in one process, since they share what they measured.
test: .make/libraries
	$(PYTEST) -n 2 --dist loadfile -m "not slow and not browser and not real"

# pytest exits 5 where no test is marked so; that is no failure.
test-slow: .make/package
	$(PYTEST) -m "slow and not real" || test $$? -eq 5

test-real: .make/package
	$(PYTEST) -m real

test-browser: .make/libraries
	$(PYTEST) -m browser || test $$? -eq 5

bench: .make/libraries
	$(BIN)/python -m benchmarks

null-truth: .make/libraries
	$(BIN)/python -m benchmarks.null_truth

lint: .make/libraries
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .make/libraries
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

proto: .make/libraries
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=services/pb --pyi_out=services/pb \
	  proto/*.proto

clean:
	rm -rf $(VENV) .make build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(ROOMS) tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
