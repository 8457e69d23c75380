//! Finds out which server a TLS client asks for, without a part in its handshake: who has the key may be somebody else.

use std::io;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A greeting is seldom above 2 KiB; a handshake message may not be longer than this where rustls reads it.
const LONGEST: usize = 64 << 10;

/// Reads the greeting (ClientHello: RFC 8446, 4.1.2) into `first`, and maybe what follows. Gives the name in lower case;
/// `None` if the client asks for none.
pub(super) async fn server_name<S>(stream: &mut S, first: &mut BytesMut) -> io::Result<Option<String>>
where
    S: AsyncRead + Unpin,
{
    let mut acceptor = Acceptor::default();
    while first.len() <= LONGEST {
        let known = first.len();
        if stream.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fresh = &first[known..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
            let accepted =
                acceptor.accept().map_err(|(error, _)| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(accepted) = accepted {
                return Ok(accepted.client_hello().server_name().map(str::to_ascii_lowercase));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the greeting is too long"))
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, sync::Arc};

    use bytes::BytesMut;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tokio::io::AsyncReadExt;

    use super::server_name;

    fn hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn it_is_read_however_it_is_cut_and_stays_whole() {
        let bytes = hello("Shop.Example.com");
        for cut in [1, 5, 6, 100, bytes.len()] {
            let (head, tail) = bytes.split_at(cut);
            let mut stream = head.chain(tail);
            let mut first = BytesMut::new();
            let name = server_name(&mut stream, &mut first).await.unwrap();
            assert_eq!(name.as_deref(), Some("shop.example.com"));
            assert_eq!(first, bytes);
        }
    }

    #[tokio::test]
    async fn an_address_is_no_name() {
        let bytes = hello("192.0.2.1");
        assert_eq!(server_name(&mut &bytes[..], &mut BytesMut::new()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_refused() {
        let http = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n";
        let refused = server_name(&mut &http[..], &mut BytesMut::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        let half = &hello("shop.example.com")[..40];
        let refused = server_name(&mut &*half, &mut BytesMut::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UnexpectedEof);
    }
}
