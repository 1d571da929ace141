# sluice's front door; the work is done by meson, ninja and the scripts in tools/.
# `make help` lists the targets.  ARGS is passed to what a target runs:
#   ARGS='--check http://127.0.0.1:9000/check' make run

PYTHON := /usr/bin/python3
MESON  := meson setup
JOBS   ?= $(shell nproc)
NINJA  := ninja -j $(JOBS)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

RELEASE := --buildtype=debugoptimized -Dprefix=$(PREFIX)

# Set for what runs behind a target that has seen to them.
INSTALL_DEPS := $(if $(DEPS_ARE_THERE),@:,@tools/install-deps)

.DEFAULT_GOAL := help
.PHONY: help deps deps-build deps-coverage build run test lint fuzz bench soak coverage docs install deb clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One after the other, since apt-get locks.
deps: | deps-build ## install the Debian packages that building and testing need
	$(INSTALL_DEPS) test

deps-build:
	$(INSTALL_DEPS) build

deps-coverage: | deps
	$(INSTALL_DEPS) coverage

build: build/release/build.ninja ## install what is missing, build build/release/sluice
	@$(NINJA) -C build/release sluice

run: build ## the same, and start the proxy on 127.0.0.1:8080
	@exec build/release/sluice run $(ARGS)

test: deps ## build with sanitizers and run every test
	@DEPS_ARE_THERE=1 $(PYTHON) tools/run-tests --jobs $(JOBS) $(ARGS)

lint: deps build/clang/build.ninja ## layers, sizes, exported names, format, clang-tidy
	@DEPS_ARE_THERE=1 $(PYTHON) tools/run-tests --only lint --jobs $(JOBS) $(ARGS)

fuzz: deps build/clang/build.ninja ## run each fuzz target for FUZZ_SECONDS (60)
	@$(NINJA) -C build/clang fuzz-targets
	@tools/run-fuzz build/clang $(FUZZ_SECONDS) $(ARGS)

bench: deps build ## CPU a request in the four regimes of forging, as a table; HTTP/2 beside HTTP/1
	@$(NINJA) -C build/release bench/origin bench/loadgen bench/forge
	@$(PYTHON) bench/story $(ARGS); story=$$?; $(PYTHON) bench/streams && exit $$story

soak: deps build ## an hour of mixed load, idle connections, huge bodies (SOAK_SECONDS)
	@$(NINJA) -C build/release bench/origin bench/loadgen
	@$(PYTHON) bench/soak $(ARGS)

coverage: build/coverage/build.ninja ## line coverage of unit and integration tests
	@DEPS_ARE_THERE=1 $(PYTHON) tools/run-tests --only coverage --jobs $(JOBS) $(ARGS)

docs: ## write docs/ERRORS.md, STATES.md and the tests of THREAT-MODEL.md, check the man pages
	$(INSTALL_DEPS) docs
	@$(PYTHON) tools/gen-docs

install: build/release/build.ninja ## install under PREFIX (/usr/local), honours DESTDIR
	@grep -qxF 'prefix = $(PREFIX)' build/release/meson-private/cmd_line.txt || \
		meson configure build/release -Dprefix=$(PREFIX)
	@$(NINJA) -C build/release sluice
	@meson install -C build/release --no-rebuild

deb: deps-build ## build a Debian package into build/
	@packaging/debian/build-deb

clean: ## remove build/
	rm -rf build

build/release/build.ninja: | deps-build
	@$(MESON) build/release $(RELEASE)

build/asan/build.ninja: | deps
	@CC=gcc $(MESON) build/asan -Db_sanitize=address,undefined

build/tsan/build.ninja: | deps
	@CC=clang $(MESON) build/tsan -Db_sanitize=thread

build/clang/build.ninja: | deps
	@CC=clang $(MESON) build/clang -Db_sanitize=address,undefined -Dfuzz=true

build/coverage/build.ninja: | deps-coverage
	@CC=gcc $(MESON) build/coverage -Dbuildtype=debug -Db_coverage=true
