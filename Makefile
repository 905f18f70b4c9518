# The pinned Go builds everything: a go.mod of a dependency must not fetch another one.
export GOTOOLCHAIN := local

CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/wadi
LINT := $(CACHE)/bin/golangci-lint

FUZZTIME ?= 20s
BENCH ?= .
# Which setups and clients make compat runs: all, unless said otherwise.
COMPAT ?=
# How long make soak writes, how many bytes a second, and where its table and picture go.
SOAK_FOR ?= 30m
SOAK_RATE ?= 20MB
SOAK_OUT ?= docs
# How long make txncheck lets the load run.
TXNCHECK_FOR ?= 10m
# How long make chaos lets clients work while agents are killed, frozen and added.
CHAOS_FOR ?= 10m
# Which numbers of agents make scale measures, for how long each, at how many bytes a second, and where its table and picture go.
SCALE_AGENTS ?= 1,2,4,8
SCALE_FOR ?= 30s
SCALE_RATE ?= 10MB
SCALE_OUT ?= docs
# What make release calls the version.
VERSION ?= $(shell git describe --tags --always --dirty)
# For go test, as in: make test TESTFLAGS='-run Flush ./agent/produce'
TESTFLAGS ?= ./...
TIMEOUT ?= 60m

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run an agent with everything under ./wadi-data (Kafka on localhost:9092)
	go run ./cmd/wadi agent

.PHONY: build
build: ## Build bin/wadi
	go build -o bin/wadi ./cmd/wadi

# Needs git for the version, the commit and its time; otherwise nothing of this machine gets in.
.PHONY: release
release: ## Build static programs for Linux and macOS, packed with checksums, into dist/ (VERSION=v1.2.3)
	rm -rf dist
	go run ./deploy/release -version "$(VERSION)" -commit "$$(git rev-parse HEAD)" -time "$$(git log -1 --format=%ct)" -out dist

.PHONY: setup
setup: ## Install or build what the tests need: Postgres, HAProxy, kcat, MinIO, Helm, promtool, data
	@test/setup/setup.sh test

# With WADI_TEST_REQUIRE a missing program fails a test instead of skipping it.
.PHONY: test
test: setup ## Run all tests (narrow down with TESTFLAGS='-run Name ./dir')
	go build ./...
	WADI_TEST_REQUIRE=1 go test -timeout $(TIMEOUT) $(TESTFLAGS)

.PHONY: lint
lint: ## Run vet and the linters of .golangci.yml
	@test/setup/setup.sh lint
	go vet ./...
	$(LINT) run

.PHONY: check
check: setup ## Check modules, build, lint and run all tests with the race detector
	go mod verify
	go mod tidy -diff
	go build ./...
	@$(MAKE) --no-print-directory lint
	WADI_TEST_REQUIRE=1 go test -race -timeout $(TIMEOUT) ./...

# One package after the other (-p 1): benchmarks that share the cores measure each other.
.PHONY: bench
bench: setup ## Run the benchmarks (narrow down with BENCH=regexp)
	WADI_TEST_REQUIRE=1 go test -run '^$$' -bench '$(BENCH)' -benchmem -p 1 -timeout 2h ./...

# The clients against Wadi, several at a time since they mostly wait. With
# COMPAT_BOOTSTRAP=host:port against another cluster: a check that fails with a real Kafka is wrong.
.PHONY: compat
compat: setup ## Run real clients and Kafka's tools, write docs/compatibility.md (narrow down with COMPAT='one_agent/kcat')
	@test/setup/setup.sh compat
	WADI_COMPAT=$(CACHE)/compat WADI_TEST_REQUIRE=1 \
		go test ./test/compat -count=1 -v -parallel 6 -timeout 60m -run 'TestClients/$(COMPAT)'

# With COMPAT_BOOTSTRAP=host:port against another cluster, of which no broker is killed.
.PHONY: streams
streams: setup ## Run a Kafka Streams application, exactly once, while agents and its instances are killed
	@test/setup/setup.sh streams
	WADI_STREAMS=$(CACHE)/compat/streams WADI_TEST_REQUIRE=1 \
		go test ./test/streams -count=1 -v -timeout 40m -run TestExactlyOnce

.PHONY: compaction
compaction: setup ## Let a Java client read a compacted topic of 1,000,000 keys
	@test/setup/setup.sh streams
	WADI_COMPACTION=$(CACHE)/compat/streams WADI_TEST_REQUIRE=1 \
		go test ./test/compaction -count=1 -v -timeout 60m -run TestAJavaClient

.PHONY: fuzz-list
fuzz-list: ## List the fuzz tests
	@test/setup/fuzz-targets.sh

# Twice as long, since there are two set-ups. WADI_TXNCHECK_SEED in the environment repeats a run,
# WADI_TXNCHECK_BOOTSTRAP=host:port checks another cluster of one broker instead.
.PHONY: txncheck
txncheck: setup ## Check transactions for TXNCHECK_FOR (10m) while agents and Postgres are killed
	WADI_TXNCHECK_FOR=$(TXNCHECK_FOR) WADI_TEST_REQUIRE=1 \
		go test ./test/e2e -count=1 -v -timeout 2h -run TestTransactionsWhileServersDie

# WADI_SOAK_OBJECTS=file in the environment has the agents on a folder instead of MinIO.
.PHONY: soak
soak: setup ## Write SOAK_RATE (20MB) a second for SOAK_FOR (30m) while maintenance runs and agents die; check every read
	WADI_SOAK_FOR=$(SOAK_FOR) WADI_SOAK_RATE=$(SOAK_RATE) WADI_SOAK_OUT=$(abspath $(SOAK_OUT)) WADI_TEST_REQUIRE=1 \
		go test ./test/soak -count=1 -v -timeout 3h -run TestSoak

# WADI_CHAOS_SEED in the environment repeats what happens to agents.
.PHONY: chaos
chaos: setup ## Let Java, librdkafka, franz-go and kcat work for CHAOS_FOR (10m) while agents are killed, frozen and added
	@test/setup/setup.sh compat
	WADI_CHAOS=$(CACHE)/compat WADI_CHAOS_FOR=$(CHAOS_FOR) WADI_TEST_REQUIRE=1 \
		go test ./test/chaos -count=1 -v -timeout 2h -run TestClientsWhileAgentsDie

.PHONY: scale
scale: setup ## Offer SCALE_RATE (10MB) a second to SCALE_AGENTS (1,2,4,8) agents, write docs/scale.svg
	WADI_SCALE_AGENTS=$(SCALE_AGENTS) WADI_SCALE_FOR=$(SCALE_FOR) WADI_SCALE_RATE=$(SCALE_RATE) WADI_SCALE_OUT=$(abspath $(SCALE_OUT)) \
		WADI_TEST_REQUIRE=1 go test ./test/scale -count=1 -v -timeout 1h -run TestScale

.PHONY: qemu
qemu: setup ## Run the program for 64-bit ARM in an emulator
	@test/setup/setup.sh qemu
	WADI_QEMU=1 WADI_TEST_REQUIRE=1 go test ./test/e2e -count=1 -v -timeout 30m -run TestArm64

# Shrinking inputs that only add coverage gets 50 runs, not its default of 60s,
# which would use up FUZZTIME.
# What a fuzz test finds lands in its package's testdata/fuzz: commit it with the fix.
.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (20s)
	@targets=$$(test/setup/fuzz-targets.sh) || exit 1; \
	echo "$$targets" | while read -r package name; do \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x "$$package" || exit 1; \
	done

.PHONY: clean
clean: ## Remove what was built here (not ./wadi-data, nor the cached programs)
	rm -rf bin dist coverage.out

.PHONY: clean-cache
clean-cache: ## Remove the programs and data that setup got
	rm -rf $(CACHE)
