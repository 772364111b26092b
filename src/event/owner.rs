//! What an event can say about who its stream depends on.

use super::Subject;

/// A change of the owners of a stream.
///
/// ```
/// use oubliette::{event::OwnerChange, *};
/// let policy = Policy::parse(
///     r#"
///     [[stream]]
///     match = "account-{id}"
///     owner = [{ event = "AccountOpened", add = "{/owner}" }]
///     "#,
/// )?;
/// let opened = Json::parse(r#"{"owner":"user-456"}"#)?;
/// let opened = NewEvent::new(EventType::new("AccountOpened")?, opened);
/// let explained = policy.explain(&StreamName::new("account-7")?, &opened)?;
/// assert_eq!(explained.owners, [OwnerChange::Add(Subject::new("user-456")?)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
