//! A JSON text as a tree that can be taken apart and put together again.

use std::borrow::Cow;

use super::{Json, Pointer, Step, reader};

/// A node of a JSON tree. Leaves are the text's own slices, so that nothing is rewritten.
#[derive(Clone, PartialEq, Eq)]
pub enum Node<'a> {
    /// A string (with its quotes and escapes), number, `true`, `false` or `null`, as spelled.
    Leaf(&'a str),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object, its members in the text's order.
    Object(Vec<Member<'a>>),
}

/// One member of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key's characters.
    pub key: Cow<'a, str>,
    /// The key as spelled, with quotes and escapes.
    pub spelling: Cow<'a, str>,
    /// The value.
    pub value: Node<'a>,
}

impl<'a> Node<'a> {
    /// The node that a pointer names.
    pub fn find(&self, pointer: &Pointer) -> Option<&Node<'a>> {
        pointer.steps().iter().try_fold(self, |node, step| node.child(step))
    }

    fn child(&self, step: &Step) -> Option<&Node<'a>> {
        match self {
            Self::Leaf(_) => None,
            Self::Array(items) => items.get(step.index()?),
            Self::Object(members) => members
                .iter()
                .find(|member| member.key == step.as_str())
                .map(|member| &member.value),
        }
    }

    /// The node's members, where it is an object.
    pub fn members(&self) -> Option<&[Member<'a>]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value of a member, where the node is an object that has it.
    pub fn member(&self, key: &str) -> Option<&Node<'a>> {
        self.members()?.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// The characters of a string; `None` for every other kind of node.
    pub fn string(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Leaf(text) if text.starts_with('"') => reader::unescape(text),
            _ => None,
        }
    }

    /// What a scalar says: a string's characters, or the literal of a number or truth value.
    /// `None` for null, arrays and objects.
    pub fn scalar(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Leaf("null") | Self::Array(_) | Self::Object(_) => None,
            Self::Leaf(text) if text.starts_with('"') => reader::unescape(text),
            Self::Leaf(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// The tree as text without white space; spellings are kept.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    /// As [`Node::to_text`], appended to `text`.
    pub fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(items) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    text.push_str(&member.spelling);
                    text.push(':');
                    member.value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// The tree in canonical form: keys sorted by their characters' UTF-8, no white space,
    /// strings spelled as `serde_json` does (which is RFC 8785's way), number literals verbatim.
    ///
    /// Two spellings of the same content that a store may exchange for each other (JSON columns
    /// reorder keys and respell strings) have one canonical form.
    pub fn to_canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    fn write_canonical(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => match self.string() {
                Some(characters) => write_string(&characters, text),
                None => text.push_str(leaf),
            },
            Self::Array(items) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    item.write_canonical(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                let mut sorted: Vec<&Member<'_>> = members.iter().collect();
                sorted.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
                text.push('{');
                for (i, member) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    write_string(&member.key, text);
                    text.push(':');
                    member.value.write_canonical(text);
                }
                text.push('}');
            }
        }
    }
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leaf(_) => "Node::Leaf",
            Self::Array(_) => "Node::Array",
            Self::Object(_) => "Node::Object",
        })
    }
}

impl std::fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Member")
    }
}

impl From<&Node<'_>> for Json {
    fn from(node: &Node<'_>) -> Self {
        Self::from_tree(node)
    }
}

/// Appends a string with its quotes and the escapes of RFC 8785.
pub(super) fn write_string(characters: &str, text: &mut String) {
    // Writing a string into memory cannot fail.
    text.push_str(&serde_json::to_string(characters).unwrap_or_default());
}
