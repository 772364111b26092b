//! What is announced, and keeps the layer closed until it is clear.

use super::{super::InDoubt, NAMED, statements};
use crate::event::{EventId, SigningKeyId};

/// What is announced and cannot be judged here: it needs the operator's word, a newer program, or events that are
/// missing. Until then nothing personal may be served.
///
/// Whose fault it is:
/// - an attack, or an old copy that was put back: [`TooOld`](Self::TooOld), [`UnknownSigner`](Self::UnknownSigner),
///   [`SigningKeyGap`](Self::SigningKeyGap), [`WitnessGap`](Self::WitnessGap);
/// - the caller's: [`NotCarriedOut`](Self::NotCarriedOut), which an older program met.
///
/// None is temporary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnclearError {
    /// The vault itself announced erasures that it cannot open any more: it was put back further than
    /// its announcements are sealed for (from a backup that had expired or was retired, or from an old
    /// image). Whom they took is not known, so that nothing personal may be served.
    #[error(
        "the vault was put back to before erasures that it announced, and cannot open what it announced \
         then ({}): whom they took is not known, and nothing personal may be served; restore a newer \
         backup; or, once everybody whom they took is forgotten again by name, say of each erasure that \
         it is dealt with (`erasure::pass_over`)",
        statements(.0)
    )]
    TooOld(Vec<InDoubt>),
    /// The store announces erasures, or what this version does not understand. They open with this vault's
    /// secrets, and a key signed them that it does not know. A restoration made them, of which this vault knows
    /// nothing, and then people are forgotten who can be read here; or somebody who found a backup did. Only the
    /// operator can tell.
    #[error(
        "the event store announces what opens with this vault's secrets and is signed by a key that \
         it does not know ({}): by another restoration, if this is a restored vault or an old image, or by \
         somebody who found a backup; nothing personal may be served before you say which: an erasure is applied \
         (`erasure::believe`), a forgery is passed over (`erasure::pass_over`). It is named by the erasure's id, or by \
         the event's where several events announce the erasure, or where it is no erasure",
        statements(.0)
    )]
    UnknownSigner(Vec<InDoubt>),
    /// This vault was put back to before a change of its signing key, and the announcement of that change, or
    /// of an earlier one, is missing in the event store.
    #[error(
        "the history of signing keys has a gap: key {key} says that it took the place of key {replaces}, this \
         vault knows neither, and key {key} announced erasures ({}); nothing personal may be served \
         before you restore the missing events of oubliette-announcements, or a newer backup, or say of \
         each erasure whether to apply it (`erasure::believe`) or to pass over it (`erasure::pass_over`)",
        statements(.erasures)
    )]
    SigningKeyGap {
        /// The key that announced them.
        key: SigningKeyId,
        /// The key that it replaced, as it says.
        replaces: SigningKeyId,
        /// The announcements of the erasures.
        erasures: Vec<InDoubt>,
    },
    /// Announcements of the vault's are missing in the event store. Whom they took can be read here, unless the vault
    /// knows of those erasures without them; so nothing is served until somebody accepts that by name
    /// ([`erasure::accept_gaps`](crate::erasure::accept_gaps)).
    #[error(
        "announcements of this vault are missing in the event store ({}): they were removed, or lost \
         with the store, or what is there under their ids does not count. Whom they took can be read here, unless this vault knows of those erasures without them; so \
         nothing personal may be served before somebody says that it may. Restore the missing events \
         of oubliette-announcements. Where nobody has them, say who accepts the gap (`erasure::accept_gaps`), apply the \
         last list of erasures that was kept elsewhere, and forget again by name who was forgotten since",
        events_named(.0)
    )]
    WitnessGap(Vec<EventId>),
    /// The vault announced what this version does not carry out: a hold, say. To serve people as if nothing
    /// had been said would break it.
    #[error(
        "this vault announced what this version does not carry out ({what}, in {}): nothing \
         personal may be served; use a program that knows it",
        events_named(.events)
    )]
    NotCarriedOut {
        /// What was announced.
        what: String,
        /// In which events.
        events: Vec<EventId>,
    },
}

fn events_named(events: &[EventId]) -> String {
    let mut names: Vec<_> = events.iter().take(NAMED).map(ToString::to_string).collect();
    if events.len() > NAMED {
        names.push("…".to_owned());
    }
    format!("event {}", names.join(", "))
}
