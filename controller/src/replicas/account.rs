//! As whom the replicas run. By it they know each other.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::watch, time::sleep};
use tracing::warn;

use crate::{channel::Identities, resources::ObjectKey};

const RETRY: Duration = Duration::from_secs(5);

/// Finds out as whom this replica runs, by its own token.
pub async fn own_account(identities: Identities, token: PathBuf, account: watch::Sender<Option<ObjectKey>>) {
    loop {
        let identity = match tokio::fs::read_to_string(&token).await {
            Ok(token) => identities.of(token.trim()).await.map_err(|status| status.message().to_owned()),
            Err(error) => Err(format!("{}: {error}", token.display())),
        };
        match identity {
            Ok(identity) => {
                account.send_replace(Some(identity.account));
                return std::future::pending().await;
            }
            Err(error) => {
                warn!(error, "replicas can't tell each other what dataplanes say");
                sleep(RETRY).await;
            }
        }
    }
}
