//! What forgetting and planning refuse.

use super::{
    super::{UnfitReason, Untouched},
    NAMED,
};
use crate::{
    event::Subject,
    words::{agree, count},
};

/// Why nobody is forgotten, planned for or admitted again. Nothing was done.
///
/// Whose fault it is: the caller's, each of them. After [`Unsealed`](Self::Unsealed), [`UnknownKeys`](Self::UnknownKeys)
/// and [`Newer`](Self::Newer) the caller may [go on](crate::erasure::ForgetOptions) despite the events. None is temporary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureRefusal {
    /// Nothing here was ever sealed for this subject, and nothing depends on them.
    #[error(
        "subject {0} is unknown here: no key, no dependent stream and no earlier erasure; \
         check the spelling (the inventory lists the subjects)"
    )]
    UnknownSubject(Subject),
    /// Events about the subject, or about those who depend on them, were never sealed: they are
    /// from before the layer, or were written past it. Nothing was done.
    #[error(
        "{} in {} {} never sealed, and would stay readable after {subject} is forgotten ({}); seal \
         them where they are, remove them from the store, or forget all the same, despite them",
        events(unsealed),
        streams(unsealed),
        agree(total(unsealed), "was", "were"),
        by_stream(unsealed)
    )]
    Unsealed {
        /// Who was to be forgotten.
        subject: Subject,
        /// How many events, in which streams.
        unsealed: Vec<Untouched>,
    },
    /// Events in the streams of those who would be forgotten are sealed under keys that this vault does
    /// not have: another vault's, or lost by this one. Nothing was done.
    #[error(
        "{} in {} {} sealed under keys that this vault does not have: whoever has them could read on \
         after {subject} is forgotten here ({}); forget in the vault that sealed them, or restore the \
         backup that has the keys; or forget all the same, despite them",
        events(unknown),
        streams(unknown),
        agree(total(unknown), "is", "are"),
        by_stream(unknown)
    )]
    UnknownKeys {
        /// Who was to be forgotten.
        subject: Subject,
        /// How many events, in which streams.
        unknown: Vec<Untouched>,
    },
    /// A newer program wrote events in the streams of those who would be forgotten, and this one can say
    /// neither whose they are nor under which keys. Nothing was done.
    #[error(
        "a newer program wrote {} in {}, and this one cannot say whether forgetting {subject} would reach {} \
         ({}); forget with the newer program; or forget all the same, despite them",
        events(newer),
        streams(newer),
        agree(total(newer), "it", "them"),
        by_stream(newer)
    )]
    Newer {
        /// Who was to be forgotten.
        subject: Subject,
        /// How many events, in which streams.
        newer: Vec<Untouched>,
    },
    /// The reason may not be kept.
    #[error(transparent)]
    UnfitReason(#[from] UnfitReason),
    /// The layer was opened without a vault.
    #[error("opened without a vault: there are no keys to destroy")]
    NoVault,
}

fn total(untouched: &[Untouched]) -> u64 {
    untouched.iter().map(|untouched| untouched.events).sum()
}

fn events(untouched: &[Untouched]) -> String {
    count(total(untouched), "event")
}

fn streams(untouched: &[Untouched]) -> String {
    count(untouched.len() as u64, "stream")
}

fn by_stream(untouched: &[Untouched]) -> String {
    let of_stream = |one: &Untouched| format!("{} in {}", one.events, one.stream);
    let mut names: Vec<String> = untouched.iter().take(NAMED).map(of_stream).collect();
    if untouched.len() > NAMED {
        names.push("…".to_owned());
    }
    names.join(", ")
}
