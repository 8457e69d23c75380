use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Body;
use http_body_util::BodyExt;

use super::{MOST, Recording, RequestBody};

/// What comes next; `None`: nothing more. Everything is there at once.
fn next(body: &mut RequestBody) -> Option<Result<Bytes, ()>> {
    let frame = body.frame().now_or_never().expect("nothing is waited for")?;
    Some(frame.map(|frame| frame.into_data().unwrap()).map_err(drop))
}

fn all(mut body: RequestBody) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(piece) = next(&mut body) {
        whole.extend_from_slice(&piece.unwrap());
    }
    whole
}

fn source(pieces: &[&'static [u8]]) -> RequestBody {
    Recording::of(pieces.iter().map(|piece| Bytes::from_static(piece)).collect())
}

#[test]
fn each_reading_has_all_of_it_and_the_newest_goes_on() {
    let (recording, mut first) = Recording::begin(source(&[b"one ", b"two ", b"three"]));
    assert_eq!(first.size_hint().exact(), Some(13));
    assert_eq!(next(&mut first), Some(Ok(Bytes::from_static(b"one "))));
    assert_eq!(first.size_hint().exact(), Some(9));
    let second = recording.replay().unwrap();
    assert_eq!(second.size_hint().exact(), Some(13));
    assert_eq!(next(&mut first), Some(Err(())), "it must not end as if it were whole");
    assert_eq!(all(second), b"one two three");
    let third = recording.replay().unwrap();
    assert!(!third.is_end_stream());
    assert_eq!(all(third), b"one two three");
}

#[test]
fn the_last_piece_is_known_as_the_last() {
    let (recording, mut first) = Recording::begin(source(&[b"one"]));
    next(&mut first);
    assert!(first.is_end_stream());
    assert_eq!(next(&mut first), None);
    let mut again = recording.replay().unwrap();
    next(&mut again);
    assert!(again.is_end_stream());
}

#[test]
fn copies_come_when_it_is_whole() {
    let (recording, mut first) = Recording::begin(source(&[b"a", b"b"]));
    let mut copies = [recording.copy(), recording.copy()];
    next(&mut first);
    assert!(copies[0].try_recv().is_err());
    next(&mut first);
    for copy in &mut copies {
        assert_eq!(all(Recording::of(copy.try_recv().unwrap())), b"ab");
    }
}

#[test]
fn nobody_gets_a_copy_of_what_was_not_read_to_its_end() {
    let (recording, mut first) = Recording::begin(source(&[b"a", b"b"]));
    let copy = recording.copy();
    next(&mut first);
    drop((recording, first));
    assert!(copy.now_or_never().unwrap().is_err());
}

#[test]
fn what_is_too_long_goes_out_once() {
    let pieces = vec![Bytes::from(vec![b'x'; MOST]), Bytes::from_static(b"y"), Bytes::from_static(b"z")];
    let (recording, mut first) = Recording::begin(Recording::of(pieces));
    let copy = recording.copy();
    next(&mut first);
    assert!(recording.0.borrow().kept == MOST);
    next(&mut first);
    assert!(recording.replay().is_none());
    assert!(recording.0.borrow().pieces.is_empty(), "nothing is held any more");
    assert!(copy.now_or_never().unwrap().is_err());
    assert_eq!(all(first), b"z");
}
