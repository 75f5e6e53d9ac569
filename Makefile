# make run | test | bench | build | generate | lint | clean
#
# Everything happens in .venv, which the first target that needs it sets up. Stamps in it say what is built:
# the engine is one file in the source tree, so building one profile takes the stamp of the other away.

PYTHON  ?= python3
PROFILE ?= release

BIN     := .venv/bin
SOURCES := Cargo.toml $(wildcard Cargo.lock) pyproject.toml \
           $(shell find crates -name '*.rs' -o -name Cargo.toml)

# Cargo and maturin must agree on the Python, or each build would throw away the other's.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test bench build generate lint clean

run: .venv/built-release
	@exec $(BIN)/prefork serve examples/synopsis.py --bind 127.0.0.1:8080

test: lint
	cargo test --workspace --quiet
	$(BIN)/python -m pytest

bench: .venv/built-release
	$(BIN)/python -m bench

build: .venv/built-$(PROFILE)

# The files that follow from options.py. They are committed: a build does not need this.
generate: .venv/ready
	$(BIN)/python -m generate

lint: .venv/built-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/mypy
	$(BIN)/stubtest prefork._engine

clean:
	rm -rf .venv target .mypy_cache .pytest_cache .ruff_cache .hypothesis python/prefork/_engine*.so

.venv/ready: constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("prefork needs Python 3.11 or newer")'
	@command -v cargo >/dev/null || { echo "prefork needs Rust 1.85 or newer: https://rustup.rs" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet maturin
	touch $@

.venv/built-%: .venv/ready $(SOURCES)
	rm -f .venv/built-*
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --profile $* --extras test,bench
	touch $@
