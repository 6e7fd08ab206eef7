# make demo      install lskel into .venv; generate a loader program and run it in this kernel
# make test      install what the tests need, then lint, check types and test
# make test-all  the same with all objects where it takes samples
# make test-vm   the part of it that boots other kernels; test-vm-all: with all objects
# make fuzz      costly objects of 1 MB, then damaged inputs, through every command: a night
# make dist      build the source distribution, the wheel and lskel.pyz in dist/
# make docs      build the documentation as a site in build/site
# make bench     run the benchmarks
# make examples  compile examples/*.bpf.c anew
# make web       build the page of lskel explain anew

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without root and without sudo, lskel shows in its simulator what it would do.
SUDO := $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))
SOURCES := $(shell find src -name '*.py' -o -name '*.j2' -o -name '*.c' -o -name '*.h' \
	-o -name '*.html')

TEST_PACKAGES := clang-19 clang-22 llvm-19 bpftool libbpf-dev linux-source-6.1 linux-source-6.12 strace gcc g++ \
	libc6-dev make xz-utils bzip2 zstd lz4 dpkg rpm iproute2 valgrind chromium chromium-driver unzip zip \
	util-linux libcap2-bin jq runc systemd \
	bash zsh fish man-db groff mandoc git python3 $(if $(shell command -v npm),,nodejs npm)
VM_PACKAGES := qemu-system-x86 busybox-static kmod

DEMO ?= syscount
DEMO_SECONDS ?= 3

help:
	@sed -n 's/^# //p' Makefile | head -n 8

demo: build/$(DEMO).lskel
	$(SUDO) $(BIN)/lskel run $< --duration $(DEMO_SECONDS)

build/%.lskel: examples/%.bpf.o $(VENV)/installed
	@mkdir -p $(@D)
	$(BIN)/lskel gen $< -o $@

# Where there is no npm, and it need not be, the page is taken as it is.
test: $(VENV)/test-packages lint $(if $(or $(CI),$(shell command -v npm)),web-check) docs
	$(BIN)/pytest -n 2
	$(MAKE) test-vm$(if $(LSKEL_ALL),-all)

test-all: export LSKEL_ALL = 1
test-all: test

# The kernels run side by side; pytest's workers would boot them once more each.
test-vm test-vm-all: $(VENV)/test-packages $(VENV)/vm-packages $(VENV)/installed-dev
	$(if $(filter %-all,$@),LSKEL_VM_WHOLE=1) $(BIN)/pytest -m vm tests/vm

# Other numbers each time. FUZZ="--seed 0 --count 1000000" runs those; see tests/fuzz.
FUZZ_SECONDS ?= 28800
FUZZ ?= --seed $$(date +%s)000000 --seconds $(FUZZ_SECONDS)
fuzz: $(VENV)/test-packages $(VENV)/installed-dev
	$(BIN)/python -m tests.corpus
	LSKEL_COSTS_SIZE=1000000 $(BIN)/pytest -q tests/hostile/test_costs.py
	$(BIN)/python -m tests.fuzz $(FUZZ) --json build/fuzz/counts.json

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page that web/ is built into is in the repository, so that nobody else needs npm.
web: web/node_modules/installed
	cd web && npm run build

web-check: web/node_modules/installed
	cd web && npm run check

web/node_modules/installed: web/package-lock.json
	cd web && npm ci
	@touch $@

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist pyz: $(VENV)/installed-dev
	$(BIN)/python scripts/dist.py

bench: $(VENV)/test-packages $(VENV)/installed-bench
	$(BIN)/python -m benchmarks

examples:
	$(MAKE) -C examples --always-make

clean:
	rm -rf $(VENV) .cache build dist web/node_modules src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "lskel needs Python 3.10 or newer: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/setup-debian.sh python3-venv
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# What is installed editable stays so. What setuptools leaves in build/ would get into the next
# install.
$(VENV)/installed: pyproject.toml $(SOURCES) | $(BIN)/python
	$(BIN)/pip install -q $(if $(wildcard $(VENV)/installed-dev),-e) .
	@rm -rf build/lib build/bdist.*
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[dev]'
	$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/installed-bench: pyproject.toml $(VENV)/installed-dev
	$(BIN)/pip install -q -e '.[bench]'
	@touch $@

# Elsewhere than in CI, tests skip what they do not find.
$(VENV)/test-packages: PACKAGES = $(TEST_PACKAGES)
$(VENV)/vm-packages: PACKAGES = $(VM_PACKAGES)
$(VENV)/test-packages $(VENV)/vm-packages: Makefile scripts/setup-debian.sh | $(BIN)/python
	if scripts/setup-debian.sh $(PACKAGES); then touch $@; else test "$$CI" != true; fi

.PHONY: help demo test test-all test-vm test-vm-all fuzz lint web web-check docs dist pyz bench examples clean
.DELETE_ON_ERROR:
