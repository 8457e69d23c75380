#![allow(clippy::unwrap_used)]

use std::io::Read;

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};

use super::{Coding, Compression, Encoder};

fn compression() -> Compression {
    Compression::compile(&v1::Compression {
        codings: vec![v1::Coding::Zstd.into(), v1::Coding::Brotli.into(), v1::Coding::Gzip.into()],
        min_length: 100,
        content_types: vec!["text/*".into(), "application/json".into()],
    })
    .unwrap()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

#[test]
fn the_client_decides_and_of_equals_the_policy() {
    for (said, wanted) in [
        ("gzip", Some(Coding::Gzip)),
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip, br", Some(Coding::Brotli)),
        ("gzip;q=1.0, br;q=0.5", Some(Coding::Gzip)),
        ("GZIP ; Q=0.5", Some(Coding::Gzip)),
        ("*", Some(Coding::Zstd)),
        ("*, zstd;q=0", Some(Coding::Brotli)),
        ("gzip;q=0.5, identity", None),
        ("identity;q=0, gzip;q=0.1", Some(Coding::Gzip)),
        ("gzip;q=0", None),
        ("gzip;q=2", None),
        ("deflate, compress", None),
        ("", None),
    ] {
        let accepted = compression().accepted(&headers(&[("accept-encoding", said)]));
        assert_eq!(accepted, wanted, "{said}");
    }
    assert_eq!(compression().accepted(&HeaderMap::new()), None);
}

#[test]
fn only_what_is_worth_it_is_compressed() {
    let json = ("content-type", "Application/JSON; charset=utf-8");
    for (status, lines, length, wanted) in [
        (200, &[json][..], Some(100), true),
        (404, &[json], None, true),
        (200, &[("content-type", "text/whatever")], None, true),
        (200, &[json], Some(99), false),
        (206, &[json], None, false),
        (304, &[json], None, false),
        (204, &[json], None, false),
        (200, &[], None, false),
        (200, &[("content-type", "image/png")], None, false),
        (200, &[("content-type", "application/jsonx")], None, false),
        (200, &[json, ("content-encoding", "br")], None, false),
        (200, &[json, ("cache-control", "max-age=1, No-Transform")], None, false),
    ] {
        let mut headers = headers(lines);
        let status = StatusCode::from_u16(status).unwrap();
        let begun = compression().begin(Some(Coding::Gzip), status, &mut headers, length);
        assert_eq!(begun.is_some(), wanted, "{status} {lines:?} {length:?}");
        assert_eq!(headers.contains_key("vary"), wanted);
    }
}

#[test]
fn the_head_says_what_the_body_is() {
    let of_backend = headers(&[
        ("content-type", "text/html"),
        ("etag", "\"abc\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:x:"),
        ("vary", "Origin"),
    ]);
    let mut sent = of_backend.clone();
    compression().begin(Some(Coding::Brotli), StatusCode::OK, &mut sent, None);
    assert_eq!(
        (&sent["content-encoding"], &sent["etag"]),
        (&"br".parse().unwrap(), &"W/\"abc\"".parse().unwrap())
    );
    assert!(!sent.contains_key("accept-ranges") && !sent.contains_key("content-digest"));
    assert_eq!(sent.get_all("vary").iter().collect::<Vec<_>>(), ["Origin", "Accept-Encoding"]);

    // Who does not take it is told that others do.
    let mut sent = of_backend;
    assert!(compression().begin(None, StatusCode::OK, &mut sent, None).is_none());
    assert_eq!(sent.get_all("vary").iter().collect::<Vec<_>>(), ["Origin", "Accept-Encoding"]);
    assert_eq!(sent["etag"], "\"abc\"");
}

fn decode(coding: Coding, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        Coding::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).unwrap(),
        Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap(),
    };
    text
}

#[test]
fn what_is_compressed_is_what_was_written() {
    let text = "a line of text that comes again and again\n".repeat(10_000);
    for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
        let mut encoder = Encoder::new(coding).unwrap();
        let mut sent = Vec::new();
        for piece in text.as_bytes().chunks(7001) {
            encoder.write(piece).unwrap();
            encoder.flush().unwrap();
            assert!(encoder.ready() > 0, "{coding:?}: what was written can be sent");
            sent.extend_from_slice(&encoder.take());
        }
        sent.extend_from_slice(&encoder.finish().unwrap());
        assert!(sent.len() < text.len() / 20, "{coding:?}: {}", sent.len());
        assert_eq!(decode(coding, &sent), text, "{coding:?}");
    }
}
