//! Pinning a successor of the signing key, and changing the key: said in the event store, so that a vault
//! that is put back learns of it there.
//!
//! The vault changes first, durably, and says so afterwards: what is not said yet is *due*, and is said
//! before anything else is announced. Where the earlier key's word does not count any more (it was stolen,
//! or no key that others know leads to the one that signed last), everything that the vault knows
//! of erasures is announced again under the new one.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    ErasureError,
    announce::{Draft, open, stream},
    witness::{Mark, look},
};
use crate::{
    crypto::SigningKey,
    event::{
        Announcement, AnnouncementKind, ErasureId, EventId, NameError, SigningKeyId, Statement,
        Timestamp,
    },
    layer::Layer,
    store::{Append, EventStore, ExpectedRevision, StoreError},
    vault::{KeyOrigin, PinnedSuccessor, Successor, Vault, VaultId, Verdict},
};

/// How many announcements are made again in one append.
const AT_ONCE: usize = 32;

/// How the signing key is to change.
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// The present key stays, and this one is to follow it.
    Pin(Arc<Successor>),
    /// Another key signs from now on.
    Rotate {
        /// The pinned successor; `None`: a key that is made now.
        successor: Option<Arc<Successor>>,
        /// Since when somebody else has the present key.
        compromised: Option<Timestamp>,
        /// Although a successor is pinned: its file is lost. Backups from before will not know the
        /// new key.
        without_successor: bool,
    },
}

/// Why the signing key was not changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyChangeError {
    /// There is one.
    #[error(
        "a successor is pinned already, {0}: only it can take the place of the key that signs; use it \
         (`oubliette keys rotate --successor FILE`), and pin the next one then; if its file is lost, \
         `oubliette keys rotate --without-successor`, and make a new backup"
    )]
    AlreadyPinned(SigningKeyId),
    /// A successor is pinned, and was not given.
    #[error(
        "the successor {0} is pinned, and only it can take the place of the key that signs: give its file \
         (`--successor FILE`); if that is lost, say `--without-successor`, and make a new backup: a vault \
         that is restored from an earlier one will not know the new key"
    )]
    SuccessorNeeded(SigningKeyId),
    /// No successor is pinned.
    #[error(
        "no successor is pinned, so that nobody would know this one for the vault's: leave `--successor` \
         out, and pin one afterwards (`oubliette keys successor --out FILE`)"
    )]
    NothingPinned,
    /// Another one is pinned.
    #[error("that file holds the key {found}, and the pinned successor is {pinned}; give its file")]
    WrongSuccessor {
        /// The one that was given.
        found: SigningKeyId,
        /// The one that is pinned.
        pinned: SigningKeyId,
    },
    /// It was made for another vault.
    #[error(
        "that file holds the successor for vault {of}, and this is vault {vault}; give its file"
    )]
    OfAnotherVault {
        /// Whose it is.
        of: VaultId,
        /// Whose it should be.
        vault: VaultId,
    },
    /// A day to come.
    #[error("the key cannot have been stolen since {0}: that is still to come")]
    StillToCome(Timestamp),
}

/// Pins a successor of a vault's signing key, or changes the key. The vault is changed when this returns;
/// the event store is told when a layer over the vault is opened, or with
/// [`Oubliette::resume`](crate::layer::Oubliette::resume).
///
/// Where the key was stolen, call it before a layer is opened over the vault: opening applies what the
/// key has announced.
///
/// # Errors
/// [`ErasureError::KeyChange`]; errors of the vault.
pub async fn change_key(vault: &Vault, change: &KeyChange) -> Result<SigningKeyId, ErasureError> {
    let _one_at_a_time = vault.erase_alone().await;
    let keys = vault.signing_keys()?;
    let signs = keys.last().map_or(SigningKeyId([0; 16]), |info| info.key);
    let pinned = vault.pinned_successor()?;
    match change {
        KeyChange::Pin(successor) => {
            if let Some(pinned) = pinned {
                return Err(KeyChangeError::AlreadyPinned(pinned.key).into());
            }
            refuse_other(vault, successor)?;
            let public = successor.public();
            let statement = Statement { public, replaces: signs, compromised: None };
            let kind = AnnouncementKind::Successor;
            let said = state(vault, kind, statement, successor.key(), None)?;
            vault.pin(&said).await?;
            Ok(successor.id())
        }
        KeyChange::Rotate { successor, compromised, without_successor } => {
            if let Some(at) = (*compromised).filter(|at| *at > Timestamp::now()) {
                return Err(KeyChangeError::StillToCome(at).into());
            }
            let pinned = pinned.filter(|_| !without_successor);
            let restored = keys.last().is_some_and(|info| info.origin == KeyOrigin::Restored);
            if let Some(successor) = successor {
                refuse_other(vault, successor)?;
            }
            let (key, replaces) = to_come(successor.as_deref(), pinned.as_ref(), signs)?;
            let statement = Statement { public: key.public(), replaces, compromised: *compromised };
            let by = pinned.is_some().then_some(&key);
            let said = state(vault, AnnouncementKind::SigningKey, statement, &key, by)?;
            // No statement leads to a key that was made when the vault was restored: what it said is
            // not known to others by anything but this.
            let repeat = compromised.is_some() || restored;
            let id = key.public().id();
            vault.change_key(&said, key, pinned.is_some(), repeat).await?;
            Ok(id)
        }
    }
}

fn refuse_other(vault: &Vault, successor: &Successor) -> Result<(), KeyChangeError> {
    match successor.vault() == vault.id() {
        true => Ok(()),
        false => {
            let (of, vault) = (successor.vault(), vault.id());
            Err(KeyChangeError::OfAnotherVault { of, vault })
        }
    }
}

/// The key that is to sign, and the one whose place it takes.
fn to_come(
    given: Option<&Successor>,
    pinned: Option<&PinnedSuccessor>,
    signs: SigningKeyId,
) -> Result<(SigningKey, SigningKeyId), ErasureError> {
    match (given, pinned) {
        (None, None) => {
            let key = SigningKey::generate().map_err(crate::vault::VaultError::from)?;
            Ok((key, signs))
        }
        (Some(given), Some(pinned)) if given.id() == pinned.key => {
            Ok((SigningKey::from_secret(&given.key().secret()), pinned.replaces))
        }
        (Some(given), Some(pinned)) => {
            Err(KeyChangeError::WrongSuccessor { found: given.id(), pinned: pinned.key }.into())
        }
        (None, Some(pinned)) => Err(KeyChangeError::SuccessorNeeded(pinned.key).into()),
        (Some(_), None) => Err(KeyChangeError::NothingPinned.into()),
    }
}

/// A statement about keys. It seals nothing, but that it opens shows that a holder of the vault made it.
fn state(
    vault: &Vault,
    kind: AnnouncementKind,
    statement: Statement,
    prover: &SigningKey,
    by: Option<&SigningKey>,
) -> Result<Announcement, ErasureError> {
    let at = Timestamp::now();
    let about = Uuid::now_v7();
    let verdict = Verdict { erasure: ErasureId(about), taken: Vec::new(), note: Vec::new() };
    let previous = Mark::load(vault)?.newest;
    let statement = Some((statement, prover));
    Draft { kind, about, at, statement, verdict: &verdict }.say(
        vault,
        EventId::random(),
        previous,
        by,
    )
}

/// Has the store say what is due. One that never takes announcements keeps nobody waiting.
pub(super) async fn say_due<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    let (due, repeat) = vault.unsaid()?;
    if (due.is_empty() && !repeat) || vault.is_read_only() {
        return Ok(());
    }
    for said in due {
        match append(layer, vault, std::slice::from_ref(&said)).await {
            Ok(()) => vault.has_said(said.id()).await?,
            Err(error) if refuses(&error) => {
                tracing::warn!(
                    %error,
                    "the event store does not take announcements: a vault that is put back will not \
                     learn of the change of its signing key from it"
                );
                return Ok(());
            }
            Err(source) => return Err(ErasureError::KeyChangePending(source)),
        }
    }
    if !repeat {
        return Ok(());
    }
    let mut previous = Mark::load(vault)?.newest;
    for verdicts in vault.verdicts() {
        for some in verdicts?.chunks(AT_ONCE) {
            let mut said = Vec::with_capacity(some.len());
            for verdict in some {
                let id = EventId::random();
                said.push(Draft::of(verdict).say(vault, id, previous, None)?);
                previous = Some(id);
            }
            append(layer, vault, &said).await.map_err(ErasureError::KeyChangePending)?;
        }
    }
    Ok(vault.has_repeated().await?)
}

fn refuses(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Invalid(_) | StoreError::Unsupported(_) | StoreError::Refused { .. }
    )
}

async fn append<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    said: &[Announcement],
) -> Result<(), StoreError> {
    let invalid = |error: NameError| StoreError::Invalid(error.to_string());
    let events = said.iter().map(Announcement::to_event).collect::<Result<_, _>>();
    let append = Append::new(stream()?, ExpectedRevision::Any, events.map_err(invalid)?);
    let appended = layer.answer(layer.store.append(vec![append])).await?;
    let (Some(appended), Some(last)) = (appended.first(), said.last()) else { return Ok(()) };
    let known = |error: crate::vault::VaultError| StoreError::Vault(Box::new(error));
    if appended.already {
        // The answer to an earlier attempt was lost; or somebody else's event has the id.
        let ids = said.iter().map(Announcement::id).collect();
        let found = layer.find_in(&stream()?, ids, None).await?;
        let found: Vec<_> = found.iter().filter_map(Announcement::of).collect();
        let there = |said: &Announcement| found.iter().any(|found| is_it(vault, found, said));
        if !said.iter().all(there) {
            return Err(StoreError::IdInUse { id: last.id(), stream: stream()? });
        }
    }
    let mut mark = Mark::load(vault).map_err(known)?;
    if mark.advance(said.len() as u64, appended.revision, last) {
        return mark.save(vault).await.map_err(known);
    }
    // Another vault over the same store, as a rule; or a copy of this one.
    if let Err(error) = look(layer, vault).await {
        tracing::warn!(%error, "what others announced is not known");
        // The next one names this one all the same.
        mark.save(vault).await.map_err(known)?;
    }
    Ok(())
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
