//! A JSON text taken apart: where each value is, and what it says.

use std::borrow::Cow;

use super::{
    Pointer, Step,
    reader::{self, Entry},
};

/// A text and where its values are: one flat list, made in one pass. It takes nothing out of
/// the text, so that what is put together from its pieces is spelled as it was.
pub(crate) struct Tree<'t> {
    text: &'t str,
    entries: Vec<Entry>,
}

/// One value of a [`Tree`].
#[derive(Clone, Copy)]
pub(crate) struct Node<'t> {
    text: &'t str,
    entries: &'t [Entry],
    at: usize,
}

/// What kind of value a [`Node`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'t> Tree<'t> {
    pub(super) fn of(text: &'t str, entries: Vec<Entry>) -> Self {
        Self { text, entries }
    }

    /// The tree of `null`.
    pub(super) fn null() -> Self {
        Self::of("null", reader::read("null").unwrap_or_default())
    }

    /// The whole.
    pub(crate) fn root(&self) -> Node<'_> {
        Node { text: self.text, entries: &self.entries, at: 0 }
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

impl<'t> Node<'t> {
    /// The value whose entry is the `at`-th of those of a text.
    pub(crate) fn new(text: &'t str, entries: &'t [Entry], at: usize) -> Self {
        Self { text, entries, at }
    }

    fn entry(&self) -> &'t Entry {
        &self.entries[self.at]
    }

    /// What kind of value it is.
    pub(crate) fn kind(&self) -> Kind {
        self.entry().kind
    }

    /// Whether it is an object.
    pub(crate) fn is_object(&self) -> bool {
        self.kind() == Kind::Object
    }

    /// The value as spelled.
    pub(crate) fn text(&self) -> &'t str {
        &self.text[self.entry().at as usize..self.entry().end as usize]
    }

    /// All that is the member's or element's own: the text between the commas or brackets around
    /// it, white space and key included.
    pub(crate) fn piece(&self) -> &'t str {
        &self.text[self.entry().from as usize..self.entry().to as usize]
    }

    /// What of [`Node::piece`] is before the value.
    pub(crate) fn before(&self) -> &'t str {
        &self.text[self.entry().from as usize..self.entry().at as usize]
    }

    /// What of [`Node::piece`] is after the value.
    pub(crate) fn after(&self) -> &'t str {
        &self.text[self.entry().end as usize..self.entry().to as usize]
    }

    /// The key as spelled, with its quotes; empty where it has none.
    pub(super) fn spelling(&self) -> &'t str {
        &self.text[self.entry().key as usize..self.entry().key_end as usize]
    }

    /// The key's characters, where it is a member's value.
    pub(crate) fn key(&self) -> Option<Cow<'t, str>> {
        let spelling = self.spelling();
        if spelling.is_empty() {
            return None;
        }
        reader::characters(spelling, self.entry().plain_key)
    }

    /// Whether it is a member's value, and this is the member's key.
    pub(crate) fn is_called(&self, key: &str) -> bool {
        let Entry { key: at, key_end, plain_key, .. } = *self.entry();
        if !plain_key {
            return self.key().is_some_and(|own| own == key);
        }
        // Of most members the length says it.
        (key_end - at) as usize == key.len() + 2
            && self.text.as_bytes().get(at as usize + 1..key_end as usize - 1)
                == Some(key.as_bytes())
    }

    /// Whether its key, and its text where it is a string, are spelled without escapes.
    pub(super) fn is_plain(&self) -> (bool, bool) {
        (self.entry().plain_key, self.entry().plain)
    }

    /// The values of an object's members, or an array's elements, in the text's order.
    pub(crate) fn children(&self) -> impl Iterator<Item = Node<'t>> + use<'t> {
        let (text, entries, end) = (self.text, self.entries, self.entry().next as usize);
        let mut next = self.at + 1;
        std::iter::from_fn(move || {
            let at = (next < end).then_some(next)?;
            next = entries[at].next as usize;
            Some(Node { text, entries, at })
        })
    }

    /// The value of a member, where the node is an object that has it.
    pub(crate) fn member(&self, key: &str) -> Option<Node<'t>> {
        if !self.is_object() {
            return None;
        }
        self.children().find(|member| member.is_called(key))
    }

    /// The node that a pointer names.
    pub(crate) fn find(&self, pointer: &Pointer) -> Option<Node<'t>> {
        pointer.steps().iter().try_fold(*self, |node, step| node.child(step))
    }

    fn child(&self, step: &Step) -> Option<Node<'t>> {
        match self.kind() {
            Kind::Object => self.member(step.as_str()),
            Kind::Array => self.children().nth(step.index()?),
            _ => None,
        }
    }

    /// Whether it is an object or array without anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.kind(), Kind::Array | Kind::Object) && self.children().next().is_none()
    }

    /// The characters of a string; `None` for every other kind of node.
    pub(crate) fn string(&self) -> Option<Cow<'t, str>> {
        let is_string = self.kind() == Kind::String;
        if is_string { reader::characters(self.text(), self.entry().plain) } else { None }
    }

    /// What a scalar says: a string's characters, the canonical form of a number, or a truth
    /// value. `None` for null, arrays and objects.
    pub(crate) fn scalar(&self) -> Option<Cow<'t, str>> {
        match self.kind() {
            Kind::Null | Kind::Array | Kind::Object => None,
            Kind::String => self.string(),
            Kind::Number => Some(super::canonical_number(self.text())),
            Kind::Bool => Some(Cow::Borrowed(self.text())),
        }
    }

    /// Whether it is an object without members.
    pub(crate) fn is_empty_object(&self) -> bool {
        self.is_object() && self.is_empty()
    }

    /// Whether filling in this value only prepares a place: an empty object, or an array of
    /// nothing but `null`.
    pub(super) fn is_skeleton(&self) -> bool {
        match self.kind() {
            Kind::Array => self.children().all(|item| item.kind() == Kind::Null),
            Kind::Object => self.is_empty(),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({} values)", self.entries.len())
    }
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({:?})", self.kind())
    }
}

/// Appends a string with its quotes and the escapes of RFC 8785.
pub(super) fn write_string(characters: &str, text: &mut String) {
    // Writing a string into memory cannot fail.
    text.push_str(&serde_json::to_string(characters).unwrap_or_default());
}
