//! The gateway as its users see it: manifests in, real requests through, answers and logs read back.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod backend_tls;
mod client_certificates;
mod cors;
mod datagrams;
mod demo;
mod drain;
mod folder;
mod framing;
mod grpc;
mod h2c;
mod identity;
mod ingress;
mod input;
mod limits;
mod mirror;
mod observe;
mod offline;
mod paths;
mod protocols;
mod retry;
mod routing;
mod streams;
mod tls;
mod tokens;
mod traffic;

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
