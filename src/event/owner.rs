//! What an event can say about who its stream depends on.

use super::Subject;

/// A change of the owners of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum OwnerChange {
    /// The stream depends on this subject, too.
    Add(Subject),
    /// From this event on it no longer does: a new generation begins.
    Remove(Subject),
    /// From this event on it depends on this subject alone: a new generation begins.
    Replace(Subject),
}

impl OwnerChange {
    /// The subject that the change names.
    pub fn owner(&self) -> &Subject {
        match self {
            Self::Add(owner) | Self::Remove(owner) | Self::Replace(owner) => owner,
        }
    }

    /// Whether a new generation begins with it.
    pub fn begins_generation(&self) -> bool {
        !matches!(self, Self::Add(_))
    }
}
