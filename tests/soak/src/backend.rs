//! Pods behind Services: they answer, come and go, and close connections when they like.

use std::{io, net::Ipv4Addr, sync::Arc};

use gatehouse_tests::pretended::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    ledger::Ledger,
    request::{Afterwards, Request},
};

/// Serves until it is dropped: then it finishes what it has begun and takes nothing more.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    _stop: watch::Sender<()>,
}

/// A request as it stands at the beginning of what was read.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    request: Request,
    is_post: bool,
    length: usize,
}

impl Pod {
    pub(crate) async fn start(
        service: &'static str,
        name: String,
        (address, port): (Ipv4Addr, u16),
        ledger: Arc<Ledger>,
    ) -> io::Result<Pod> {
        let listener = TcpListener::bind((address, port)).await?;
        let (stop, stopped) = watch::channel(());
        tokio::spawn(accept(listener, service, ledger, stopped));
        Ok(Pod { name, address, _stop: stop })
    }

    pub(crate) fn endpoint(&self, is_leaving: bool) -> Endpoint {
        Endpoint { pod: self.name.clone(), address: self.address, is_leaving }
    }
}

async fn accept(
    listener: TcpListener,
    service: &'static str,
    ledger: Arc<Ledger>,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // An error is a gateway that has closed its connection.
                tokio::spawn(serve(stream, service, Arc::clone(&ledger), stopped.clone()));
            },
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    service: &'static str,
    ledger: Arc<Ledger>,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 8 << 10];
    let mut filled = 0;
    loop {
        let Some(whole) = Whole::read(&buffer[..filled])? else {
            let read = tokio::select! {
                biased;
                read = stream.read(&mut buffer[filled..]) => read?,
                // Between two requests; what has begun is read on.
                _ = stopped.changed(), if filled == 0 => return Ok(()),
            };
            if read == 0 {
                return Ok(());
            }
            filled += read;
            continue;
        };
        let Whole { request, is_post, length } = whole;
        if is_post {
            ledger.took(request);
        }
        if request.is_dropped() {
            return Ok(());
        }
        buffer.copy_within(length..filled, 0);
        filled -= length;
        let afterwards = request.afterwards();
        let body = request.answer(service);
        let close = if afterwards == Afterwards::Close { "Connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
        if afterwards != Afterwards::KeepAlive {
            return Ok(());
        }
    }
}

impl Whole {
    /// `None`: it is not whole yet.
    fn read(bytes: &[u8]) -> io::Result<Option<Whole>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(end)) = head.parse(bytes).map_err(io::Error::other) else {
            return Ok(None);
        };
        let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
        let request = head.path.and_then(Request::from_path).ok_or(io::ErrorKind::InvalidData)?;
        let whole = Whole { request, is_post: head.method == Some("POST"), length: end + length };
        Ok((bytes.len() >= whole.length).then_some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, Whole};

    #[test]
    fn requests_are_taken_when_they_are_whole() {
        let bytes = b"POST /8 HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcGET";
        let whole = Whole { request: Request(8), is_post: true, length: bytes.len() - 3 };
        assert_eq!(Whole::read(bytes).unwrap(), Some(whole));
        for end in 0..bytes.len() - 3 {
            assert_eq!(Whole::read(&bytes[..end]).unwrap(), None, "{end}");
        }
    }
}
