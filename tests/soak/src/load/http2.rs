//! Several requests at a time on a connection, until the gateway asks for another.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::Mutex;

use super::{Answer, CARRIED, Door};
use crate::request::Request;

pub(super) struct Client {
    door: Door,
    current: Mutex<Option<Current>>,
}

struct Current {
    sender: SendRequest<Bytes>,
    carried: u32,
}

impl Client {
    pub(super) fn new(door: Door) -> Client {
        Client { door, current: Mutex::default() }
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Answer, String> {
        let mut sender = self.sender().await.map_err(|error| format!("connect: {error}"))?;
        let uri = format!("https://{}{}", request.host(), request.path());
        let body = request.body();
        let head = http::Request::builder()
            .method(request.method())
            .uri(uri)
            .header("content-length", body.len())
            .body(())
            .map_err(|error| error.to_string())?;
        exchange(&mut sender, head, body).await.map_err(|error| error.to_string())
    }

    /// A connection that takes another request: one that got GOAWAY doesn't.
    async fn sender(&self) -> Result<SendRequest<Bytes>, String> {
        let mut current = self.current.lock().await;
        if let Some(mut known) = current.take()
            && known.carried < CARRIED
            && let Ok(sender) = known.sender.ready().await
        {
            known.sender = sender.clone();
            known.carried += 1;
            *current = Some(known);
            return Ok(sender);
        }
        let stream = self.door.open().await.map_err(|error| error.to_string())?;
        let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let sender = sender.ready().await.map_err(|error| error.to_string())?;
        *current = Some(Current { sender: sender.clone(), carried: 1 });
        Ok(sender)
    }
}

async fn exchange(
    sender: &mut SendRequest<Bytes>,
    head: http::Request<()>,
    body: String,
) -> Result<Answer, h2::Error> {
    let (response, mut stream) = sender.send_request(head, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body.into(), true)?;
    }
    let response = response.await?;
    let status = response.status().as_u16();
    let mut received = response.into_body();
    let mut body = Vec::new();
    while let Some(piece) = received.data().await {
        let piece = piece?;
        received.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, body })
}
