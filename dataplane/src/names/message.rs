//! Questions and answers of DNS (RFC 1035).
//!
//! Without EDNS: every server understands what is asked, and an answer that is too long for that comes over TCP.

use std::{fmt, io, net::IpAddr, time::Duration};

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::{A, Aaaa, Cname, Soa},
};

/// An absolute name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host(Name<Vec<u8>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// The addresses of one family. None: there is no such name, or it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    /// How long it is good for. `None`: it does not say.
    pub(super) ttl: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no DNS server answers in time")]
    Silent,
    #[error("the DNS server can't be asked: {0}")]
    Io(#[from] io::Error),
    #[error("the DNS server answers {0}")]
    Refused(Rcode),
    #[error("the DNS server's answer can't be read")]
    Malformed,
}

/// What came from a server.
#[derive(Debug)]
pub(super) enum Received {
    /// Nothing that answers the question.
    Other,
    /// The whole does not fit.
    Truncated,
    Answer(Result<Answer, Failure>),
}

impl Host {
    /// The error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Host).map_err(|error| format!("{text:?} is no name of DNS: {error}"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Family {
    fn rtype(self) -> Rtype {
        match self {
            Family::V4 => Rtype::A,
            Family::V6 => Rtype::AAAA,
        }
    }
}

/// Of a number that nobody guesses.
pub(super) fn question(host: &Host, family: Family) -> Message<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_random_id();
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((&host.0, family.rtype())).expect("one question fits into a message");
    builder.into_message()
}

pub(super) fn read(question: &Message<Vec<u8>>, family: Family, bytes: &[u8]) -> Received {
    let Ok(message) = Message::from_octets(bytes) else { return Received::Other };
    if !message.is_answer(question) {
        return Received::Other;
    }
    if message.header().tc() {
        return Received::Truncated;
    }
    match message.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {
            Received::Answer(answer(&message, family).ok_or(Failure::Malformed))
        }
        other => Received::Answer(Err(Failure::Refused(other))),
    }
}

/// What the chain of aliases ends in.
fn answer(message: &Message<&[u8]>, family: Family) -> Option<Answer> {
    let name = message.canonical_name()?;
    let section = message.answer().ok()?;
    let mut addresses = Vec::new();
    let mut ttl: Option<Duration> = None;
    let mut note = |other: Duration| ttl = Some(ttl.map_or(other, |ttl| ttl.min(other)));
    for alias in section.limit_to::<Cname<_>>() {
        note(alias.ok()?.ttl().into_duration());
    }
    match family {
        Family::V4 => {
            for record in section.limit_to::<A>() {
                let record = record.ok()?;
                if *record.owner() == name {
                    note(record.ttl().into_duration());
                    addresses.push(IpAddr::V4(record.data().addr()));
                }
            }
        }
        Family::V6 => {
            for record in section.limit_to::<Aaaa>() {
                let record = record.ok()?;
                if *record.owner() == name {
                    note(record.ttl().into_duration());
                    addresses.push(IpAddr::V6(record.data().addr()));
                }
            }
        }
    }
    if addresses.is_empty() {
        // RFC 2308, 5.
        let mut authorities = message.authority().ok()?.limit_to::<Soa<_>>();
        ttl = authorities.next().and_then(|record| {
            let record = record.ok()?;
            Some(record.ttl().into_duration().min(record.data().minimum().into_duration()))
        });
    }
    Some(Answer { addresses, ttl })
}
