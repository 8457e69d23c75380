//! Envoy's release binary from PyPI, with the switches of its own page on benchmarking (how_to_benchmark_envoy).

use std::{fmt::Write, path::PathBuf, process::Command};

use gatehouse_tests::tokens;
use serde_json::json;

use super::Setup;
use crate::compare::cell::Scenario;

const TYPES: &str = "type.googleapis.com/envoy.extensions.";

pub(super) fn command(setup: &Setup<'_>) -> Command {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let program = std::env::var_os("ENVOY")
        .map_or_else(|| home.join(".cache/gatehouse/envoy-1.40.0/envoy"), PathBuf::from);
    let mut command = Command::new(program);
    command.args(["-c", &setup.write("envoy.yaml", &configuration(setup))]).args([
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
        "--log-level",
        "error",
        "--disable-hot-restart",
    ]);
    command
}

fn configuration(setup: &Setup<'_>) -> String {
    let mut hosts = String::new();
    match setup.scenario {
        Scenario::Paths(count) => {
            hosts += "            - {name: v, domains: [\"*\"], routes: [";
            for index in 0..count {
                write!(hosts, "{{match: {{path_separated_prefix: /p{index}}}, route: {{cluster: b}}}}, ")
                    .expect("a string takes all");
            }
            hosts += "]}\n";
        }
        Scenario::Policy { hosts: count, .. } => {
            for index in 0..count {
                writeln!(
                    hosts,
                    "            - {{name: h{index}, domains: [h{index}.bench.test], routes: [{{match: {{prefix: /}}, route: {{cluster: b}}}}]}}"
                )
                .expect("a string takes all");
            }
        }
        _ => {
            hosts += "            - {name: v, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: b}}]}\n";
        }
    }
    let policy =
        if matches!(setup.scenario, Scenario::Policy { .. }) { policy(setup) } else { String::new() };
    let tls = if setup.scenario == Scenario::Tls { tls(setup) } else { String::new() };
    let (port, address, backend) = (setup.port, setup.backend.ip(), setup.backend.port());
    format!(
        "static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {TYPES}filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: i
          use_remote_address: true
          generate_request_id: false
          http_filters:
{policy}          - name: envoy.filters.http.router
            typed_config: {{\"@type\": {TYPES}filters.http.router.v3.Router, dynamic_stats: false}}
          route_config:
            name: r
            virtual_hosts:
{hosts}{tls}  clusters:
  - name: b
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]
    load_assignment: {{cluster_name: b, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {address}, port_value: {backend}}}}}}}}}]}}]}}
"
    )
}

fn tls(setup: &Setup<'_>) -> String {
    let certificate = setup.write("tls.crt", &setup.pair.certificate);
    let key = setup.write("tls.key", &setup.pair.key);
    format!(
        "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": {TYPES}transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{tls_minimum_protocol_version: TLSv1_3}}
            alpn_protocols: [http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {certificate}}}, private_key: {{filename: {key}}}}}]
"
    )
}

fn policy(setup: &Setup<'_>) -> String {
    let keys = json!({"keys": [setup.jwk]}).to_string();
    let (issuer, audience) = (tokens::ISSUER, tokens::AUDIENCE);
    format!(
        "          - name: envoy.filters.http.jwt_authn
            typed_config:
              \"@type\": {TYPES}filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                p: {{issuer: \"{issuer}\", audiences: [\"{audience}\"], local_jwks: {{inline_string: '{keys}'}}, jwt_cache_config: {{jwt_cache_size: 1000}}}}
              rules: [{{match: {{prefix: /}}, requires: {{provider_name: p}}}}]
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              \"@type\": {TYPES}filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: l
              token_bucket: {{max_tokens: 1000000000, tokens_per_fill: 1000000000, fill_interval: 1s}}
              filter_enabled: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
              filter_enforced: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
"
    )
}
