//! What a table calls a stream or a type, and no name may be: with a space in it, in another of Unicode's forms, with the
//! literal of the template in front of it. Such a character is written as `~` and two digits for each of its bytes, so that the
//! row is an event, and the person in it can be forgotten, whatever its name is. All other names stay as they are.

use oubliette::event::{EventType, MAX_NAME_BYTES, StreamName};

use super::template::Template;

/// The name of a type that has none.
const NO_NAME: &str = "~";

impl Template {
    /// The name of the stream whose columns hold these values: each has another one. `None` where it would be none even so:
    /// it is empty, or too long.
    pub(super) fn name(&self, values: &[&str]) -> Option<StreamName> {
        if let Some(name) = self.plain(values).filter(|name| !self.is_taken(values, name)) {
            return Some(name);
        }
        let starts = |at: usize, c: char| at == 0 && c == '$';
        // First what may be in no name at all; and where that is not enough, whatever has another form or a meaning.
        let first = values.iter().enumerate();
        let first = first.map(|(nth, text)| escaped(text, |at, c| nth == 0 && starts(at, c)));
        self.plain_of(first).or_else(|| {
            let literals: Vec<Option<char>> = self.behind_each().collect();
            self.plain_of(values.iter().enumerate().map(|(nth, text)| {
                let is_last = nth + 1 == values.len();
                let means = |c: char| !is_last && literals.get(nth) == Some(&Some(c));
                escaped(text, |at, c| nth == 0 && starts(at, c) || !c.is_ascii() || means(c))
            }))
        })
    }

    /// What the columns of the stream of this name hold. `None` where none has it.
    pub(super) fn values(&self, name: &str) -> Option<Vec<String>> {
        let values = self.split(name)?;
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        if !name.contains('~') {
            return Some(owned(&values));
        }
        let meant: Vec<String> = values.iter().map(|value| unescaped(value)).collect();
        let texts: Vec<&str> = meant.iter().map(String::as_str).collect();
        match texts != values && self.name(&texts).is_some_and(|found| found.as_str() == name) {
            true => Some(meant),
            false => Some(owned(&values)),
        }
    }

    /// The name as it is, where it is one, and the columns can be told again from it.
    fn plain(&self, values: &[&str]) -> Option<StreamName> {
        let text = self.compose(values.iter().copied());
        let name = StreamName::new(&text).ok()?;
        (name.as_str() == text && self.split(&text)? == values).then_some(name)
    }

    fn plain_of(&self, values: impl Iterator<Item = String>) -> Option<StreamName> {
        let values: Vec<String> = values.collect();
        self.plain(&values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Whether that is how other values are written, which are no name as they are.
    fn is_taken(&self, values: &[&str], name: &StreamName) -> bool {
        if !name.as_str().contains('~') {
            return false;
        }
        let others: Vec<String> = values.iter().map(|value| unescaped(value)).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        // They are shorter, so that this ends.
        others != values && self.name(&others).as_ref() == Some(name)
    }
}

/// What a table calls a type, as one. A long one is cut.
pub(super) fn event_type(text: Option<&str>) -> Option<EventType> {
    let text = text.unwrap_or_default();
    let end = (0..=text.len().min(MAX_NAME_BYTES)).rev().find(|end| text.is_char_boundary(*end));
    let text = text.get(..end?)?;
    let mut name = escaped(text, |at, c| at == 0 && c == '$');
    while !name.is_empty() {
        if let Ok(event_type) = EventType::new(&name) {
            return Some(event_type);
        }
        name.pop();
    }
    EventType::new(NO_NAME).ok()
}

fn may_not_be_in(c: char) -> bool {
    // Behind another one, since some may be anywhere but in front.
    !c.is_ascii_graphic() && StreamName::new(format!("x{c}")).is_err()
}

fn escaped(text: &str, is_odd: impl Fn(usize, char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        // What reads as one of ours is not one.
        let reads_so = c == '~' && text.get(at + 1..at + 3).and_then(byte).is_some();
        if reads_so || is_odd(at, c) || may_not_be_in(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                escaped.push_str(&format!("~{byte:02X}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Two digits as they are written here.
fn byte(digits: &str) -> Option<u8> {
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (format!("{byte:02X}") == digits).then_some(byte)
}

/// What was written so; the text itself where that is no text.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = rest.find('~') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        match rest.get(at + 1..at + 3).and_then(byte) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + 3..];
            }
            None => {
                bytes.push(b'~');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    // A text in the database holds no zero.
    match String::from_utf8(bytes) {
        Ok(unescaped) if !unescaped.contains('\0') => unescaped,
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use super::*;

    #[test]
    fn names_that_are_none_are_written_so_that_they_are() {
        let two = Template::parse("{kind}-{id}").unwrap();
        for (values, name) in [
            (["user", "7"], "user-7"),
            (["user", "two words"], "user-two~20words"),
            (["user", "Jörg M"], "user-Jörg~20M"),
            (["user", "e\u{301}"], "user-e~CC~81"),
            (["bank-account", "7"], "bank~2Daccount-7"),
            (["$all", "7"], "~24all-7"),
            (["user", "a\u{200b}"], "user-a~E2~80~8B"),
            // Nobody's escapes are taken for what they are not.
            (["user", "a%20b"], "user-a%20b"),
            (["user", "~41"], "user-~41"),
            (["user", "two~20words"], "user-two~7E20words"),
            (["user", "~"], "user-~"),
            (["", ""], "-"),
        ] {
            assert_eq!(two.name(&values).unwrap().as_str(), name);
            assert_eq!(two.values(name).unwrap(), values, "{name}");
        }
        let one = Template::parse("stream").unwrap();
        assert_eq!(one.name(&[""]), None);
        assert_eq!(one.name(&[&"x".repeat(300)]), None);
    }

    /// Whatever columns hold, no two streams have one name, and each name leads back.
    #[test]
    fn each_stream_has_a_name_of_its_own() {
        let pieces = ["", "a", "-", "~", "~20", " ", "~7E", "20", "é", "e\u{301}", "$"];
        for template in ["stream", "{kind}-{id}", "{kind}--{id}", "<{kind}>~{id}"] {
            let template = Template::parse(template).unwrap();
            let count = template.columns().count();
            let mut texts = Vec::new();
            for one in pieces {
                for two in pieces {
                    texts.extend(pieces.map(|three| format!("{one}{two}{three}")));
                }
            }
            texts.sort();
            texts.dedup();
            let mut seen: HashMap<String, Vec<String>> = HashMap::new();
            for (number, text) in texts.iter().enumerate() {
                let others = if count == 1 { 1..2 } else { number..number + 40 };
                for other in others {
                    let values: Vec<&str> = match count {
                        1 => vec![text],
                        _ => vec![text, &texts[other % texts.len()]],
                    };
                    let Some(name) = template.name(&values) else { continue };
                    assert_eq!(template.values(name.as_str()).unwrap(), values, "{name}");
                    let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
                    let before = seen.insert(name.as_str().to_owned(), values.clone());
                    assert!(before.is_none_or(|before| before == values), "{name}");
                }
            }
            assert!(seen.len() > 500);
        }
    }

    #[test]
    fn a_type_that_is_no_name_has_one() {
        for (text, name) in [
            (Some("Moved"), "Moved"),
            (Some("User Moved"), "User~20Moved"),
            (Some("$retired"), "~24retired"),
            (Some(""), "~"),
            (None, "~"),
        ] {
            assert_eq!(event_type(text).unwrap().as_str(), name);
        }
        let long = "ü".repeat(300);
        assert_eq!(event_type(Some(&long)).unwrap().as_str(), &long[..254]);
        assert!(event_type(Some(&" ".repeat(300))).unwrap().as_str().starts_with("~20~20"));
    }
}
