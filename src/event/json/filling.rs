//! Values that were cut out of a document, as text and back.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{Json, JsonError, MAX_DEPTH, Member, Node, Pointer, Step, node::write_string, reader};

/// A value that was cut out of a tree, and where it belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct Filling<'a> {
    /// Where it belongs.
    pub pointer: Pointer,
    /// Which member or element of its parent it was, so that the order comes back.
    pub index: usize,
    /// The value itself.
    pub value: Node<'a>,
}

impl<'a> Filling<'a> {
    /// Reads the text `[[pointer, index, value], …]` that [`Filling::write`] composes.
    ///
    /// # Errors
    /// [`JsonError`] where the text is something else.
    pub fn read_all(text: &'a str) -> Result<Vec<Self>, JsonError> {
        let other = || JsonError::Type("not a list of [pointer, index, value]".to_owned());
        // Two arrays stand around a value that was itself within the limit.
        let Node::Array(items) = reader::read_within(text, MAX_DEPTH + 2)? else {
            return Err(other());
        };
        items
            .into_iter()
            .map(|item| {
                let Node::Array(item) = item else { return Err(other()) };
                let [pointer, index, value] =
                    <[Node<'a>; 3]>::try_from(item).map_err(|_| other())?;
                let pointer = pointer.string().and_then(|text| text.parse().ok());
                let index = match index {
                    Node::Leaf(text) => text.parse().ok(),
                    Node::Array(_) | Node::Object(_) => None,
                };
                let pointer =
                    pointer.filter(|pointer: &Pointer| pointer.steps().len() <= MAX_DEPTH);
                match (pointer, index) {
                    (Some(pointer), Some(index)) => Ok(Self { pointer, index, value }),
                    _ => Err(other()),
                }
            })
            .collect()
    }

    /// Appends `[pointer, index, value]` to a text.
    pub fn write(pointer: &str, index: usize, value: &Node<'_>, text: &mut String) {
        text.push('[');
        write_string(pointer, text);
        text.push(',');
        text.push_str(&index.to_string());
        text.push(',');
        value.write(text);
        text.push(']');
    }
}

impl<'a> Node<'a> {
    /// Puts back everything that several parts hold, whatever the order in which the parts come:
    /// parents before what lies in them, and members in their old order. When all that was cut
    /// out is there, the document is as it was.
    ///
    /// It takes about the time that it takes to read them. Returns false where some place's parent
    /// is missing.
    ///
    /// With `gaps`, as where a part cannot be opened and the parents went with it, objects are
    /// made for the missing parents instead.
    #[must_use]
    pub fn fill_all(&mut self, mut fillings: Vec<Filling<'a>>, gaps: bool) -> bool {
        fillings.sort_by_key(|filling| (filling.pointer.steps().len(), filling.index));
        fill_below(self, fillings, 0, gaps)
    }

    /// Whether a filling of this value only prepares a place: an empty object, or an array of
    /// nothing but `null`.
    pub(super) fn is_skeleton(&self) -> bool {
        match self {
            Self::Leaf(_) => false,
            Self::Array(items) => items.iter().all(|item| matches!(item, Self::Leaf("null"))),
            Self::Object(members) => members.is_empty(),
        }
    }

    /// How many bytes [`Node::to_text`] has.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Leaf(text) => text.len(),
            Self::Array(items) => {
                1 + items.len().max(1) + items.iter().map(Self::text_len).sum::<usize>()
            }
            Self::Object(members) => {
                let inner = |m: &super::Member<'_>| m.spelling.len() + 1 + m.value.text_len();
                1 + members.len().max(1) + members.iter().map(inner).sum::<usize>()
            }
        }
    }
}

impl Json {
    /// Takes a text that was put together from pieces of valid JSON, without reading it again.
    pub(crate) fn composed(text: String) -> Self {
        debug_assert!(Self::parse(&text).is_ok());
        Self(text.into())
    }
}

impl std::fmt::Debug for Filling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filling")
    }
}

/// `fillings` are those at and below `node`, which is `depth` steps from the root.
fn fill_below<'a>(
    node: &mut Node<'a>,
    fillings: Vec<Filling<'a>>,
    depth: usize,
    gaps: bool,
) -> bool {
    let (mut direct, mut deeper) = (Vec::new(), HashMap::<Step, Vec<Filling<'a>>>::new());
    for filling in fillings {
        match &filling.pointer.steps()[depth..] {
            [] => put(node, filling.value),
            [_] => direct.push(filling),
            [step, ..] => deeper.entry(step.clone()).or_default().push(filling),
        }
    }
    if direct.is_empty() && deeper.is_empty() {
        return true;
    }
    match node {
        Node::Leaf(_) => false,
        Node::Array(items) => {
            direct.into_iter().all(|filling| {
                let place = filling.pointer.steps().last().and_then(|step| item(items, step));
                place.map(|place| put(place, filling.value)).is_some()
            }) && deeper.into_iter().all(|(step, fillings)| {
                item(items, &step).is_some_and(|item| fill_below(item, fillings, depth + 1, gaps))
            })
        }
        Node::Object(members) => {
            insert(members, direct);
            if gaps {
                let mut missing: Vec<_> = {
                    let known: HashSet<&str> = members.iter().map(|m| m.key.as_ref()).collect();
                    deeper.keys().filter(|step| !known.contains(step.as_str())).cloned().collect()
                };
                missing.sort();
                members.extend(
                    missing.iter().map(|step| member(step.as_str(), Node::Object(Vec::new()))),
                );
            }
            // By far the most objects have nothing below that needs filling.
            members.iter_mut().all(|member| {
                deeper.is_empty()
                    || deeper.remove(&Step::of(member.key.as_ref())).is_none_or(|fillings| {
                        fill_below(&mut member.value, fillings, depth + 1, gaps)
                    })
            }) && deeper.is_empty()
        }
    }
}

fn item<'a, 'b>(items: &'b mut [Node<'a>], step: &Step) -> Option<&'b mut Node<'a>> {
    items.get_mut(step.index()?)
}

/// Puts members into an object: at their index, or in the place of what stands there already.
fn insert<'a>(members: &mut Vec<Member<'a>>, fillings: Vec<Filling<'a>>) {
    if fillings.is_empty() {
        return;
    }
    let mut places: HashMap<String, usize> =
        members.iter().enumerate().map(|(at, member)| (member.key.to_string(), at)).collect();
    let mut new: Vec<(usize, Member<'a>)> = Vec::new();
    let known = members.len();
    for Filling { pointer, index, value } in fillings {
        let Some(step) = pointer.steps().last() else { continue };
        match places.get(step.as_str()) {
            Some(&at) if at < known => put(&mut members[at].value, value),
            Some(&at) => put(&mut new[at - known].1.value, value),
            None => {
                places.insert(step.as_str().to_owned(), known + new.len());
                new.push((index, member(step.as_str(), value)));
            }
        }
    }
    let mut old = std::mem::take(members).into_iter();
    for (index, member) in new {
        members.extend(old.by_ref().take(index.saturating_sub(members.len())));
        members.push(member);
    }
    members.extend(old);
}

fn member<'a>(key: &str, value: Node<'a>) -> Member<'a> {
    let mut spelling = String::new();
    write_string(key, &mut spelling);
    Member { key: Cow::Owned(key.to_owned()), spelling: Cow::Owned(spelling), value }
}

/// Puts a value where another stands. One that only prepares the place for others does not
/// replace what already has content.
fn put<'a>(place: &mut Node<'a>, value: Node<'a>) {
    if matches!(place, Node::Leaf(_)) || !value.is_skeleton() {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Json;

    fn filled(text: &str, fillings: &str, gaps: bool) -> Option<String> {
        let json = Json::parse(text).unwrap();
        let mut tree = json.tree();
        tree.fill_all(Filling::read_all(fillings).unwrap(), gaps).then(|| tree.to_text())
    }

    #[test]
    fn parents_come_before_children_and_siblings_in_their_order() {
        let fillings = r#"[["/a/x",0,1],["/c",2,3],["/a",0,{"y":2}],["/l/1",1,5]]"#;
        let expected = r#"{"a":{"x":1,"y":2},"b":0,"c":3,"l":[4,5]}"#;
        assert_eq!(filled(r#"{"b":0,"l":[4,null]}"#, fillings, false).unwrap(), expected);
        assert_eq!(
            filled("7", r#"[["",0,{"a":1}],["/b",1,2]]"#, false).unwrap(),
            r#"{"a":1,"b":2}"#
        );
        assert_eq!(
            filled(r#"{"a":"resi…"}"#, r#"[["/a",0,"residue"]]"#, false).unwrap(),
            r#"{"a":"residue"}"#
        );
    }

    #[test]
    fn what_has_no_place_is_refused_unless_its_parent_may_be_sealed() {
        let lost = r#"[["/a/b/c",0,1]]"#;
        assert_eq!(filled("{}", lost, false), None);
        assert_eq!(filled("{}", lost, true).unwrap(), r#"{"a":{"b":{"c":1}}}"#);
        assert_eq!(filled(r#"{"a":7}"#, lost, true), None);
        assert_eq!(filled("[]", r#"[["/0",0,1]]"#, true), None);
    }

    #[test]
    fn many_fields_go_back_in_linear_time() {
        let texts: Vec<String> = (0..20_000).map(|i| format!(r#"["/k{i}",{i},{i}]"#)).collect();
        let nested: Vec<String> = (0..20_000).map(|i| format!(r#"["/k{i}/x",0,{i}]"#)).collect();
        let all = filled("{}", &format!("[{}]", texts.join(",")), false).unwrap();
        assert!(all.starts_with(r#"{"k0":0,"k1":1,"#) && all.ends_with(r#""k19999":19999}"#));
        assert!(filled("{}", &format!("[{}]", nested.join(",")), true).is_some());
    }

    #[test]
    fn pointers_deeper_than_any_payload_are_refused() {
        let deep = format!(r#"[["{}",0,1]]"#, "/a".repeat(MAX_DEPTH + 1));
        assert!(Filling::read_all(&deep).is_err());
    }
}
