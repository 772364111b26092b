//! Pieces that were cut out of a document, as text and back.

use std::{collections::HashSet, ops::Range};

use smallvec::{SmallVec, smallvec};

use super::{
    Json, JsonError, Kind, MAX_DEPTH, Node, Pointer,
    node::write_string,
    reader::{self, Entry},
};

/// What one token holds of a document: members and elements, each as it was written, white space
/// and all, and where it belongs.
#[derive(Debug)]
pub(crate) struct Fillings<'a> {
    text: &'a str,
    entries: Vec<Entry>,
    list: SmallVec<[Blank; 8]>,
}

#[derive(Debug)]
struct Blank {
    parent: Range<usize>,
    index: usize,
    entry: usize,
}

/// A member or an element that was cut out of a document.
#[derive(Debug, Clone)]
pub(crate) struct Filling<'a> {
    /// The container that it belongs into.
    pub parent: Pointer,
    /// Which member or element it was there, so that the order comes back.
    pub index: usize,
    /// What it is.
    pub node: Node<'a>,
}

/// The values of the members of one container, mostly few.
type Nodes<'n> = SmallVec<[Node<'n>; 8]>;
/// What is filled into one document.
pub(crate) type Pieces<'a> = SmallVec<[Filling<'a>; 8]>;

const OTHER: &str = "not a list of fillings";

impl<'a> Fillings<'a> {
    /// Reads what `Fillings::write` composed.
    ///
    /// # Errors
    /// [`JsonError`] where the text is something else.
    pub(crate) fn read(text: &'a str) -> Result<Self, JsonError> {
        let other = || JsonError::Type(OTHER.to_owned());
        let entries = Vec::with_capacity(reader::likely(text.len()));
        let mut fillings = Self { text, entries, list: SmallVec::new() };
        let mut at = 0;
        while at < text.len() {
            let parent = number(text, &mut at).ok_or_else(other)?;
            let index = number(text, &mut at).ok_or_else(other)?;
            let length = number(text, &mut at).ok_or_else(other)?;
            let middle = at.checked_add(parent).ok_or_else(other)?;
            let end = middle.checked_add(length).ok_or_else(other)?;
            // Lengths come from a token's plaintext. It was sealed by a vault, but perhaps by a faulty or a later one: no
            // index into the text is taken on trust.
            if !text.is_char_boundary(middle) || text.get(middle..end).is_none() {
                return Err(other());
            }
            fillings.list.push(Blank { parent: at..middle, index, entry: fillings.entries.len() });
            reader::read_piece(text, middle..end, &mut fillings.entries)?;
            at = end;
        }
        Ok(fillings)
    }

    /// Appends a filling: `parent-length SP index SP piece-length SP parent piece`, lengths in
    /// bytes. `piece` is what is joined to be the piece.
    pub(crate) fn write(parent: &str, index: usize, piece: &[&str], text: &mut String) {
        use std::fmt::Write;
        let length: usize = piece.iter().map(|part| part.len()).sum();
        // Writing into memory cannot fail.
        let _ = write!(text, "{} {index} {length} {parent}", parent.len());
        piece.iter().for_each(|part| text.push_str(part));
    }

    /// The fillings.
    ///
    /// # Errors
    /// [`JsonError`] where a parent is no pointer that a document can have.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Filling<'_>, JsonError>> {
        self.list.iter().map(|place| {
            let parent = self.text[place.parent.clone()].parse().ok();
            // Deeper than any document can be: filling it in would make one that no reader accepts.
            let parent = parent.filter(|parent: &Pointer| parent.steps().len() < MAX_DEPTH);
            let parent = parent.ok_or_else(|| JsonError::Type(OTHER.to_owned()))?;
            let node = Node::new(self.text, &self.entries, place.entry);
            Ok(Filling { parent, index: place.index, node })
        })
    }
}

/// A number in its one spelling, and the space after it.
fn number(text: &str, at: &mut usize) -> Option<usize> {
    let rest = text.as_bytes().get(*at..)?;
    let digits = &rest[..rest.iter().take(11).position(|byte| *byte == b' ')?];
    if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    *at += digits.len() + 1;
    let add = |number: usize, byte: &u8| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(usize::from(digit))
    };
    digits.iter().try_fold(0, add)
}

/// Puts back everything that several parts hold, whatever the order in which the parts come:
/// containers before what is in them, and members in their old order. When all that was cut out
/// is there, and the rest is unchanged, the text is the one that it was.
///
/// `rest` is what is left of the document; nothing, if it is none. Its members that `hidden`
/// names are none of the document's. With `gaps`, as where a part cannot be opened and containers
/// went with it, objects are made for those that are missing; else `None` is returned where a
/// filling has no place.
pub(crate) fn fill(
    rest: Option<Node<'_>>,
    hidden: &[&str],
    mut fillings: Pieces<'_>,
    gaps: bool,
) -> Option<Json> {
    // Sorted once, everything that belongs into one container is a run. That keeps filling linear: a search for each
    // field would be quadratic in documents of many fields.
    fillings.sort_by(|a, b| (&a.parent, a.index).cmp(&(&b.parent, b.index)));
    let pieces: usize = fillings.iter().map(|filling| filling.node.piece().len() + 1).sum();
    let room = rest.map_or(2, |rest| rest.text().len()) + pieces;
    let mut filler = Filler { text: String::with_capacity(room), gaps };
    match rest {
        Some(rest) => filler.container(rest, &fillings, 0, hidden)?,
        None => filler.members(Nodes::new(), &fillings, 0)?,
    }
    Some(Json::composed(filler.text))
}

struct Filler {
    text: String,
    gaps: bool,
}

impl Filler {
    /// Writes a container, and into it the `fillings`, which are sorted and belong `depth` steps
    /// from the root or deeper.
    fn container<'n>(
        &mut self,
        node: Node<'n>,
        fillings: &[Filling<'n>],
        depth: usize,
        hidden: &[&str],
    ) -> Option<()> {
        match node.kind() {
            _ if fillings.is_empty() && hidden.is_empty() => self.text.push_str(node.text()),
            Kind::Object => {
                let is_hidden = |member: &Node<'_>| hidden.iter().any(|key| member.is_called(key));
                let shown = node.children().filter(|member| !is_hidden(member)).collect();
                self.members(shown, fillings, depth)?;
            }
            Kind::Array => self.elements(node, fillings, depth)?,
            _ => return None,
        }
        Some(())
    }

    fn members<'n>(
        &mut self,
        known: Nodes<'n>,
        fillings: &[Filling<'n>],
        depth: usize,
    ) -> Option<()> {
        let (own, below) = split(fillings, depth);
        let members = with_members(known, own)?;
        let mut met = 0;
        self.text.push('{');
        for (i, member) in members.iter().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            let deeper = match below.is_empty() {
                true => below,
                false => group(below, depth, &member.key().unwrap_or_default()),
            };
            met += deeper.len();
            self.piece(*member, deeper, depth)?;
        }
        // Some fillings belong into members that are not there: their container was sealed in another part.
        if met < below.len() {
            self.missing(&members, below, depth)?;
        }
        self.text.push('}');
        Some(())
    }

    /// Makes the containers that are not there, after all members that are.
    fn missing(&mut self, members: &[Node<'_>], below: &[Filling<'_>], depth: usize) -> Option<()> {
        if !self.gaps {
            return None;
        }
        let keys: HashSet<_> = members.iter().filter_map(Node::key).collect();
        let (mut rest, mut first) = (below, members.is_empty());
        while let Some(filling) = rest.first() {
            let key = filling.parent.steps()[depth].as_str();
            let deeper = group(rest, depth, key);
            rest = &rest[deeper.len()..];
            // It was met above, as a member that is there.
            if keys.contains(key) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.text.push(',');
            }
            write_string(key, &mut self.text);
            self.text.push(':');
            self.members(Nodes::new(), deeper, depth + 1)?;
        }
        Some(())
    }

    fn elements(&mut self, node: Node<'_>, fillings: &[Filling<'_>], depth: usize) -> Option<()> {
        let (mut own, below) = split(fillings, depth);
        let mut met = 0;
        self.text.push('[');
        for (i, mut item) in node.children().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            // Of an array, sealed elements left `null` in their places, so that a filling replaces and never
            // inserts: the indices of the others hold.
            while let Some((filling, rest)) = own.split_first().filter(|(own, _)| own.index == i) {
                if filling.node.key().is_some() {
                    return None;
                }
                (item, own) = (put(item, filling.node), rest);
            }
            let deeper = if below.is_empty() { below } else { group(below, depth, &i.to_string()) };
            met += deeper.len();
            self.piece(item, deeper, depth)?;
        }
        self.text.push(']');
        // An index beyond the end, or a step that is no index: there is no place for it, and no gap that could be made.
        (own.is_empty() && met == below.len()).then_some(())
    }

    fn piece(&mut self, node: Node<'_>, below: &[Filling<'_>], depth: usize) -> Option<()> {
        if below.is_empty() {
            self.text.push_str(node.piece());
            return Some(());
        }
        self.text.push_str(node.before());
        self.container(node, below, depth + 1, &[])?;
        self.text.push_str(node.after());
        Some(())
    }
}

/// What belongs into the container that is `depth` steps from the root, and what belongs deeper.
fn split<'f, 'a>(
    fillings: &'f [Filling<'a>],
    depth: usize,
) -> (&'f [Filling<'a>], &'f [Filling<'a>]) {
    fillings.split_at(fillings.partition_point(|filling| filling.parent.steps().len() == depth))
}

/// What belongs below the member or element of this name.
fn group<'f, 'a>(below: &'f [Filling<'a>], depth: usize, name: &str) -> &'f [Filling<'a>] {
    let step = |filling: &Filling<'_>| filling.parent.steps()[depth].as_str().cmp(name);
    let from = below.partition_point(|filling| step(filling).is_lt());
    let length = below[from..].partition_point(|filling| step(filling).is_eq());
    &below[from..from + length]
}

/// The members of an object with those that are filled in: at their index, or in the place of what
/// is there already. `None` where one has no key.
fn with_members<'n>(known: Nodes<'n>, own: &[Filling<'n>]) -> Option<Nodes<'n>> {
    if own.is_empty() {
        return Some(known);
    }
    let keyed = |filling: &Filling<'n>| Some((filling.node.key()?, filling.index, filling.node));
    let mut new = own.iter().map(keyed).collect::<Option<SmallVec<[_; 8]>>>()?;
    // Several parts may prepare the same place, and one may have what belongs there.
    new.sort_by(|a, b| (&a.0, a.2.is_skeleton()).cmp(&(&b.0, b.2.is_skeleton())));
    new.dedup_by(|later, first| later.0 == first.0);
    // Two indices are merged from here on: the order of the members that are left, and the old indices of those that
    // come back. A store may have reordered the former; then members end up at the nearest place.
    let mut stands: SmallVec<[bool; 16]> = smallvec![false; new.len()];
    let mut known = known;
    for member in &mut known {
        let key = member.key().unwrap_or_default();
        if let Ok(at) = new.binary_search_by(|(own, ..)| own.cmp(&key)) {
            stands[at] = true;
            *member = put(*member, new[at].2);
        }
    }
    let mut stands = stands.into_iter();
    new.retain(|_| stands.next() == Some(false));
    new.sort_by_key(|(_, index, _)| *index);
    let mut members = Nodes::with_capacity(known.len() + new.len());
    let mut known = known.into_iter();
    for (_, index, node) in new {
        members.extend(known.by_ref().take(index.saturating_sub(members.len())));
        members.push(node);
    }
    members.extend(known);
    Some(members)
}

/// What is in a place into which something is filled. What only prepares the place for others
/// does not replace what they can be filled into already.
fn put<'n>(stands: Node<'n>, filled: Node<'n>) -> Node<'n> {
    let container = matches!(stands.kind(), Kind::Array | Kind::Object);
    if container && filled.is_skeleton() { stands } else { filled }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fillings: &[(&str, usize, &str)]) -> String {
        let mut text = String::new();
        for (parent, index, piece) in fillings {
            Fillings::write(parent, *index, &[piece], &mut text);
        }
        text
    }

    fn filled(rest: &str, parts: &[&[(&str, usize, &str)]], gaps: bool) -> Option<String> {
        let json = Json::parse(rest).unwrap();
        let texts: Vec<String> = parts.iter().map(|part| list(part)).collect();
        let read: Vec<Fillings<'_>> =
            texts.iter().map(|text| Fillings::read(text).unwrap()).collect();
        let all = read.iter().flat_map(Fillings::iter).map(Result::unwrap).collect();
        let tree = json.tree();
        fill(Some(tree.root()), &[], all, gaps).map(|json| json.as_str().to_owned())
    }

    #[test]
    fn pieces_come_back_as_they_were_written() {
        let whole = "{ \"a\" : { \"x\":1 ,\n\"y\": [ 1 , 2e0 ] },\"b\":0, \"l\":[ 4 ,5 ] }";
        let rest = "{\"b\":0, \"l\":[ 4 ,null ] }";
        let one: &[_] = &[("", 0, " \"a\" : {}"), ("/a", 1, "\n\"y\": [ 1 , 2e0 ] ")];
        let two: &[_] = &[("/a", 0, " \"x\":1 "), ("", 0, " \"a\" : {}"), ("/l", 1, "5 ")];
        assert_eq!(filled(rest, &[one, two], false).unwrap(), whole);
        assert_eq!(filled(rest, &[two, one], false).unwrap(), whole);
        // Respelled by a store, it is the same value still.
        let other = filled(r#"{"l": [4, null], "b": 0}"#, &[one, two], false).unwrap();
        assert_eq!(canonical(&other), canonical(whole));
    }

    fn canonical(text: &str) -> String {
        Json::parse(text).unwrap().tree().root().to_canonical()
    }

    #[test]
    fn what_stands_in_the_place_is_replaced_but_not_by_what_only_prepares_it() {
        let plate: &[_] = &[("", 7, r#" "pl\u0061te" : "B-XY" "#)];
        let expected = r#"{"a":1, "pl\u0061te" : "B-XY" ,"b":2}"#;
        assert_eq!(filled(r#"{"a":1,"plate":"B-","b":2}"#, &[plate], false).unwrap(), expected);
        let empty: &[_] = &[("", 0, r#""a":{}"#), ("/a", 0, r#""x":1"#)];
        assert_eq!(filled(r#"{"a":{"y":2}}"#, &[empty], false).unwrap(), r#"{"a":{"x":1,"y":2}}"#);
    }

    #[test]
    fn what_has_no_place_is_refused_unless_its_container_may_be_sealed() {
        let lost: &[_] = &[("/a/b", 0, r#""c":1"#)];
        assert_eq!(filled("{}", &[lost], false), None);
        assert_eq!(filled("{}", &[lost], true).unwrap(), r#"{"a":{"b":{"c":1}}}"#);
        assert_eq!(filled(r#"{"z":0}"#, &[lost], true).unwrap(), r#"{"z":0,"a":{"b":{"c":1}}}"#);
        assert_eq!(filled(r#"{"a":7}"#, &[lost], true), None);
        for bad in [("", 1, "1"), ("/0", 0, "1"), ("/1", 0, "1"), ("", 0, r#""k":1"#)] {
            assert_eq!(filled("[1]", &[&[bad]], true), None, "{bad:?}");
        }
        assert_eq!(filled("{}", &[&[("", 0, "1")]], true), None);
    }

    #[test]
    fn many_fields_go_back_in_linear_time() {
        let keys: Vec<String> = (0..20_000).map(|i| format!("\"k{i}\":{i}")).collect();
        let parents: Vec<String> = (0..20_000).map(|i| format!("/k{i}")).collect();
        let flat: Vec<_> = keys.iter().enumerate().map(|(i, key)| ("", i, key.as_str())).collect();
        let all = filled("{}", &[&flat], false).unwrap();
        assert!(all.starts_with(r#"{"k0":0,"k1":1,"#) && all.ends_with(r#""k19999":19999}"#));
        let nested: Vec<_> =
            parents.iter().map(|parent| (parent.as_str(), 0, r#""x":1"#)).collect();
        assert!(filled("{}", &[&nested], true).is_some());
    }

    #[test]
    fn what_is_no_list_of_fillings_is_refused() {
        let deep = list(&[(&"/a".repeat(MAX_DEPTH), 0, "1")]);
        assert!(Fillings::read(&deep).unwrap().iter().any(|filling| filling.is_err()));
        for text in [
            "{}",
            "0 0 1",
            "0 0 2 7",
            "0 0 1 7 ",
            "00 0 1 7",
            "0 -1 1 7",
            "0 0 3 1,2",
            "2 0 1 a7",
            "99999999999 0 1 7",
            "1 0 2 \u{e4}\u{e4}",
            "0 0 0 ",
            "0 0 5 \"a\":",
            "4294967296 4294967296 1 7",
        ] {
            let refused = match Fillings::read(text) {
                Ok(read) => read.iter().any(|filling| filling.is_err()),
                Err(_) => true,
            };
            assert!(refused, "{text}");
        }
        assert!(Fillings::read("").unwrap().iter().next().is_none());
    }
}
