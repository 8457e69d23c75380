//! `grpc.health.v1.Health/Check` (gRPC Health Checking Protocol), as far as a check needs it.

use bytes::Bytes;
use prost::Message;

use crate::http::grpc;

pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Whether the service of this name serves; empty: the server as a whole.
pub(super) fn ask(service: &str) -> Bytes {
    grpc::frame(&Question { service: service.into() })
}

/// `None`: this is no answer.
pub(super) fn is_serving(framed: &[u8]) -> Option<bool> {
    Some(grpc::unframe::<Answer>(framed)?.status == SERVING)
}

#[cfg(test)]
mod tests {
    use super::{ask, is_serving};

    #[test]
    fn messages_are_as_the_protocol_has_them() {
        assert_eq!(&ask("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&ask("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        for (answer, wanted) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(true)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(false)),
            (&[0, 0, 0, 0, 0], Some(false)),
            (&[], None),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
        ] {
            assert_eq!(is_serving(answer), wanted, "{answer:?}");
        }
    }
}
