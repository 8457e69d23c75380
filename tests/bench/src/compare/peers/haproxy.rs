//! HAProxy from Debian.

use std::process::Command;

use super::Setup;
use crate::compare::cell::Scenario;

pub(super) fn command(setup: &Setup<'_>) -> Command {
    let mut bind = format!("bind 127.0.0.1:{}", setup.port);
    match setup.scenario {
        Scenario::Tls => {
            let both = format!("{}{}", setup.pair.certificate, setup.pair.key);
            bind += &format!(" ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1", setup.write("both.pem", &both));
        }
        Scenario::Http2 => bind += " proto h2",
        _ => {}
    }
    let text = format!(
        "global
  nbthread 1
  maxconn 10100
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout http-keep-alive 300s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend f
  {bind}
  default_backend b
backend b
  server s {}
",
        setup.backend
    );
    let mut command = Command::new("haproxy");
    command.args(["-f", &setup.write("haproxy.cfg", &text)]);
    command
}
