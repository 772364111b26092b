//! Pointers with `*`, which stands for every element of an array and every key of an object. Keys
//! are compared as names are: in whichever form they were typed.

use std::fmt;

use crate::event::{Kind, Node, Pointer, normalized, same};

/// A pointer whose steps may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PathPattern {
    text: String,
    steps: Vec<PathStep>,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PathStep {
    Any,
    Key(String),
}

impl PathPattern {
    /// Parses a pointer of at least one step.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let pointer: Pointer = text.parse().map_err(|_| {
            format!(
                "`{text}` is no JSON pointer: it begins with `/`, and `~` is written `~0`, \
                 `/` in a key `~1`"
            )
        })?;
        let steps: Vec<PathStep> = pointer
            .steps()
            .iter()
            .map(|step| match step.as_str() {
                "*" => PathStep::Any,
                key => PathStep::Key(normalized(key).into_owned()),
            })
            .collect();
        if steps.is_empty() {
            return Err("an empty pointer names the whole payload; name a member of it".to_owned());
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    pub(super) fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// How many `*` it has.
    pub(super) fn stars(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, PathStep::Any)).count()
    }

    /// Which of a place's steps the `*` stand for.
    pub(super) fn star_steps<'p>(&self, path: &[&'p str]) -> Vec<&'p str> {
        let stars = self.steps.iter().zip(path);
        stars.filter(|(step, _)| matches!(step, PathStep::Any)).map(|(_, text)| *text).collect()
    }

    /// The node at this place, each `*` being replaced by what it stands for.
    pub(super) fn find<'t>(&self, root: Node<'t>, stars: &[&str]) -> Option<Node<'t>> {
        let mut stars = stars.iter();
        self.steps.iter().try_fold(root, |node, step| match step {
            PathStep::Any => child(node, stars.next()?),
            PathStep::Key(key) => child(node, key),
        })
    }

    /// Whether every place that `other` names is at or within a place that this one names.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.steps.len() <= other.steps.len()
            && self
                .steps
                .iter()
                .zip(&other.steps)
                .all(|(own, other)| *own == PathStep::Any || own == other)
    }

    /// Whether some document has a place that one names at or within a place of the other's.
    pub(super) fn touches(&self, other: &Self) -> bool {
        self.steps
            .iter()
            .zip(&other.steps)
            .all(|(a, b)| *a == PathStep::Any || *b == PathStep::Any || a == b)
    }
}

/// The member or element of this name. A key that was typed in another form is the same key, but
/// one that is the same to the byte comes first.
fn child<'t>(node: Node<'t>, name: &str) -> Option<Node<'t>> {
    match node.kind() {
        Kind::Object => node.member(name).or_else(|| {
            node.children().find(|member| member.key().is_some_and(|key| same(&key, name)))
        }),
        Kind::Array => node.find(&Pointer::root().join(name)),
        _ => None,
    }
}

impl PathStep {
    pub(super) fn fits(&self, key: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Key(own) => same(own, key),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
