//! One check of one endpoint.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::grpc;
use crate::upstream::{self, Endpoint, HttpProbe, Probe, Protocol, Service};

const USER_AGENT: HeaderValue = HeaderValue::from_static("gatehouse-health-check");
/// An answer of gRPC is a few bytes.
const LONGEST_ANSWER: usize = 4096;

/// Why an endpoint is not fit.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("no answer in time")]
    Silent,
    #[error("can't be connected to")]
    Connect,
    #[error("it broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("its answer is not gRPC's, or too long")]
    Garbled,
    #[error("not serving")]
    NotServing,
    #[error("the request can't be made: {0}")]
    Request(#[from] http::Error),
}

pub(super) async fn check(service: &Service, endpoint: &Endpoint, probe: &Probe) -> Result<(), Unfit> {
    match probe {
        Probe::Tcp => upstream::tcp(endpoint).await.map(drop).map_err(|_| Unfit::Connect),
        Probe::Http(probe) => http(service, endpoint, probe).await,
        Probe::Grpc(name) => {
            let request = request(service, endpoint, Method::POST, grpc::PATH, None, Version::HTTP_2)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers")
                .body(Full::new(grpc::ask(name)))?;
            over_http2(service, endpoint, request, grpc_answer).await
        }
    }
}

async fn http(service: &Service, endpoint: &Endpoint, probe: &HttpProbe) -> Result<(), Unfit> {
    let judge = |response: Response<Incoming>| {
        let status = response.status();
        let is_expected = probe.expects(status);
        async move { if is_expected { Ok(()) } else { Err(Unfit::Status(status)) } }
    };
    let version = match service.protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::H2c => Version::HTTP_2,
    };
    let host = probe.host.as_deref();
    let request = request(service, endpoint, Method::GET, &probe.path, host, version);
    if version == Version::HTTP_2 {
        return over_http2(service, endpoint, request.body(Full::default())?, judge).await;
    }
    let request = request.header(header::CONNECTION, "close").body(Full::<Bytes>::default())?;
    let stream = upstream::stream(endpoint, service).await.map_err(|_| Unfit::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut talk = pin!(async { judge(sender.send_request(request).await?).await });
    tokio::select! {
        biased;
        found = &mut talk => found,
        // What it has said before it closed is there.
        _ = connection => talk.await,
    }
}

async fn over_http2<F>(
    service: &Service,
    endpoint: &Endpoint,
    request: Request<Full<Bytes>>,
    judge: impl FnOnce(Response<Incoming>) -> F,
) -> Result<(), Unfit>
where
    F: Future<Output = Result<(), Unfit>>,
{
    let stream = upstream::stream(endpoint, service).await.map_err(|_| Unfit::Connect)?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut talk = pin!(async { judge(sender.send_request(request).await?).await });
    tokio::select! {
        biased;
        found = &mut talk => found,
        _ = connection => talk.await,
    }
}

/// HTTP/1 has the host in a header, HTTP/2 in the target.
fn request(
    service: &Service,
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    host: Option<&str>,
    version: Version,
) -> http::request::Builder {
    let host = match (host, &service.tls) {
        (Some(host), _) => host.to_owned(),
        (None, Some(tls)) => tls.server_name(),
        (None, None) => endpoint.address.to_string(),
    };
    let request = Request::builder().method(method).version(version).header(header::USER_AGENT, USER_AGENT);
    if version == Version::HTTP_2 {
        let scheme = if service.tls.is_some() { "https" } else { "http" };
        request.uri(format!("{scheme}://{host}{path}"))
    } else {
        request.uri(path).header(header::HOST, host)
    }
}

async fn grpc_answer(response: Response<Incoming>) -> Result<(), Unfit> {
    if response.status() != StatusCode::OK {
        return Err(Unfit::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let body = body.map_err(|_| Unfit::Garbled)?.to_bytes();
    match grpc::is_serving(&body) {
        Some(true) => Ok(()),
        Some(false) => Err(Unfit::NotServing),
        None => Err(Unfit::Garbled),
    }
}
