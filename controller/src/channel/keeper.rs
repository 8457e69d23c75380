//! Keeps the authority in a Secret that all replicas share: the first to come makes it, any of them rotates it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::authority::{Authority, AuthorityError};
use crate::latest::tell;

/// The Secret's name, in the controller's namespace.
const SECRET: &str = "gatehouse-channel-ca";
/// How often it is looked at again: another replica may have rotated it, or it is time to.
const INTERVAL: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("{0}; delete the Secret to have a new one made")]
    Unusable(#[from] AuthorityError),
}

/// Reads, makes and rotates the authority.
#[derive(Debug)]
pub struct Keeper {
    api: Api<Secret>,
    namespace: String,
}

impl Keeper {
    pub fn new(client: Client, namespace: &str) -> Self {
        Keeper { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// Runs for ever. The first value is `None`.
    pub async fn run(self, authority: watch::Sender<Option<Arc<Authority>>>) {
        loop {
            let pause = match self.turn(Timestamp::now()).await {
                Ok(Some(present)) => {
                    tell(&authority, Some(Arc::new(present)));
                    INTERVAL
                }
                // Another replica was quicker.
                Ok(None) => Duration::from_millis(100),
                Err(error) => {
                    warn!(secret = %format_args!("{}/{SECRET}", self.namespace), %error, "the channel's authority");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    async fn turn(&self, now: Timestamp) -> Result<Option<Authority>, KeepError> {
        let Some(secret) = self.api.get_opt(SECRET).await? else {
            let fresh = Authority::generate(now)?;
            let secret = Secret {
                metadata: ObjectMeta { name: Some(SECRET.into()), ..ObjectMeta::default() },
                type_: Some("Opaque".into()),
                ..filled(Secret::default(), &fresh)
            };
            info!("a new authority for the configuration channel");
            return stored(self.api.create(&PostParams::default(), &secret).await, fresh);
        };
        let present = {
            let data = secret.data.as_ref();
            Authority::parse(|entry| data?.get(entry).map(|bytes| bytes.0.as_slice()))?
        };
        let Some(advanced) = present.advanced(now)? else { return Ok(Some(present)) };
        info!("the authority of the configuration channel rotates");
        let replaced = self.api.replace(SECRET, &PostParams::default(), &filled(secret, &advanced)).await;
        stored(replaced, advanced)
    }
}

fn filled(mut secret: Secret, authority: &Authority) -> Secret {
    let entries = authority.entries().into_iter();
    secret.data =
        Some(entries.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).collect());
    secret
}

fn stored(result: kube::Result<Secret>, authority: Authority) -> Result<Option<Authority>, KeepError> {
    match result {
        Ok(_) => Ok(Some(authority)),
        // Exists already, or has changed since it was read.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error.into()),
    }
}
