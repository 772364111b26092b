//! Personal data in names, which are never encrypted: a name that looks like it is refused. Four forms
//! that are unmistakable are known, and every other name passes; it is a net under people, not a proof.

use std::fmt;

/// What a name looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PersonalData {
    /// `anna@example.org`, also with `%40`.
    Email,
    /// An account number by ISO 13616 whose check digits are right.
    Iban,
    /// An international telephone number, `+49…`.
    Phone,
    /// A payment card's number whose check digit is right.
    Card,
}

impl fmt::Display for PersonalData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Email => "an e-mail address",
            Self::Iban => "an IBAN",
            Self::Phone => "a telephone number",
            Self::Card => "a payment card's number",
        })
    }
}

/// Lets a name pass that does not look like personal data.
///
/// # Errors
/// What it looks like.
pub(crate) fn check_name(name: &str) -> Result<(), PersonalData> {
    // Every event has several names, and nearly none of them has what any of the forms needs.
    let (mut signs, mut digits) = (false, 0);
    for byte in name.bytes() {
        signs |= matches!(byte, b'@' | b'+' | b'%');
        digits += usize::from(byte.is_ascii_digit());
    }
    if signs && is_email(name) {
        Err(PersonalData::Email)
    } else if digits >= IBAN_DIGITS && has_iban(name) {
        Err(PersonalData::Iban)
    } else if signs && has_phone(name) {
        Err(PersonalData::Phone)
    } else if digits >= CARD_DIGITS && has_card(name) {
        Err(PersonalData::Card)
    } else {
        Ok(())
    }
}

/// An account number's check digits: some countries' have no others.
const IBAN_DIGITS: usize = 2;
/// The shortest number of a card.
const CARD_DIGITS: usize = 14;

/// How many groups of characters people write an account number in: 34 in fours.
const MOST_GROUPS: usize = 9;

/// Lets a text pass in which nothing looks like personal data. People put spaces into numbers, so
/// what is between spaces is looked at alone and with what follows it.
///
/// # Errors
/// What something in it looks like.
pub(crate) fn check_text(text: &str) -> Result<(), PersonalData> {
    let words: Vec<&str> = text.split_whitespace().collect();
    for from in 0..words.len() {
        let mut name = String::new();
        for word in words[from..].iter().take(MOST_GROUPS) {
            name.push_str(word);
            check_name(&name)?;
            name.push('-');
        }
    }
    Ok(())
}

/// An `@` after a word and before a domain with a dot in it.
fn is_email(name: &str) -> bool {
    let decoded;
    let name = if name.contains("%40") {
        decoded = name.replace("%40", "@");
        &decoded
    } else {
        name
    };
    name.match_indices('@').any(|(at, _)| {
        let before = name[..at].chars().next_back();
        let domain: &str = name[at + 1..]
            .split(|c: char| !c.is_alphanumeric() && c != '-' && c != '.')
            .next()
            .unwrap_or_default();
        before.is_some_and(|c| c.is_alphanumeric() || "._%+-'".contains(c))
            && domain
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.chars().count() >= 2)
    })
}

/// How long the account numbers of each country are (SWIFT IBAN registry, release 99).
const IBAN_LENGTHS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// An IBAN that is a word of its own, or in groups of four.
fn has_iban(name: &str) -> bool {
    let bytes = name.as_bytes();
    (0..bytes.len()).any(|start| {
        let word_begins = start == 0
            || !bytes[start - 1].is_ascii_alphanumeric()
            || (bytes[start - 1].is_ascii_lowercase() && bytes[start].is_ascii_uppercase());
        word_begins && iban_at(&bytes[start..])
    })
}

fn iban_at(bytes: &[u8]) -> bool {
    let [a, b, c, d, ..] = bytes else { return false };
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    if !c.is_ascii_digit() || !d.is_ascii_digit() {
        return false;
    }
    let Some(length) =
        IBAN_LENGTHS.iter().find(|(code, _)| **code == country).map(|&(_, n)| usize::from(n))
    else {
        return false;
    };
    let mut characters = Vec::with_capacity(length);
    let mut grouped = None;
    for (at, &byte) in bytes.iter().enumerate() {
        if characters.len() == length {
            // The word must end here.
            return !byte.is_ascii_alphanumeric() && mod_97(&characters) == 1;
        }
        if byte.is_ascii_alphanumeric() {
            let group_ends = !characters.is_empty() && characters.len().is_multiple_of(4);
            if group_ends && grouped.is_some() && bytes[at - 1].is_ascii_alphanumeric() {
                // Grouped in another way, such as a UUID.
                return false;
            }
            characters.push(byte);
        } else if b"-._:".contains(&byte)
            && characters.len().is_multiple_of(4)
            && (at == 4 || grouped == Some(byte))
        {
            grouped = Some(byte);
        } else {
            return false;
        }
    }
    characters.len() == length && mod_97(&characters) == 1
}

fn mod_97(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at(4);
    tail.iter().chain(head).fold(0, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.to_ascii_uppercase() - b'A') + 10) % 97,
    })
}

/// A `+` that begins a word, and 8 to 15 digits (ITU-T E.164), with what people put between.
fn has_phone(name: &str) -> bool {
    let decoded;
    let name = if name.contains("%2B") || name.contains("%2b") {
        decoded = name.replace("%2B", "+").replace("%2b", "+");
        &decoded
    } else {
        name
    };
    name.match_indices('+').any(|(at, _)| {
        let word_begins = !name[..at].ends_with(|c: char| c.is_alphanumeric());
        let mut digits = 0;
        for character in name[at + 1..].chars() {
            match character {
                '0' if digits == 0 => return false,
                '0'..='9' => digits += 1,
                '-' | '.' | '(' | ')' | '/' => {}
                c if c.is_alphanumeric() => return false,
                _ => break,
            }
        }
        word_begins && (8..=15).contains(&digits)
    })
}

/// A card's number that is a word of its own, or in four groups of four.
fn has_card(name: &str) -> bool {
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    words.iter().any(|word| is_card(word))
        || words
            .windows(4)
            .any(|four| four.iter().all(|word| word.len() == 4) && is_card(&four.concat()))
}

fn is_card(word: &str) -> bool {
    if !(CARD_DIGITS..=16).contains(&word.len()) || !word.bytes().all(|byte| byte.is_ascii_digit())
    {
        return false;
    }
    // The issuers' prefixes (ISO/IEC 7812): without them a tenth of all long numbers would do.
    let number = |n: usize| word[..n].parse::<u32>().unwrap_or(0);
    let issued = match word.len() {
        14 => matches!(number(2), 36 | 38) || matches!(number(3), 300..=305),
        15 => matches!(number(2), 34 | 37),
        _ => {
            number(1) == 4
                || matches!(number(2), 51..=55 | 65)
                || matches!(number(3), 644..=649)
                || matches!(number(4), 2221..=2720 | 3528..=3589 | 6011)
        }
    };
    let sum: u32 = word
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, byte)| {
            let digit = u32::from(byte - b'0') << (i % 2);
            digit / 10 + digit % 10
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn personal_names_are_recognised() {
        for (name, looks) in [
            ("anna@example.org", PersonalData::Email),
            ("user-anna.b+x@mail.example.org", PersonalData::Email),
            ("user-anna%40example.org", PersonalData::Email),
            ("user-jürgen@müller.de/x", PersonalData::Email),
            ("DE89370400440532013000", PersonalData::Iban),
            ("account-DE89370400440532013000", PersonalData::Iban),
            ("accountDE89370400440532013000", PersonalData::Iban),
            ("account-de89370400440532013000/7", PersonalData::Iban),
            ("account-DE89-3704-0044-0532-0130-00", PersonalData::Iban),
            ("GB82WEST12345698765432", PersonalData::Iban),
            ("NO9386011117947", PersonalData::Iban),
            ("user-+491701234567", PersonalData::Phone),
            ("+49-170-1234567", PersonalData::Phone),
            ("user-%2B491701234567", PersonalData::Phone),
            ("card-4111111111111111", PersonalData::Card),
            ("4111-1111-1111-1111", PersonalData::Card),
            ("378282246310005", PersonalData::Card),
        ] {
            assert_eq!(check_name(name), Err(looks), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "user-21031067",
            "repository-186853002",
            "user-6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "order-01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "day-2026-01-31",
            "at-1700000000000",
            "at-1700000000000000",
            "snowflake-175928847299117063",
            "DE89370400440532013001",
            "tenant@host",
            "@scope/package",
            "v1.2.3+20230101",
            "a+b",
            "42c616be-ad32-61c7-977c-e54115d08d45",
            "branch_protection_rule.edited",
            "4111111111111112",
            "ab12cd34ef56ab12cd34ef56ab12cd34",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn personal_data_is_found_in_a_text() {
        for (text, looks) in [
            ("mail by anna@example.org, 3 May", PersonalData::Email),
            ("IBAN DE89 3704 0044 0532 0130 00 please", PersonalData::Iban),
            ("her account,DE89370400440532013000.", PersonalData::Iban),
            ("call +49 170 1234567 today", PersonalData::Phone),
            ("(+49 (0)170 1234567)", PersonalData::Phone),
            ("card 4111 1111 1111 1111 of hers", PersonalData::Card),
        ] {
            assert_eq!(check_text(text), Err(looks), "{text}");
        }
        for text in [
            "",
            "ticket 4711",
            "request 2026-117 of 3 May 2026, 12:30",
            "order 4111 1111",
            "GDPR Art. 17, case no. 1 234 567 890",
            "1 + 2 = 3",
        ] {
            assert_eq!(check_text(text), Ok(()), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn arbitrary_names_never_panic(name in ".*") {
            let _ = check_name(&name);
        }

        #[test]
        fn names_that_look_like_uuids_pass(bits: u128) {
            let uuid = uuid::Uuid::from_u128(bits);
            prop_assert_eq!(check_name(&format!("user-{uuid}")), Ok(()));
            prop_assert_eq!(check_name(&format!("user-{}", uuid.simple())), Ok(()));
        }
    }
}
