//! A pretended Kubernetes API server on loopback: what `gatehouse-controller` asks of a real one, and no more.
//!
//! Any kind is served as it comes: list with limit and continue, watch with bookmarks, get, create, replace, merge and
//! apply patch, delete, the status subresource, and reviews of tokens. An apply is taken as a merge, and selectors are not
//! looked at. Where the API's own behaviour matters, tests use a real one; this is for scale.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use super::store::{Key, Patch, Refusal, Store};

/// A real one sends them about once a minute.
const BOOKMARKS: Duration = Duration::from_secs(30);
/// The limit of a list that gives none.
const WHOLE: usize = usize::MAX;

type Body = BoxBody<Bytes, Infallible>;

/// Where an object or a kind is: `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// `GROUP/PLURAL`; the core group is empty.
    kind: String,
    namespace: String,
    name: Option<String>,
    is_status: bool,
}

/// Serves the store until the runtime ends; gives where.
pub(super) async fn serve(store: Arc<Store>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Events are small and must not wait for one another.
            let _ = stream.set_nodelay(true);
            let store = Arc::clone(&store);
            let answer = service_fn(move |request| {
                let store = Arc::clone(&store);
                async move { Ok::<_, Infallible>(answer(request, store).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>, store: Arc<Store>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(place) = place(head.uri.path()) else { return refused(404, "NotFound") };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let parameter =
        |name: &str| query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    let key = |name: &String| (place.namespace.clone(), name.clone());
    let Ok(body) = body.collect().await else { return refused(400, "BadRequest") };
    let object = || serde_json::from_slice::<Value>(&body.to_bytes()).unwrap_or(Value::Null);
    let result = match (&head.method, &place.name) {
        (&Method::GET, None) if ["1", "true"].contains(&parameter("watch")) => {
            return watch(store, &place, parameter("resourceVersion").parse().unwrap_or(0));
        }
        (&Method::GET, None) => {
            let limit = parameter("limit").parse().unwrap_or(WHOLE);
            return list(&store, &place, parameter("continue").split_once('/'), limit);
        }
        (&Method::GET, Some(name)) => store.json(&place.kind, &key(name)).ok_or(Refusal::NotFound),
        (&Method::POST, None) if place.kind == "authentication.k8s.io/tokenreviews" => Ok(review(&object())),
        (&Method::POST, None) => {
            let mut object = object();
            if !place.namespace.is_empty() {
                object["metadata"]["namespace"] = place.namespace.clone().into();
            }
            store.create(&place.kind, object)
        }
        (&Method::PUT, Some(_)) => store.replace(&place.kind, object()),
        (&Method::PATCH, Some(name)) => {
            let how = if place.is_status { Patch::Status } else { Patch::Merge };
            store.patch(&place.kind, &key(name), object(), how)
        }
        (&Method::DELETE, Some(name)) => store.delete(&place.kind, &key(name)),
        _ => return refused(405, "MethodNotAllowed"),
    };
    match result {
        Ok(object) => whole(200, object),
        Err(Refusal::NotFound) => refused(404, "NotFound"),
        Err(Refusal::Exists) => refused(409, "AlreadyExists"),
        Err(Refusal::Conflict) => refused(409, "Conflict"),
    }
}

fn place(path: &str) -> Option<Place> {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let group = match *parts.first()? {
        "api" => "",
        "apis" => parts.get(1).copied()?,
        _ => return None,
    };
    parts.drain(..if group.is_empty() { 2.min(parts.len()) } else { 3.min(parts.len()) });
    // `namespaces/NAME` alone is an object.
    let namespace = if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2).nth(1).unwrap_or("")
    } else {
        ""
    };
    Some(Place {
        kind: format!("{group}/{}", parts.first()?),
        namespace: namespace.to_owned(),
        name: parts.get(1).map(|name| (*name).to_owned()),
        is_status: parts.get(2) == Some(&"status"),
    })
}

fn list(store: &Store, place: &Place, after: Option<(&str, &str)>, limit: usize) -> Response<Body> {
    let after: Option<Key> = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let page = store.list(&place.kind, &place.namespace, after.as_ref(), limit);
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    if let Some((namespace, name)) = page.next {
        metadata["continue"] = format!("{namespace}/{name}").into();
    }
    let size: usize = page.objects.iter().map(|object| object.len() + 1).sum();
    let mut text = Vec::with_capacity(size + 200);
    text.extend_from_slice(
        format!("{{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{metadata},\"items\":[").as_bytes(),
    );
    for (index, object) in page.objects.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(object);
    }
    text.extend_from_slice(b"]}");
    whole(200, text.into())
}

/// What a watch has told.
struct Watch {
    store: Arc<Store>,
    place: Place,
    news: watch::Receiver<u64>,
    told: u64,
}

fn watch(store: Arc<Store>, place: &Place, after: u64) -> Response<Body> {
    let news = store.news(&place.kind);
    let watch = Watch { store, place: place.clone(), news, told: after };
    let body = StreamBody::new(stream::unfold(Some(watch), |watch| async move {
        let (lines, watch) = watch?.next().await;
        Some((Ok(Frame::data(lines)), watch))
    }));
    Response::new(BoxBody::new(body))
}

impl Watch {
    /// Waits for lines. No watch: they were the last.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        loop {
            self.news.mark_unchanged();
            let Some(events) = self.store.events(&self.place.kind, self.told) else {
                let expired = json!({"type": "ERROR", "object": status(410, "Expired")});
                return (format!("{expired}\n").into(), None);
            };
            self.told = events.last().map_or(self.told, |event| event.version);
            let namespace = &self.place.namespace;
            let wanted = events.iter().filter(|event| namespace.is_empty() || event.namespace == *namespace);
            let mut lines = Vec::new();
            wanted.for_each(|event| lines.extend_from_slice(&event.line));
            if !lines.is_empty() {
                return (lines.into(), Some(self));
            }
            if timeout(BOOKMARKS, self.news.changed()).await.is_err() {
                let version = self.store.version().to_string();
                let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "Bookmark", "apiVersion": "v1",
                    "metadata": {"resourceVersion": version}}});
                return (format!("{bookmark}\n").into(), Some(self));
            }
        }
    }
}

/// A token `NAMESPACE:ACCOUNT:POD` is good, and bound to the pod.
fn review(review: &Value) -> Bytes {
    let token = review["spec"]["token"].as_str().unwrap_or("");
    let status = match token.trim().splitn(3, ':').collect::<Vec<_>>()[..] {
        [namespace, account, pod] => json!({
            "authenticated": true,
            "audiences": review["spec"]["audiences"],
            "user": {
                "username": format!("system:serviceaccount:{namespace}:{account}"),
                "extra": {"authentication.kubernetes.io/pod-name": [pod]},
            },
        }),
        _ => json!({ "authenticated": false }),
    };
    let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
        "spec": review["spec"], "status": status});
    answer.to_string().into()
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code})
}

fn refused(code: u16, reason: &str) -> Response<Body> {
    whole(code, status(code, reason).to_string().into())
}

fn whole(code: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(BoxBody::new(Full::new(body)));
    if let Ok(code) = code.try_into() {
        *response.status_mut() = code;
    }
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::{Place, place};

    #[test]
    fn paths_name_kinds_and_objects() {
        let expected = |kind: &str, namespace: &str, name: Option<&str>, is_status| {
            let name = name.map(str::to_owned);
            Some(Place { kind: kind.into(), namespace: namespace.into(), name, is_status })
        };
        for (path, wanted) in [
            ("/api/v1/namespaces", expected("/namespaces", "", None, false)),
            ("/api/v1/namespaces/a", expected("/namespaces", "", Some("a"), false)),
            ("/api/v1/namespaces/a/secrets/b", expected("/secrets", "a", Some("b"), false)),
            ("/apis/g/v1/routes", expected("g/routes", "", None, false)),
            ("/apis/g/v1/namespaces/a/routes/b/status", expected("g/routes", "a", Some("b"), true)),
            ("/openid/v1/jwks", None),
            ("/apis", None),
        ] {
            assert_eq!(place(path), wanted, "{path}");
        }
    }
}
