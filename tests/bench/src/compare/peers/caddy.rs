//! Caddy from Debian.

use std::process::Command;

use super::{HOST, Setup};
use crate::compare::cell::Scenario;

pub(super) fn command(setup: &Setup<'_>) -> Command {
    let (site, tls) = if setup.scenario == Scenario::Tls {
        let certificate = setup.write("tls.crt", &setup.pair.certificate);
        let key = setup.write("tls.key", &setup.pair.key);
        (format!("https://{HOST}:{}", setup.port), format!("tls {certificate} {key}"))
    } else {
        (format!("http://:{}", setup.port), String::new())
    };
    let text = format!(
        "{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2 h2c
    }}
}}
{site} {{
    bind 127.0.0.1
    {tls}
    reverse_proxy {} {{
        transport http {{
            keepalive_idle_conns_per_host 256
        }}
    }}
}}
",
        setup.backend
    );
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config", &setup.write("Caddyfile", &text)])
        .env("GOMAXPROCS", "1")
        .env("HOME", setup.folder)
        .env("XDG_DATA_HOME", setup.folder)
        .env("XDG_CONFIG_HOME", setup.folder);
    command
}
