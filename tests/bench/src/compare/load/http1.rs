//! HTTP/1.1 on connections that stay.

use std::{io, rc::Rc};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Arrivals, Counts, Shape,
    stream::{Stream, connect},
};
use gatehouse_tests::answer::Head;

/// Reads answers of known length, as every gateway gives them here.
pub(super) struct Answers {
    buffer: Vec<u8>,
    filled: usize,
}

pub(super) fn request(shape: &Shape) -> Vec<u8> {
    format!("GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n", shape.path, shape.host, shape.headers).into_bytes()
}

pub(super) async fn run(shape: Shape, arrivals: Rc<Arrivals>, counts: Counts) {
    let request = request(&shape);
    let mut connection: Option<Box<dyn Stream>> = None;
    let mut answers = Answers::default();
    loop {
        let due = arrivals.next().await;
        let outcome = async {
            let stream = match &mut connection {
                Some(stream) => stream,
                None => connection.insert(connect(shape.address, shape.trust.as_ref()).await?.0),
            };
            stream.write_all(&request).await?;
            answers.read(stream.as_mut(), shape.size).await
        };
        match outcome.await {
            Ok(()) => counts.completed(due),
            Err(_) => {
                counts.failed();
                connection = None;
                answers = Answers::default();
                // A gateway that refuses must not be answered with a busy loop.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A connection that has carried one request.
pub(super) async fn open_once(shape: &Shape) -> io::Result<Box<dyn Stream>> {
    let (mut stream, _) = connect(shape.address, shape.trust.as_ref()).await?;
    stream.write_all(&request(shape)).await?;
    Answers::default().read(stream.as_mut(), shape.size).await?;
    Ok(stream)
}

impl Default for Answers {
    fn default() -> Self {
        Answers { buffer: vec![0; 16 << 10], filled: 0 }
    }
}

impl Answers {
    /// One answer: 200, and a body of `size` bytes.
    pub(super) async fn read(&mut self, stream: &mut dyn Stream, size: usize) -> io::Result<()> {
        let head = loop {
            if let Some(head) = Head::read(&self.buffer[..self.filled]) {
                break head;
            }
            self.fill(stream).await?;
        };
        if head.status != 200 || head.length != Some(size) {
            return Err(io::Error::other("another answer than the backend's"));
        }
        let mut left = size.saturating_sub(self.filled - head.end);
        while left > 0 {
            self.filled = 0;
            self.fill(stream).await?;
            left =
                left.checked_sub(self.filled).ok_or_else(|| io::Error::other("more than was asked for"))?;
        }
        self.filled = 0;
        Ok(())
    }

    async fn fill(&mut self, stream: &mut dyn Stream) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            return Err(io::Error::other("a head without end"));
        }
        let read = stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
