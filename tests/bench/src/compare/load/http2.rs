//! HTTP/2 with prior knowledge (RFC 9113, 3.3): many requests at a time on few connections.

use std::{io, rc::Rc};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::{Request, Version};
use tokio::{net::TcpStream, task::JoinSet};

use super::{Arrivals, Counts, Shape};

const WINDOW: u32 = 16 << 20;

pub(super) async fn run(shape: Shape, streams: usize, arrivals: Rc<Arrivals>, counts: Counts) {
    loop {
        let Ok((sender, connection)) = connect(&shape).await else {
            counts.failed();
            tokio::task::yield_now().await;
            continue;
        };
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (shape, arrivals) = (shape.clone(), Rc::clone(&arrivals));
            tasks.spawn_local(requests(sender.clone(), shape, arrivals, counts.clone()));
        }
        // It ends with the connection.
        let _ = connection.await;
    }
}

/// Whether one request on a connection of its own gets the backend's answer.
pub(super) async fn answers(shape: &Shape) -> bool {
    let Ok((sender, connection)) = connect(shape).await else { return false };
    let uri = uri(shape);
    let request = request(sender, &uri, shape.size);
    tokio::select! {
        answer = request => answer.unwrap_or(false),
        _ = connection => false,
    }
}

async fn connect(shape: &Shape) -> io::Result<(SendRequest<Bytes>, Connection<TcpStream, Bytes>)> {
    let stream = TcpStream::connect(shape.address).await?;
    stream.set_nodelay(true)?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    builder.handshake(stream).await.map_err(io::Error::other)
}

fn uri(shape: &Shape) -> String {
    format!("http://{}{}", shape.host, shape.path)
}

async fn requests(sender: SendRequest<Bytes>, shape: Shape, arrivals: Rc<Arrivals>, counts: Counts) {
    let uri = uri(&shape);
    loop {
        let due = arrivals.next().await;
        match request(sender.clone(), &uri, shape.size).await {
            Ok(true) => counts.completed(due),
            Ok(false) => counts.failed(),
            Err(_) => {
                counts.failed();
                return;
            }
        }
    }
}

/// Whether the answer was the backend's.
async fn request(sender: SendRequest<Bytes>, uri: &str, size: usize) -> Result<bool, h2::Error> {
    let request = Request::get(uri).version(Version::HTTP_2).body(()).expect("a request");
    let (response, _) = sender.ready().await?.send_request(request, true)?;
    let response = response.await?;
    let is_ok = response.status() == 200;
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        read += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(is_ok && read == size)
}
