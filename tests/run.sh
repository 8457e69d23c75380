#!/usr/bin/env bash
# Everything that must hold: format, lints, docs, bans, and all tests; ends with the totals.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo clippy -p gatehouse-dataplane --all-targets --features bench --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet --document-private-items
# Licences, sources and bans; advisories need a database that can't be had everywhere.
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check bans licenses sources
else
    echo "cargo-deny is not installed (cargo install cargo-deny --locked): deny.toml was not checked"
fi

# Kubernetes itself, once; then it comes from the cache.
tests/cluster/build >/dev/null
tests/cluster/build conformance older >/dev/null
tests/chart/run

# The end-to-end tests run the binaries.
cargo build --locked -p gatehouse-cli -p gatehouse-controller -p gatehouse-dataplane
tests/bench/micro

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
tests/cluster/test 2>&1 | tee -a "$log" || status=$?
tests/conformance/run || status=$?
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"
