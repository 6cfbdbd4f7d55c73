# The commands for people and for CI. Each one fetches what it needs.

# rustup's directory is not yet in the PATH of a shell, or of a CI job, that
# is older than the install.
cargo_bin := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin
ifneq ($(wildcard $(cargo_bin)/cargo),)
ifeq ($(findstring :$(cargo_bin):,:$(PATH):),)
export PATH := $(cargo_bin):$(PATH)
endif
endif

# With make -j, cargo would look for make's job server, which it is not given.
unexport MAKEFLAGS

# How long `make fuzz` runs each target.
FUZZ_SECONDS ?= 60

.PHONY: help tools wasm inspector pictures build demo test bench bench-native bench-envoy plots instructions conform fuzz fuzz-smoke fmt lint fixtures clean prereqs envoy producers browser bench-filters cxx

help: ## print this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: wasm envoy ## run the filter in Envoy and show what it accepts and refuses
	cargo run --locked -q -p mtls-gate -- demo

test: wasm inspector bench-filters envoy producers browser ## run all tests, those with Envoy and a minute of fuzzing included
	cargo test --workspace --locked
	@scripts/fuzz.sh smoke

# cargo gives all benchmarks the same arguments, and they do not take the same: ARGS goes with BENCH.
# make bench BENCH=peers ARGS='P-256 --json'
bench: wasm bench-filters envoy ## run the benchmarks of docs/performance.md: all, or BENCH with ARGS
	$(if $(ARGS),$(if $(BENCH),,$(error ARGS are for one benchmark: say which, BENCH=peers)))
	cargo bench --locked --no-fail-fast -p mtls-gate --bench '$(or $(BENCH),*)' $(if $(ARGS),-- $(ARGS))

bench-native: prereqs ## run those of the native pipeline, without Envoy, some minutes
	cargo bench --locked --no-fail-fast -p mtls-gate $(addprefix --bench ,peers stages handshakes worst_chain memory)

bench-envoy: wasm bench-filters envoy ## run the one in Envoy, half an hour or so
	cargo bench --locked -p mtls-gate --bench envoy

plots: wasm bench-filters envoy ## measure how the cost grows, and draw docs/images/grow-*.svg
	cargo bench --locked -p mtls-gate --bench envoy -- connections clients caches anchors chains memory --plots $(CURDIR)/docs/images

instructions: prereqs ## count the native pipeline's instructions, and compare with those kept
	@scripts/instructions.sh compare

conform: prereqs ## run the conformance suites of ../shared/conformance and our goldens
	cargo run --locked -q -p mtls-gate -- conform all --data $(or $(DATA),../shared/conformance)

fuzz: cxx ## run each fuzz target for FUZZ_SECONDS (60)
	@scripts/fuzz.sh run $(FUZZ_SECONDS)

fuzz-smoke: cxx ## run all fuzz targets, 75 seconds together
	@scripts/fuzz.sh run 15

tools: prereqs envoy producers browser ## fetch everything the other commands would fetch
	@scripts/tools.sh lint-tools
	@scripts/wasm.sh std
	cargo fetch --locked
	cargo fetch --locked --manifest-path fuzz/Cargo.toml

wasm: prereqs ## build the filter into target/mtls_gate_filter.wasm
	@scripts/wasm.sh build mtls-gate-filter

inspector: prereqs ## build the inspector's page into target/inspector
	@scripts/wasm.sh inspector

build: wasm ## build the filter, and the workspace for this machine
	cargo build --workspace --locked

fmt: ## format the source
	@scripts/tools.sh lint-tools
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: prereqs ## check the format and run clippy, warnings are errors
	@scripts/tools.sh lint-tools
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/wasm.sh lint

# The page in the pictures is the one that the tests drive.
pictures: inspector browser ## take docs/images anew
	cargo test --locked -q -p mtls-gate --test inspector narrow_or_dark
	cp target/inspector-pictures/*.png docs/images/

fixtures: prereqs ## write the certificates in testdata/ and the inspector's examples anew
	cargo run --locked -q -p mtls-gate --bin mtls-gate-fixtures -- testdata crates/inspector/web/examples.json

clean: ## remove everything built and fetched here
	rm -rf target .tools fuzz/target fuzz/corpus

# Steps of the above.

prereqs:
	@scripts/tools.sh prereqs

envoy: prereqs
	@scripts/tools.sh envoy

producers: prereqs
	@scripts/tools.sh producers

browser: prereqs
	@scripts/tools.sh browser

# What the filter is measured against, and parts of it that are measured alone.
bench-filters: prereqs
	@scripts/wasm.sh build mtls-gate-bench-filters
	@scripts/wasm.sh build mtls-gate-bench-kernels

# Only fuzzing needs it.
cxx: prereqs
	@scripts/fuzz.sh prereqs
