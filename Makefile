# make run | test | unit | test-all | fuzz | conformance | applications | bench | build | generate | pictures | docs | lint | msrv |
#      programs | wheel | wheels | clean
#
# Everything happens in .venv, which the first target that needs it sets up. Stamps in it record what is built:
# the engine is one file in the source tree for each version of Python, so building one profile takes the
# stamp of the other away. `make test VENV=.venv-3.13 PYTHON=python3.13` uses another Python, in a virtual
# environment of its own.

comma   := ,
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= release
# Features of the native module: aws-lc, fips (docs/tls.md). `make unit FEATURES=aws-lc` tests it with them.
FEATURES ?=

BIN     := $(VENV)/bin
RELEASE := .venv-release
WITH    := $(if $(FEATURES),+$(FEATURES))
DEV     := $(VENV)/built-dev$(WITH)
EXTRAS  := $(if $(filter .venv,$(VENV)),test$(comma)bench,test)
SOURCES := Cargo.toml $(wildcard Cargo.lock) pyproject.toml \
           $(shell find crates -name '*.rs' -o -name Cargo.toml)

# Cargo and maturin must agree on the Python, or each build would throw away the other's.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images often set it. Each server that a test starts would compile the package again: twice the time of a start.
unexport PYTHONDONTWRITEBYTECODE

# Most tests wait for a process or a clock most of the time: two at once leave half of two cores idle. Each has
# its own ports and processes.
WHOLE := --numprocesses 4 --dist worksteal
# What has failed among others is run once more, without them: a machine that stands still for a moment fails no
# change. Both results are shown.
AGAIN = $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

PORT    ?= 8080

.PHONY: run test unit test-all test-python smoke-python fuzz conformance applications bench build generate pictures docs lint msrv programs \
        wheel wheels clean

# Without what only tests and the bench need, unless that is there already.
run: $(VENV)/$(if $(wildcard $(VENV)/built-release),built-release,built-alone)
	@exec $(BIN)/prefork serve examples/synopsis.py --bind 127.0.0.1:$(PORT)

test: lint msrv
	cargo test --workspace --quiet $(if $(FEATURES),--features $(FEATURES))
	$(BIN)/python -m pytest $(WHOLE) || $(AGAIN)

# What needs no process, no browser and no waiting: less than a minute.
unit: $(DEV)
	cargo test --workspace --quiet $(if $(FEATURES),--features $(FEATURES))
	$(BIN)/python -m pytest tests/unit

# The whole suite on every CPython that prefork supports and this machine has.
test-all: $(DEV)
	.ci/each-python test-python

test-python: $(DEV)
	$(BIN)/python -m pytest $(WHOLE) || $(AGAIN)

# The unit tests, and a server that serves one request. These wait for nothing: one process for each core.
smoke-python: $(DEV)
	$(BIN)/python -m pytest --numprocesses auto tests/unit tests/integration/test_first_contact.py \
	    || $(AGAIN)

# Each target of fuzz/ for so many seconds, guided by coverage: libFuzzer, built by the stable compiler. An input
# that fails is left in target/fuzz/. Once it is mended, it goes to fuzz/regressions/<target>/.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= $(notdir $(wildcard fuzz/corpus/*))
HOST          = $(shell rustc -vV | sed -n 's/^host: //p')
COVERAGE     := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks
fuzz:
	RUSTFLAGS="$(COVERAGE)" cargo build --package prefork-fuzz --bin fuzz --features libfuzzer --release \
	    --target $(HOST) --target-dir target/fuzz --config profile.release.lto=false
	@set -e; for target in $(FUZZ_TARGETS); do \
	    mkdir -p target/fuzz/corpus/$$target; \
	    echo "make fuzz: $$target for $(FUZZ_SECONDS) s"; \
	    PREFORK_FUZZ_TARGET=$$target target/fuzz/$(HOST)/release/fuzz -max_total_time=$(FUZZ_SECONDS) \
	        -max_len=4096 -timeout=20 -print_final_stats=1 -artifact_prefix=target/fuzz/$$target- \
	        target/fuzz/corpus/$$target fuzz/corpus/$$target $$(ls -d fuzz/regressions/$$target 2>/dev/null); \
	done

# Test programs of others against a server: docs/conformance.md has the results. `make conformance PARTS=litmus`
# runs one.
conformance: $(DEV)
	$(BIN)/python -m conformance $(PARTS)

# Real applications from the package index, each in an environment of its own: docs/applications.md has the
# results. `make applications PARTS="datasette quart"` runs some. `make programs` installs what some of them need.
applications: $(DEV)
	PYTHONPATH=tests $(BIN)/python -m applications $(PARTS)

bench: $(VENV)/built-release
	$(BIN)/python -m bench

build: $(VENV)/built-$(PROFILE)$(WITH)

# The files that follow from config/options/, and from docstrings. They are committed: a build does not need this.
generate: $(VENV)/ready
	$(BIN)/python -m generate

# Pictures of the live page in docs/pictures: it wants Chromium. They are committed, and differ each time.
pictures: $(DEV)
	PYTHONPATH=tests $(BIN)/python -m generate.live

# The pages of docs/ as a site in site/: without a warning, and with nothing that a browser loads from elsewhere.
docs: $(VENV)/docs-ready
	rm -rf site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir target/doctrees docs site
	@! grep -rnoE '(<script[^>]*|<link [^>]*stylesheet[^>]*|<img[^>]*) (src|href)="(https?:)?//[^"]*"' site --include '*.html'
	@! grep -rnoE '(@import|url\() *["'"'"']?(https?:)?//[^)]*' site --include '*.css'
	@echo "make docs: open site/index.html"

lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	cargo rustdoc --package prefork-python --lib --quiet -- -D warnings --document-private-items
	$(BIN)/mypy
	$(BIN)/stubtest prefork._engine

# The oldest Rust that must compile the code. Without it on the machine, clippy (in `make lint`) still refuses
# what the standard library got later.
msrv: OLDEST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv:
	@if rustup run $(OLDEST) cargo --version >/dev/null 2>&1; then \
	    set -x; rustup run $(OLDEST) cargo check --workspace --all-targets --quiet --target-dir target/msrv; \
	else \
	    echo "make msrv: Rust $(OLDEST) is not on this machine; relying on clippy"; \
	fi

# Programs that the tests, the bench and the real applications need, from Debian's packages. It never prompts.
programs:
	.ci/programs

# What users install, in dist/: a source distribution, and wheels for each CPython and platform that this machine
# can build for, checked and tried. `make wheels PLATFORMS=manylinux-x86_64 PYTHONS=python3.13` builds one.
wheels: $(RELEASE)/ready
	$(RELEASE)/bin/python -m release $(PLATFORMS:%=--platform %) $(PYTHONS:%=--python %)

# The same for PYTHON and this machine, compiled in a hurry: a test of packaging.
wheel: $(RELEASE)/ready
	$(RELEASE)/bin/python -m release --quick --platform manylinux-$(shell uname -m) --python $(PYTHON)

clean:
	rm -rf dist .venv .venv-* site target .mypy_cache .pytest_cache .ruff_cache .hypothesis python/prefork/_engine*.so

$(VENV)/ready: constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("prefork needs Python 3.11 or newer")'
	@command -v cargo >/dev/null || { echo "prefork needs Rust 1.85 or newer: https://rustup.rs" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet maturin
	touch $@

$(VENV)/docs-ready: $(VENV)/ready pyproject.toml
	$(BIN)/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])' \
	    | xargs $(BIN)/pip install --quiet
	touch $@

$(RELEASE)/ready: constraints.txt
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet auditwheel maturin twine ziglang
	touch $@

$(VENV)/built-alone: $(VENV)/ready $(SOURCES)
	rm -f $(VENV)/built-*
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --profile release
	touch $@

$(VENV)/built-%: $(VENV)/ready $(SOURCES)
	rm -f $(VENV)/built-*
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --profile $(firstword $(subst +, ,$*)) --extras $(EXTRAS) \
	    $(if $(FEATURES),--features pyo3/extension-module$(comma)$(FEATURES))
	touch $@
