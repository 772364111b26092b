//! The class of a data key.

use super::{Category, Day};

/// What sets a data key apart from others of the same stream, subject and generation, so that it can
/// live, or die, by itself. By default it is empty.
///
/// This version makes no key of a class. It opens, lists, spares and destroys such keys, no matter which version made
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Class {
    /// The kind of what it seals, such as `marketing`: it can be forgotten by itself.
    pub category: Option<Category>,
    /// The last day of the period that what it seals belongs to, such as a business year, in the
    /// policy's time zone: how long it is retained counts from there.
    pub period: Option<Day>,
}

impl Class {
    /// Whether it is that of most keys.
    pub fn is_empty(&self) -> bool {
        self.category.is_none() && self.period.is_none()
    }
}
