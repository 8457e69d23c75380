//! The bytes of a state file. Pure.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use prost::Message;

/// The last byte is the version of the format.
const MAGIC: &[u8; 8] = b"GHSTATE\x01";
const DIGEST_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + DIGEST_BYTES;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    /// `namespace/name`.
    #[prost(string, tag = "1")]
    pub(super) gateway: String,
    /// The version of the program that wrote it.
    #[prost(string, tag = "2")]
    pub(super) build: String,
    /// Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub(super) written_ms: u64,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it has {0} bytes, more than any state")]
    TooLarge(u64),
    #[error("it is no state file, or one of another format")]
    Foreign,
    #[error("it is damaged: its checksum differs")]
    Damaged,
    #[error("it can't be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("it holds the state of Gateway {0}")]
    OtherGateway(String),
}

impl Header {
    pub(super) fn new(gateway: &str, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Header {
            gateway: gateway.to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            written_ms: u64::try_from(since.as_millis()).unwrap_or(0),
        }
    }

    pub(super) fn written(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.written_ms)
    }
}

/// What a file begins with, and each resource behind its length.
pub(super) fn encode<'r>(header: &Header, resources: &'r [Bytes]) -> (Vec<u8>, Vec<(Vec<u8>, &'r Bytes)>) {
    let mut digest = Context::new(&SHA256);
    let header = header.encode_length_delimited_to_vec();
    digest.update(&header);
    let parts: Vec<_> = resources
        .iter()
        .map(|resource| {
            let mut length = Vec::with_capacity(4);
            // A vector always has room.
            let _ = prost::encode_length_delimiter(resource.len(), &mut length);
            digest.update(&length);
            digest.update(resource);
            (length, resource)
        })
        .collect();
    let head = [&MAGIC[..], digest.finish().as_ref(), &header].concat();
    (head, parts)
}

/// Nothing is decoded before the checksum is found right, and the resources not at all: they share the file's bytes.
pub(super) fn decode(file: &Bytes) -> Result<(Header, Vec<Bytes>), Unusable> {
    if !file.starts_with(MAGIC) || file.len() < HEAD_BYTES {
        return Err(Unusable::Foreign);
    }
    let (head, mut rest) = (file.slice(..HEAD_BYTES), file.slice(HEAD_BYTES..));
    let mut digest = Context::new(&SHA256);
    digest.update(&rest);
    if digest.finish().as_ref() != &head[MAGIC.len()..] {
        return Err(Unusable::Damaged);
    }
    let header = Header::decode_length_delimited(&mut rest)?;
    let mut resources = Vec::new();
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest)?;
        if length > rest.len() {
            return Err(Unusable::Damaged);
        }
        resources.push(rest.split_to(length));
    }
    Ok((header, resources))
}
