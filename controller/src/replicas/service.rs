//! Tells what the dataplanes of this replica say.

use gatehouse_proto::config::v1::{
    AcksRequest, GatewayAcks,
    replica_service_server::{ReplicaService, ReplicaServiceServer},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{AcksByGateway, SharedAcks};
use crate::{channel::Identity, resources::ObjectKey};

/// Messages that wait for the transport.
const OUTBOUND: usize = 16;

/// Serves the other replicas, and nobody else.
#[derive(Debug, Clone)]
pub struct ReplicaServer {
    acks: watch::Receiver<SharedAcks>,
    /// The ServiceAccount that all replicas run as; `None`: it is not known yet.
    account: watch::Receiver<Option<ObjectKey>>,
}

impl ReplicaServer {
    pub fn new(acks: watch::Receiver<SharedAcks>, account: watch::Receiver<Option<ObjectKey>>) -> Self {
        ReplicaServer { acks, account }
    }

    pub fn into_service(self) -> ReplicaServiceServer<Self> {
        ReplicaServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl ReplicaService for ReplicaServer {
    type AcksStream = ReceiverStream<Result<GatewayAcks, Status>>;

    async fn acks(&self, request: Request<AcksRequest>) -> Result<Response<Self::AcksStream>, Status> {
        let caller = request.extensions().get::<Identity>().map(|identity| &identity.account);
        if caller.is_none() || caller != self.account.borrow().as_ref() {
            return Err(Status::permission_denied("only replicas of the controller may ask"));
        }
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        let mut acks = self.acks.clone();
        tokio::spawn(async move {
            let mut told = SharedAcks::default();
            acks.mark_changed();
            while acks.changed().await.is_ok() {
                let present = acks.borrow_and_update().clone();
                for message in news(&told, &present) {
                    if outbound.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                told = present;
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

fn news(told: &AcksByGateway, present: &AcksByGateway) -> Vec<GatewayAcks> {
    let fresh = present.iter().filter(|(gateway, acks)| told.get(*gateway) != Some(acks));
    let fresh = fresh.filter_map(|(gateway, acks)| {
        Some(GatewayAcks { gateway: gateway.clone(), acks: serde_json::to_vec(acks).ok()? })
    });
    let gone = told.keys().filter(|gateway| !present.contains_key(*gateway));
    let gone = gone.map(|gateway| GatewayAcks { gateway: gateway.clone(), acks: Vec::new() });
    fresh.chain(gone).collect()
}
