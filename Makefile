# SPDX-License-Identifier: Apache-2.0
#
# The short names of the jobs; Meson does the building, tools/ the rest. `make help` lists them.

prefix ?= /usr/local
PREFIX ?= $(prefix)
BUILD := build

.PHONY: build run test prove soak lint install fuzz bench docs clean help

build: ## build $(BUILD)/gathering, installing what is missing
	@tools/bootstrap build
	@test -f $(BUILD)/build.ninja || \
		meson setup $(BUILD) --buildtype=release --prefix=$(PREFIX) >/dev/null || \
		{ tail -n 30 $(BUILD)/meson-logs/meson-log.txt; exit 1; }
	@ninja -C $(BUILD) --quiet

run: build ## build, then start a server with a small example (Ctrl-C ends it)
	@tools/run-example $(BUILD)/gathering

test: ## build with sanitizers and run every test; ends in "N passed, N failed"
	@tools/bootstrap test
	@tools/run-tests $(TESTFLAGS)

prove: ## run each lifecycle test with its rule off, and see it fail
	@tools/bootstrap test
	@tools/run-prove $(PROVEFLAGS)

soak: ## the long random tests, SOAK_SECONDS (600)
	@tools/bootstrap test
	@tools/run-soak

lint: ## clang-format, clang-tidy, cppcheck, layers
	@tools/bootstrap lint
	@tools/lint

install: build ## install to $(DESTDIR)$(prefix); both can be given
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) --quiet
	@meson install -C $(BUILD) --no-rebuild

fuzz: ## fuzz every parser of outside bytes, FUZZ_SECONDS (60) each
	@tools/bootstrap fuzz
	@tools/run-fuzz $(FUZZFLAGS)

bench: build ## figures, as ratios; nothing is asserted
	@tools/bootstrap test
	@tools/run-bench $(BUILD)

docs: build ## write the generated parts of doc/
	@tools/gen-docs $(BUILD)/gathering

clean: ## remove what was built (not .run/, the example's database)
	@rm -rf build build-test build-prove build-clang build-fuzz build-lint build-diff

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10
