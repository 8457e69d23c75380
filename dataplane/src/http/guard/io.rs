//! The guard around a byte stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    framing::{Framing, Then},
    head::Limits,
    watch::Watch,
};
use crate::Reason;

/// Stands in for a refused request. The answer to it closes the connection.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// After the last answer, what a client still sends is read and dropped within these bounds, so that a reset does not
/// overtake the answer (RFC 9112, 9.6).
const LINGER_BYTES: usize = 256 << 10;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// See the module above.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    inner: S,
    framing: Framing,
    watch: Watch,
    mode: Mode,
    /// Bytes that go to the parser before anything else is read.
    ready: Vec<u8>,
    /// Bytes behind a request for an upgrade.
    held: Vec<u8>,
    header_timeout: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Reading,
    /// An upgrade is being decided.
    Waiting,
    /// Nothing more is read. The parser is left waiting, not told of an end, which it would take for a client that has
    /// gone: the last answer closes the connection.
    Ended,
    Broken,
}

impl<S> Guard<S> {
    /// `first` was already read from the stream.
    pub(crate) fn new(
        inner: S,
        first: &[u8],
        limits: Limits,
        header_timeout: Duration,
        watch: Watch,
    ) -> Self {
        let mut guard = Guard {
            inner,
            framing: Framing::new(limits),
            watch,
            mode: Mode::Reading,
            ready: Vec::new(),
            held: Vec::new(),
            header_timeout,
            head_deadline: None,
            linger: None,
        };
        let mut first = first.to_vec();
        let kept = guard.inspect(&first);
        first.truncate(kept);
        guard.ready.splice(..0, first);
        guard
    }

    /// Gives how many of `bytes` go through now; what must come before them is left in `ready`.
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let verdict = self.framing.feed(bytes);
        self.watch.passed(verdict.heads);
        match verdict.then {
            Then::Continue => {}
            Then::Hold => {
                self.held.extend_from_slice(&bytes[verdict.pass..]);
                self.mode = Mode::Waiting;
            }
            Then::Refuse(reason) => {
                if verdict.before.is_empty() {
                    self.refuse(reason);
                    return verdict.pass;
                }
                // What was kept goes first, then what passes, then the stand-in: all from `ready`.
                self.ready = verdict.before;
                self.ready.extend_from_slice(&bytes[..verdict.pass]);
                self.refuse(reason);
                return 0;
            }
            Then::Break => self.mode = Mode::Broken,
        }
        if verdict.before.is_empty() {
            return verdict.pass;
        }
        self.ready = verdict.before;
        self.ready.extend_from_slice(&bytes[..verdict.pass]);
        0
    }

    fn refuse(&mut self, reason: Reason) {
        self.watch.refuse(reason);
        self.ready.extend_from_slice(STAND_IN);
        self.mode = Mode::Ended;
    }

    /// Moves what is ready into the parser's buffer.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready[..count]);
        self.ready.drain(..count);
    }

    fn settle_upgrade(&mut self, granted: bool) {
        if granted {
            self.framing.open_tunnel();
            self.ready = std::mem::take(&mut self.held);
            self.mode = Mode::Reading;
        } else {
            // What follows was meant for another protocol: never read it as a request.
            self.mode = Mode::Ended;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Ended => return Poll::Pending,
                Mode::Broken => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "broken chunk")));
                }
                Mode::Waiting => match this.watch.take_decision(cx.waker()) {
                    Some(granted) => {
                        this.settle_upgrade(granted);
                        continue;
                    }
                    None => return Poll::Pending,
                },
                Mode::Reading => {}
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buffer)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    ready!(this.poll_head_deadline(cx));
                    continue;
                }
            }
            let read = &buffer.filled()[before..];
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passes = this.inspect(read);
            buffer.set_filled(before + passes);
            if !this.framing.in_head() {
                this.head_deadline = None;
            }
            if passes > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S> Guard<S> {
    /// Ready when a head has been refused for being slow; until then the caller waits.
    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.framing.in_head() {
            return Poll::Pending;
        }
        let timeout = self.header_timeout;
        let deadline = self.head_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        self.refuse(Reason::RequestTimeout);
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Closes the sending side, then reads and drops for a moment what the client is still sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let idle = this.framing.idle() && this.held.is_empty() && this.mode == Mode::Reading;
        if idle {
            return Poll::Ready(Ok(()));
        }
        let (deadline, dropped) = this
            .linger
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep_until(Instant::now() + LINGER_TIME)), 0));
        let mut scratch = [0; 4096];
        while *dropped < LINGER_BYTES && deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => *dropped += buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::{Guard, Limits, STAND_IN, Watch};
    use crate::Reason;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn guard(first: &[u8]) -> (DuplexStream, Guard<DuplexStream>, Watch) {
        let (client, server) = duplex(1 << 16);
        let watch = Watch::default();
        let guard = Guard::new(server, first, Limits::default(), Duration::from_secs(5), watch.clone());
        (client, guard, watch)
    }

    /// All that comes before the end, or before nothing more comes.
    async fn rest(mut guard: Guard<DuplexStream>) -> Vec<u8> {
        let mut read = Vec::new();
        let reading = guard.read_to_end(&mut read);
        let _ = tokio::time::timeout(Duration::from_secs(6), reading).await;
        read
    }

    #[tokio::test(start_paused = true)]
    async fn the_refused_is_replaced_by_a_stand_in() {
        let (mut client, guard, watch) = guard(&GET[..7]);
        client.write_all(&GET[7..]).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\nHost: a\r\n\r\nGET / ").await.unwrap();
        assert_eq!(rest(guard).await, [GET, STAND_IN].concat());
        assert_eq!(watch.next_request(), None);
        assert_eq!(watch.next_request(), Some(Reason::BadRequest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_refused() {
        let (mut client, guard, watch) = guard(b"");
        client.write_all(&GET[..GET.len() - 1]).await.unwrap();
        assert_eq!(rest(guard).await, STAND_IN);
        assert_eq!(watch.next_request(), Some(Reason::RequestTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_behind_an_upgrade_wait_for_its_decision() {
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        for granted in [true, false] {
            let (mut client, mut guard, watch) = guard(b"");
            client.write_all(&[&ask[..], b"early"].concat()).await.unwrap();
            let mut head = vec![0; ask.len()];
            guard.read_exact(&mut head).await.unwrap();
            let mut more = [0; 1];
            let early = tokio::time::timeout(Duration::from_millis(20), guard.read(&mut more)).await;
            assert!(early.is_err(), "held until decided");
            watch.decide_upgrade(granted);
            drop(client);
            let wanted: &[u8] = if granted { b"early" } else { b"" };
            assert_eq!(rest(guard).await, wanted);
        }
    }
}
