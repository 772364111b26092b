//! Why an erasure, or a plan for one, failed.

use uuid::Uuid;

use super::{Erased, InDoubt, KeyChangeError, UnfitReason, Untouched};
use crate::{
    TaskError,
    event::{ErasureId, EventId, SigningKeyId, Subject},
    store::StoreError,
    vault::{MirrorState, SlotError, VaultError},
    words::{agree, count},
};

/// Why an erasure, or the opening of a layer, failed.
///
/// Whose fault it is:
/// - the caller's: [`UnknownSubject`](Self::UnknownSubject), [`Unsealed`](Self::Unsealed),
///   [`UnknownKeys`](Self::UnknownKeys), [`Newer`](Self::Newer), [`UnfitReason`](Self::UnfitReason),
///   [`NoVault`](Self::NoVault), [`NeedsWriting`](Self::NeedsWriting),
///   [`SeveralStatements`](Self::SeveralStatements), [`NotInDoubt`](Self::NotInDoubt), [`NoGap`](Self::NoGap),
///   [`UnfitName`](Self::UnfitName), [`KeyChange`](Self::KeyChange), and [`NotCarriedOut`](Self::NotCarriedOut),
///   which an older program met;
/// - the machine's: [`WitnessSilent`](Self::WitnessSilent), [`Store`](Self::Store), [`Vault`](Self::Vault),
///   [`Task`](Self::Task), and what [is pending](Self::is_pending) for the event store or for a mirror
///   ([`MirrorsPending`](Self::MirrorsPending));
/// - damage: [`BadJournal`](Self::BadJournal), [`BadRecord`](Self::BadRecord);
/// - an attack, or an old copy that was put back: [`NotReplayed`](Self::NotReplayed), [`TooOld`](Self::TooOld),
///   [`UnknownSigner`](Self::UnknownSigner), [`SigningKeyGap`](Self::SigningKeyGap),
///   [`WitnessGap`](Self::WitnessGap).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// The vault is open to be read, and has something to write before anything may be served.
    #[error(
        "the vault is open to be read only, and something has to be written before it may be read: an erasure \
         that was cut off or announced elsewhere, or a change of its signing key. Open it once to be written to: \
         that carries it out"
    )]
    NeedsWriting,
    /// Nothing here was ever sealed for this subject, and nothing depends on them.
    #[error(
        "subject {0} is unknown here: no key, no dependent stream and no earlier erasure; \
         check the spelling (the inventory lists the subjects)"
    )]
    UnknownSubject(Subject),
    /// Events about the subject, or about those who depend on them, were never sealed: they are
    /// from before the layer, or were written past it. Nothing was done.
    #[error(
        "{} in {} {} never sealed, and would stay readable after {subject} is forgotten ({}); remove \
         them from the store, or forget all the same, despite them",
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
    /// The erasure is decided and journaled, but the event store did not take its announcement,
    /// and no key is destroyed yet: nothing would show that the vault was rolled back. The
    /// rest follows with the next erasure, when the layer is opened again, or with `resume`.
    #[error(
        "erasure {erasure} is decided, but not done: the event store did not take its \
         announcement, and no key is destroyed before; it is tried again with the next erasure \
         and on opening"
    )]
    AnnouncementPending {
        /// The erasure that is pending.
        erasure: ErasureId,
        /// What the store said.
        source: StoreError,
    },
    /// The event store does not say which erasures were announced, so that it is not known whether
    /// the vault was rolled back.
    #[error(
        "the event store does not say which erasures were announced, so that nothing personal \
         may be served; open again once it can be read"
    )]
    WitnessSilent(#[source] StoreError),
    /// The vault was rolled back or restored, and erasures announced since could not be applied
    /// again.
    #[error(
        "the vault was rolled back: erasures announced since ({}) could not be applied again, and \
         nothing personal may be served; mend what the vault reports and open again",
        list(erasures)
    )]
    NotReplayed {
        /// The erasures that were not applied.
        erasures: Vec<ErasureId>,
        /// What the vault said.
        source: VaultError,
    },
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
    /// Several announcements of one erasure are in doubt, and one of them is to be named. Nothing was done.
    #[error(
        "several announcements of that erasure are in doubt, and need not be by the same hand ({}): name the \
         one that you mean by its event; of an erasure of very many subjects, each of its events",
        statements(.0)
    )]
    SeveralStatements(Vec<InDoubt>),
    /// No announcement that needs the operator's word has that id. Nothing was done.
    #[error(
        "{0} is neither an erasure nor an event of which an announcement is in doubt here; verifying and the error \
         on opening name them"
    )]
    NotInDoubt(Uuid),
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
    /// ([`erasure::accept_gaps`](super::accept_gaps)).
    #[error(
        "announcements of this vault are missing in the event store ({}): they were removed, or lost \
         with the store, or what is there under their ids does not count. Whom they took can be read here, unless this vault knows of those erasures without them; so \
         nothing personal may be served before somebody says that it may. Restore the missing events \
         of oubliette-announcements. Where nobody has them, say who accepts the gap (`erasure::accept_gaps`), apply the \
         last list of erasures that was kept elsewhere, and forget again by name who was forgotten since",
        events_named(.0)
    )]
    WitnessGap(Vec<EventId>),
    /// No announcement is missing that somebody has yet to accept. Nothing was done.
    #[error(
        "no announcement is missing that waits for anybody's word: accept no gap; the word is of what is missing when \
         it is said, and of nothing later"
    )]
    NoGap,
    /// No name was given for who accepts a gap. Nothing was done.
    #[error(
        "say who accepts the gap: a person, a role or the number of a ticket, in at most 200 bytes; it is kept in the \
         vault, so no e-mail address or the like"
    )]
    UnfitName,
    /// The signing key was not changed.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeError),
    /// What was decided about the signing keys (a change, a successor, a distrust) is noted in the vault, and the
    /// event store has not been told yet.
    #[error(
        "what was decided about the signing keys holds here, and the event store did not take the announcement \
         of it; it is tried again before the next erasure and on opening"
    )]
    KeyChangePending(#[source] StoreError),
    /// The word of an earlier signing key does not count everywhere any more, and the event store has not been told
    /// yet of all erasures under the one that signs now.
    #[error(
        "not all erasures that the vault knows could be announced again under the key that signs now; it is \
         tried again before the next erasure and on opening"
    )]
    RepeatPending(#[source] StoreError),
    /// The keys are destroyed, but not every tombstone could be written. The rest follows when
    /// the layer is opened again, or with `resume`.
    #[error("erasure {erasure}: the keys are destroyed, but tombstones are still to be written")]
    TombstonesPending {
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
    MirrorsPending {
        /// The mirrors that may hold an earlier root, and the counter, if it is behind.
        mirrors: Vec<MirrorState>,
        /// What the erasures did, apart from the mirrors.
        erased: Vec<Erased>,
    },
    /// The journal of an erasure under way does not have its form. One that a newer program wrote is
    /// [`VaultError::NewerFormat`].
    #[error(
        "the journal of erasure {0} does not have its form, and the erasure cannot be carried out; no \
         crash leaves this: restore the vault from a backup, and keep a copy of this one"
    )]
    BadJournal(ErasureId),
    /// The record of an erasure does not have its form. One that a newer program wrote is
    /// [`VaultError::NewerFormat`].
    #[error(
        "the record of erasure {0} does not have its form; no crash leaves this: restore the vault from a \
         backup, and keep a copy of this one"
    )]
    BadRecord(ErasureId),
    /// The event store failed before anything was decided.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The task that erases did not end by itself. What is decided is carried out when the layer is opened again.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl ErasureError {
    /// Whether something announced needs the operator's word, or a newer program. Nothing else is the matter.
    pub fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::TooOld(_)
                | Self::UnknownSigner(_)
                | Self::SigningKeyGap { .. }
                | Self::NotCarriedOut { .. }
                | Self::WitnessGap(_)
        )
    }

    /// Whether the same call may succeed later without anybody's changing anything: what is so of the store, the
    /// vault or a [task](TaskError::is_temporary) that it waits for.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::AnnouncementPending { source, .. }
            | Self::TombstonesPending { source, .. }
            | Self::WitnessSilent(source)
            | Self::KeyChangePending(source)
            | Self::RepeatPending(source)
            | Self::Store(source) => source.is_temporary(),
            Self::NotReplayed { source, .. } | Self::Vault(source) => source.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::NeedsWriting
            | Self::UnknownSubject(_)
            | Self::Unsealed { .. }
            | Self::UnknownKeys { .. }
            | Self::Newer { .. }
            | Self::UnfitReason(_)
            | Self::NoVault
            | Self::TooOld(_)
            | Self::UnknownSigner(_)
            | Self::SeveralStatements(_)
            | Self::NotInDoubt(_)
            | Self::NotCarriedOut { .. }
            | Self::SigningKeyGap { .. }
            | Self::WitnessGap(_)
            | Self::NoGap
            | Self::UnfitName
            | Self::KeyChange(_)
            | Self::MirrorsPending { .. }
            | Self::BadJournal(_)
            | Self::BadRecord(_) => false,
        }
    }

    /// Whether what is decided waits for the event store. Nothing else is the matter.
    pub fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::AnnouncementPending { .. }
                | Self::TombstonesPending { .. }
                | Self::KeyChangePending(_)
                | Self::RepeatPending(_)
        )
    }
}

impl From<SlotError> for ErasureError {
    fn from(error: SlotError) -> Self {
        Self::Vault(error.into())
    }
}

/// Each announcement, with its event and who signed it.
fn statements(all: &[InDoubt]) -> String {
    let mut names: Vec<_> = all.iter().take(NAMED).map(InDoubt::to_string).collect();
    if all.len() > NAMED {
        names.push(format!("and {} more", all.len() - NAMED));
    }
    names.join("; ")
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

fn total(untouched: &[Untouched]) -> u64 {
    untouched.iter().map(|untouched| untouched.events).sum()
}

fn events(untouched: &[Untouched]) -> String {
    count(total(untouched), "event")
}

fn streams(untouched: &[Untouched]) -> String {
    count(untouched.len() as u64, "stream")
}

/// How many streams an error names.
const NAMED: usize = 5;

fn by_stream(untouched: &[Untouched]) -> String {
    let of_stream = |one: &Untouched| format!("{} in {}", one.events, one.stream);
    let mut names: Vec<String> = untouched.iter().take(NAMED).map(of_stream).collect();
    if untouched.len() > NAMED {
        names.push("…".to_owned());
    }
    names.join(", ")
}

fn events_named(events: &[EventId]) -> String {
    let mut names: Vec<_> = events.iter().take(NAMED).map(ToString::to_string).collect();
    if events.len() > NAMED {
        names.push("…".to_owned());
    }
    format!("event {}", names.join(", "))
}

fn list(erasures: &[ErasureId]) -> String {
    erasures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
