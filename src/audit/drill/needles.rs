//! The values that must not stand anywhere in clear: what is sealed of the living, and what the
//! caller knows of the forgotten.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use aho_corasick::{AhoCorasick, MatchKind};
use futures::TryStreamExt;

use super::{DrillNews, files::Window};
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
/// shorter ones stand everywhere.
pub const SHORTEST_VALUE: usize = 6;
/// … and one that the caller gives.
pub const SHORTEST_GIVEN: usize = 3;

/// Of longer values the beginning is searched for, so many bytes of it.
const LONGEST: usize = 256;

/// The longest spelling of a value: each byte as an escape of six.
pub(super) const AFTER: usize = 6 * LONGEST;

/// A value, and where it comes from.
struct Needle {
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
    /// Whose spelling each pattern is.
    spellings: Vec<usize>,
    pub(super) public: u64,
    pub(super) left_out: u64,
}

impl Needles {
    /// Reads all events twice: first for what is sealed, then for what of it stands in public
    /// fields and names as well.
    pub(super) async fn gather<S: EventStore>(
        layer: &Oubliette<S>,
        vault: &Vault,
        given: &[String],
        tell: &mut (impl FnMut(DrillNews) + Send),
    ) -> Result<Self, AuditError> {
        let mut gathered = Gathered::default();
        for (number, text) in given.iter().enumerate() {
            gathered.add(text, Origin::Given(number + 1), true);
        }
        let mut read = 0;
        let mut events = layer.specimens();
        while let Some(specimen) = events.try_next().await? {
            read += 1;
            if u64::is_multiple_of(read, 512) {
                tell(DrillNews::Values { read });
            }
            let Ok(Document::Stored(mut stored)) = specimen.document else { continue };
            for (_, fate) in try_tokens(vault, &specimen.event, &mut stored)? {
                if let TokenFate::Open(plaintext) = fate {
                    let stream = &specimen.event.stream;
                    gathered.sealed(stream, &plaintext);
                }
            }
        }
        let Gathered { mut needles, left_out, .. } = gathered;
        let mut public = 0;
        if needles.iter().any(|needle| !needle.given) {
            let taken = publicly(layer, &needles, &mut read, tell).await?;
            public = taken.len() as u64;
            let mut index = 0;
            needles.retain(|_| {
                index += 1;
                !taken.contains(&(index - 1))
            });
        }
        Self::ready(needles, public, left_out)
    }

    fn ready(needles: Vec<Needle>, public: u64, left_out: u64) -> Result<Self, AuditError> {
        let (mut patterns, mut spellings) = (Vec::new(), Vec::new());
        for (index, needle) in needles.iter().enumerate() {
            for spelling in spelled(&needle.text) {
                patterns.push(spelling);
                spellings.push(index);
            }
        }
        let search = search(patterns.iter().map(|pattern| pattern.as_bytes()))?;
        Ok(Self { needles, search, spellings, public, left_out })
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.needles.len()
    }

    /// Shows which values begin in a window, and where.
    pub(super) fn look(&self, window: &Window<'_>, see: &mut dyn FnMut(usize, u64)) {
        let bytes = window.bytes;
        for found in self.search.find_overlapping_iter(&bytes[window.from..]) {
            let (start, end) = (window.from + found.start(), window.from + found.end());
            let Some(&index) = self.spellings.get(found.pattern().as_usize()) else { continue };
            if start >= window.to {
                if start >= window.to + AFTER {
                    break;
                }
                continue;
            }
            let digit =
                |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
            if self.needles[index].digits && (digit(start.checked_sub(1)) || digit(Some(end))) {
                continue;
            }
            see(index, window.offset + start as u64);
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
    left_out: u64,
}

impl Gathered {
    fn add(&mut self, text: &str, from: Origin, given: bool) {
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if self.known.contains(text) {
            return;
        }
        if !given && self.needles.len() >= MOST_VALUES {
            self.left_out += 1;
            return;
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"-+.eE".contains(&byte));
        let text = text.to_owned();
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
                if long {
                    let place = if place.is_empty() { "*" } else { place };
                    let from = Origin::Field(stream.clone(), place.to_owned());
                    self.add(text.trim(), from, false);
                }
            }
        }
    }
}

/// Which of the values, but for those given, stand in what is public, too.
async fn publicly<S: EventStore>(
    layer: &Oubliette<S>,
    needles: &[Needle],
    read: &mut u64,
    tell: &mut (impl FnMut(DrillNews) + Send),
) -> Result<HashSet<usize>, AuditError> {
    let search = search(needles.iter().map(|needle| needle.text.as_bytes()))?;
    let mut public = HashSet::new();
    let mut look = |text: &str| {
        for found in search.find_overlapping_iter(text) {
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
            tell(DrillNews::Values { read: *read });
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

/// The spellings of a value that are searched for: as it is, as JSON escapes it, and as JSON in
/// nothing but ASCII escapes it.
fn spelled(text: &str) -> HashSet<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_start_matches('"');
    let json = json.strip_suffix('"').unwrap_or(json);
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    [text, json, &ascii].into_iter().map(|text| text.to_owned()).collect()
}

/// Letters count as equal in either case, as far as they are ASCII.
fn search<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Result<AhoCorasick, AuditError> {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .build(patterns)
        .map_err(|error| AuditError::Vault(VaultError::Storage(Box::new(error))))
}

/// Which values were found in a file: each once, with how often and where first.
#[derive(Default)]
pub(super) struct Tally(HashMap<usize, (u64, Option<u64>)>);

impl Tally {
    pub(super) fn add(&mut self, needle: usize, offset: Option<u64>) {
        self.0.entry(needle).or_insert((0, offset)).0 += 1;
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn has(&self, needle: usize) -> bool {
        self.0.contains_key(&needle)
    }

    /// In the order of their places.
    pub(super) fn into_sorted(self) -> Vec<(usize, u64, Option<u64>)> {
        let mut found: Vec<_> = self.0.into_iter().map(|(n, (count, at))| (n, count, at)).collect();
        found.sort_unstable_by_key(|&(needle, _, at)| (at, needle));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needles: &[&str], text: &str) -> Vec<(usize, u64)> {
        let mut gathered = Gathered::default();
        for (number, needle) in needles.iter().enumerate() {
            gathered.add(needle, Origin::Given(number), true);
        }
        let needles = Needles::ready(gathered.needles, 0, 0).unwrap();
        let mut found = Vec::new();
        let (from, to, offset) = (0, text.len(), 0);
        needles.look(&Window { bytes: text.as_bytes(), from, to, offset }, &mut |needle, at| {
            found.push((needle, at));
        });
        found
    }

    #[test]
    fn a_value_is_found_however_json_spells_it() {
        for text in [
            "Erika \"Müller\"",
            r#"Erika \"Müller\""#,
            r#"Erika \"M\u00fcller\""#,
            r#"ERIKA \"M\u00FCller\""#,
        ] {
            assert_eq!(found(&["Erika \"Müller\""], &format!("x{text}y")), [(0, 1)], "{text}");
        }
    }

    #[test]
    fn a_number_is_not_found_within_another() {
        assert_eq!(found(&["123456"], "0123456 1234567 x123456y 123456"), [(0, 17), (0, 25)]);
    }

    #[test]
    fn of_a_long_value_the_beginning_is_found() {
        let long: String = (0..300).map(|i| format!("ü{i}")).collect();
        let cut = long.chars().take(200).collect::<String>();
        assert_eq!(found(&[&long], &format!("..{cut}")), [(0, 2)]);
        assert_eq!(found(&[&long], &long[..200]), []);
    }
}
