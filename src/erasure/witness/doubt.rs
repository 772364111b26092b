//! Announcements that only the operator can judge, and what the operator said of them.
//!
//! The finder of a backup of the vault can seal what opens here, and the holder of an earlier signing key can
//! sign it: so an id says nothing. What the operator says is of one announcement, whatever else has the
//! same ids.

use std::fmt;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{
        ErasureRecord, OperatorError, UnclearError, Uncounted,
        announce::{judge, stream},
    },
    found::{is_final, is_known},
    mark::Mark,
};
use crate::{
    event::{Announcement, AnnouncementKind, Beyond, Digest, ErasureId, EventId, SigningKeyId},
    store::{EventStore, ReadOptions, StoreError},
    vault::{MemoKind, Vault, VaultError, memos},
};

/// An announcement that the vault cannot judge by itself. All that is told of it is signed by the key that it names.
///
/// Opening a layer fails with them until somebody has said what each is:
///
/// ```
/// use oubliette::{erasure::{UnclearError, announced, believe}, *};
/// # async fn look(store: &SqliteStore, vault: &Vault, unclear: UnclearError) -> Result<(), Box<dyn std::error::Error>> {
/// if let UnclearError::UnknownSigner(in_doubt) = unclear {
///     for one in &in_doubt {
///         println!("{one}"); // erasure 0198…, in event 5f0e…, signed by 8a1c…
///     }
///     // After you looked into it: a restoration of ours made the first.
///     believe(vault, &announced(store).await?, in_doubt[0].event.0).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InDoubt {
    /// The erasure; `None`: this version does not understand what is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<ErasureId>,
    /// The event that announces it, wholly or in part.
    pub event: EventId,
    /// The signing key.
    pub signer: SigningKeyId,
    #[serde(skip)]
    digest: Digest,
    /// What this version does not understand of it.
    #[serde(skip)]
    beyond: Option<Beyond>,
}

impl InDoubt {
    /// Of an announcement whose signature was checked by the key that it gives.
    pub(super) fn of(said: &Announcement, beyond: Option<&Beyond>) -> Option<Self> {
        let (_, signer, _) = said.signature()?;
        let digest = said.reference().digest;
        let (erasure, beyond) = (said.erasure(), beyond.cloned());
        Some(Self { erasure, event: said.id(), signer, digest, beyond })
    }

    fn word(&self) -> Word {
        Word { event: self.event, signer: self.signer, digest: self.digest }
    }
}

/// One announcement, as a memo names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Word {
    event: EventId,
    signer: SigningKeyId,
    /// SHA-256 of the bytes that the signature is over: all that it says.
    digest: Digest,
}

impl fmt::Display for InDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.erasure, &self.beyond) {
            (Some(erasure), None) => write!(f, "erasure {erasure}")?,
            (Some(erasure), Some(beyond)) => write!(f, "erasure {erasure}, {beyond},")?,
            (None, Some(beyond)) => write!(f, "{beyond}")?,
            (None, None) => write!(f, "an announcement")?,
        }
        write!(f, " in event {}, signed by {}", self.event, self.signer)
    }
}

/// What the operator said of the announcements in one event: a memo of the kind `Believed`, under the event's
/// id. Anyone who can write to the store chooses that, so that no other memo may be of that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Words {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    believed: Vec<Word>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passed: Vec<Word>,
}

impl Words {
    /// A memo that is not in form is refused: it would say of somebody that they are forgotten.
    pub(super) fn of(vault: &Vault, event: EventId) -> Result<Self, VaultError> {
        match vault.memo(MemoKind::Believed, event.0.into_bytes())? {
            None => Ok(Self::default()),
            Some(note) => memos::from_json(MemoKind::Believed, &note),
        }
    }

    pub(super) fn believes(&self, said: &InDoubt) -> bool {
        self.believed.contains(&said.word())
    }

    pub(super) fn passes_over(&self, said: &InDoubt) -> bool {
        self.passed.contains(&said.word())
    }

    async fn note(self, vault: &Vault, event: EventId) -> Result<(), VaultError> {
        let note = memos::to_json(&self)?;
        // What was read and did not count is read once more.
        Mark::rewind(vault).await?;
        vault.put_memo(MemoKind::Believed, event.0.into_bytes(), &note).await
    }
}

/// Whether the operator believed an announcement by this key, which the vault does not know, or knows to be stolen.
pub(crate) fn believes_key(vault: &Vault, signer: SigningKeyId) -> Result<bool, VaultError> {
    for (_, note) in vault.memos(MemoKind::Believed)? {
        let words: Words = memos::from_json(MemoKind::Believed, &note)?;
        if words.believed.iter().any(|word| word.signer == signer) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the operator said of this announcement that it is not to be applied. Asked only of one whose signature was
/// checked.
pub(crate) fn is_passed_over(vault: &Vault, said: &Announcement) -> Result<bool, VaultError> {
    let Some(doubt) = InDoubt::of(said, None) else { return Ok(false) };
    Ok(Words::of(vault, doubt.event)?.passes_over(&doubt))
}

/// What is announced in an event store, before there is a layer over it.
///
/// # Errors
/// Those of the store.
pub async fn announced<S: EventStore>(store: &S) -> Result<Vec<Announcement>, StoreError> {
    let events: Vec<_> = store.read(&stream()?, ReadOptions::default()).try_collect().await?;
    Ok(events.iter().filter_map(Announcement::of).collect())
}

/// Says of an announcement that it is to be applied, though this vault does not know the key that signed
/// it ([`UnclearError::UnknownSigner`]), or the key is compromised: the operator knows that an earlier
/// restoration, or the vault itself, made it. It is applied when a layer over the vault is opened, or by
/// [`replay`](super::replay).
///
/// `named` is the id of its event, or of the erasure where no other announcement of it is in doubt.
///
/// # Errors
/// [`OperatorError::NotInDoubt`], [`OperatorError::SeveralStatements`]; [`UnclearError::NotCarriedOut`] where this
/// version does not understand it, [`UnclearError::TooOld`] where it does not open; errors of the vault.
pub async fn believe(
    vault: &Vault,
    announced: &[Announcement],
    named: Uuid,
) -> Result<(), OperatorError> {
    let Some((said, opens)) = find(vault, announced, named)? else { return Ok(()) };
    if !opens {
        return Err(UnclearError::TooOld(vec![said]).into());
    }
    if let Some(beyond) = &said.beyond {
        let (what, events) = (beyond.to_string(), vec![said.event]);
        return Err(UnclearError::NotCarriedOut { what, events }.into());
    }
    let mut words = Words::of(vault, said.event)?;
    say(said.word(), &mut words.believed, &mut words.passed);
    // A vault that knows this one, and not that key, must hear of it as well.
    vault.change_keys(vault.signing_history()?, &[], true, None).await?;
    Ok(words.note(vault, said.event).await?)
}

/// Says of an announcement that it is not to be applied: it is a forgery; or everybody whom it took is
/// forgotten again by name, or never was in what was put back, where the vault made it and cannot open it any
/// more. Without that, a layer over the vault does not open ([`UnclearError::UnknownSigner`],
/// [`UnclearError::TooOld`]).
///
/// `named` is as for [`believe`].
///
/// # Errors
/// As [`believe`].
pub async fn pass_over(
    vault: &Vault,
    announced: &[Announcement],
    named: Uuid,
) -> Result<(), OperatorError> {
    let Some((said, opens)) = find(vault, announced, named)? else { return Ok(()) };
    if let (false, Some(erasure)) = (opens, said.erasure) {
        // The vault's own: it is an erasure, of which there is a record.
        let record = ErasureRecord::dealt_with(vault, erasure)?.to_memo()?;
        return Ok(vault.put_memo(MemoKind::Erasure, erasure.0.into_bytes(), &record).await?);
    }
    let mut words = Words::of(vault, said.event)?;
    say(said.word(), &mut words.passed, &mut words.believed);
    Ok(words.note(vault, said.event).await?)
}

/// Says something of an announcement, once, and takes back the other thing that may be said of it.
fn say(word: Word, now: &mut Vec<Word>, before: &mut Vec<Word>) {
    before.retain(|other| *other != word);
    if !now.contains(&word) {
        now.push(word);
    }
}

/// The one announcement in doubt that is named, and whether it opens. `None`: what is named is known here.
fn find(
    vault: &Vault,
    announced: &[Announcement],
    named: Uuid,
) -> Result<Option<(InDoubt, bool)>, OperatorError> {
    let mut history = vault.signing_history()?;
    let of_vault = |said: &&Announcement| said.vault() == vault.id().0;
    let ours: Vec<&Announcement> = announced.iter().filter(of_vault).collect();
    history.learn_all(&ours);
    let (mut found, mut known) = (Vec::new(), false);
    for said in ours {
        if said.kind().is_some_and(AnnouncementKind::is_of_keys) {
            continue;
        }
        if said.id().0 != named && said.erasure().is_none_or(|erasure| erasure.0 != named) {
            continue;
        }
        let (opens, beyond) = match judge(said, &history, vault) {
            Err(Uncounted::TooNew) if !is_final(vault, said.erasure()) => (false, None),
            Err(Uncounted::Stranger(Ok(decision)) | Uncounted::Compromised(decision))
                if !is_known(vault, &decision)? =>
            {
                (true, None)
            }
            Err(Uncounted::Stranger(Err(beyond))) => (true, Some(beyond)),
            Ok(_) | Err(Uncounted::TooNew | Uncounted::Stranger(_) | Uncounted::Compromised(_)) => {
                known = true;
                continue;
            }
            Err(_) => continue,
        };
        let Some(doubt) = InDoubt::of(said, beyond.as_ref()) else { continue };
        if !found.contains(&(doubt.clone(), opens)) {
            found.push((doubt, opens));
        }
    }
    // Of what the vault itself signed and cannot open, the record is of the erasure.
    found.dedup_by(|later, earlier| !later.1 && !earlier.1);
    if found.len() > 1 {
        let statements = found.into_iter().map(|(doubt, _)| doubt).collect();
        return Err(OperatorError::SeveralStatements(statements));
    }
    match found.pop() {
        None if !known => Err(OperatorError::NotInDoubt(named)),
        found => Ok(found),
    }
}
