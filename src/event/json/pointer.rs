//! JSON pointers (RFC 6901).

use std::{fmt, str::FromStr};

/// Names one place in a JSON document, such as `/counterparty/iban`; the empty one is the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Pointer(Vec<Step>);

/// One step of a pointer: a member's key, or an element's index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Step(String);

/// A text is not a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a JSON pointer: it must be empty or begin with '/', and '~' must be followed by 0 or 1"
)]
pub(crate) struct PointerError(String);

impl Step {
    /// The step's characters, unescaped.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The index that the step is, should it meet an array.
    pub(super) fn index(&self) -> Option<usize> {
        let canonical = self.0 == "0" || !self.0.starts_with(['0', '+']);
        if canonical { self.0.parse().ok() } else { None }
    }
}

impl Pointer {
    /// The pointer to the whole document.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// The steps from the root.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This pointer and one step more.
    #[must_use]
    pub(crate) fn join(&self, step: impl Into<String>) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step(step.into()));
        Self(steps)
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let refuse = || PointerError(text.to_owned());
        if text.is_empty() {
            return Ok(Self::root());
        }
        let steps = text.strip_prefix('/').ok_or_else(refuse)?;
        steps
            .split('/')
            .map(|step| unescape(step).map(Step).ok_or_else(refuse))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn unescape(step: &str) -> Option<String> {
    let mut text = String::with_capacity(step.len());
    let mut characters = step.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|step| write!(f, "/{}", step.0.replace('~', "~0").replace('/', "~1")))
    }
}
