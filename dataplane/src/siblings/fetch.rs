//! Asks siblings for their state.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use gatehouse_proto::config::v1::{StateRequest, sibling_service_client::SiblingServiceClient};
use prost::Message;
use tokio::time::timeout;
use tracing::debug;

use super::MESSAGE_BYTES;
use crate::discover::{ConnectError, Credentials, Target};

/// For one sibling, from the first packet to the last part.
const SIBLING_TIMEOUT: Duration = Duration::from_secs(20);
/// Asked in one round. Any that is ready will do.
const MOST_SIBLINGS: usize = 16;
/// Of a whole state, in bytes and resources.
const STATE_BYTES: usize = 1 << 30;
const STATE_RESOURCES: usize = 1_000_000;

/// Where the other dataplanes of a Gateway are found, and how to speak to them.
#[derive(Debug, Clone)]
pub struct Siblings {
    /// A headless Service: its name has an address for each of them.
    pub target: Target,
    pub credentials: Credentials,
    /// `namespace/name`.
    pub gateway: String,
}

/// Why a round was in vain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("it refused: {0}")]
    Refused(#[from] tonic::Status),
    #[error("it took longer than {SIBLING_TIMEOUT:?}")]
    Slow,
    #[error("it ended before the state was whole")]
    Torn,
    #[error("its state is larger than any")]
    TooLarge,
}

impl Siblings {
    /// The state of the first sibling that gives it, encoded; else the last failure.
    pub(crate) async fn fetch(&self) -> Result<Vec<Bytes>, FetchError> {
        let mut failure = FetchError::Torn;
        for address in self.target.resolve().await?.into_iter().take(MOST_SIBLINGS) {
            match timeout(SIBLING_TIMEOUT, self.ask(address)).await {
                Ok(Ok(resources)) => return Ok(resources),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = FetchError::Slow,
            }
            debug!(%address, error = %failure, "sibling");
        }
        Err(failure)
    }

    async fn ask(&self, address: SocketAddr) -> Result<Vec<Bytes>, FetchError> {
        let link = self.credentials.connect_to(address, &self.target).await?;
        let mut client = SiblingServiceClient::new(link.channel()).max_decoding_message_size(MESSAGE_BYTES);
        let request = link.request(StateRequest { gateway: self.gateway.clone() });
        let mut parts = client.state(request).await?.into_inner();
        let (mut resources, mut bytes) = (Vec::new(), 0);
        while let Some(part) = parts.message().await? {
            bytes += part.encoded_len();
            resources.extend(part.upserts);
            if bytes > STATE_BYTES || resources.len() > STATE_RESOURCES {
                return Err(FetchError::TooLarge);
            }
            if !part.more {
                return Ok(resources);
            }
        }
        Err(FetchError::Torn)
    }
}
