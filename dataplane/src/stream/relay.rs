//! Passes bytes between two sides, both ways, until each has said that it is done.
//!
//! A side that is done is told to the other, which may go on (half-close). What is read goes out at once, from a buffer
//! that all streams of the worker share; only what the other side can't take yet is kept, and then that side is waited
//! for. So a stream that moves nothing holds no buffer, and one that is slow holds at most one a direction.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep},
};

const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// Bytes that have been passed on.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
}

/// Why a stream did not come to its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Client,
    Backend,
    /// Nothing moved for too long.
    Idle,
}

/// One of the two directions.
struct Flow<'a> {
    /// Was read, and not taken yet.
    held: BytesMut,
    phase: Phase,
    /// The target may still hold back what it was given.
    unflushed: bool,
    count: &'a Cell<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The source is done; the target does not know yet.
    Closing,
    Ended,
}

/// Which end of a flow failed.
enum End {
    Source,
    Target,
}

/// `first` was read from the client before.
pub(super) async fn relay<C, B>(
    client: &mut C,
    backend: &mut B,
    first: BytesMut,
    idle: Duration,
    moved: &Moved,
) -> Result<(), Broken>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Flow::new(first, &moved.received);
    let mut down = Flow::new(BytesMut::new(), &moved.sent);
    let mut last = Instant::now();
    let mut alarm = pin!(sleep(idle));
    poll_fn(|cx| {
        let before = moved.total();
        let received = up.poll(cx, client, backend).map_err(|end| match end {
            End::Source => Broken::Client,
            End::Target => Broken::Backend,
        })?;
        let sent = down.poll(cx, backend, client).map_err(|end| match end {
            End::Source => Broken::Backend,
            End::Target => Broken::Client,
        })?;
        if received.is_ready() && sent.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if moved.total() != before {
            last = Instant::now();
        }
        // The alarm is set anew when it rings, not with every byte.
        loop {
            ready!(alarm.as_mut().poll(cx));
            let due = last + idle;
            if due <= Instant::now() {
                return Poll::Ready(Err(Broken::Idle));
            }
            alarm.as_mut().reset(due);
        }
    })
    .await
}

impl Moved {
    fn total(&self) -> u64 {
        self.received.get() + self.sent.get()
    }
}

impl<'a> Flow<'a> {
    fn new(held: BytesMut, count: &'a Cell<u64>) -> Self {
        Flow { held, phase: Phase::Open, unflushed: false, count }
    }

    /// Ready when its end has been passed on.
    fn poll<S, T>(&mut self, cx: &mut Context<'_>, source: &mut S, target: &mut T) -> Poll<Result<(), End>>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            while !self.held.is_empty() {
                match ready!(Pin::new(&mut *target).poll_write(cx, &self.held)) {
                    Ok(taken @ 1..) => {
                        self.held.advance(taken);
                        self.passed(taken);
                    }
                    Ok(0) | Err(_) => return Poll::Ready(Err(End::Target)),
                }
            }
            self.held = BytesMut::new();
            match self.phase {
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Closing => {
                    let closed = ready!(Pin::new(&mut *target).poll_shutdown(cx));
                    self.phase = Phase::Ended;
                    return Poll::Ready(closed.map_err(|_| End::Target));
                }
                Phase::Open => {
                    if self.pass(cx, source, target)?.is_pending() {
                        if self.unflushed {
                            ready!(Pin::new(&mut *target).poll_flush(cx)).map_err(|_| End::Target)?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Reads once, and keeps what the target does not take.
    fn pass<S, T>(&mut self, cx: &mut Context<'_>, source: &mut S, target: &mut T) -> Poll<Result<(), End>>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(source).poll_read(cx, &mut read)).map_err(|_| End::Source)?;
            let bytes = read.filled();
            if bytes.is_empty() {
                self.phase = Phase::Closing;
                return Poll::Ready(Ok(()));
            }
            let taken = match Pin::new(target).poll_write(cx, bytes) {
                Poll::Ready(Ok(taken @ 1..)) => taken,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Target)),
                Poll::Pending => 0,
            };
            self.passed(taken);
            self.held.extend_from_slice(&bytes[taken..]);
            Poll::Ready(Ok(()))
        })
    }

    fn passed(&mut self, bytes: usize) {
        self.unflushed = true;
        self.count.set(self.count.get() + bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{Broken, Moved, relay};

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn each_side_ends_for_itself_and_all_arrives() {
        // Small pipes: most writes are taken in parts.
        let (mut user, mut client) = duplex(7);
        let (mut backend, mut server) = duplex(5);
        let moved = Moved::default();
        let request = vec![b'q'; 300_000];
        let answer = vec![b'a'; 200_000];
        let asks = async {
            user.write_all(&request[1..]).await.unwrap();
            user.shutdown().await.unwrap();
            let mut got = Vec::new();
            user.read_to_end(&mut got).await.unwrap();
            got
        };
        let answers = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            // After the client's end.
            server.write_all(&answer).await.unwrap();
            server.shutdown().await.unwrap();
            got
        };
        let first = BytesMut::from(&request[..1]);
        let (ended, got_answer, got_request) =
            tokio::join!(relay(&mut client, &mut backend, first, IDLE, &moved), asks, answers);
        assert_eq!(ended, Ok(()));
        assert!(got_answer == answer && got_request == request);
        assert_eq!((moved.received.get(), moved.sent.get()), (300_000, 200_000));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_byte_now_and_then_does_not() {
        let (mut user, mut client) = duplex(64);
        let (mut backend, _server) = duplex(64);
        let moved = Moved::default();
        let began = tokio::time::Instant::now();
        let drops = async {
            for _ in 0..3 {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                user.write_all(b"x").await.unwrap();
            }
        };
        let first = BytesMut::new();
        let (ended, ()) = tokio::join!(relay(&mut client, &mut backend, first, IDLE, &moved), drops);
        assert_eq!(ended, Err(Broken::Idle));
        assert_eq!(began.elapsed().as_secs(), 3 * 59 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_holds_little_and_not_for_ever() {
        let (mut user, mut client) = duplex(1 << 20);
        let (mut backend, _server) = duplex(16);
        let moved = Moved::default();
        user.write_all(&vec![0; 1 << 20]).await.unwrap();
        let ended = relay(&mut client, &mut backend, BytesMut::new(), IDLE, &moved).await;
        assert_eq!(ended, Err(Broken::Idle));
        assert_eq!(moved.received.get(), 16);
        // The rest but for one buffer is still the client's.
        let mut left = Vec::new();
        drop(user);
        client.read_to_end(&mut left).await.unwrap();
        assert_eq!(left.len(), (1 << 20) - super::BUFFER_BYTES);
    }

    #[tokio::test]
    async fn it_tells_who_broke_off() {
        let (user, mut client) = duplex(64);
        let (mut backend, mut server) = duplex(64);
        drop(user);
        server.write_all(b"for nobody").await.unwrap();
        let moved = Moved::default();
        let ended = relay(&mut client, &mut backend, BytesMut::new(), IDLE, &moved).await;
        assert_eq!(ended, Err(Broken::Client));
    }
}
