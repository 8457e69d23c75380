//! What dataplanes of one Gateway need to give each other their state without the API server and the controller: a
//! certificate for the one that gives, and the keys by which it knows the one that asks.

use std::time::Duration;

use gatehouse_proto::config::v1;
use kube::Client;
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};
use tracing::error;

use super::{Authority, AuthorityError};
use crate::{latest::tell, provision, resources::ObjectKey};

const INTERVAL: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(5);

/// The keys that sign ServiceAccount tokens, as the API server publishes them (OpenID Connect discovery).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountKeys {
    issuer: String,
    /// RFC 7517.
    jwks: String,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl ServiceAccountKeys {
    async fn read(client: &Client) -> kube::Result<Self> {
        let get = |path: &'static str| {
            let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
            async move { client.request_text(request?).await }
        };
        let discovery = get("/.well-known/openid-configuration").await?;
        let Discovery { issuer } = serde_json::from_str(&discovery).map_err(kube::Error::SerdeError)?;
        Ok(ServiceAccountKeys { issuer, jwks: get("/openid/v1/jwks").await? })
    }

    /// Reads them for ever, now and then: they rotate. The first value is `None`.
    pub async fn follow(client: Client, keys: watch::Sender<Option<Self>>) {
        loop {
            let pause = match Self::read(&client).await {
                Ok(present) => {
                    tell(&keys, Some(present));
                    INTERVAL
                }
                Err(error) => {
                    error!(%error, "can't read the keys of ServiceAccounts: dataplanes can't help each other");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }
}

/// For the dataplanes of a Gateway. The same on every replica.
pub fn siblings(
    gateway: &ObjectKey,
    authority: &Authority,
    keys: &ServiceAccountKeys,
) -> Result<v1::Siblings, AuthorityError> {
    let names = [provision::peers_host(gateway)];
    let issued = authority.issue("siblings", &names)?;
    let account = provision::object_name(&gateway.name);
    Ok(v1::Siblings {
        certificate: Some(v1::Certificate {
            chain: vec![issued.certificate.to_vec()],
            private_key: issued.key.secret_pkcs8_der().to_vec(),
            private_key_kind: v1::PrivateKeyKind::Pkcs8.into(),
        }),
        jwks: keys.jwks.clone(),
        issuer: keys.issuer.clone(),
        audience: provision::TOKEN_AUDIENCE.into(),
        subject: format!("system:serviceaccount:{}:{account}", gateway.namespace),
    })
}
