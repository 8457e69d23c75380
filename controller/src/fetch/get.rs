//! One bounded GET.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderValue},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::CertificateDer;
use tracing::warn;

use super::Wanted;

/// The largest document that is read.
const DOCUMENT_BYTES: usize = 1 << 20;

/// Why the HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

#[derive(Debug)]
pub(super) struct Getter {
    /// Trusts the public authorities.
    client: Client,
    timeout: Duration,
}

impl Getter {
    pub(super) fn new(timeout: Duration) -> Result<Self, ClientError> {
        Ok(Getter { client: client(public_roots(), timeout)?, timeout })
    }

    /// The error continues a sentence that begins with the URL.
    pub(super) async fn get(&self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        if wanted.roots.is_empty() {
            return get(&self.client, &wanted.url).await;
        }
        // Seldom enough to be made each time.
        let client = client(own_roots(&wanted.roots), self.timeout)
            .map_err(|error| format!("can't be fetched: {error}"))?;
        get(&client, &wanted.url).await
    }
}

fn client(roots: RootCertStore, timeout: Duration) -> Result<Client, ClientError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        // A redirect could lead anywhere; the URL is what the user trusts.
        .redirect(Policy::none())
        .user_agent(concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .build()?;
    Ok(client)
}

async fn get(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let mut response = client.get(url).send().await.map_err(|error| failed("can't be fetched", error))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("answered {status}; redirects are not followed, write where it leads to"));
    }
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    let too_large = || format!("is larger than {DOCUMENT_BYTES} bytes");
    if response.content_length().is_some_and(|length| length > DOCUMENT_BYTES as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed("broke off", error))? {
        if body.len() + piece.len() > DOCUMENT_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// None but these.
fn own_roots(certificates: &[Vec<u8>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().map(|one| CertificateDer::from(one.clone())));
    roots
}

/// The system's, so that a company's own authority counts; in an image without any, Mozilla's.
fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        warn!(%error, "a root certificate of the system can't be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// With the causes, which reqwest keeps to itself, and without the URL, which may hold a password.
fn failed(what: &str, error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = format!("{what}: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
