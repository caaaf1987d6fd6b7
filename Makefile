# The few commands that matter; each is a script or a cargo call that can be run by itself.

export HOLDFAST_SERVERS_SCRIPT := $(CURDIR)/scripts/servers

.DEFAULT_GOAL := help
.PHONY: help test test-long test-api simulate torture soak mutants demo bench jmeter servers-up servers-down audit

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { gsub(/\$$\$$/, "$$"); printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## formatting, lints and every test on real servers; ARGS go to cargo test
	@scripts/test $(ARGS)

test-long: ## the drop with 20,000 buyers, each rule of the gateway 200 times, 5 minutes of soak (release build; 45 minutes)
	@scripts/test-long $(ARGS)

test-api: ## bad input on every route, by schemathesis (from PyPI) and our OpenAPI documents
	cargo build --all-features --package api
	scripts/test-api $(ARGS)

simulate: ## the engine in a simulated world, 100,000 seeds on all cores (release build)
	@scripts/simulate $(ARGS)

torture: ## a node ends, freezes or is lied to between any two effects (ten minutes); ARGS="kill gate."
	@scripts/torture $(ARGS)

soak: ## everything fails that can, on real servers, while people buy (release build); MINUTES=5
	@MINUTES=$(MINUTES) scripts/soak

mutants: ## every protection is taken away once, and a test misses it (minutes); ARGS="NAME"
	@scripts/mutants $(ARGS)

demo: ## a whole sale in one command, without servers; ARGS="--buyers 1000"
	cargo run --release -- demo $(ARGS)

bench: ## the engine's journal on durable MySQL; ARGS="--workflows 20000 -o json"
	cargo build --release
	scripts/servers with mysql -- target/release/holdfast bench engine --store mysql $(ARGS)

jmeter: ## purchases over REST on MySQL, Redis and Kafka; ARGS="--buyers 20000 --stock 2000 --threads 64"
	cargo build --release
	scripts/jmeter $(ARGS)

servers-up: ## MySQL, Redis and Kafka that stay; then: eval "$$(scripts/servers env)"
	@scripts/servers up

servers-down: ## stop them
	@scripts/servers down

audit: ## licences, banned and unknown sources, spelling (builds its tools the first time: minutes)
	@scripts/audit
