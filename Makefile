# The two commands of a fresh Debian 12 machine: make demo, make test. CONTRIBUTING.md has the rest.
SHELL := /bin/sh
CACHE := $(or $(VTISSUE_CACHE),$(HOME)/.cache/vtissue)
SLIDE := $(CACHE)/slides/CMU-1-Small-Region.svs
OUT ?= out/demo
CTEST_ARGS ?=

.PHONY: all build demo view test deps format lint check docs benchmarks clean help

all: build

help:
	@echo "make demo    install what is needed, build, make a virtual slide of a real one"
	@echo "make view    show it in a browser, beside the real one"
	@echo "make test    install what is needed, build with tests, run them"
	@echo "make build   the program alone: build/release/vtissue"
	@echo "make format lint check   before a commit"

deps:
	@tools/install-packages.sh
	@tools/get-libtorch.sh

build: deps
	@tools/build.sh release

demo: build
	@tools/get-demo-slide.sh $(SLIDE)
	@build/release/vtissue run configs/demo.yaml --slide $(SLIDE) --out $(OUT)
	@echo "Look at it in a browser: make view" >&2

# npm brings OpenSeadragon and is large; whoever does not look does not need it.
view: deps
	@tools/get-openseadragon.sh > /dev/null 2>&1 || tools/install-packages.sh npm
	@tools/get-openseadragon.sh > /dev/null
	@tools/build.sh release
	@build/release/vtissue view $(OUT)

test: deps
	@tools/build.sh dev
	@tools/get-demo-slide.sh $(SLIDE) || echo "make test: no demo slide; the tests that need it are skipped" >&2
	@tools/get-test-readers.sh || echo "make test: no second set of slide readers; the tests that need them are skipped" >&2
	@tools/get-page-test-tools.sh > /dev/null || echo "make test: the tests of the viewer's page are skipped" >&2
	@MKL_CBWR=$$(tools/mkl-mode.sh) VTISSUE_DEMO_SLIDE=$(SLIDE) ctest --test-dir build/dev --output-on-failure --parallel 2 $(CTEST_ARGS)

format:
	@tools/for-each-source.sh clang-format -i

lint:
	@tools/lint.sh

# Everything a commit must pass.
check: lint test

docs: build
	@build/release/vtissue config-reference > docs/configuration.md

benchmarks: deps
	@cmake --preset release -DVTISSUE_BENCHMARKS=ON > /dev/null && cmake --build build/release

clean:
	@rm -rf build
