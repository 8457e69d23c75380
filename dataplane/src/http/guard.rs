//! A reader that lets only unambiguous HTTP/1 requests through to the parser behind it.
//!
//! hyper is lenient where a proxy must not be: it takes a bare line feed for a line end and drops a Content-Length that
//! stands beside a Transfer-Encoding without a word. So every byte of a connection passes here first:
//!
//! - a head goes through only when it is whole and strict (`head`), so the parser never waits inside one;
//! - a body is followed by length or by chunk (`chunked`), so that the next head is found where it really begins;
//! - a message that breaks the rules is replaced by one empty request, which the pipeline recognises by
//!   [`Watch::next_request`] and answers like any other refusal; nothing after it is read;
//! - what follows a request for an upgrade is held back until the upgrade is decided (RFC 9931).
//!
//! Bytes are inspected where the parser's buffer has them: the plain path copies nothing.

mod chunked;
mod framing;
mod head;
mod io;
mod watch;

pub(crate) use head::Limits;
pub(crate) use io::Guard;
pub(crate) use watch::Watch;
