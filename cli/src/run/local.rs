//! The configuration channel within one process: the same gRPC, over a pipe instead of a socket.

use std::io;

use gatehouse_controller::serve::ConfigServer;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};
use tower::service_fn;

const PIPE_BYTES: usize = 256 << 10;

/// Opens channels to the server.
#[derive(Debug, Clone)]
pub(super) struct Connect(mpsc::UnboundedSender<io::Result<DuplexStream>>);

/// Serves until the runtime ends.
pub(super) fn serve(server: ConfigServer) -> Connect {
    let (pipes, incoming) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let serving = Server::builder()
            .add_service(server.into_service())
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        if let Err(error) = serving.await {
            tracing::error!(%error, "configuration channel");
        }
    });
    Connect(pipes)
}

impl Connect {
    pub(super) fn connect(
        &self,
    ) -> impl Future<Output = Result<Channel, tonic::transport::Error>> + Send + use<> {
        let pipes = self.0.clone();
        let connector = service_fn(move |_| {
            let (client, server) = duplex(PIPE_BYTES);
            let sent = pipes.send(Ok(server)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused));
            async move { sent.map(|()| TokioIo::new(client)) }
        });
        async move { Endpoint::from_static("http://controller.local").connect_with_connector(connector).await }
    }
}
