//! What is decided and waits.

use super::super::Erased;
use crate::{
    event::ErasureId,
    store::StoreError,
    vault::{MirrorState, VaultError},
    words::chain,
};

/// What is decided, and waits for the event store or for a mirror. It is not done yet, and must not be told as done.
/// [`resume`](crate::layer::Oubliette::resume) tries again, and so do opening the layer and the next erasure.
///
/// Whose fault it is: the machine's, each of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// The erasure is decided and journaled, but the event store did not take its announcement,
    /// and no key is destroyed yet: nothing would show that the vault was rolled back. The
    /// rest follows with the next erasure, when the layer is opened again, or with `resume`.
    #[error(
        "erasure {erasure} is decided, but not done: the event store did not take its \
         announcement, and no key is destroyed before; it is tried again with the next erasure \
         and on opening"
    )]
    Announcement {
        /// The erasure that is pending.
        erasure: ErasureId,
        /// What the store said.
        source: StoreError,
    },
    /// The keys are destroyed, but not every tombstone could be written. The rest follows when
    /// the layer is opened again, or with `resume`.
    #[error("erasure {erasure}: the keys are destroyed, but tombstones are still to be written")]
    Tombstones {
        /// The erasure that is pending.
        erasure: ErasureId,
        /// What the store said.
        source: StoreError,
    },
    /// Keys and tombstones are done, but mirrors of the root slot could not be overwritten: anyone who
    /// has one of them, and an old copy of the vault's folder, can still read what was forgotten. Or
    /// the slot's counter could not be raised: a rollback would not be detected. They are tried again when the layer is opened, with `resume`, and at every erasure.
    #[error(
        "the erasure is pending: {}", names(.mirrors)
    )]
    Mirrors {
        /// The mirrors that may hold an earlier root, and the counter, if it is behind.
        mirrors: Vec<MirrorState>,
        /// What the erasures did, apart from the mirrors.
        erased: Vec<Erased>,
    },
    /// What was decided about the signing keys (a change, a successor, a distrust) is noted in the vault, and the
    /// event store has not been told yet.
    #[error(
        "what was decided about the signing keys holds here, and the event store did not take the announcement \
         of it; it is tried again before the next erasure and on opening"
    )]
    KeyChange(#[source] StoreError),
    /// The word of an earlier signing key does not count everywhere any more, and the event store has not been told
    /// yet of all erasures under the one that signs now.
    #[error(
        "not all erasures that the vault knows could be announced again under the key that signs now; it is \
         tried again before the next erasure and on opening"
    )]
    Repeat(#[source] StoreError),
    /// Tombstones that the event store lost are not all set again.
    #[error(
        "not all tombstones that are missing could be set again: do it again when the event store takes them"
    )]
    Retelling(#[source] StoreError),
}

impl PendingError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of the store.
    /// [`Mirrors`](Self::Mirrors) have to be made reachable, or retired.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Announcement { source, .. }
            | Self::Tombstones { source, .. }
            | Self::KeyChange(source)
            | Self::Repeat(source)
            | Self::Retelling(source) => source.is_temporary(),
            Self::Mirrors { .. } => false,
        }
    }

    /// The error in one line, as a log has it: what the store said names no one there.
    pub(crate) fn without_names(&self) -> String {
        match self {
            Self::Announcement { source, .. }
            | Self::Tombstones { source, .. }
            | Self::KeyChange(source)
            | Self::Repeat(source)
            | Self::Retelling(source) => format!("{self}: {}", nameless(source)),
            Self::Mirrors { .. } => self.to_string(),
        }
    }
}

/// What a store said, in one line of a log of erasures. Its errors name streams and subjects for the caller; a log is
/// kept, and would say whom an erasure reached.
pub(in crate::erasure) fn nameless(error: &StoreError) -> String {
    match error {
        StoreError::Conflict { .. } => "a stream is not at the expected revision".to_owned(),
        StoreError::IdInUse { id, .. } => format!("event id {id} is already in use"),
        StoreError::OtherContent { id, .. } => format!("event id {id} is another event's"),
        StoreError::Unreadable { position, id, unreadable, .. } => {
            format!("event {id} (position {position}): {unreadable}")
        }
        StoreError::Forgotten { .. } => "a subject is forgotten".to_owned(),
        StoreError::Refused { .. } => "an event is refused".to_owned(),
        StoreError::Vault(source) => match source.downcast_ref::<VaultError>() {
            Some(
                VaultError::Forgotten { .. }
                | VaultError::Unsettled { .. }
                | VaultError::NoGeneration { .. }
                | VaultError::KeyUsedUp { .. },
            ) => "the vault refuses a subject".to_owned(),
            _ => chain(error),
        },
        StoreError::Invalid(_)
        | StoreError::ForeignPosition(_)
        | StoreError::Unsupported(_)
        | StoreError::Damaged { .. }
        | StoreError::Backend { .. }
        | StoreError::Task(_) => chain(error),
    }
}

/// What is pending where, and what to do.
fn names(pending: &[MirrorState]) -> String {
    let told = |of: &dyn Fn(&&MirrorState) -> bool, kind: &str| {
        let name = |one: &MirrorState| match &one.trouble {
            Some(trouble) => format!("the {kind} {} ({trouble})", one.name),
            None => format!("the {kind} {}", one.name),
        };
        let names: Vec<_> = pending.iter().filter(|one| of(one)).map(name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let mirrors = told(&|one| !one.counter, "mirror").map(|names| {
        format!(
            "{names} may still hold a root key from before it; make the mirror reachable and resume, or, if it is \
             destroyed, retire it"
        )
    });
    let counter = told(&|one| one.counter, "counter").map(|names| {
        format!(
            "{names} does not tell of it, so that a rollback to before it would not be detected; make \
             the counter reachable and resume, or, if it is lost, release it"
        )
    });
    mirrors.into_iter().chain(counter).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EventId, StreamName, Subject},
        store::ExpectedRevision,
    };

    #[test]
    fn what_a_log_says_of_an_erasure_that_waits_names_no_one() {
        let (id, stream) = (EventId::random(), StreamName::new("user-erika").unwrap());
        let erasure = ErasureId::now();
        let in_use = StoreError::IdInUse { id, stream: stream.clone() };
        let conflict = StoreError::Conflict {
            stream: stream.clone(),
            expected: ExpectedRevision::Any,
            actual: None,
        };
        let forgotten = StoreError::Forgotten { subject: Subject::of(&stream) };
        for source in [in_use, conflict, forgotten] {
            assert!(source.to_string().contains("erika"));
            let told = PendingError::Tombstones { erasure, source }.without_names();
            assert!(told.contains(&erasure.to_string()) && !told.contains("erika"), "{told}");
        }
        // What says why the store is away is told.
        let source = StoreError::backend(true, "no route to host");
        let told = PendingError::Announcement { erasure, source }.without_names();
        assert!(told.ends_with("the event store failed: no route to host"), "{told}");
    }
}
