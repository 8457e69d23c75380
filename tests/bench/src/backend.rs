//! The backend that all gateways share: fixed answers over HTTP/1.1 keep-alive, at a fraction of a gateway's cost.
//!
//! `/` and all other paths give 128 bytes, `/4k` 4 KiB, `/1m` 1 MiB, each one JSON value. Requests have no body. It trusts what it reads: it
//! only ever talks to gateways under measurement.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn,
};

const END: &[u8] = b"\r\n\r\n";

struct Answers {
    small: Vec<u8>,
    medium: Vec<u8>,
    large: Vec<u8>,
}

/// Size of the body for a path.
pub fn size(path: &str) -> usize {
    match path {
        "/4k" => 4 << 10,
        "/1m" => 1 << 20,
        _ => 128,
    }
}

/// Serves as long as the caller's runtime runs.
///
/// # Errors
/// There is no port.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answers = Arc::new(Answers {
        small: answer(size("/")),
        medium: answer(size("/4k")),
        large: answer(size("/1m")),
    });
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // An error is a gateway that has closed its connection.
            spawn(serve(stream, Arc::clone(&answers)));
        }
    });
    Ok(address)
}

fn answer(size: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    answer.push(b'"');
    answer.resize(answer.len() + size - 2, b'x');
    answer.push(b'"');
    answer
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut start = 0;
        while let Some(end) = memchr::memmem::find(&buffer[start..filled], END) {
            let head = &buffer[start..start + end];
            let answer = if head.starts_with(b"GET /4k ") {
                &answers.medium
            } else if head.starts_with(b"GET /1m ") {
                &answers.large
            } else {
                &answers.small
            };
            stream.write_all(answer).await?;
            start += end + END.len();
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}
