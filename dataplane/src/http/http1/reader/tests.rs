use bytes::BytesMut;
use proptest::prelude::*;

use super::{super::head::Limits, Piece, Reader};
use crate::Reason;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a server makes of a stream: `METHOD path body`, then how it ended.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), Reason>) {
    let mut reader = Reader::new(Limits::default(), BytesMut::new());
    let mut requests: Vec<String> = Vec::new();
    let mut whole = true;
    for piece in pieces {
        reader.space().extend_from_slice(piece);
        loop {
            if whole {
                match reader.next_head() {
                    Ok(Some(head)) => requests.push(format!("{} {} ", head.parts.method, head.parts.uri)),
                    Ok(None) => break,
                    Err(reason) => return (requests, Err(reason)),
                }
                whole = false;
            }
            match reader.next_piece() {
                Piece::Data(data) => {
                    requests.last_mut().unwrap().push_str(std::str::from_utf8(&data).unwrap());
                }
                Piece::More => break,
                Piece::End => whole = true,
                Piece::Broken => return (requests, Err(Reason::BadRequest)),
            }
        }
    }
    (requests, Ok(()))
}

fn names(requests: &[&str]) -> Vec<String> {
    requests.iter().map(|request| (*request).to_owned()).collect()
}

#[test]
fn pieces_do_not_matter() {
    let stream = format!(
        "{GET}POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         \r\nPOST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n{GET}"
    );
    let wanted = names(&["GET / ", "POST /a hello", "POST /b abcde", "GET / "]);
    for size in 1..=stream.len() {
        assert_eq!(run(stream.as_bytes().chunks(size)), (wanted.clone(), Ok(())), "{size}");
    }
}

#[test]
fn a_bad_head_is_refused_and_the_ones_before_are_not() {
    let stream = format!("{GET}GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n{GET}");
    for size in 1..=stream.len() {
        let wanted = (names(&["GET / "]), Err(Reason::BadRequest));
        assert_eq!(run(stream.as_bytes().chunks(size)), wanted, "{size}");
    }
}

#[test]
fn a_broken_body_takes_its_head_with_it_when_both_arrive_together() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let stream = format!("{GET}{head}3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n");
    let refused = (names(&["GET / "]), Err(Reason::BadRequest));
    assert_eq!(run([stream.as_bytes()]), refused);
    let (first, second) = stream.split_at(GET.len() + 10);
    assert_eq!(run([first.as_bytes(), second.as_bytes()]), refused);
    let pieces = [head.as_bytes(), b"3\r\nabc\r\n", b"0x3\r\nabc\r\n"];
    assert_eq!(run(pieces), (names(&["POST / abc"]), Err(Reason::BadRequest)));
}

#[test]
fn nothing_is_read_behind_an_upgrade() {
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let mut reader = Reader::new(Limits::default(), BytesMut::from(format!("{ask}early").as_bytes()));
    assert!(reader.next_head().unwrap().is_some() && !reader.owes_body());
    assert_eq!(reader.into_rest(), "early");
}

#[test]
fn endless_heads_are_refused() {
    let line = [b'x'; 1000];
    assert_eq!(run(std::iter::repeat_n(&line[..], 100)).1, Err(Reason::UriTooLong));
    let field = b"X-Filler: 0123456789012345678901234567890123456789\r\n";
    let pieces = || std::iter::once(&b"GET / HTTP/1.1\r\n"[..]).chain(std::iter::repeat_n(&field[..], 2000));
    assert_eq!(run(pieces()).1, Err(Reason::HeadTooLarge));
    // The same, all at once and with its end.
    let whole = [pieces().collect::<Vec<_>>().concat(), b"\r\n".to_vec()].concat();
    assert_eq!(run([&whole[..]]).1, Err(Reason::HeadTooLarge));
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let stream = format!("\r\n{GET}\r\n{GET}");
    for size in 1..=stream.len() {
        assert_eq!(run(stream.as_bytes().chunks(size)), (names(&["GET / ", "GET / "]), Ok(())), "{size}");
    }
    let stream = format!("\r\n\r\n{GET}");
    for size in 1..=stream.len() {
        assert_eq!(run(stream.as_bytes().chunks(size)).1, Err(Reason::BadRequest), "{size}");
    }
}

#[test]
fn memory_is_given_back() {
    let mut reader = Reader::new(Limits::default(), BytesMut::from(GET.as_bytes()));
    reader.next_head().unwrap();
    assert_eq!(reader.space().capacity(), 0);
}

fn request() -> impl Strategy<Value = (String, String)> {
    let fields =
        prop::collection::vec("X-[A-Z][a-z]{0,5}: [ -~]{0,12}\r\n", 0..3).prop_map(|fields| fields.concat());
    let body = prop_oneof![
        Just(None),
        "[a-z]{0,40}".prop_map(|body| Some((format!("Content-Length: {}\r\n\r\n{body}", body.len()), body))),
        prop::collection::vec("[a-z\r\n]{1,20}", 0..4).prop_map(|chunks| {
            let framed: String =
                chunks.iter().map(|chunk| format!("{:X}\r\n{chunk}\r\n", chunk.len())).collect();
            Some((format!("Transfer-Encoding: chunked\r\n\r\n{framed}0\r\n\r\n"), chunks.concat()))
        }),
    ];
    ("/[a-z]{0,8}", fields, body).prop_map(|(path, fields, body)| {
        let (rest, body) = body.unwrap_or(("\r\n".into(), String::new()));
        (format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{fields}{rest}"), format!("PUT {path} {body}"))
    })
}

proptest! {
    #[test]
    fn a_stream_is_its_requests_wherever_it_is_cut(
        requests in prop::collection::vec(request(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let stream: String = requests.iter().map(|(wire, _)| wire.as_str()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]);
        let (seen, end) = run(pieces);
        let wanted: Vec<String> = requests.into_iter().map(|(_, name)| name).collect();
        prop_assert_eq!((seen, end), (wanted, Ok(())));
    }

    #[test]
    fn junk_is_read_the_same_wherever_it_is_cut(
        junk in "(GET|PUT|P T)? ?/?[a-z ]{0,3}( HTTP/1\\.[0-2])?(\r\n|\n)(Host:a\r\n)?([A-Za-z: \t\r\n0-9]{0,24})\r\n\r\n[a-z0-9\r\n]{0,12}",
        size in 1_usize..9,
    ) {
        // A broken body is found with its head or behind it, so only what came before may differ.
        prop_assert_eq!(run([junk.as_bytes()]).1, run(junk.as_bytes().chunks(size)).1);
    }
}
