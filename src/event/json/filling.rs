//! Fillings as text, and putting many of them back at once.
//!
//! The text is a JSON array of `[pointer, index, value]`. It is what a token holds of an event
//! whose other fields are public.

use super::{Filling, MAX_DEPTH, Node, Pointer, node::write_string, reader};

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
    Some(Filling { pointer, index: index.parse().ok()?, value })
}

/// Puts fillings of one or more parts back into `tree`, each parent before its children and
/// siblings in their original order.
///
/// Returns false where one has no place. With `gaps`, as where a part cannot be opened and the
/// parents went with it, objects are made for the missing parents instead.
#[must_use]
pub fn fill_all<'a>(tree: &mut Node<'a>, mut fillings: Vec<Filling<'a>>, gaps: bool) -> bool {
    fillings.sort_by_key(|filling| (filling.pointer.steps().len(), filling.index));
    fillings.into_iter().all(|filling| {
        if gaps {
            make_parents(tree, &filling.pointer);
        }
        tree.fill(filling)
    })
}

fn make_parents(tree: &mut Node<'_>, pointer: &Pointer) {
    let Some((_, parents)) = pointer.steps().split_last() else { return };
    let mut at = Pointer::root();
    for step in parents {
        at = at.join(step.as_str());
        if tree.find(&at).is_none() {
            let made =
                Filling { pointer: at.clone(), index: usize::MAX, value: Node::Object(Vec::new()) };
            if !tree.fill(made) {
                return;
            }
        }
    }
}
