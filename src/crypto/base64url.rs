//! Unpadded base64url (RFC 4648, section 5), in its one canonical spelling.

use std::sync::LazyLock;

use base64::Engine;

/// A token of a kilobyte is encoded and decoded many times faster with vector instructions,
/// which is the larger part of what text costs over bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<base64::engine::Simd> =
    LazyLock::new(|| base64::engine::Simd::url_safe(base64::engine::general_purpose::NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<base64::engine::GeneralPurpose> =
    LazyLock::new(|| base64::engine::general_purpose::URL_SAFE_NO_PAD);

/// Appends the text of `bytes`.
pub(crate) fn encode(bytes: &[u8], text: &mut String) {
    // `encode_string` goes through a small buffer in pieces; into a slice it is one pass.
    let mut buffer = std::mem::take(text).into_bytes();
    let from = buffer.len();
    buffer.resize(from + (bytes.len() * 4).div_ceil(3), 0);
    let written = ENGINE.encode_slice(bytes, &mut buffer[from..]).unwrap_or_default();
    buffer.truncate(from + written);
    // Always so: it was text, and base64 is ASCII.
    *text = String::from_utf8(buffer).unwrap_or_default();
}

/// The bytes of a text; `None` also for padding, white space, `+`, `/`, and trailing bits that
/// are not zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    ENGINE.decode(text).ok()
}

/// The bytes of a text, as [`decode`] gives them, where they are so many; without an allocation.
pub(crate) fn decode_exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Decoding asks for room for whole groups of three.
    let mut room = [0; 64];
    let fits = text.len() == (N * 4).div_ceil(3) && N + 3 <= room.len();
    let written = if fits { ENGINE.decode_slice(text, &mut room).ok()? } else { return None };
    room[..written].try_into().ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as SCALAR;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_decodes_is_spelled_in_the_one_way(text in "[A-Za-z0-9_-]{0,150}|[A-Za-z0-9_-]{37}[AQgwB]") {
            let decoded = decode(&text);
            prop_assert_eq!(&decoded, &SCALAR.decode(&text).ok());
            prop_assert_eq!(decode_exactly::<28>(&text), decoded.clone().and_then(|b| b.try_into().ok()));
            if let Some(bytes) = decoded {
                let mut again = String::new();
                encode(&bytes, &mut again);
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut text = String::new();
            encode(&bytes, &mut text);
            prop_assert_eq!(&text, &SCALAR.encode(&bytes));
            let exactly = <[u8; 28]>::try_from(&bytes[..]).ok();
            prop_assert_eq!(decode_exactly(&text), exactly);
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }

    #[test]
    fn so_many_bytes_fit_and_no_more() {
        let text = |length| {
            let mut text = String::new();
            encode(&vec![7; length], &mut text);
            text
        };
        assert_eq!(decode_exactly::<61>(&text(61)), Some([7; 61]));
        assert_eq!(decode_exactly::<62>(&text(62)), None);
        assert_eq!(decode_exactly::<0>(""), Some([]));
    }

    #[test]
    fn every_character_of_another_alphabet_is_refused_wherever_it_stands() {
        let good = "A".repeat(132);
        for at in 0..good.len() {
            for odd in (0..=255u8).map(char::from) {
                let text = format!("{}{odd}{}", &good[..at], &good[at + 1..]);
                let allowed = odd.is_ascii_alphanumeric() || odd == '-' || odd == '_';
                assert_eq!(decode(&text).is_some(), allowed, "{odd:?} at {at}");
            }
        }
        for text in ["QQ==", "QQ=", "QR", "A", "QQ\n", " QQ", "Q Q"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
