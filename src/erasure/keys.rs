//! Pinning a successor of the signing key, changing the key, and distrusting earlier ones: said in the event store, so that a vault
//! that is put back learns of it there.
//!
//! The vault changes first, durably, and says so afterwards: what is not said yet is *due*, and is said
//! before anything else is announced. Where the earlier key's word does not count any more (it was stolen,
//! or no key that others know leads to the one that signed last), everything that the vault knows
//! of erasures is announced again under the new one, and their tombstones are set again.

use std::sync::Arc;

use super::{
    ErasureError, KeyChangeError, PendingError,
    announce::{Chain, Draft, open, stream},
    error::nameless,
    retell::set_again,
    tombstones::Untold,
    witness::{Mark, after_saying, events_of},
};
use crate::{
    crypto::SigningKey,
    event::{
        Announcement, AnnouncementKind, Distrust, ErasureId, EventId, SigningKeyId, Statement,
        Timestamp,
    },
    layer::Layer,
    store::{Append, EventStore, ExpectedRevision, StoreError},
    vault::{Decision, History, KeyOrigin, PinnedSuccessor, Successor, Vault, VaultError},
};

/// How many announcements are made again in one append.
const AT_ONCE: usize = 32;

/// How the signing keys are to change.
///
/// ```
/// use std::sync::Arc;
/// use oubliette::{erasure::{KeyChange, change_key}, vault::{Successor, Vault}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::in_memory()?;
/// let successor = Arc::new(Successor::generate(vault.id())?); // and `save` it, away from here
/// let id = change_key(&vault, &KeyChange::Pin(successor.clone())).await?;
/// assert_eq!(id, successor.id());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// The present key stays, and this one is to follow it.
    Pin(Arc<Successor>),
    /// Another key signs from now on.
    Rotate {
        /// The pinned successor; `None`: a key that is made now.
        successor: Option<Arc<Successor>>,
        /// Whether somebody else has the present key, and which others.
        compromised: Option<Compromised>,
        /// Although a successor is pinned: its file is lost. Backups from before will not know the
        /// new key.
        without_successor: bool,
    },
    /// The present key stays, and does not trust these any more.
    Distrust(Compromised),
}

/// Since when somebody else has which earlier keys. What only these say does not count, whatever date it
/// bears.
///
/// ```
/// use oubliette::{erasure::{Compromised, KeyChange, change_key}, event::Timestamp, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::in_memory()?;
/// // The key that signs was stolen on Monday: another one takes its place.
/// let compromised = Some(Compromised { since: Timestamp::now(), keys: vec![] });
/// let rotate = KeyChange::Rotate { successor: None, compromised, without_successor: false };
/// change_key(&vault, &rotate).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compromised {
    /// Since when, as far as is known.
    pub since: Timestamp,
    /// The earlier keys.
    pub keys: Vec<SigningKeyId>,
}

/// Pins a successor of a vault's signing key, changes the key, or distrusts earlier ones. The vault is
/// changed when this returns; the event store is told when a layer over the vault is opened, or with
/// [`Oubliette::resume`](crate::layer::Oubliette::resume). Returns the key that was pinned, or the one that
/// signs now.
///
/// Where a key was stolen, call it before a layer is opened over the vault: opening applies what the
/// key has announced.
///
/// # Errors
/// [`KeyChangeError`].
pub async fn change_key(vault: &Vault, change: &KeyChange) -> Result<SigningKeyId, KeyChangeError> {
    let _one_at_a_time = vault.erase_alone().await;
    let mut history = vault.signing_history()?;
    let signs = history.signs();
    let mut statements = Statements::behind(vault, &history)?;
    match change {
        KeyChange::Pin(successor) => {
            if let Some(pinned) = history.successor() {
                return Err(KeyChangeError::AlreadyPinned(pinned.key));
            }
            refuse_other(vault, successor)?;
            if history.origin_of(successor.id()).is_some() {
                return Err(KeyChangeError::SignedBefore(successor.id()));
            }
            let public = successor.public();
            let statement = Statement { public, replaces: signs, compromised: None };
            let kind = AnnouncementKind::Successor;
            let said = Said::Statement(statement, successor.key());
            let said = statements.state(vault, kind, said, None)?;
            history.pin(&said);
            vault.change_keys(history, &[said], false, None).await?;
            Ok(successor.id())
        }
        KeyChange::Rotate { successor, compromised, without_successor } => {
            if let Some(compromised) = compromised {
                compromised.check(&history)?;
            }
            let pinned = history.successor().filter(|_| !without_successor);
            if let Some(successor) = successor {
                refuse_other(vault, successor)?;
            }
            let (key, replaces) = to_come(successor.as_deref(), pinned, signs)?;
            let (is_successor, since) = (pinned.is_some(), compromised.as_ref().map(|c| c.since));
            let statement = Statement { public: key.public(), replaces, compromised: since };
            let by = is_successor.then_some(&key);
            let kind = AnnouncementKind::SigningKey;
            let mut said =
                vec![statements.state(vault, kind, Said::Statement(statement, &key), by)?];
            // No statement leads to a key that was made when the vault was restored: what it said is
            // not known to others by anything but this.
            let restored = history.origin_of(signs) == Some(KeyOrigin::Restored);
            // Those that came after the one whose place is taken were in the vault as well.
            let between = history.after(replaces);
            history.change(&said[0], is_successor, true);
            if let Some(Compromised { since, keys }) = compromised {
                let keys = between.iter().chain(keys);
                said.extend(statements.distrust(vault, &mut history, keys, *since, Some(&key))?);
            }
            let (id, repeat) = (key.public().id(), compromised.is_some() || restored);
            vault.change_keys(history, &said, repeat, Some(key)).await?;
            Ok(id)
        }
        KeyChange::Distrust(compromised) => {
            compromised.check(&history)?;
            if let Some(pin) = history.successor()
                && compromised.keys.contains(&pin.replaces)
            {
                let (key, successor) = (pin.replaces, pin.key);
                return Err(KeyChangeError::SuccessorWaits { key, successor });
            }
            let Compromised { since, keys } = compromised;
            let said = statements.distrust(vault, &mut history, keys, *since, None)?;
            vault.change_keys(history, &said, true, None).await?;
            Ok(signs)
        }
    }
}

impl Compromised {
    fn check(&self, history: &History) -> Result<(), KeyChangeError> {
        if self.since > Timestamp::now() {
            return Err(KeyChangeError::StillToCome(self.since));
        }
        for &key in &self.keys {
            if key == history.signs() {
                return Err(KeyChangeError::SignsNow(key));
            }
            if history.origin_of(key).is_none() {
                return Err(KeyChangeError::UnknownKey(key));
            }
            if let Some(since) = history.compromised(key) {
                return Err(KeyChangeError::DistrustedBefore { key, since });
            }
        }
        Ok(())
    }
}

fn refuse_other(vault: &Vault, successor: &Successor) -> Result<(), KeyChangeError> {
    let (of, vault) = (successor.vault(), vault.id());
    if of == vault { Ok(()) } else { Err(KeyChangeError::OfAnotherVault { of, vault }) }
}

/// The key that is to sign, and the one whose place it takes.
fn to_come(
    given: Option<&Successor>,
    pinned: Option<&PinnedSuccessor>,
    signs: SigningKeyId,
) -> Result<(SigningKey, SigningKeyId), KeyChangeError> {
    match (given, pinned) {
        (None, None) => {
            let key = SigningKey::generate().map_err(VaultError::from)?;
            Ok((key, signs))
        }
        (Some(given), Some(pinned)) if given.id() == pinned.key => {
            Ok((SigningKey::from_secret(&given.key().secret()), pinned.replaces))
        }
        (Some(given), Some(pinned)) => {
            Err(KeyChangeError::WrongSuccessor { found: given.id(), pinned: pinned.key })
        }
        (None, Some(pinned)) => Err(KeyChangeError::SuccessorNeeded(pinned.key)),
        (Some(_), None) => Err(KeyChangeError::NothingPinned),
    }
}

/// What is stated of keys.
enum Said<'a> {
    /// A key, which proves that its author has it.
    Statement(Statement, &'a SigningKey),
    Distrust(Distrust),
}

/// Statements about keys, one after the other.
struct Statements(Chain);

impl Statements {
    /// What is due is said first, in the order in which it was stated.
    fn behind(vault: &Vault, history: &History) -> Result<Self, VaultError> {
        let due = history.due().last().map(|due| vec![due.reference()]);
        Ok(Self(Chain::behind(due.map_or_else(|| Mark::load(vault).map(|mark| mark.tips()), Ok)?)))
    }

    /// A statement about keys. It seals nothing, but that it opens shows that a holder of the vault made it.
    fn state(
        &mut self,
        vault: &Vault,
        kind: AnnouncementKind,
        said: Said<'_>,
        by: Option<&SigningKey>,
    ) -> Result<Announcement, VaultError> {
        let at = Timestamp::now();
        let about = at.new_uuid();
        let decision =
            Decision { erasure: ErasureId(about), taken: Vec::new(), record: Vec::new() };
        let (statement, distrust) = match said {
            Said::Statement(statement, prover) => (Some((statement, prover)), None),
            Said::Distrust(distrust) => (None, Some(distrust)),
        };
        let draft = Draft { kind, about, at, statement, distrust, decision: &decision };
        self.0.say(draft, vault, EventId::random(), by)
    }

    /// Distrusts these keys, as far as they are not yet, and those of which only these said that they are
    /// compromised. By the key that signs now, or by another that is about to.
    fn distrust<'a>(
        &mut self,
        vault: &Vault,
        history: &mut History,
        keys: impl IntoIterator<Item = &'a SigningKeyId>,
        since: Timestamp,
        by: Option<&SigningKey>,
    ) -> Result<Vec<Announcement>, VaultError> {
        let mut said = Vec::new();
        let mut say = |history: &mut History, key, compromised| {
            let distrust = Said::Distrust(Distrust { key, compromised });
            let announcement = self.state(vault, AnnouncementKind::Distrust, distrust, by)?;
            history.distrust(&announcement);
            said.push(announcement);
            Ok::<_, VaultError>(())
        };
        for &key in keys {
            if history.compromised(key).is_none() {
                say(history, key, since)?;
            }
        }
        for (key, since) in history.unsupported() {
            say(history, key, since)?;
        }
        Ok(said)
    }
}

/// Has the store say what is due. One that never takes announcements delays no one.
pub(super) async fn say_due<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    if vault.is_read_only() {
        return Ok(());
    }
    let due = vault.unsaid()?;
    for said in due.statements {
        match append(layer, vault, std::slice::from_ref(&said)).await {
            Ok(()) => vault.has_said(said.id()).await?,
            Err(Untold::Store(error)) if refuses(&error) => {
                tracing::warn!(
                    error = %crate::words::chain(&error),
                    "the event store does not take announcements: a vault that is put back will not \
                     learn of the change of its signing key from it"
                );
                return Ok(());
            }
            Err(untold) => return Err(untold.or(PendingError::KeyChange)),
        }
    }
    if due.repeat {
        announce_again(layer, vault).await?;
        // Before anything else can fail: what is announced again has new ids each time, and stays for ever.
        vault.has_repeated().await?;
    }
    if due.retell { set_tombstones_again(layer, vault).await } else { Ok(()) }
}

/// Announces all erasures under the key that signs now.
async fn announce_again<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    for decisions in vault.decisions() {
        for some in decisions?.chunks(AT_ONCE) {
            // Others may say something meanwhile.
            let mut chain = Chain::behind(Mark::load(vault)?.tips());
            let mut say = |decision| chain.say(Draft::of(decision), vault, EventId::random(), None);
            let said = some.iter().map(&mut say).collect::<Result<Vec<_>, _>>()?;
            let appended = append(layer, vault, &said).await;
            appended.map_err(|untold| untold.or(PendingError::Repeat))?;
        }
    }
    Ok(())
}

/// A tombstone that the store does not take holds up no erasure: it is tried again when the layer opens.
async fn set_tombstones_again<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    match set_again(layer, vault).await {
        Ok(set) => {
            if set > 0 {
                let vault = vault.id();
                tracing::info!(%vault, tombstones = set, "tombstones are set again, under the present key");
            }
            Ok(vault.has_retold().await?)
        }
        Err(Untold::Store(error)) => {
            tracing::warn!(
                vault = %vault.id(), error = %nameless(&error),
                "not all tombstones could be set again under the present key; it is tried again when the layer opens"
            );
            Ok(())
        }
        Err(Untold::Own(error)) => Err(error),
    }
}

/// Whether the store will never take it.
pub(super) fn refuses(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Invalid(_) | StoreError::Unsupported(_) | StoreError::Refused { .. }
    )
}

async fn append<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    said: &[Announcement],
) -> Result<(), Untold> {
    let append = Append::new(stream()?, ExpectedRevision::Any, events_of(said)?);
    let appended = layer.answer(layer.store.append(vec![append])).await?;
    let (Some(appended), Some(last)) = (appended.first(), said.last()) else { return Ok(()) };
    let mut said = said.to_vec();
    if appended.already {
        // The answer to an earlier attempt was lost; or somebody else's event has the id.
        let ids = said.iter().map(Announcement::id).collect();
        let found = layer.find_in(&stream()?, ids, None).await?;
        let found: Vec<_> = found.iter().filter_map(Announcement::of).collect();
        let there = |said: &Announcement| found.iter().any(|found| is_it(vault, found, said));
        if !said.iter().all(there) {
            let in_use = StoreError::IdInUse { id: last.id(), stream: stream()? };
            return Err(Untold::Store(in_use));
        }
        // The next one names what is there.
        for said in &mut said {
            if let Some(found) = found.iter().find(|found| found.id() == said.id()) {
                *said = found.clone();
            }
        }
    }
    Ok(after_saying(layer, vault, Some(appended.revision), &said).await?.save(vault).await?)
}

/// Whether what the store has is what was to be said: of that id, about the same, and this vault's word by
/// any key of its history.
fn is_it(vault: &Vault, found: &Announcement, said: &Announcement) -> bool {
    let about = |said: &Announcement| said.body().ok().map(|body| (body.kind, body.about));
    found.id() == said.id()
        && about(found) == about(said)
        && match found.kind().is_some_and(AnnouncementKind::is_of_keys) {
            true => vault.signing_history().is_ok_and(|mut all| all.learn(found) == Ok(false)),
            false => open(found, vault).is_ok_and(|opened| opened.is_ok()),
        }
}
