//! Fillings as text, and putting many of them back at once.
//!
//! The text is a JSON array of `[pointer, index, value]`. It is what a token holds of an event
//! whose other fields are public.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{Filling, MAX_DEPTH, Member, Node, Pointer, Step, node::write_string, reader};

/// The text of fillings: `[["/counterparty/iban",1,"DE02…"],…]`.
pub fn write_fillings(fillings: &[Filling<'_>]) -> String {
    let mut text = String::from("[");
    for (i, filling) in fillings.iter().enumerate() {
        text.push_str(if i > 0 { ",[" } else { "[" });
        write_string(&filling.pointer.to_string(), &mut text);
        text.push(',');
        text.push_str(&filling.index.to_string());
        text.push(',');
        filling.value.write(&mut text);
        text.push(']');
    }
    text.push(']');
    text
}

/// The fillings of a text, which are slices of it; `None` where it is not such a text.
pub fn read_fillings(text: &str) -> Option<Vec<Filling<'_>>> {
    // A value's nesting was within the limit where it came from, and here it stands in two
    // arrays more.
    let Ok(Node::Array(items)) = reader::read_to_depth(text, MAX_DEPTH + 2) else { return None };
    items.into_iter().map(read_filling).collect()
}

fn read_filling(item: Node<'_>) -> Option<Filling<'_>> {
    let Node::Array(parts) = item else { return None };
    let [pointer, index, value] = <[Node<'_>; 3]>::try_from(parts).ok()?;
    let pointer: Pointer = pointer.string()?.parse().ok()?;
    let Node::Leaf(index) = index else { return None };
    if pointer.steps().len() > MAX_DEPTH {
        return None;
    }
    Some(Filling { pointer, index: index.parse().ok()?, value })
}

/// Puts fillings of one or more parts back into `tree`, each parent before its children and
/// siblings in their original order, in about the time that it takes to read them.
///
/// Returns false where one has no place. With `gaps`, as where a part cannot be opened and the
/// parents went with it, objects are made for the missing parents instead.
#[must_use]
pub fn fill_all<'a>(tree: &mut Node<'a>, mut fillings: Vec<Filling<'a>>, gaps: bool) -> bool {
    fillings.sort_by_key(|filling| (filling.pointer.steps().len(), filling.index));
    fill_below(tree, fillings, 0, gaps)
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
            [] => *node = filling.value,
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
                place.map(|place| *place = filling.value).is_some()
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
            Some(&at) if at < known => members[at].value = value,
            Some(&at) => new[at - known].1.value = value,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Json;

    fn filled(text: &str, fillings: &str, gaps: bool) -> Option<String> {
        let json = Json::parse(text).unwrap();
        let mut tree = json.tree();
        fill_all(&mut tree, read_fillings(fillings).unwrap(), gaps).then(|| tree.to_text())
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
        assert!(read_fillings(&deep).is_none());
    }
}
