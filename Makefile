# The verbs. Each installs what it needs, or says in one line what is missing.

SHELL := bash
CARGO ?= cargo
NAME ?= gatehouse
# A comma, for arguments of functions.
, := ,
export CARGO_TERM_COLOR ?= never

.PHONY: help demo check test crds golden tools images bench bench-micro bench-scale limits cluster cluster-down conformance

help: ## What there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

demo: ## Serve examples/orders and print commands to try
	$(CARGO) run --release -- demo

check: ## The fast loop: format, lints, unit tests and goldens
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --exclude gatehouse-tests --locked --quiet

test: tools ## Everything
	@tests/run.sh

crds: ## Write the CRDs anew, and the chart's copies
	$(CARGO) run -p gatehouse-crds --bin crdgen -- crds/generated
	rm -f charts/gatehouse/crds/*.yaml charts/gatehouse/files/crds/*.yaml
	cp crds/gateway-api/*.yaml charts/gatehouse/crds/
	cp crds/generated/*.yaml charts/gatehouse/files/crds/

golden: ## Write the outputs of the golden tests anew; read the diff
	UPDATE=1 $(CARGO) test -p gatehouse-controller --test golden --test golden_provision
	UPDATE=1 tests/chart/run

tools: ## Install what the tests need: redis-server, curl and python3
	@tests/tools.sh

images: ## Build the images of controller and dataplane into target/images
	@images/build

bench: ## Compare with nginx, HAProxy, Caddy and Envoy (QUICK=1: under 5 minutes)
	@tests/bench/install
	@tests/bench/run compare $(if $(QUICK),--quick) $(BENCH)

bench-micro: ## Count the instructions of the measured pieces and compare (UPDATE=1: keep them)
	@tests/bench/micro

limits: tools ## Prove the limits: dataplanes, Redis and what goes wrong; writes target/limits/report.json (QUICK=1: under a minute)
	$(CARGO) build --release --locked -p gatehouse-limits
	@"$${CARGO_TARGET_DIR:-target}/release/gatehouse-limits" $(if $(QUICK),--quick)

soak: ## Change everything under load and lose nothing; writes target/soak/report.json (QUICK=1: a tenth)
	$(CARGO) build --release --locked -p gatehouse-controller -p gatehouse-dataplane -p gatehouse-soak --bins
	@"$${CARGO_TARGET_DIR:-target}/release/gatehouse-soak" $(if $(QUICK),--quick)

cluster: ## Start a real one-node Kubernetes for tests (NAME=gatehouse)
	@NAME=$(NAME) tests/cluster/up

cluster-down: ## End it, and all that it left behind
	@NAME=$(NAME) tests/cluster/down

conformance: ## Run the Gateway API's conformance suite on a cluster of its own (TEST=NAME: one of its tests)
	@$(if $(filter command line,$(origin NAME)),NAME=$(NAME) )tests/conformance/run $(TEST)

bench-scale: ## Measure what 1k to 100k routes cost; figures go to target/bench/scale.json (QUICK=1: 1k and 10k)
	$(CARGO) build --release --locked -p gatehouse-controller -p gatehouse-dataplane -p gatehouse-bench --bins
	@"$${CARGO_TARGET_DIR:-target}/release/scale" $(if $(QUICK),--routes=1000$(,)10000 --changes=100 --churn=10 --shared-services-only)
