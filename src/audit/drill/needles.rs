//! The values that must not be anywhere in clear: what is sealed of the living, and what the
//! caller knows of the forgotten.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use aho_corasick::{AhoCorasick, MatchKind};
use futures::TryStreamExt;

use super::{
    DrillProgress, ignored,
    text::{self, Text},
};
use crate::{
    audit::AuditError,
    crypto::{Body, Plaintext},
    event::{Fillings, Json, Kind, Node, Payload, RecordedEvent, StreamName},
    layer::{
        Oubliette, TokenFate,
        document::{Document, Stored},
        try_tokens,
    },
    store::EventStore,
    vault::{Vault, VaultError},
};

/// How many values are searched for at most, besides those that the caller gives.
pub const MOST_VALUES: usize = 50_000;
/// How many characters a sealed string has at least, or digits a number, to be searched for:
/// shorter ones are everywhere.
pub const SHORTEST_VALUE: usize = 6;
/// … and one that the caller gives.
pub const SHORTEST_GIVEN: usize = 3;

/// Of longer values the beginning is searched for, so many bytes of it.
const LONGEST: usize = 256;

/// A value, and where it comes from.
struct Needle {
    /// In the form in which text is compared.
    text: String,
    from: Origin,
    given: bool,
    /// Where it begins and ends with digits there must be no further ones.
    digits: bool,
}

#[derive(Clone)]
enum Origin {
    /// Sealed in a field of a stream.
    Field(StreamName, String),
    /// The caller's, by number.
    Given(usize),
}

/// All values, ready to be found.
pub(super) struct Needles {
    needles: Vec<Needle>,
    search: AhoCorasick,
    pub(super) skipped: Skipped,
}

/// How many values are not searched for, and why.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skipped {
    /// They are in public fields or names as well.
    pub(super) public: u64,
    /// They are words that anyone may use. Equal ones count once.
    pub(super) ignored: u64,
    /// They are short. Equal ones count again.
    pub(super) short: u64,
    /// There are too many. Equal ones count again.
    pub(super) left_out: u64,
}

impl Needles {
    /// Reads all events twice: first for what is sealed, then for what of it is in public
    /// fields and names as well.
    pub(super) async fn gather<S: EventStore>(
        layer: &Oubliette<S>,
        vault: &Vault,
        given: &[String],
        ignore: &[String],
        tell: &mut (impl FnMut(DrillProgress) + Send),
    ) -> Result<Self, AuditError> {
        let ignored = ignored::WORDS.iter().copied().chain(ignore.iter().map(String::as_str));
        let ignored = ignored.map(|word| (text::folded(word), false)).collect();
        let mut gathered = Gathered { ignored, ..Gathered::default() };
        for (number, text) in given.iter().enumerate() {
            gathered.add(text, Origin::Given(number + 1), true);
        }
        let mut read = 0;
        let mut events = layer.specimens();
        while let Some(specimen) = events.try_next().await? {
            read += 1;
            if u64::is_multiple_of(read, 512) {
                tell(DrillProgress::Values { read });
            }
            let Ok(Document::Stored(mut stored)) = specimen.document else { continue };
            for (_, fate) in try_tokens(vault, &specimen.event, &mut stored).await? {
                if let TokenFate::Open(plaintext, _) = fate {
                    let stream = &specimen.event.stream;
                    gathered.sealed(stream, &plaintext);
                }
            }
        }
        let Gathered { mut needles, mut skipped, ignored, .. } = gathered;
        skipped.ignored = ignored.values().filter(|met| **met).count() as u64;
        if needles.iter().any(|needle| !needle.given) {
            let taken = publicly(layer, &needles, &mut read, tell).await?;
            skipped.public = taken.len() as u64;
            let mut index = 0;
            needles.retain(|_| {
                index += 1;
                !taken.contains(&(index - 1))
            });
        }
        Self::ready(needles, skipped)
    }

    fn ready(needles: Vec<Needle>, skipped: Skipped) -> Result<Self, AuditError> {
        let search = search(&needles)?;
        Ok(Self { needles, search, skipped })
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.needles.len()
    }

    /// Shows which values are in a text, and where they begin; with up to two layers of escapes
    /// undone. One that is found without undoing them may be shown again.
    pub(super) fn look(&self, text: &Text, see: &mut dyn FnMut(usize, usize)) {
        if self.needles.is_empty() {
            return;
        }
        self.look_once(text, see);
        let Some(once) = text::unescaped(text) else { return };
        self.look_once(&once, see);
        if let Some(twice) = text::unescaped(&once) {
            self.look_once(&twice, see);
        }
    }

    fn look_once(&self, text: &Text, see: &mut dyn FnMut(usize, usize)) {
        let Text { bytes, at } = text::fold(text);
        for found in self.search.find_overlapping_iter(&bytes) {
            let index = found.pattern().as_usize();
            let digit =
                |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
            let Some(needle) = self.needles.get(index) else { continue };
            if needle.digits && (digit(found.start().checked_sub(1)) || digit(Some(found.end()))) {
                continue;
            }
            if let Some(&at) = at.get(found.start()) {
                see(index, at as usize);
            }
        }
    }

    /// Where a value comes from, in words that do not hold it.
    pub(super) fn origin(&self, index: usize) -> String {
        match self.needles.get(index).map(|needle| &needle.from) {
            Some(Origin::Field(stream, field)) => {
                format!("a value that is sealed in {field} of {stream}")
            }
            Some(Origin::Given(number)) => format!("value number {number} of those given"),
            None => String::new(),
        }
    }
}

#[derive(Default)]
struct Gathered {
    needles: Vec<Needle>,
    known: HashSet<String>,
    /// The words that are not searched for, and whether they were met.
    ignored: HashMap<String, bool>,
    skipped: Skipped,
}

impl Gathered {
    fn add(&mut self, text: &str, from: Origin, given: bool) {
        let mut text = text::folded(text);
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        if text.is_empty() || self.known.contains(&text) {
            return;
        }
        if !given && let Some(met) = self.ignored.get_mut(&text) {
            *met = true;
            return;
        }
        if !given && self.needles.len() >= MOST_VALUES {
            self.skipped.left_out += 1;
            return;
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"-+.eE".contains(&byte));
        self.known.insert(text.clone());
        self.needles.push(Needle { text, from, given, digits });
    }

    fn sealed(&mut self, stream: &StreamName, opened: &Plaintext) {
        match opened.body() {
            Ok(Body::Json(text)) => {
                if let Ok(json) = Json::parse(text) {
                    self.values(stream, &mut String::new(), json.tree().root());
                }
            }
            Ok(Body::Fields(text)) => self.fillings(stream, "", text),
            Ok(Body::Bytes(bytes)) => {
                if let Ok(text) = std::str::from_utf8(bytes)
                    && text.trim().chars().count() >= SHORTEST_VALUE
                {
                    self.add(text.trim(), Origin::Field(stream.clone(), "*".to_owned()), false);
                }
            }
            Ok(Body::Nothing) | Err(_) => {}
        }
        self.fillings(stream, "metadata", opened.metadata().unwrap_or_default());
    }

    fn fillings(&mut self, stream: &StreamName, place: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let Ok(fillings) = Fillings::read(text) else { return };
        for filling in fillings.iter().flatten() {
            let key = filling.node.key().unwrap_or(Cow::Borrowed("*"));
            let mut place = format!("{place}{}/{key}", filling.parent);
            self.values(stream, &mut place, filling.node);
        }
    }

    /// The values in a tree that are long enough. The depth of JSON is limited where it is read.
    fn values(&mut self, stream: &StreamName, place: &mut String, node: Node<'_>) {
        let length = place.len();
        match node.kind() {
            Kind::Array | Kind::Object => {
                for child in node.children() {
                    place.push('/');
                    place.push_str(&child.key().unwrap_or(Cow::Borrowed("*")));
                    self.values(stream, place, child);
                    place.truncate(length);
                }
            }
            _ => {
                let Some(text) = node.scalar() else { return };
                let long = match node.string() {
                    Some(text) => text.trim().chars().count() >= SHORTEST_VALUE,
                    None => text.bytes().filter(u8::is_ascii_digit).count() >= SHORTEST_VALUE,
                };
                if !long {
                    let counts =
                        node.string().map_or_else(|| text.parse::<f64>().is_ok(), |_| true);
                    self.skipped.short += u64::from(counts && !text.is_empty());
                } else {
                    let place = if place.is_empty() { "*" } else { place };
                    let from = Origin::Field(stream.clone(), place.to_owned());
                    self.add(text.trim(), from, false);
                }
            }
        }
    }
}

/// Which of the values, but for those given, are in what is public, too.
async fn publicly<S: EventStore>(
    layer: &Oubliette<S>,
    needles: &[Needle],
    read: &mut u64,
    tell: &mut (impl FnMut(DrillProgress) + Send),
) -> Result<HashSet<usize>, AuditError> {
    let search = search(needles)?;
    let mut public = HashSet::new();
    let mut look = |text: &str| {
        for found in search.find_overlapping_iter(&text::folded(text)) {
            let index = found.pattern().as_usize();
            if needles.get(index).is_some_and(|needle| !needle.given) {
                public.insert(index);
            }
        }
    };
    let mut events = layer.specimens();
    while let Some(specimen) = events.try_next().await? {
        *read += 1;
        if read.is_multiple_of(512) {
            tell(DrillProgress::Values { read: *read });
        }
        let event = &specimen.event;
        look(event.stream.as_str());
        look(event.event_type.as_str());
        match &specimen.document {
            Ok(Document::Stored(stored)) => public_parts(event, stored, &mut look),
            // An event that was never sealed is not public for that.
            Ok(Document::Clear) | Err(_) => {}
        }
    }
    Ok(public)
}

fn public_parts(event: &RecordedEvent, stored: &Stored, look: &mut impl FnMut(&str)) {
    match stored.public() {
        Some(Payload::Json(json)) => every_text(json.tree().root(), look),
        Some(Payload::Bytes(bytes)) => look(&String::from_utf8_lossy(&bytes)),
        None => {}
    }
    // The layer's own notes, too.
    if let Some(metadata) = &event.metadata {
        every_text(metadata.tree().root(), look);
    }
}

fn every_text(node: Node<'_>, look: &mut impl FnMut(&str)) {
    if let Some(text) = node.scalar() {
        look(&text);
    }
    for child in node.children() {
        if let Some(key) = child.key() {
            look(&key);
        }
        every_text(child, look);
    }
}

fn search(needles: &[Needle]) -> Result<AhoCorasick, AuditError> {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(needles.iter().map(|needle| needle.text.as_bytes()))
        .map_err(|error| AuditError::Vault(VaultError::Storage(Box::new(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needles: &[&str], text: &[u8]) -> Vec<(usize, usize)> {
        let mut gathered = Gathered::default();
        for (number, needle) in needles.iter().enumerate() {
            gathered.add(needle, Origin::Given(number), true);
        }
        let needles = Needles::ready(gathered.needles, Skipped::default()).unwrap();
        let mut found = HashSet::new();
        needles.look(&Text::plain(text), &mut |needle, at| {
            found.insert((needle, at));
        });
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_value_is_found_however_it_is_spelled() {
        for text in [
            "Erika \"Müller\"",
            r#"Erika \"Müller\""#,
            r#"Erika \"M\u00fcller\""#,
            r#"{\"x\":\"Erika \\\"M\\u00fcller\\\""#,
            r#"ERIKA ""M\u00DCLLER"""#,
            "erika\n\"Mu\u{308}ller\"",
            "Erika+%22M%C3%BCller%22",
            "Erika &quot;M&uuml;ller&quot;",
        ] {
            let found = found(&["Erika \"Müller\""], text.as_bytes());
            assert_eq!(found.len(), 1, "{text}");
        }
        assert_eq!(found(&["Jürgen"], b"x J\xdcRGEN"), [(0, 2)]);
        assert_eq!(found(&["O'Neill"], b"'O''Neill', 'O\\'Neill'"), [(0, 1), (0, 13)]);
    }

    #[test]
    fn a_number_is_not_found_within_another() {
        let text = b"0123456 1234567 x123456y 123456";
        assert_eq!(found(&["123456"], text), [(0, 17), (0, 25)]);
    }

    #[test]
    fn of_a_long_value_the_beginning_is_found() {
        let long: String = (0..300).map(|i| format!("ü{i}")).collect();
        let cut = long.chars().take(200).collect::<String>();
        assert_eq!(found(&[&long], format!("..{cut}").as_bytes()), [(0, 2)]);
        assert_eq!(found(&[&long], &long.as_bytes()[..200]), []);
    }
}
