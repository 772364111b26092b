//! The witness: what the event store has announced is compared with what the vault knows.
//!
//! A vault and its root slot that were rolled back together are whole and open well. That
//! erasures were undone is known to somebody else alone: here, to the announcements in the event
//! store, if that was not rolled back as well.
//!
//! `look` is what opening a layer does, [`replay`] the same with a list. Used by `erasure`; opening over a gap calls
//! [`accept_gaps`], the data folder [`believe`], [`pass_over`] and [`check_name`], the command line [`export`] and
//! [`gaps`].

mod announcing;
mod doubt;
mod found;
mod gap;
mod mark;
mod reading;
mod tips;

use serde::Serialize;

pub(crate) use self::doubt::{believes_key, is_passed_over};
pub(super) use self::{
    announcing::{after_saying, announce, events_of},
    mark::Mark,
};
pub use self::{
    doubt::{InDoubt, announced, believe, pass_over},
    gap::{Acceptance, Gap, accept_gaps, check_name, gaps},
};
use self::{found::Found, gap::Missing, reading::Reading};
use super::{ErasureError, ErasureRefusal, announce::Draft};
use crate::{
    event::{Announcement, ErasureId, EventId, SigningKeyId},
    layer::{Layer, Oubliette},
    store::EventStore,
    vault::{Unlearned, Vault, VaultError},
};

/// What the announcements in the event store told.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let witnessed = store.witnessed();
/// for erasure in &witnessed.replayed {
///     println!("the vault had been put back; erasure {erasure} was applied again");
/// }
/// assert!(!witnessed.gap && !witnessed.elsewhere);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Witnessed {
    /// The vault had been rolled back, or restored from a backup: these erasures were undone by
    /// that, and were applied again.
    pub replayed: Vec<ErasureId>,
    /// Events that claim to be announcements of this vault and are not signed by it, or do not
    /// open: forged, changed, or of a newer program. They do not count.
    pub unverifiable: Vec<EventId>,
    /// Events in the stream of announcements that are none: changed, or written by somebody else. They do
    /// not count.
    pub odd: Vec<EventId>,
    /// Announcements of erasures that the vault does not know, and that only a signing key says which
    /// somebody else has as well. They do not count.
    pub compromised: Vec<EventId>,
    /// Signing keys of the vault's that it learned of.
    pub keys: Vec<SigningKeyId>,
    /// Signing keys of the vault's of which it learned that they are compromised.
    pub distrusted: Vec<SigningKeyId>,
    /// Statements about signing keys that do not count.
    pub refused: Vec<RefusedStatement>,
    /// Announcements that do not know one that is before them: two copies of this vault were at work at once, or
    /// somebody put a line of an exported list into the stream. None is missing; all of them are applied. Not told where
    /// something seems to be in another order.
    pub forked: Vec<EventId>,
    /// Whether announcements that the vault knows of are no longer in the store, or in another place or order: the
    /// store was put back or moved, or somebody removed them. Where some are missing, somebody
    /// [accepted](accept_gaps) that, or there would be no layer.
    pub gap: bool,
    /// Whether the store is empty, although the vault announced erasures before: it is a stand-in for
    /// another store, as beside a codec, or is not the one that was. It is no witness.
    pub elsewhere: bool,
}

impl Witnessed {
    fn add(&mut self, other: &Self) {
        self.replayed.extend(&other.replayed);
        self.unverifiable.extend(&other.unverifiable);
        self.odd.extend(&other.odd);
        self.compromised.extend(&other.compromised);
        self.keys.extend(&other.keys);
        self.distrusted.extend(&other.distrusted);
        self.refused.extend(&other.refused);
        self.forked.extend(&other.forked);
        self.gap |= other.gap;
        self.elsewhere |= other.elsewhere;
    }
}

/// A statement about signing keys that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RefusedStatement {
    /// The event.
    pub event: EventId,
    /// Why.
    #[serde(flatten)]
    pub why: Unlearned,
}

/// What applying erasures again did.
///
/// ```
/// use oubliette::{erasure::{export, replay}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// store.forget(&Subject::of(&user), "request 2026-117").await?;
/// # let vault = store.vault().expect("it was opened with one").clone();
/// // A list that is kept apart from vault and events, and is applied to a vault that was put back.
/// let list: Vec<_> = export(&vault).collect::<Result<_, _>>()?;
/// let replayed = replay(&vault, list).await?;
/// assert!(replayed.erasures.is_empty()); // this vault knew them all
/// assert_eq!(replayed.known, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replayed {
    /// The erasures that the vault had not known, in the order in which they were told.
    pub erasures: Vec<ErasureId>,
    /// How many keys they destroyed.
    pub keys: u64,
    /// How many announcements were of erasures that it knew.
    pub known: u64,
    /// How many were another vault's.
    pub foreign: u64,
    /// Those that claim to be this vault's and are not signed by it, or do not open: forged,
    /// changed, or of a newer program. They do not count.
    pub unverifiable: Vec<EventId>,
    /// Those of erasures that the vault does not know, and that only a compromised key says. They do not
    /// count.
    pub compromised: Vec<EventId>,
    /// The vault's epoch since.
    pub epoch: u64,
}

/// Applies erasures again that a vault does not know, because it was restored from a backup or
/// rolled back: what they took is destroyed and fenced, in one change of root. Repeatable.
///
/// For a vault that is restored before there is a layer over it; opening a layer does so by itself
/// with what is announced in its store.
///
/// # Errors
/// [`ErasureError::NotReplayed`]; [`UnclearError`](super::UnclearError), once what is clear is applied; errors of the vault.
pub async fn replay(
    vault: &Vault,
    announcements: impl IntoIterator<Item = Announcement>,
) -> Result<Replayed, ErasureError> {
    let _one_at_a_time = vault.erase_alone().await;
    let announcements: Vec<_> = announcements.into_iter().collect();
    let mut found = Found::default();
    found.learn(vault, &announcements).await?;
    for announcement in &announcements {
        found.take(vault, announcement)?;
    }
    let (erasures, keys) = found.apply(vault).await?;
    found.refuse_unclear()?;
    let Found { known, foreign, mut unverifiable, compromised, refused, .. } = found;
    let compromised = compromised.into_iter().map(|(event, _)| event).collect();
    unverifiable.extend(refused.iter().map(|refused| refused.event));
    let epoch = vault.epoch()?;
    Ok(Replayed { erasures, keys, known, foreign, unverifiable, compromised, epoch })
}

/// Announcements of all erasures that a vault knows, made again from its fences and records: for a
/// file that is kept apart from the vault, also where the events are lost. An erasure may come in
/// several parts. Before them come the statements that lead to the key that signs them.
pub fn export(
    vault: &Vault,
) -> impl Iterator<Item = Result<Announcement, VaultError>> + Send + use<> {
    let sealer = vault.clone();
    let statements = match vault.key_statements() {
        Ok(statements) => statements.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    };
    let erasures = vault.decisions().flat_map(move |decisions| {
        let announcements = match decisions {
            Ok(decisions) => decisions
                .iter()
                .map(|decision| Draft::of(decision).say(&sealer, EventId::random(), None, None))
                .collect(),
            Err(error) => vec![Err(error)],
        };
        announcements.into_iter()
    });
    statements.into_iter().chain(erasures)
}

impl<S: EventStore> Oubliette<S> {
    /// What the announcements in the event store have told since this layer was opened.
    pub fn witnessed(&self) -> Witnessed {
        // No code panics while it holds this lock.
        self.layer.witnessed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Applies erasures again that the vault does not know; see [`replay`].
    ///
    /// # Errors
    /// As [`replay`].
    pub async fn replay(
        &self,
        announcements: impl IntoIterator<Item = Announcement> + Send,
    ) -> Result<Replayed, ErasureError> {
        let vault = self.vault().ok_or(ErasureRefusal::NoVault)?;
        let announcements: Vec<_> = announcements.into_iter().collect();
        replay(vault, announcements).await
    }
}

/// Reads what was announced since the vault last looked, and applies what it does not know. Only
/// one erasure at a time may be in progress.
pub(super) async fn look<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    let mark = Mark::load(vault)?;
    let mut read = Reading::since(layer, vault, &mark).await?;
    let mut missing = Missing::of(vault, &mark, &read)?;
    if !(read.is_whole || missing.is_accepted() && read.is_in_order()) {
        // Behind the mark it may be in its place: a copy of this vault went on from before the mark, or somebody
        // put it back. It counts only if it is judged.
        let anew = Mark { at: None, ..mark.clone() };
        let whole = Reading::since(layer, vault, &anew).await?;
        missing = Missing::of(vault, &mark, &whole)?;
        read = whole.after(read);
    }
    let is_complete = missing.is_empty();
    // A store in which there is nothing is no witness.
    let complete = match read.elsewhere {
        true => Ok(()),
        false => missing.judge(vault, &read).await,
    };
    // What is missing is noted by then, also where something else keeps everything closed. The mark does not move
    // in either case: the next opening must find both. Which should be there is still known from now on.
    let judged = read.found.refuse_unclear().map_err(ErasureError::from).and(complete);
    let next = read.mark(&mark);
    let at = if judged.is_ok() { next.at } else { mark.at };
    Mark { at, ..next }.save(vault).await?;
    let witnessed = read.tell(is_complete);
    tell(vault, &witnessed);
    // No code panics while it holds this lock.
    let so_far = layer.witnessed.lock();
    so_far.unwrap_or_else(std::sync::PoisonError::into_inner).add(&witnessed);
    judged
}

fn tell(vault: &Vault, witnessed: &Witnessed) {
    let vault = vault.id();
    for erasure in &witnessed.replayed {
        tracing::warn!(
            %vault, %erasure,
            "the vault was rolled back or restored; an erasure announced since is applied again"
        );
    }
    let told = [
        (
            &witnessed.unverifiable,
            "an event says that it announces an erasure of this vault, and is not signed by it or does not open: it is \
             forged, changed, or a newer program's, and does not count",
        ),
        (
            &witnessed.odd,
            "an event in the stream of announcements is none: it was changed, or somebody else wrote it",
        ),
        (
            &witnessed.compromised,
            "an erasure is announced by a signing key alone that is compromised: it does not count",
        ),
        (
            &witnessed.forked,
            "an announcement does not know the one before it: two copies of this vault were at work at once",
        ),
    ];
    for (events, what) in told {
        for event in events {
            tracing::warn!(%vault, %event, "{what}");
        }
    }
    for key in &witnessed.keys {
        tracing::warn!(%vault, %key, "the vault was put back to before a statement about this key");
    }
    for key in &witnessed.distrusted {
        tracing::warn!(
            %vault, %key,
            "the vault learned that this signing key is compromised: what only it says does not count"
        );
    }
    for RefusedStatement { event, why } in &witnessed.refused {
        tracing::warn!(%vault, %event, "a statement about signing keys does not count: {why}");
    }
    if witnessed.elsewhere {
        tracing::info!(
            %vault,
            "the event store is empty, and the vault has announced erasures in another"
        );
    }
    if witnessed.gap {
        tracing::warn!(
            %vault,
            "announcements that this vault knows of are missing in the event store, or are in another \
             place or order: the store was put back or moved, or they were removed"
        );
    }
}
