//! A service of Envoy's external authorization protocol says whether requests may pass.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gatehouse_proto::ext_authz::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus,
    OkHttpResponse, Status as RpcStatus,
    attribute_context::HttpRequest,
    authorization_server::{Authorization, AuthorizationServer},
    check_response::HttpResponse,
};
use gatehouse_tests::{
    backend::{Backend, header},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status, transport::Server};

use crate::route;

const PERMISSION_DENIED: i32 = 7;

/// Answers what the field `x-want` asks for, and keeps what it was asked last.
#[derive(Default)]
struct Authorizer {
    asked: AtomicUsize,
    last: Mutex<Option<CheckRequest>>,
}

struct Shared(Arc<Authorizer>);

#[tonic::async_trait]
impl Authorization for Shared {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let question = request.into_inner();
        let want = http(&question).headers.get("x-want").cloned().unwrap_or_default();
        *self.0.last.lock() = Some(question);
        match &*want {
            "silence" => std::future::pending().await,
            "broken" => Err(Status::internal("it has a bad day")),
            "ok" => Ok(Response::new(CheckResponse {
                status: Some(RpcStatus { code: 0 }),
                http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                    headers: vec![option("x-auth-user", "alice"), option("x-consumer-id", "root")],
                    headers_to_remove: vec!["authorization".into()],
                })),
            })),
            status => Ok(Response::new(CheckResponse {
                status: Some(RpcStatus { code: PERMISSION_DENIED }),
                http_response: status.parse().ok().map(|code| {
                    HttpResponse::DeniedResponse(DeniedHttpResponse {
                        status: Some(HttpStatus { code }),
                        headers: vec![
                            option("location", "https://login.example/"),
                            option("x-why", "policy 7"),
                        ],
                        body: format!("it says {code}"),
                    })
                }),
            })),
        }
    }
}

fn option(key: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

fn http(question: &CheckRequest) -> &HttpRequest {
    question.attributes.as_ref().unwrap().request.as_ref().unwrap().http.as_ref().unwrap()
}

async fn serve(authorizer: &Arc<Authorizer>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(AuthorizationServer::new(Shared(Arc::clone(authorizer))));
    tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
    address
}

fn policy(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: {name}}}\nspec:\n  anyOf:\n  - external:\n      \
         backendRef: {{name: authz, port: 80}}\n      protocol: GRPC\n      identityHeader: X-Auth-User\n      timeout: 300ms\n{more}"
    )
}

#[tokio::test]
async fn its_answers_admit_change_and_refuse_requests() {
    let authorizer = Arc::new(Authorizer::default());
    let (authz, backend) = (serve(&authorizer).await, Backend::echo("echo").await);
    let rules = ["closed", "open", "kept"].map(|name| {
        format!(
            "- matches: [{{path: {{value: /{name}}}}}]\n  auth: {{policyRef: {{name: {name}}}}}\n  backendRefs: [{{name: echo, port: 80}}]\n"
        )
    });
    let manifests = [
        route(&rules.concat()),
        policy("closed", ""),
        policy("open", "      failureMode: Allow\n"),
        policy("kept", "      forwardHeaders: [X-Want]\n      cacheTTL: 5m\n"),
    ];
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", manifests.concat())
        .file("echo.yaml", service("echo"))
        .file("authz.yaml", service("authz"))
        .endpoint("echo", backend.address)
        .endpoint("authz", authz)
        .start()
        .await;
    let ask = |path: &str, want: &str| get(gateway.http(), path).header("x-want", want);

    let echo = ask("/closed/x%2e/../y?a=1", "ok")
        .header("authorization", "Bearer opaque")
        .header("x-auth-user", "root")
        .header("x_auth_user", "root")
        .header("x-request-id", "r-ok")
        .send()
        .await
        .json();
    for (name, wanted) in [
        ("x-auth-user", Some("alice")),
        ("x_auth_user", None),
        ("authorization", None),
        ("x-consumer-id", None),
        ("x-consumer-credential", Some("external:alice")),
    ] {
        assert_eq!(header(&echo, name), wanted, "{name}: {echo}");
    }
    let question = authorizer.last.lock().take().unwrap();
    let told = http(&question);
    assert_eq!(
        [&*told.method, &*told.path, &*told.host, &*told.scheme, &*told.protocol, &*told.id],
        ["GET", "/closed/y?a=1", "test.example", "http", "HTTP/1.1", "r-ok"]
    );
    assert_eq!(told.headers.get("authorization").map(String::as_str), Some("Bearer opaque"));

    for (path, want, status, reason) in [
        ("/closed", "401", 401, Some("unauthenticated")),
        ("/closed", "302", 302, Some("unauthenticated")),
        ("/closed", "403", 403, Some("forbidden")),
        ("/closed", "429", 429, Some("forbidden")),
        ("/closed", "no", 403, Some("forbidden")),
        ("/closed", "broken", 503, Some("policy_unavailable")),
        ("/closed", "silence", 503, Some("policy_unavailable")),
        ("/open", "403", 403, Some("forbidden")),
        ("/open", "broken", 200, None),
        ("/open", "silence", 200, None),
    ] {
        let id = format!("r{path}-{want}").replace('/', "");
        let answer = ask(path, want).header("x-request-id", &id).send().await;
        assert_eq!(answer.status, status, "{path} {want}");
        if want.parse::<u16>().is_ok() {
            assert_eq!(answer.header("location"), Some("https://login.example/"), "{want}");
            assert_eq!(answer.header("x-why"), Some("policy 7"), "{want}");
            assert_eq!(String::from_utf8_lossy(&answer.body), format!("it says {want}"));
        }
        let line = gateway.logged(&id).await;
        assert_eq!(line["reason"].as_str(), reason, "{line}");
    }

    // Kept by each of the two workers, for what is told alone.
    let before = authorizer.asked.load(Ordering::SeqCst);
    for count in 0..20 {
        let answer = ask("/kept", "ok").header("x-not-told", &count.to_string()).send().await;
        assert_eq!(header(&answer.json(), "x-auth-user"), Some("alice"));
    }
    let kept = authorizer.asked.load(Ordering::SeqCst) - before;
    assert!(kept <= 2, "{kept}");
    assert_eq!(ask("/kept", "403").send().await.status, 403);
}

/// A Service of another namespace is asked as long as that lets it be.
#[tokio::test]
async fn another_namespace_lets_itself_be_asked() {
    let authorizer = Arc::new(Authorizer::default());
    let (authz, backend) = (serve(&authorizer).await, Backend::echo("echo").await);
    let rules = "- auth: {policyRef: {name: far}}\n  backendRefs: [{name: echo, port: 80}]";
    let grant = "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: ask, namespace: security}\nspec:\n  \
                 from: [{group: gatehouse.dev, kind: AuthPolicy, namespace: default}]\n  to: [{group: '', kind: Service, name: authz}]\n";
    let far = policy("far", "").replace("{name: authz,", "{name: authz, namespace: security,");
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{far}", route(rules)))
        .file("echo.yaml", service("echo"))
        .file(
            "authz.yaml",
            service("authz").replace("metadata: {name: authz", "metadata: {namespace: security, name: authz"),
        )
        .endpoint("echo", backend.address)
        .arg("--endpoint")
        .arg(&format!("security/authz={authz}"))
        .start()
        .await;
    let status = async || get(gateway.http(), "/").header("x-want", "ok").send().await.status;
    assert_eq!(status().await, 503);
    gateway
        .said("no ReferenceGrant in namespace security lets an AuthPolicy of default use Service authz")
        .await;
    assert_eq!(authorizer.asked.load(Ordering::SeqCst), 0);
    gateway.write("grant.yaml", grant);
    eventually("it is asked", async || (status().await == 200).then_some(())).await;
    gateway.remove("grant.yaml");
    eventually("it is closed again", async || (status().await == 503).then_some(())).await;
}
