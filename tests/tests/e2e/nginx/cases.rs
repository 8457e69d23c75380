//! Annotations, what ingress-nginx makes of them, and requests that show it.

use std::{fmt::Write, net::SocketAddr, path::Path};

use gatehouse_tests::{
    backend::Backend,
    client::{Ask, get},
};

pub(super) struct Case {
    /// Of the Ingress, and the first label of its host.
    pub(super) name: &'static str,
    /// As `NAME: VALUE`, without the prefix.
    annotations: &'static [&'static str],
    /// As `PATH KIND SERVICE`.
    paths: &'static [&'static str],
    /// What stands in the server. `PROXY(SERVICE)` is what every location has, `HOST` and `PASSWORDS` are what they say.
    server: &'static str,
    /// As `METHOD PATH [NAME=VALUE]...`, with `body` and `host` for those; and behind ` # ` words of the report, where the two
    /// differ.
    pub(super) asks: &'static [&'static str],
}

pub(super) const HTTP: &str = "limit_req_zone $binary_remote_addr zone=limited:1m rate=1r/m;";

pub(super) const OBJECTS: &str = "---
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData: {auth: 'bob:{PLAIN}bobs-long-password'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fields}
data: {X-Frame-Options: SAMEORIGIN}
";

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "prefix", annotations: &[], paths: &["/api Prefix shop", "/ Prefix other"],
            server: "location /api/ { PROXY(shop) } location = /api { PROXY(shop) } location / { PROXY(other) }",
            asks: &["GET /api", "GET /api/", "GET /api/x?y=z", "GET /apix", "GET /", "POST /api body=hello", "GET /API"],
        },
        Case {
            name: "exact", annotations: &[], paths: &["/api Exact shop", "/api Prefix other"],
            server: "location /api/ { PROXY(other) } location = /api { PROXY(shop) } location / { return 404; }",
            asks: &["GET /api", "GET /api/", "GET /api/x", "GET /"],
        },
        Case {
            name: "implementation", annotations: &[], paths: &["/imp ImplementationSpecific shop"],
            server: "location /imp { PROXY(shop) } location / { return 404; }",
            asks: &["GET /imp", "GET /imp/x", "GET /impx # whole segments alone"],
        },
        Case {
            name: "strip", annotations: &["use-regex: 'true'", "rewrite-target: /$2"],
            paths: &["/api(/|$)(.*) ImplementationSpecific shop"],
            server: r#"location ~* "^/api(/|$)(.*)" { rewrite "(?i)/api(/|$)(.*)" /$2 break; PROXY(shop) } location ~* "^/" { return 404; }"#,
            asks: &["GET /api", "GET /api/", "GET /api/a/b?c=d", "GET /apix", "GET /API/x # case counts", "GET /x"],
        },
        Case {
            name: "groups", annotations: &["use-regex: 'true'", "rewrite-target: /v/$1/$2"],
            paths: &["/x/([0-9]+)/?(.*) ImplementationSpecific shop"],
            server: r#"location ~* "^/x/([0-9]+)/?(.*)" { rewrite "(?i)/x/([0-9]+)/?(.*)" /v/$1/$2 break; PROXY(shop) } location ~* "^/" { return 404; }"#,
            asks: &["GET /x/7/a/b?c=d", "GET /X/7/a", "GET /x/7", "GET /x/a", "GET /y"],
        },
        Case {
            name: "longest", annotations: &["use-regex: 'true'"],
            paths: &["/a/.* ImplementationSpecific shop", "/a/bcdefgh Prefix other", "/[a-z]+/b ImplementationSpecific other"],
            server: r#"location ~* "^/[a-z]+/b" { PROXY(other) } location ~* "^/a/bcdefgh" { PROXY(other) } location ~* "^/a/.*" { PROXY(shop) } location ~* "^/" { return 404; }"#,
            asks: &["GET /a/x", "GET /a/bcdefgh", "GET /a/bcdefghij", "GET /a/b", "GET /A/B", "GET /x/b/y", "GET /x", "GET /a/cb"],
        },
        Case {
            name: "constant", annotations: &["rewrite-target: /new"], paths: &["/old Prefix shop"],
            server: r#"location ~* "^/old" { rewrite "(?i)/old" /new break; PROXY(shop) } location ~* "^/" { return 404; }"#,
            asks: &["GET /old", "GET /old/x?y=z", "GET /oldx # whole segments"],
        },
        Case {
            name: "root", annotations: &["rewrite-target: /"], paths: &["/ Prefix shop"],
            server: "location / { PROXY(shop) }",
            asks: &["GET /", "GET /a/b"],
        },
        Case {
            name: "elsewhere", annotations: &["rewrite-target: https://new.example.com/here"], paths: &["/old Prefix shop"],
            server: r#"location ~* "^/old" { rewrite "(?i)/old" https://new.example.com/here break; PROXY(shop) } location ~* "^/" { return 404; }"#,
            asks: &["GET /old", "GET /old/x?y=z"],
        },
        Case {
            name: "prefixed", annotations: &["rewrite-target: /$2", "x-forwarded-prefix: /api"],
            paths: &["/api(/|$)(.*) ImplementationSpecific shop"],
            server: r#"location ~* "^/api(/|$)(.*)" { rewrite "(?i)/api(/|$)(.*)" /$2 break; proxy_set_header X-Forwarded-Prefix "/api"; PROXY(shop) }"#,
            asks: &["GET /api/x", "GET /api/x x-forwarded-prefix=/forged"],
        },
        Case {
            name: "permanent", annotations: &["permanent-redirect: https://new.example.com/x?y=z", "whitelist-source-range: 10.0.0.0/8"],
            paths: &["/ Prefix shop"],
            server: "location / { allow 10.0.0.0/8; deny all; return 301 https://new.example.com/x?y=z; PROXY(shop) }",
            asks: &["GET /a?b=c", "POST / body=x"],
        },
        Case {
            name: "temporal", annotations: &["permanent-redirect: https://old.example.com", "temporal-redirect: https://new.example.com", "temporal-redirect-code: '307'"],
            paths: &["/ Prefix shop"],
            server: "location / { return 307 https://new.example.com; PROXY(shop) }",
            asks: &["GET /a?b=c"],
        },
        Case {
            name: "moved", annotations: &["permanent-redirect: https://new.example.com$request_uri", "permanent-redirect-code: '308'"],
            paths: &["/ Prefix shop"],
            server: "location / { return 308 https://new.example.com$request_uri; PROXY(shop) }",
            asks: &["GET /a?b=c", "GET /"],
        },
        Case {
            name: "app-root", annotations: &["app-root: /start"], paths: &["/ Prefix shop"],
            server: "if ($uri = /) { return 302 $scheme://$http_host/start; } location / { PROXY(shop) }",
            asks: &["GET /", "GET /?a=b", "GET /start", "GET /x"],
        },
        Case {
            name: "alias", annotations: &["server-alias: 'also.example.com'"], paths: &["/ Prefix shop"],
            server: "server_name also.example.com; location / { PROXY(shop) }",
            asks: &["GET /", "GET / host=also.example.com"],
        },
        Case {
            name: "naked", annotations: &["from-to-www-redirect: 'true'"], paths: &["/ Prefix shop"],
            server: "location / { PROXY(shop) } } server { listen LISTEN; server_name www.HOST; return 308 $scheme://HOST$request_uri;",
            asks: &["GET /", "GET /x?y=z host=www.naked.example.com"],
        },
        Case {
            name: "vhost", annotations: &["upstream-vhost: inner.example"], paths: &["/ Prefix shop"],
            server: "location / { set $host_there inner.example; PROXY(shop) }",
            asks: &["GET /x"],
        },
        Case {
            name: "outside", annotations: &["whitelist-source-range: '10.0.0.0/8, 192.168.1.1/32'"], paths: &["/ Prefix shop"],
            server: "location / { allow 10.0.0.0/8; allow 192.168.1.1/32; deny all; PROXY(shop) }",
            asks: &["GET /"],
        },
        Case {
            name: "inside", annotations: &["allowlist-source-range: 127.0.0.0/8"], paths: &["/ Prefix shop"],
            server: "location / { allow 127.0.0.0/8; deny all; PROXY(shop) }",
            asks: &["GET /"],
        },
        Case {
            name: "denied", annotations: &["denylist-source-range: 127.0.0.0/8", "whitelist-source-range: 127.0.0.0/8"], paths: &["/ Prefix shop"],
            server: "location / { deny 127.0.0.0/8; allow 127.0.0.0/8; deny all; PROXY(shop) }",
            asks: &["GET /"],
        },
        Case {
            name: "basic", annotations: &["auth-type: basic", "auth-secret: users"], paths: &["/ Prefix shop"],
            server: r#"location / { auth_basic ""; auth_basic_user_file PASSWORDS; proxy_set_header Authorization ""; PROXY(shop) }"#,
            asks: &["GET /", "GET / authorization=Basic%20Ym9iOmJvYnMtbG9uZy1wYXNzd29yZA==", "GET / authorization=Basic%20Ym9iOng="],
        },
        Case {
            name: "asked", annotations: &["auth-url: http://judge.default.svc.cluster.local/verify", "auth-response-headers: X-Auth-User"],
            paths: &["/ Prefix shop"],
            server: r#"location = /_external-auth { internal; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Host judge; proxy_pass http://PLACE(judge)/verify; }
                       location / { auth_request /_external-auth; auth_request_set $authHeader0 $upstream_http_x_auth_user; proxy_set_header X-Auth-User $authHeader0; PROXY(shop) }"#,
            asks: &["GET /x", "GET /x authorization=Bearer%20good", "GET /x authorization=Bearer%20good x-auth-user=forged", "POST /x authorization=Bearer%20good body=hello", "GET /x authorization=Bearer%20bad"],
        },
        Case {
            name: "limited", annotations: &["limit-rpm: '1'", "limit-burst-multiplier: '2'"], paths: &["/ Prefix shop"],
            server: "location / { limit_req_status 503; limit_req zone=limited burst=2 nodelay; PROXY(shop) }",
            asks: &["GET /1", "GET /2", "GET /3", "GET /4", "GET /5"],
        },
        Case {
            name: "exempt", annotations: &["limit-rpm: '1'", "limit-allowlist: 127.0.0.0/8"], paths: &["/ Prefix shop"],
            server: "location / { PROXY(shop) }",
            asks: &["GET /1", "GET /2", "GET /3", "GET /4", "GET /5", "GET /6", "GET /7"],
        },
        Case {
            name: "small", annotations: &["proxy-body-size: '10'"], paths: &["/ Prefix shop"],
            server: "location / { client_max_body_size 10; PROXY(shop) }",
            asks: &["POST / body=0123456789", "POST / body=0123456789a", "GET /"],
        },
        Case {
            name: "cors", annotations: &["enable-cors: 'true'", "cors-allow-origin: https://a.example.com"], paths: &["/ Prefix shop"],
            server: CORS,
            asks: &["GET / origin=https://a.example.com", "GET /", "OPTIONS / origin=https://a.example.com access-control-request-method=GET",
                    "OPTIONS / origin=https://a.example.com # which is a preflight",
                    "GET / origin=https://b.example.com",
                    "OPTIONS / origin=https://b.example.com access-control-request-method=GET # which is a preflight"],
        },
        Case {
            name: "any-origin", annotations: &["enable-cors: 'true'"], paths: &["/ Prefix shop"],
            server: CORS_ANY,
            asks: &["GET / origin=https://a.example.com # Access-Control-Allow-Credentials"],
        },
        Case {
            name: "fields", annotations: &["custom-headers: default/fields"], paths: &["/ Prefix shop"],
            server: "location / { more_set_headers 'X-Frame-Options: SAMEORIGIN'; PROXY(shop) }",
            asks: &["GET /"],
        },
        Case {
            name: "snippet", annotations: &["configuration-snippet: 'more_set_headers \"X-Frame-Options: DENY\"; proxy_set_header X-Up on; proxy_set_header X-Client \"\";'"],
            paths: &["/ Prefix shop"],
            server: r#"location / { more_set_headers "X-Frame-Options: DENY"; proxy_set_header X-Up on; proxy_set_header X-Client ""; PROXY(shop) }"#,
            asks: &["GET /", "GET / x-client=1"],
        },
    ]
}

const CORS: &str = "location / {
  set $cors ''; if ($http_origin ~* ((https://a\\.example\\.com))$ ) { set $cors 'true'; }
  if ($request_method = 'OPTIONS') { set $cors ${cors}options; }
  if ($cors = 'true') { more_set_headers 'Access-Control-Allow-Origin: $http_origin'; more_set_headers 'Access-Control-Allow-Credentials: true'; more_set_headers 'Access-Control-Max-Age: 1728000'; }
  if ($cors = 'trueoptions') { more_set_headers 'Access-Control-Allow-Origin: $http_origin'; more_set_headers 'Access-Control-Allow-Credentials: true'; more_set_headers 'Access-Control-Max-Age: 1728000'; return 204; }
  PROXY(shop) }";

const CORS_ANY: &str = "location / { more_set_headers 'Access-Control-Allow-Origin: *'; more_set_headers 'Access-Control-Allow-Credentials: true'; more_set_headers 'Access-Control-Max-Age: 1728000'; PROXY(shop) }";

impl Case {
    pub(super) fn ingress(&self) -> String {
        ingress(self.name, &self.host(), self.annotations, self.paths)
    }

    fn host(&self) -> String {
        format!("{}.example.com", self.name)
    }

    pub(super) fn server(
        &self,
        shop: &Backend,
        other: &Backend,
        judge: &Backend,
        passwords: &Path,
    ) -> String {
        let mut text = self.server.to_owned();
        for (name, backend) in [("shop", shop), ("other", other), ("judge", judge)] {
            let address = backend.address;
            text = text.replace(&format!("PROXY({name})"), &proxy(address));
            text = text.replace(&format!("PLACE({name})"), &address.to_string());
        }
        let text = text.replace("HOST", &self.host()).replace("PASSWORDS", &passwords.display().to_string());
        let head = "set $host_there $http_host; client_max_body_size 1m;";
        format!("server {{ listen LISTEN; server_name {}; {head} {text} }}\n", self.host())
    }

    /// The host, and how it is asked for.
    pub(super) fn request(&self, ask: &str) -> (String, impl Fn(SocketAddr) -> Ask + use<>) {
        let mut words = ask.split(' ').map(str::to_owned);
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let fields: Vec<(String, String)> = words
            .map(|word| {
                word.split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.replace("%20", " ")))
                    .expect("NAME=VALUE")
            })
            .collect();
        let given =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (host, body) = (given("host").unwrap_or_else(|| self.host()), given("body").unwrap_or_default());
        let asked = host.clone();
        let request = move |address| {
            let mut ask = get(address, &path).method(&method).host(&asked).body(body.clone());
            for (name, value) in fields.iter().filter(|(name, _)| name != "host" && name != "body") {
                ask = ask.header(name, value);
            }
            ask
        };
        (host, request)
    }
}

pub(super) fn ingress(name: &str, host: &str, annotations: &[&str], paths: &[&str]) -> String {
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n    a: b\n"
    );
    for line in annotations {
        let _ = writeln!(text, "    nginx.ingress.kubernetes.io/{line}");
    }
    let _ = writeln!(
        text,
        "spec:\n  ingressClassName: nginx\n  rules:\n  - host: {host}\n    http:\n      paths:"
    );
    for path in paths {
        let mut words = path.split(' ');
        let mut next = || words.next().expect("PATH KIND SERVICE");
        let (path, kind, service) = (next(), next(), next());
        let _ = writeln!(
            text,
            "      - {{path: '{path}', pathType: {kind}, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}"
        );
    }
    text
}

/// What every location has.
fn proxy(address: SocketAddr) -> String {
    format!(
        "proxy_set_header Host $host_there; proxy_set_header X-Forwarded-Host $http_host; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_redirect off; proxy_pass http://{address};"
    )
}
