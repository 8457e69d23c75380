//! nginx from Debian.

use std::{fmt::Write, process::Command};

use super::Setup;
use crate::compare::cell::Scenario;

pub(super) fn command(setup: &Setup<'_>) -> Command {
    let pass = "proxy_pass http://backend;";
    let mut locations = String::new();
    let mut listen = format!("127.0.0.1:{}", setup.port);
    let mut tls = String::new();
    match setup.scenario {
        Scenario::Paths(count) => {
            for index in 0..count {
                writeln!(locations, "location /p{index} {{ {pass} }}").expect("a string takes all");
            }
        }
        _ => locations = format!("location / {{ {pass} }}"),
    }
    match setup.scenario {
        Scenario::Tls => {
            listen += " ssl";
            tls = format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
                setup.write("tls.crt", &setup.pair.certificate),
                setup.write("tls.key", &setup.pair.key),
            );
        }
        Scenario::Http2 => listen += " http2",
        _ => {}
    }
    let (folder, backend) = (setup.folder.display(), setup.backend);
    let text = format!(
        "worker_processes 1; pid {folder}/pid; daemon off; worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 300s; server_names_hash_max_size 65536;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream backend {{ server {backend}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen {listen}; {tls}
        proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        {locations}
    }}
}}
"
    );
    let file = setup.write("nginx.conf", &text);
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p", &folder.to_string(), "-c", &file]);
    command
}
