//! Values that were cut out of a document, as text and back.

use super::{Json, JsonError, MAX_DEPTH, Node, Pointer, node::write_string, reader};

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
    /// Returns false, having filled what could be filled, where some place's parent is missing.
    /// With `gaps`, as where a part cannot be opened and the parents went with it, objects are
    /// made for the missing parents instead.
    #[must_use]
    pub fn fill_all(&mut self, mut fillings: Vec<Filling<'a>>, gaps: bool) -> bool {
        fillings.sort_by_key(|filling| (filling.pointer.steps().len(), filling.index));
        fillings.into_iter().fold(true, |all, filling| {
            if gaps {
                self.make_parents(&filling.pointer);
            }
            self.fill(filling) && all
        })
    }

    fn make_parents(&mut self, pointer: &Pointer) {
        let Some((_, parents)) = pointer.steps().split_last() else { return };
        let mut at = Pointer::root();
        for step in parents {
            at = at.join(step.as_str());
            if self.find(&at).is_none() {
                let value = Node::Object(Vec::new());
                if !self.fill(Filling { pointer: at.clone(), index: usize::MAX, value }) {
                    return;
                }
            }
        }
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
