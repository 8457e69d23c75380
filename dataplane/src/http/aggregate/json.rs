//! Whether bytes are one JSON value (RFC 8259), told piece by piece as they come, in a few words of memory.
//!
//! What passes can stand as a member of an object: nothing in it ends the member before its time. Whole values in one piece
//! of memory are what libraries read; here a body is never put together, and a bad one is known by its first bad byte.

/// Objects and arrays within each other: as many as the bits of [`Validator::objects`].
const MOST_DEPTH: u32 = 128;

#[derive(Debug)]
pub(super) struct Validator {
    state: State,
    depth: u32,
    /// A bit for each open bracket, the innermost last: whether it is an object's.
    objects: u128,
}

/// The bytes are no JSON value, or one that is nested too deeply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// What may come next.
#[derive(Debug, Clone, Copy)]
enum State {
    Value,
    /// Behind `[`.
    ValueOrEnd,
    /// Behind `{`.
    NameOrEnd,
    /// Behind `,` in an object.
    Name,
    Colon,
    /// Behind a value in an object or array.
    CommaOrEnd,
    /// Nothing but white space.
    Done,
    Text(Text),
    Number(Number),
    /// What is left of `true`, `false` or `null`.
    Word(&'static [u8]),
}

/// Within quotes.
#[derive(Debug, Clone, Copy)]
struct Text {
    /// It is the name of a member.
    is_name: bool,
    at: InText,
}

#[derive(Debug, Clone, Copy)]
enum InText {
    Character,
    Escape,
    /// Digits that are still to come.
    Hex(u8),
    /// Bytes of a character that are still to come, and the range of the first of them (RFC 3629, 4).
    Tail {
        left: u8,
        low: u8,
        high: u8,
    },
}

/// Behind which piece of a number.
#[derive(Debug, Clone, Copy)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Default for Validator {
    fn default() -> Self {
        Validator { state: State::Value, depth: 0, objects: 0 }
    }
}

impl Validator {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NotJson> {
        let mut rest = piece;
        while let Some((byte, behind)) = rest.split_first() {
            if let State::Text(Text { at: InText::Character, .. }) = self.state {
                let plain = rest.iter().take_while(|byte| PLAIN[usize::from(**byte)]).count();
                if plain > 0 {
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.state = self.step(*byte).ok_or(NotJson)?;
            rest = behind;
        }
        Ok(())
    }

    /// All has come.
    pub(super) fn finish(&self) -> Result<(), NotJson> {
        match self.state {
            State::Done => Ok(()),
            State::Number(number) if number.is_whole() && self.depth == 0 => Ok(()),
            _ => Err(NotJson),
        }
    }

    fn step(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Text(text) => self.in_text(text, byte),
            State::Number(number) => match number.step(byte) {
                Some(number) => Some(State::Number(number)),
                None if number.is_whole() => {
                    self.state = self.behind_value();
                    self.step(byte)
                }
                None => None,
            },
            State::Word([wanted, left @ ..]) if byte == *wanted => {
                Some(if left.is_empty() { self.behind_value() } else { State::Word(left) })
            }
            State::Word(_) => None,
            same if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Some(same),
            State::Value => self.value(byte),
            State::ValueOrEnd if byte == b']' => self.close(),
            State::ValueOrEnd => self.value(byte),
            State::NameOrEnd if byte == b'}' => self.close(),
            State::NameOrEnd | State::Name => {
                (byte == b'"').then_some(State::Text(Text { is_name: true, at: InText::Character }))
            }
            State::Colon => (byte == b':').then_some(State::Value),
            State::CommaOrEnd => match (byte, self.is_in_object()) {
                (b',', true) => Some(State::Name),
                (b',', false) => Some(State::Value),
                (b'}', true) | (b']', false) => self.close(),
                _ => None,
            },
            State::Done => None,
        }
    }

    fn value(&mut self, first: u8) -> Option<State> {
        Some(match first {
            b'"' => State::Text(Text { is_name: false, at: InText::Character }),
            b'{' => self.open(true)?,
            b'[' => self.open(false)?,
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => return None,
        })
    }

    fn in_text(&self, text: Text, byte: u8) -> Option<State> {
        let tail = |left, low, high| InText::Tail { left, low, high };
        let at = match (text.at, byte) {
            (InText::Character, b'"') if text.is_name => return Some(State::Colon),
            (InText::Character, b'"') => return Some(self.behind_value()),
            (InText::Character, b'\\') => InText::Escape,
            (InText::Character, b' '..=0x7f) => InText::Character,
            (InText::Character, 0xc2..=0xdf) => tail(1, 0x80, 0xbf),
            (InText::Character, 0xe0) => tail(2, 0xa0, 0xbf),
            (InText::Character, 0xed) => tail(2, 0x80, 0x9f),
            (InText::Character, 0xe1..=0xef) => tail(2, 0x80, 0xbf),
            (InText::Character, 0xf0) => tail(3, 0x90, 0xbf),
            (InText::Character, 0xf1..=0xf3) => tail(3, 0x80, 0xbf),
            (InText::Character, 0xf4) => tail(3, 0x80, 0x8f),
            (InText::Character, _) => return None,
            (InText::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => InText::Character,
            (InText::Escape, b'u') => InText::Hex(4),
            (InText::Escape, _) => return None,
            (InText::Hex(left), byte) if byte.is_ascii_hexdigit() => {
                if left == 1 {
                    InText::Character
                } else {
                    InText::Hex(left - 1)
                }
            }
            (InText::Hex(_), _) => return None,
            (InText::Tail { left, low, high }, byte) if (low..=high).contains(&byte) => {
                if left == 1 {
                    InText::Character
                } else {
                    tail(left - 1, 0x80, 0xbf)
                }
            }
            (InText::Tail { .. }, _) => return None,
        };
        Some(State::Text(Text { at, ..text }))
    }

    fn open(&mut self, is_object: bool) -> Option<State> {
        if self.depth == MOST_DEPTH {
            return None;
        }
        self.depth += 1;
        self.objects = (self.objects << 1) | u128::from(is_object);
        Some(if is_object { State::NameOrEnd } else { State::ValueOrEnd })
    }

    fn close(&mut self) -> Option<State> {
        self.depth = self.depth.checked_sub(1)?;
        self.objects >>= 1;
        Some(self.behind_value())
    }

    fn behind_value(&self) -> State {
        if self.depth == 0 { State::Done } else { State::CommaOrEnd }
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl Number {
    /// It may end here.
    fn is_whole(self) -> bool {
        matches!(self, Number::Zero | Number::Integer | Number::Fraction | Number::Exponent)
    }

    fn step(self, byte: u8) -> Option<Number> {
        Some(match (self, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus, b'1'..=b'9') | (Number::Integer, b'0'..=b'9') => Number::Integer,
            (Number::Zero | Number::Integer, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Number::E,
            (Number::E, b'+' | b'-') => Number::Sign,
            (Number::E | Number::Sign | Number::Exponent, b'0'..=b'9') => Number::Exponent,
            _ => return None,
        })
    }
}

/// Bytes of a text that need no look by themselves.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = true;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prop_assert_eq, proptest,
        sample::{Index, select},
    };
    use serde::de::IgnoredAny;

    use super::Validator;

    /// What a library says, which reads the whole.
    fn oracle(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    }

    fn validated(pieces: &[&[u8]]) -> bool {
        let mut validator = Validator::default();
        pieces.iter().try_for_each(|piece| validator.push(piece)).and_then(|()| validator.finish()).is_ok()
    }

    #[test]
    fn whole_values_and_nothing_else() {
        for (text, wanted) in [
            ("{}", true),
            (" [ ] \r\n", true),
            ("null", true),
            ("-0.5e+10", true),
            (r#"{"a":[1,true,{"b":"\u00e9\n"}],"":0}"#, true),
            ("\"\u{7f} é 漢 \u{1f600}\"", true),
            ("\"\\ud800\"", true),
            ("", false),
            ("  ", false),
            ("{}{}", false),
            ("1 2", false),
            (r#"{"a":1},"admin":true"#, false),
            (r#"1,"admin":true"#, false),
            (r#"{"a":1}}"#, false),
            ("[1,]", false),
            (r#"{"a":1,}"#, false),
            (r#"{"a"}"#, false),
            (r#"{a:1}"#, false),
            ("[}", false),
            ("{]", false),
            ("01", false),
            ("1.", false),
            ("+1", false),
            ("-", false),
            ("1e", false),
            (".5", false),
            ("nul", false),
            ("nulll", false),
            ("NaN", false),
            ("\"a", false),
            ("\"\n\"", false),
            (r#""\x""#, false),
            (r#""\u12g4""#, false),
            ("'a'", false),
            ("// c\n1", false),
            ("\u{feff}{}", false),
            ("<html></html>", false),
        ] {
            assert_eq!(validated(&[text.as_bytes()]), wanted, "{text}");
            assert_eq!(oracle(text.as_bytes()), wanted, "the library: {text}");
        }
        for bytes in [
            &b"\"\xff\""[..],
            b"\"\xc0\x80\"",
            b"\"\xe0\x80\x80\"",
            b"\"\xed\xa0\x80\"",
            b"\"\xf4\x90\x80\x80\"",
            b"\"\xc3\"",
            b"\xef\xbb\xbf1",
            b"1\0",
        ] {
            assert!(!validated(&[bytes]) && !oracle(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(validated(&[nested(128).as_bytes()]));
        assert!(!validated(&[nested(129).as_bytes()]));
        let objects = format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128));
        assert!(validated(&[objects.as_bytes()]));
    }

    proptest! {
        /// As the library says, wherever the pieces are cut.
        #[test]
        fn pieces_make_no_difference(
            tokens in vec(select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"\\u0041\"", "1", "0", "-", ".", "e", "+", "5E-3",
                "true", "null", "fals", " ", "\n", "é", "\\", "\u{1f600}", "{\"a\":1}", "[1,2]",
            ]), 0..12),
            cuts in vec(proptest::prelude::any::<Index>(), 2),
        ) {
            let text = tokens.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.sort_unstable();
            let bytes = text.as_bytes();
            let pieces = [&bytes[..at[0]], &bytes[at[0]..at[1]], &bytes[at[1]..]];
            prop_assert_eq!(validated(&pieces), oracle(bytes), "{}", text);
        }

        /// A good value with one byte changed, dropped or doubled.
        #[test]
        fn damage_is_seen_as_the_library_sees_it(place in proptest::prelude::any::<Index>(), byte: u8, how in 0..3) {
            let mut bytes = r#"{"näme": ["x\n\u00ff", -12.5e3, true, null, {"": {}}], "b": "漢\\"}"#.as_bytes().to_vec();
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
            prop_assert_eq!(validated(&[&bytes]), oracle(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
