//! The gateway as its users see it: manifests in, real requests through, answers and logs read back.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod aggregate;
mod authorization;
mod backend_tls;
mod balancing;
mod bodies;
mod cache;
mod certificates;
mod checks;
mod client_certificates;
mod cluster;
mod compression;
mod convert;
mod cors;
mod datagrams;
mod demo;
mod drain;
mod explain;
mod external_auth;
mod external_grpc;
mod external_names;
mod failover;
mod fault;
mod folder;
mod framing;
mod grpc;
mod grpc_endings;
mod h2c;
mod identity;
mod ingress;
mod input;
mod limits;
mod long_streams;
mod mirror;
mod new_keys;
mod nginx;
mod observe;
mod offline;
mod passwords;
mod paths;
mod protocols;
mod retry;
mod revocation;
mod rollout;
mod routing;
mod sessions;
mod streams;
mod timeouts;
mod tls;
mod tokens;
mod traffic;
mod traffic_policy;
mod zones;

/// A GatewayRoute `r` on the Gateway `edge`, with these rules (YAML, a list).
fn route(rules: &str) -> String {
    let rules: String = rules.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{name: \
         edge}}]\n  rules:\n{rules}"
    )
}

/// One rule that sends everything to the Service `echo`.
fn to_echo() -> String {
    route("- backendRefs: [{name: echo, port: 80}]")
}
