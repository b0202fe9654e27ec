# Everything that one types in this repository. `make help` lists it; CI calls the same targets (.ci/run).
# When adding a target: a line beginning with two # signs after its name, and a line in README when users need it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help bootstrap run test chaos explore build bench format lint clean

SWIFT_SOURCES := Package.swift Sources Tests Plugins
RELEASE := -c release --static-swift-stdlib

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap: ## install the Debian packages that are missing (sudo when not root)
	@scripts/bootstrap

run: bootstrap ## start a dashboard and one agent here, on data in .run/; Ctrl-C ends both
	@swift build --product dashboard
	@swift build --product agent
	@exec scripts/run "$$(swift build --show-bin-path)"

test: ## build and run every test
	@scripts/bootstrap --tests
	@swift build --build-tests
	@scripts/test

# SEED=7 names one plan, SEEDS=10 runs so many in a row from there; see docs/chaos.md.
SEED ?= 1
SEEDS ?= 1
DURATION ?= 120
RUNS ?= 3000
AGENTS ?= 3

chaos: ## kill everything by a seeded plan and check every promise: make chaos SEED=7 SEEDS=10 DURATION=120 RUNS=3000
	@scripts/bootstrap
	@swift build --product dashboard
	@swift build --product agent
	@swift build --product chaos
	@scripts/chaos "$$(swift build --show-bin-path)" $(SEED) $(SEEDS) --duration $(DURATION) --runs $(RUNS) --agents $(AGENTS) $(CHAOS)

build: bootstrap ## build release programs with the Swift library inside: .build/release/{dashboard,agent}
	@swift build $(RELEASE) --product dashboard
	@swift build $(RELEASE) --product agent

explore: bootstrap ## search every order of faults, with the real decisions of both sides; then with each rule left out
	@swift build -c release --product explore
	@"$$(swift build -c release --show-bin-path)/explore" --all
	@"$$(swift build -c release --show-bin-path)/explore" --all-rules

bench: bootstrap ## measure, each row beside its limit, and print a table
	@bench/run

format: ## format the Swift sources in place
	@swift format format --configuration .swift-format --in-place --recursive --parallel $(wildcard $(SWIFT_SOURCES))

lint: ## say what `make format` would change and what it cannot mend; changes nothing
	@swift format lint --configuration .swift-format --strict --recursive --parallel $(wildcard $(SWIFT_SOURCES))

clean: ## remove what was built and what `make run` left
	@rm -rf .build .run
