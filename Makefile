# Every step of CI is a target here. Plain make; cargo, and Go where a neighbour has to be built.

.PHONY: help test proof semver neighbours check fmt clippy doc features deny advisories crds image bench-admission bench-authz bench-limiter bench-path bench-proxy

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 28

test: neighbours ## All tests, against a real etcd, kube-apiserver, kubectl, redis-server, valkey-server, Envoy and cert-manager
	cargo test --locked

proof: neighbours ## Tests that take minutes: five rotations of the webhook's CA under load, with accidents; rolling updates and drained nodes; a real Prometheus that sees every fault
	tests/neighbours/setup.sh kube-controller-manager
	cargo test --locked --test it -- --ignored --nocapture proof_

neighbours: ## Find, install or build what the tests talk to
	tests/neighbours/setup.sh

check: fmt clippy doc features deny ## Everything but the tests

fmt: ## Formatting
	cargo fmt --check

clippy: ## Lints, warnings denied
	cargo clippy --locked --all-targets -- -D warnings

doc: ## Documentation without broken links
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

features: ## Each feature compiles alone without warnings, and an embedder gets neither kube, nor axum, nor clap
	@set -e; for feature in "" serde alias admission auth limiter mcp metrics redis tower server cluster webhook gate proxy authz manifest certs cli top cel; do \
		echo "feature: $${feature:-none}"; \
		cargo clippy --locked --quiet --lib --no-default-features --features "$$feature" -- -D warnings; \
	done
	@tree=$$(cargo tree --locked --edges normal --no-default-features --features redis,tower --prefix none --format '{p}') && \
		if echo "$$tree" | grep -E '^(axum|clap|k8s-openapi|kube)[ -]'; then echo "redis,tower must not bring these" >&2; exit 1; fi

deny: ## Licences, sources and bans of all dependencies (deny.toml)
	cargo fetch --locked
	"$$(tests/neighbours/setup.sh cargo-deny)" --offline --locked check licenses bans sources

advisories: ## Known vulnerabilities of dependencies; reads RustSec's database from the network
	"$$(tests/neighbours/setup.sh cargo-deny)" --locked check advisories

semver: ## The library's API breaks nothing beside a version of it (BASELINE, main by default); needs cargo-semver-checks
	cargo semver-checks --baseline-rev "$${BASELINE:-main}"

crds: ## Write manifests/crds from the Rust types
	cargo build --locked
	target/debug/tollgate crds --kind MCPServer >manifests/crds/mcpservers.yaml
	target/debug/tollgate crds --kind VirtualMCPServer >manifests/crds/virtualmcpservers.yaml

image: ## A container image, without a container engine: target/image/tollgate.tar
	.ci/image

bench-admission: ## Load on the webhook, beside a bare server, in one run
	cargo bench --locked --bench admission

bench-authz: ## Calls through Envoy that tollgate decides, beside Envoy alone and its own rate limit, in one run
	tests/neighbours/setup.sh nginx
	tests/neighbours/setup.sh envoy
	cargo bench --locked --bench authz

bench-limiter: ## Decisions of the limiter's stores, beside the plain way to do the same, in one run
	cargo bench --locked --no-default-features --features redis --bench limiter

bench-path: neighbours ## Applies through a real API server, without webhooks, with bare ones and with tollgate's, in one run
	cargo bench --locked --bench path

bench-proxy: ## Calls through the proxy, beside nginx and a proxy in Go, in one run
	tests/neighbours/setup.sh nginx
	tests/neighbours/setup.sh redis-server
	TOLLGATE_BENCH_GO_PROXY=$$(tests/neighbours/setup.sh go-proxy) && export TOLLGATE_BENCH_GO_PROXY && cargo bench --locked --bench proxy
