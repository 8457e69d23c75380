//! Follows the requests of one connection through its bytes.
//!
//! Pure: it is fed what was read and says how much of it may go on. Incomplete heads are kept here until they are whole.

use super::{
    chunked::{Chunked, Progress},
    head::{self, Body, Limits},
};
use crate::Reason;

#[derive(Debug)]
pub(super) struct Framing {
    limits: Limits,
    state: State,
    /// A head that is not whole yet.
    partial: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Between messages or in a head.
    Head,
    Fixed(u64),
    Chunked(Box<Chunked>),
    /// Behind a head that asks for an upgrade.
    Undecided,
    Tunnel,
    Closed,
}

/// What to do with a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Bytes that were kept from earlier pieces go first.
    pub(super) before: Vec<u8>,
    /// Then this many bytes of the piece.
    pub(super) pass: usize,
    /// How many heads are in what passes.
    pub(super) heads: u32,
    pub(super) then: Then,
}

/// What to do with the rest of the piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// There is no rest, or it is kept in here until more arrives.
    Continue,
    /// Hold it until the upgrade is decided.
    Hold,
    /// Refuse the message that begins there; nothing of it went through.
    Refuse(Reason),
    /// A body that has partly gone through is broken: the connection can't go on.
    Break,
}

impl Framing {
    pub(super) fn new(limits: Limits) -> Self {
        Framing { limits, state: State::Head, partial: Vec::new() }
    }

    /// In the middle of a head: the sender owes its rest.
    pub(super) fn in_head(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Between two messages.
    pub(super) fn idle(&self) -> bool {
        matches!(self.state, State::Head) && self.partial.is_empty()
    }

    /// Everything after this goes through unread.
    pub(super) fn open_tunnel(&mut self) {
        self.state = State::Tunnel;
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Verdict {
        let mut verdict = Verdict { before: Vec::new(), pass: 0, heads: 0, then: Then::Continue };
        // Where the current message began, if it began in this piece: it can still be refused whole.
        let mut began = None;
        while verdict.pass < bytes.len() && verdict.then == Then::Continue {
            let rest = &bytes[verdict.pass..];
            match &mut self.state {
                State::Head => {
                    began = Some((verdict.pass, verdict.heads));
                    if !self.read_head(rest, &mut verdict) {
                        break;
                    }
                }
                State::Fixed(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    verdict.pass += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Chunked(chunked) => match chunked.feed(rest) {
                    Progress::Within => verdict.pass = bytes.len(),
                    Progress::Ends(length) => {
                        verdict.pass += length;
                        self.state = State::Head;
                    }
                    Progress::Broken(at) => {
                        self.state = State::Closed;
                        match began {
                            Some((start, heads)) => {
                                // What `before` holds is the beginning of the first message of the piece.
                                if start == 0 {
                                    verdict.before.clear();
                                }
                                verdict.pass = start;
                                verdict.heads = heads;
                                verdict.then = Then::Refuse(Reason::BadRequest);
                            }
                            None => {
                                verdict.pass += at;
                                verdict.then = Then::Break;
                            }
                        }
                    }
                },
                State::Undecided => verdict.then = Then::Hold,
                State::Tunnel => verdict.pass = bytes.len(),
                State::Closed => break,
            }
        }
        verdict
    }

    /// Reads a head from the start of `rest`; `false` if it is not whole and was kept.
    fn read_head(&mut self, rest: &[u8], verdict: &mut Verdict) -> bool {
        // RFC 9112, 2.2: one empty line before a request line is forgiven. The parser behind skips it too.
        let kept = self.partial.len();
        let joined;
        let head = if kept == 0 {
            rest
        } else {
            joined = [&self.partial, rest].concat();
            &joined
        };
        let skip = if head.starts_with(b"\r\n") { 2 } else { 0 };
        let Some(length) = head::end(&head[skip..], kept.saturating_sub(skip + 3)) else {
            return self.keep(rest, verdict);
        };
        match head::judge(&head[skip..skip + length], self.limits) {
            Ok(body) => {
                if kept > 0 {
                    verdict.before = std::mem::take(&mut self.partial);
                }
                verdict.pass += skip + length - kept;
                verdict.heads += 1;
                self.state = match body {
                    Body::Length(0) => State::Head,
                    Body::Length(length) => State::Fixed(length),
                    Body::Chunked => State::Chunked(Box::default()),
                    Body::Upgrade => State::Undecided,
                };
            }
            Err(reason) => self.refuse(reason, verdict),
        }
        true
    }

    fn keep(&mut self, rest: &[u8], verdict: &mut Verdict) -> bool {
        self.partial.extend_from_slice(rest);
        if self.partial.len() > self.limits.head {
            let within_line =
                memchr::memchr(b'\n', &self.partial).is_none_or(|feed| feed > self.limits.target);
            self.refuse(if within_line { Reason::UriTooLong } else { Reason::HeadTooLarge }, verdict);
        }
        false
    }

    fn refuse(&mut self, reason: Reason, verdict: &mut Verdict) {
        self.partial = Vec::new();
        self.state = State::Closed;
        verdict.then = Then::Refuse(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Limits, Then};
    use crate::Reason;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Feeds pieces and gives what went through and how it ended.
    fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, u32, Then) {
        let mut framing = Framing::new(Limits::default());
        let (mut passed, mut heads) = (Vec::new(), 0);
        for piece in pieces {
            let verdict = framing.feed(piece);
            passed.extend_from_slice(&verdict.before);
            passed.extend_from_slice(&piece[..verdict.pass]);
            heads += verdict.heads;
            if verdict.then != Then::Continue {
                return (String::from_utf8(passed).unwrap(), heads, verdict.then);
            }
        }
        (String::from_utf8(passed).unwrap(), heads, Then::Continue)
    }

    #[test]
    fn pieces_do_not_matter() {
        let stream = format!(
            "{GET}POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
             POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{GET}"
        );
        for size in [1, 2, 3, 7, 30, 64, stream.len()] {
            assert_eq!(run(stream.as_bytes().chunks(size)), (stream.clone(), 4, Then::Continue), "{size}");
        }
    }

    #[test]
    fn a_bad_head_is_refused_and_the_ones_before_go_through() {
        let stream = format!("{GET}GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n{GET}");
        for size in [1, 5, stream.len()] {
            let (passed, heads, then) = run(stream.as_bytes().chunks(size));
            assert_eq!((passed.as_str(), heads, then), (GET, 1, Then::Refuse(Reason::BadRequest)), "{size}");
        }
    }

    #[test]
    fn a_broken_body_takes_its_head_with_it_when_both_arrive_together() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let stream = format!("{GET}{head}0x3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(run([stream.as_bytes()]), (GET.into(), 1, Then::Refuse(Reason::BadRequest)));
        let (first, second) = stream.split_at(GET.len() + 10);
        let pieces = [first.as_bytes(), second.as_bytes()];
        assert_eq!(run(pieces), (GET.into(), 1, Then::Refuse(Reason::BadRequest)));
        let pieces = [head.as_bytes(), b"0x3\r\nabc\r\n"];
        assert_eq!(run(pieces), (format!("{head}0"), 1, Then::Break));
    }

    #[test]
    fn what_follows_an_upgrade_waits() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        let early = format!("{head}early");
        assert_eq!(run([early.as_bytes()]), (head.into(), 1, Then::Hold));
    }

    #[test]
    fn endless_heads_are_refused() {
        let line = [b'x'; 1000];
        assert_eq!(run(std::iter::repeat_n(&line[..], 100)).2, Then::Refuse(Reason::UriTooLong));
        let field = b"X-Filler: 0123456789012345678901234567890123456789\r\n";
        let pieces = std::iter::once(&b"GET / HTTP/1.1\r\n"[..]).chain(std::iter::repeat_n(&field[..], 2000));
        assert_eq!(run(pieces).2, Then::Refuse(Reason::HeadTooLarge));
    }

    #[test]
    fn one_empty_line_before_a_request_is_forgiven() {
        let stream = format!("\r\n{GET}");
        for size in [1, 2, stream.len()] {
            assert_eq!(run(stream.as_bytes().chunks(size)).1, 1, "{size}");
        }
        let stream = format!("\r\n\r\n{GET}");
        assert_eq!(run([stream.as_bytes()]).2, Then::Refuse(Reason::BadRequest));
    }
}
