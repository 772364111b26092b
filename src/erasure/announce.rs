//! Announcing an erasure without names, sealed, in a place that is not rolled back with the vault; and
//! what becomes of what is read there. `docs/format.md` specifies the bytes.

use uuid::Uuid;

use super::ErasureError;
#[cfg(feature = "cli")]
use crate::vault::backup::VerifiedBackup;
use crate::{
    crypto::{SigningKey, base64url},
    event::{
        ANNOUNCEMENTS, Announcement, AnnouncementKind, Beyond, Body, ErasureId, EventId, JsonError,
        Signature, SigningKeyId, Statement, StreamName, Timestamp,
    },
    store::StoreError,
    vault::{Vault, VaultError, Verdict, Vouched},
};

/// Why something that says it is an announcement of this vault does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// It has no signature, or not one of a key in the vault's history.
    Unsigned,
    /// It opens, so that a holder of the vault or of a backup made it, and is signed by a key that the
    /// vault does not know: an earlier restoration of the same backup, or whoever found one.
    Stranger(Box<Verdict>),
    /// It opens, and is signed by a key of the vault's that somebody else has as well.
    Compromised(Box<Verdict>),
    /// This vault signed it, and this program does not carry out what it says.
    Beyond(Beyond),
    /// This vault signed it, and cannot open it: it was put back to before the eras for which it is
    /// sealed.
    TooNew,
}

/// What is announced, but for what every announcement has.
pub(super) struct Draft<'a> {
    pub(super) kind: AnnouncementKind,
    pub(super) about: Uuid,
    pub(super) at: Timestamp,
    pub(super) statement: Option<(Statement, &'a SigningKey)>,
    pub(super) verdict: &'a Verdict,
}

impl<'a> Draft<'a> {
    /// That of an erasure.
    pub(super) fn of(verdict: &'a Verdict) -> Self {
        let (about, at) = (verdict.erasure.0, verdict.erasure.at());
        Self { kind: AnnouncementKind::Erasure, about, at, statement: None, verdict }
    }

    /// Seals it for this vault, and signs it by the key that signs now, or by another.
    pub(super) fn say(
        self,
        vault: &Vault,
        id: EventId,
        previous: Option<EventId>,
        by: Option<&SigningKey>,
    ) -> Result<Announcement, ErasureError> {
        let (statement, prover) = self.statement.unzip();
        let body = Body {
            format: 1,
            kind: self.kind,
            vault: vault.id().0,
            log: vault.log_number()?,
            about: self.about,
            at: self.at,
            epoch: vault.epoch()?,
            previous,
            statement,
            sealed: String::new(),
            proof: None,
            key: None,
            sig: None,
        };
        let odd = |error: JsonError| VaultError::Storage(Box::new(error));
        let draft = Announcement::new(id, &body).map_err(odd)?;
        let mut sealed = String::new();
        base64url::encode(&vault.seal_verdict(self.verdict, &draft.associated())?, &mut sealed);
        let proof = prover.map(|key| key.sign(&draft.proof_bytes()));
        let body = Body { sealed, proof, ..body };
        let signed = |key| Announcement::new(id, &Body { key: Some(key), ..body.clone() });
        let bytes = |key| signed(key).map(|said| said.signed_bytes()).unwrap_or_default();
        let (key, sig) = match by {
            Some(by) => {
                let key = by.public().id();
                (key, by.sign(&bytes(key)))
            }
            None => vault.sign(bytes)?,
        };
        let body = Body { key: Some(key), sig: Some(sig), ..body };
        Ok(Announcement::new(id, &body).map_err(odd)?)
    }
}

/// What an announcement of an erasure took, if it is this vault's word.
///
/// # Errors
/// Those of a vault whose signing keys cannot be read.
pub(crate) fn open(
    said: &Announcement,
    vault: &Vault,
) -> Result<Result<Verdict, Uncounted>, VaultError> {
    if let Err(beyond) = said.body() {
        let uncounted = match vault.signing_history()?.is_word(said) {
            true => Uncounted::Beyond(beyond.clone()),
            false => Uncounted::Unsigned,
        };
        return Ok(Err(uncounted));
    }
    open_by(
        said,
        |key, bytes, sig| vault.vouches(key, bytes, sig),
        |erasure, associated, sealed| vault.open_verdict(erasure, associated, sealed),
    )
}

pub(super) fn open_by(
    said: &Announcement,
    vouches: impl FnOnce(SigningKeyId, &[u8], &Signature) -> Result<Vouched, VaultError>,
    open: impl FnOnce(ErasureId, &[u8], &[u8]) -> Option<Verdict>,
) -> Result<Result<Verdict, Uncounted>, VaultError> {
    let (Ok(body), Some((key, sig))) = (said.body(), said.signature()) else {
        return Ok(Err(Uncounted::Unsigned));
    };
    let vouched = vouches(key, &said.signed_bytes(), sig)?;
    let sealed = base64url::decode(&body.sealed).unwrap_or_default();
    let opened = || open(ErasureId(body.about), &said.associated(), &sealed);
    let or_unsigned = |of: fn(Box<Verdict>) -> Uncounted, opened: Option<Verdict>| {
        Err(opened.map_or(Uncounted::Unsigned, |verdict| of(Box::new(verdict))))
    };
    Ok(match vouched {
        Vouched::Ours => opened().ok_or(Uncounted::TooNew),
        Vouched::Forged => Err(Uncounted::Unsigned),
        Vouched::Compromised => or_unsigned(Uncounted::Compromised, opened()),
        Vouched::UnknownKey => or_unsigned(Uncounted::Stranger, opened()),
    })
}

/// Whether a holder of the vault, or of one of its backups, made it.
pub(crate) fn opens(said: &Announcement, vault: &Vault) -> bool {
    let Ok(body) = said.body() else { return false };
    let sealed = base64url::decode(&body.sealed).unwrap_or_default();
    vault.open_verdict(ErasureId(body.about), &said.associated(), &sealed).is_some()
}

/// How many of these announcements are the word of the vault that a backup is of, and do not count there:
/// forged or changed ones, and those that only a compromised key says.
#[cfg(feature = "cli")]
pub(crate) fn unsuitable(backup: &VerifiedBackup, said: &[Announcement]) -> (usize, usize) {
    let mut history = backup.signing_history().clone();
    let ours = said.iter().filter(|said| said.vault() == backup.vault().0);
    let (statements, erasures): (Vec<_>, Vec<_>) =
        ours.partition(|said| said.kind().is_some_and(AnnouncementKind::is_of_keys));
    super::witness::learn_all(&mut history, &statements);
    let mut odd = statements.iter().filter(|said| history.learn(said).is_err()).count();
    let mut compromised = 0;
    for said in erasures {
        let opened = open_by(
            said,
            |key, bytes, sig| Ok(history.judge(key, bytes, sig)),
            |erasure, associated, sealed| backup.open_verdict(erasure, associated, sealed),
        );
        match opened {
            Ok(Ok(_)) => {}
            Ok(Err(Uncounted::Compromised(_))) => compromised += 1,
            _ => odd += 1,
        }
    }
    (odd, compromised)
}

/// The stream of announcements.
pub(super) fn stream() -> Result<StreamName, StoreError> {
    StreamName::new(ANNOUNCEMENTS).map_err(|error| StoreError::Invalid(error.to_string()))
}
