//! One request at a time on a connection.

use gatehouse_tests::answer::Head;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Answer, CARRIED, Door, Stream};
use crate::request::Request;

pub(super) struct Client {
    door: Door,
    connection: Option<Box<dyn Stream>>,
    carried: u32,
}

impl Client {
    pub(super) fn new(door: Door) -> Client {
        Client { door, connection: None, carried: 0 }
    }

    pub(super) async fn ask(&mut self, request: Request) -> Result<Answer, String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.carried = 0;
                self.door.open().await.map_err(|error| format!("connect: {error}"))?
            }
        };
        self.carried += 1;
        let exchanged = exchange(connection.as_mut(), request).await;
        let (head, answer) = exchanged.map_err(|error| format!("request {}: {error}", self.carried))?;
        if !head.closes && self.carried < CARRIED {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

async fn exchange(connection: &mut dyn Stream, request: Request) -> std::io::Result<(Head, Answer)> {
    let (body, host) = (request.body(), request.host());
    let length =
        if request.is_post() { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let (method, path) = (request.method(), request.path());
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n{body}");
    connection.write_all(text.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if connection.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = Head::read(&buffer) else { continue };
        if buffer.len() >= head.end + head.length.unwrap_or(0) {
            let body = buffer[head.end..].to_vec();
            return Ok((head, Answer { status: head.status, body }));
        }
    }
}
