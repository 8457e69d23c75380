//! The gRPC service: checks how a stream opens, and starts its session.

use gatehouse_proto::config::v1::{
    ClientMessage, Hello, ServerMessage, client_message::Kind as FromClient,
    config_service_server::ConfigService,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::{Admission, ConfigServer, peer::Peer, session::Session};

/// Resources that a dataplane may hold: ten times what a Gateway is tested with.
const MAX_HELD: usize = 1_000_000;
/// The longest name of a dataplane, a Gateway or a build, in bytes: two names of Kubernetes and a slash.
const MAX_NAME_BYTES: usize = 512;
/// Messages that wait for the transport; parts of a batch are large.
const OUTBOUND_MESSAGES: usize = 2;

#[tonic::async_trait]
impl ConfigService for ConfigServer {
    type WatchStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let admission = request.extensions().get::<Admission>().cloned();
        if self.inner.options.guarded && admission.is_none() {
            return Err(Status::unauthenticated("nobody has vouched for the caller"));
        }
        let mut inbound = request.into_inner();
        let options = self.inner.options.clone();
        let first = timeout(3 * options.heartbeat, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello came in time"))??;
        let Some(FromClient::Hello(hello)) = first.and_then(|message| message.kind) else {
            return Err(Status::invalid_argument("the first message of a stream must be Hello"));
        };
        check(&hello)?;
        if let Some(admission) = admission {
            admission.check(&hello)?;
        }

        let gateway = hello.gateway.clone();
        let Some(seat) = self.join(&gateway, hello.node.clone(), hello.build.clone()) else {
            return Err(Status::resource_exhausted(format!(
                "Gateway {gateway} has {} dataplanes connected already",
                options.max_streams
            )));
        };
        info!(gateway, node = hello.node, build = hello.build, "dataplane connected");
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
        let session = Session::new(seat, Peer::new(hello), options, inbound, outbound);
        let server = self.clone();
        tokio::spawn(async move {
            let seat = session.run().await;
            server.leave(&gateway, seat);
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

fn check(hello: &Hello) -> Result<(), Status> {
    let named = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES;
    if !named(&hello.node) || hello.build.len() > MAX_NAME_BYTES {
        return Err(Status::invalid_argument(format!(
            "Hello.node must have 1 to {MAX_NAME_BYTES} bytes, and Hello.build no more"
        )));
    }
    let parts: Vec<&str> = hello.gateway.split('/').collect();
    if !named(&hello.gateway) || parts.len() != 2 || parts.contains(&"") {
        return Err(Status::invalid_argument("Hello.gateway must be `namespace/name`"));
    }
    if hello.holds.len() + hello.rejected.len() > MAX_HELD {
        return Err(Status::invalid_argument(format!("Hello may list {MAX_HELD} resources")));
    }
    Ok(())
}
