//! Where an event is among all events of its store.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most bytes that a position has.
pub const MAX_POSITION_BYTES: usize = 24;

/// An event's place among all events of its store.
///
/// A position is opaque: it says which of two events of one store comes first, and where to go on
/// reading. There is no next or previous position. All positions of a store have the same
/// length, and are ordered by their bytes. Positions of two stores have an order as well, which
/// means nothing.
///
/// Its text is `42` for a number (8 bytes), `42-17` for a pair of numbers (16 bytes), and `x` with
/// hexadecimal digits for any other length. Each position has one text, and each text means one
/// position; texts do not sort as positions do.
///
/// ```
/// use oubliette::event::Position;
///
/// let (number, pair) = (Position::number(42), Position::pair(42, 17));
/// assert_eq!(pair.to_string(), "42-17");
/// assert_eq!("42".parse(), Ok(number));
/// assert!("042".parse::<Position>().is_err());
/// ```
// In this order: the bytes behind `length` are zero, so that a beginning comes before what it begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    bytes: [u8; MAX_POSITION_BYTES],
    length: u8,
}

/// A text or some bytes are not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position such as 42, 42-17 or x0b1c2d, as the store wrote it")]
pub struct PositionError;

impl Position {
    /// The position of a store that numbers its events.
    pub const fn number(number: u64) -> Self {
        Self::padded(number.to_be_bytes(), [0; 8], 8)
    }

    /// The position of a store that orders its events by two numbers, the first of which counts
    /// more.
    pub const fn pair(first: u64, second: u64) -> Self {
        Self::padded(first.to_be_bytes(), second.to_be_bytes(), 16)
    }

    /// The position of a store that orders its events by anything else: 1 to 24 bytes, always as many,
    /// whose order is that of the events. Eight bytes are a number, and sixteen a pair, big-endian.
    ///
    /// # Errors
    /// [`PositionError`] where there are none, or too many.
    pub fn of_bytes(given: &[u8]) -> Result<Self, PositionError> {
        let length = u8::try_from(given.len()).map_err(|_| PositionError)?;
        let mut bytes = [0; MAX_POSITION_BYTES];
        let room = bytes.get_mut(..given.len()).filter(|room| !room.is_empty());
        room.ok_or(PositionError)?.copy_from_slice(given);
        Ok(Self { bytes, length })
    }

    const fn padded(first: [u8; 8], second: [u8; 8], length: u8) -> Self {
        let mut bytes = [0; MAX_POSITION_BYTES];
        let (front, rest) = bytes.split_at_mut(8);
        front.copy_from_slice(&first);
        rest.split_at_mut(8).0.copy_from_slice(&second);
        Self { bytes, length }
    }

    /// Its bytes, by which it is ordered.
    pub fn as_bytes(&self) -> &[u8] {
        // Never longer: see the constructors.
        self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes)
    }

    /// The number that it is, for the store that made it of one.
    pub fn as_number(&self) -> Option<u64> {
        self.as_bytes().try_into().ok().map(u64::from_be_bytes)
    }

    /// The pair that it is, for the store that made it of one.
    pub fn as_pair(&self) -> Option<(u64, u64)> {
        let both = u128::from_be_bytes(self.as_bytes().try_into().ok()?);
        // Each half has 64 bits.
        Some(((both >> 64) as u64, both as u64))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if let Some(number) = self.as_number() {
            return fmt::Display::fmt(&number, f);
        }
        let mut text = String::new();
        match self.as_pair() {
            Some((first, second)) => write!(text, "{first}-{second}")?,
            None => {
                text.push('x');
                self.as_bytes().iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| PositionError);
        let position = match (text.strip_prefix('x'), text.split_once('-')) {
            (Some(digits), _) => Self::of_hex(digits)?,
            (None, Some((first, second))) => Self::pair(number(first)?, number(second)?),
            (None, None) => Self::number(number(text)?),
        };
        // One spelling: no sign, no zeros in front, no capitals, no number in hexadecimal digits.
        if position.to_string() == text { Ok(position) } else { Err(PositionError) }
    }
}

impl Position {
    fn of_hex(digits: &str) -> Result<Self, PositionError> {
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return Err(PositionError) };
        // Before anything is allocated for them.
        if pairs.len() > MAX_POSITION_BYTES {
            return Err(PositionError);
        }
        let byte = |pair: &[u8; 2]| {
            let pair = str::from_utf8(pair).map_err(|_| PositionError)?;
            u8::from_str_radix(pair, 16).map_err(|_| PositionError)
        };
        Self::of_bytes(&pairs.iter().map(byte).collect::<Result<Vec<_>, _>>()?)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;
    use crate::layer::document::vectors::{are_committed, committed, hex};

    fn lengths() -> impl Strategy<Value = Vec<u8>> {
        // Small bytes too, because zeros in front are what a text might lose.
        let byte = prop_oneof![Just(0), Just(255), any::<u8>()];
        prop_oneof![vec(byte.clone(), 8), vec(byte.clone(), 16), vec(byte, 1..=24)]
    }

    #[test]
    fn a_position_shows_as_its_store_counts() {
        assert_eq!(Position::number(0).to_string(), "0");
        assert_eq!(Position::number(u64::MAX).to_string(), "18446744073709551615");
        assert_eq!(Position::pair(7, 0).to_string(), "7-0");
        assert_eq!(Position::of_bytes(&[0, 0xab]).unwrap().to_string(), "x00ab");
        assert_eq!(Position::of_bytes(&[0xff; 24]).unwrap().to_string().len(), 49);
        assert_eq!(format!("{:>4}|{:>4}", Position::number(7), Position::pair(1, 2)), "   7| 1-2");
        assert_eq!(format!("{:?}", Position::pair(1, 2)), "Position(1-2)");
    }

    /// No text of these is a position, and why.
    const BAD: [(&str, &str); 36] = [
        ("nothing", ""),
        ("a space", " "),
        ("no byte", "x"),
        ("a hyphen", "-"),
        ("half a byte", "x0"),
        ("a capital digit", "x0A"),
        ("a capital x", "X0a"),
        ("a zero before the x", "0x0a"),
        ("a space behind bytes", "x0a "),
        ("a space in front", " 1"),
        ("a space behind", "1 "),
        ("a plus sign", "+1"),
        ("a minus sign", "-1"),
        ("a zero in front", "01"),
        ("zero twice", "00"),
        ("a pair without its second number", "1-"),
        ("a pair with a minus sign", "-1-2"),
        ("a pair with a plus sign", "1-+2"),
        ("a pair with a zero in front", "1-02"),
        ("three numbers", "1-2-3"),
        ("two hyphens", "1--2"),
        ("a fraction", "1.0"),
        ("an exponent", "1e3"),
        ("a slash", "1/2"),
        ("more than eight bytes", "18446744073709551616"),
        ("a pair with more than eight bytes", "1-18446744073709551616"),
        ("a number in hexadecimal digits", "x000000000000002a"),
        ("a pair in hexadecimal digits", "x000000000000002a0000000000000011"),
        ("a letter that is no digit", "xé"),
        ("a byte with a sign", "x+1"),
        ("a byte with a minus sign", "x-1"),
        ("an Arabic digit", "\u{661}"),
        ("a wide digit", "\u{ff11}"),
        ("a zero byte behind", "1\0"),
        ("base64", "MQ"),
        ("null", "null"),
    ];

    /// The vectors of `docs/format.md`.
    #[test]
    fn the_committed_positions_are_what_is_written_today() {
        let numbers = [0, 9, 10, 42, u64::MAX].map(Position::number);
        let pairs = [(0, 0), (9, 10), (10, 9), (42, 17), (u64::MAX, u64::MAX)];
        let pairs = pairs.map(|(first, second)| Position::pair(first, second));
        let of = |bytes: &[u8]| Position::of_bytes(bytes).unwrap();
        let short = [of(&[0, 0, 0]), of(&[0x0b, 0x1c, 0x2d]), of(&[0xff; 3])];
        let long = [of(&[0; 24]), of(&[0xff; 24])];
        let others = [&[0x2a][..], &[0; 7], &[0; 9], &[0xab; 15], &[0xcd; 17]].map(of);
        // Each list is of one store.
        let stores: [&[Position]; 4] = [&numbers, &pairs, &short, &long];
        let good = stores.iter().map(|store| {
            assert!(store.is_sorted());
            let told = store.iter().map(|at| json!({ "text": at, "bytes": hex(at.as_bytes()) }));
            told.collect::<Vec<_>>()
        });
        let good = good.chain(
            others.iter().map(|at| vec![json!({ "text": at, "bytes": hex(at.as_bytes()) })]),
        );
        let too_long = format!("x{}", "00".repeat(25));
        let bad = BAD.iter().copied().chain([("25 bytes", too_long.as_str())]);
        let bad = bad.map(|(name, text)| {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text:?}");
            json!({ "name": name, "text": text, "error": "not a position" })
        });
        are_committed(
            "positions.json",
            &json!({ "stores": good.collect::<Vec<_>>(), "bad": bad.collect::<Vec<_>>() }),
        );
        for store in committed("positions.json")["stores"].as_array().unwrap() {
            for vector in store.as_array().unwrap() {
                let read: Position = vector["text"].as_str().unwrap().parse().unwrap();
                assert_eq!(hex(read.as_bytes()), vector["bytes"]);
            }
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_or_no_text_is_no_position() {
        assert_eq!(Position::of_bytes(&[]), Err(PositionError));
        assert_eq!(Position::of_bytes(&[0; 25]), Err(PositionError));
        assert_eq!(Position::of_bytes(&[0; 264]), Err(PositionError));
        for json in ["42", "null", "[42]", "\"042\"", "42.0"] {
            assert!(serde_json::from_str::<Position>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_a_position_means_it_and_no_other(a in lengths(), b in lengths()) {
            let (a, b) = (Position::of_bytes(&a).unwrap(), Position::of_bytes(&b).unwrap());
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a == b, a.to_string() == b.to_string());
            let json = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(&json, &format!("\"{a}\""));
            prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), a);
        }

        #[test]
        fn a_text_that_is_read_is_the_one_that_is_written(text in "[x0-9a-f+-]{0,24}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }

        #[test]
        fn positions_are_ordered_as_what_they_are_made_of(
            a in any::<(u64, u64)>(),
            b in any::<(u64, u64)>(),
            c in lengths(),
            d in lengths(),
        ) {
            prop_assert_eq!(Position::number(a.0).cmp(&Position::number(b.0)), a.0.cmp(&b.0));
            prop_assert_eq!(Position::pair(a.0, a.1).cmp(&Position::pair(b.0, b.1)), a.cmp(&b));
            prop_assert!(Position::pair(a.0, a.1) < Position::pair(a.0, a.1.saturating_add(1)) || a.1 == u64::MAX);
            let both = [&c, &d].map(|bytes| Position::of_bytes(bytes).unwrap());
            prop_assert_eq!(both[0].cmp(&both[1]), c.cmp(&d));
            prop_assert_eq!(both[0] == both[1], c == d);
        }

        #[test]
        fn what_goes_in_comes_out_and_nothing_else(a in any::<(u64, u64)>(), c in lengths()) {
            let (number, pair) = (Position::number(a.0), Position::pair(a.0, a.1));
            prop_assert_eq!((number.as_number(), number.as_pair()), (Some(a.0), None));
            prop_assert_eq!((pair.as_number(), pair.as_pair()), (None, Some(a)));
            let bytes = Position::of_bytes(&c).unwrap();
            prop_assert_eq!(bytes.as_bytes(), &c[..]);
            prop_assert_eq!(bytes.as_number().is_some(), c.len() == 8);
            prop_assert_eq!(bytes.as_pair().is_some(), c.len() == 16);
        }
    }
}
