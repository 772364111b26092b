//! Announcing an erasure without names, sealed, in a place that is not rolled back with the vault; and
//! what happens to what is read there. `docs/format.md` specifies the bytes.

use uuid::Uuid;

use super::ErasureRecord;
#[cfg(feature = "backup")]
use crate::vault::{Unlearned, backup::VerifiedBackup};
use crate::{
    crypto::{SigningKey, base64url},
    event::{
        ANNOUNCEMENTS, Announcement, AnnouncementKind, AnnouncementRef, Beyond, Body, Distrust,
        ErasureId, EventId, JsonError, Previous, Statement, StreamName, Timestamp,
    },
    store::StoreError,
    vault::{Decision, History, Vault, VaultError, Vouched},
};

/// Why something that says it is an announcement of this vault does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// The key that it gives did not sign it; or that key is not in the vault's history, and it does not open.
    Unsigned,
    /// It opens, so that a holder of the vault or of a backup made it, and is signed by a key that the
    /// vault does not know: an earlier restoration of the same backup, or the finder of one. What it says,
    /// if this program understands it.
    Stranger(Result<Box<Decision>, Beyond>),
    /// It opens, and is signed by a key of the vault's that somebody else has as well.
    Compromised(Box<Decision>),
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
    pub(super) distrust: Option<Distrust>,
    pub(super) decision: &'a Decision,
}

impl<'a> Draft<'a> {
    /// That of an erasure.
    pub(super) fn of(decision: &'a Decision) -> Self {
        let (about, at) = (decision.erasure.0, decision.erasure.at());
        let kind = AnnouncementKind::Erasure;
        Self { kind, about, at, statement: None, distrust: None, decision }
    }

    /// Seals it for this vault, and signs it by the key that signs now, or by another. `previous`: the tips; `None`: it
    /// is for a list that is kept elsewhere.
    pub(super) fn say(
        self,
        vault: &Vault,
        id: EventId,
        previous: Option<&[AnnouncementRef]>,
        by: Option<&SigningKey>,
    ) -> Result<Announcement, VaultError> {
        let (statement, prover) = self.statement.unzip();
        let body = Body {
            format: 1,
            kind: self.kind,
            vault: vault.id().0,
            log: vault.log()?,
            about: self.about,
            at: self.at,
            epoch: vault.epoch()?,
            previous: previous.map(Previous::of),
            statement,
            distrust: self.distrust,
            sealed: String::new(),
            proof: None,
            public: None,
            key: None,
            sig: None,
        };
        let signed = |by: &SigningKey| {
            let public = by.public();
            let body = Body { public: Some(public), key: Some(public.id()), ..body };
            let odd = |error: JsonError| VaultError::Storage(Box::new(error));
            let draft = Announcement::new(id, &body).map_err(odd)?;
            let mut sealed = String::new();
            base64url::encode(
                &vault.seal_decision(self.decision, &draft.associated())?,
                &mut sealed,
            );
            let proof = prover.map(|key| key.sign(&draft.proof_bytes()));
            let body = Body { sealed, proof, ..body };
            let unsigned = Announcement::new(id, &body).map_err(odd)?;
            let body = Body { sig: Some(by.sign(&unsigned.signed_bytes())), ..body };
            Announcement::new(id, &body).map_err(odd)
        };
        match by {
            Some(by) => signed(by),
            None => vault.as_signer(signed)?,
        }
    }
}

/// Announcements that are made one after the other: the first names the tips, and each other one the one before it.
pub(super) struct Chain(Vec<AnnouncementRef>);

impl Chain {
    pub(super) fn behind(tips: Vec<AnnouncementRef>) -> Self {
        Self(tips)
    }

    /// Makes the next one; see [`Draft::say`].
    pub(super) fn say(
        &mut self,
        draft: Draft<'_>,
        vault: &Vault,
        id: EventId,
        by: Option<&SigningKey>,
    ) -> Result<Announcement, VaultError> {
        let said = draft.say(vault, id, Some(&self.0), by)?;
        self.0 = vec![said.reference()];
        Ok(said)
    }
}

/// What an announcement of an erasure took, if it is this vault's word.
///
/// # Errors
/// Those of a vault whose signing keys cannot be read.
pub(crate) fn open(
    said: &Announcement,
    vault: &Vault,
) -> Result<Result<Decision, Uncounted>, VaultError> {
    vault.with_signing_history(|history| judge(said, history, vault))
}

/// As [`open`], by a history that may know more than the vault's.
pub(super) fn judge(
    said: &Announcement,
    history: &History,
    vault: &Vault,
) -> Result<Decision, Uncounted> {
    open_by(said, history, |erasure, associated, sealed| {
        vault.open_decision(erasure, associated, sealed)
    })
}

/// First who signed it, then whether it opens, then what it says: so that nothing is believed, asked or
/// looked up because of what anyone may have written.
pub(super) fn open_by(
    said: &Announcement,
    history: &History,
    open: impl Fn(ErasureId, &[u8], &[u8]) -> Result<Option<Decision>, VaultError>,
) -> Result<Decision, Uncounted> {
    if let Err(beyond) = said.body()
        && history.is_word(said)
    {
        return Err(Uncounted::Beyond(beyond.clone()));
    }
    let vouched = history.vouches(said);
    if vouched == Vouched::Forged {
        return Err(Uncounted::Unsigned);
    }
    match (vouched, content(said, open)) {
        (Vouched::Ours, Some(Ok(decision))) => Ok(decision),
        // The vault said it, so it is not passed over.
        (Vouched::Ours, Some(Err(beyond))) => Err(Uncounted::Beyond(beyond)),
        (Vouched::Ours, None) => Err(Uncounted::TooNew),
        // Nor is what a vault may have said that came from the same backup.
        (Vouched::UnknownKey, Some(content)) => Err(Uncounted::Stranger(content.map(Box::new))),
        (Vouched::Compromised, Some(Ok(decision))) => {
            Err(Uncounted::Compromised(Box::new(decision)))
        }
        (Vouched::Forged | Vouched::Compromised | Vouched::UnknownKey, _) => {
            Err(Uncounted::Unsigned)
        }
    }
}

/// What an announcement says, as far as it is sealed. `None`: it does not open.
fn content(
    said: &Announcement,
    open: impl Fn(ErasureId, &[u8], &[u8]) -> Result<Option<Decision>, VaultError>,
) -> Option<Result<Decision, Beyond>> {
    let body = said.body();
    // Whether it opens does not depend on what it is about.
    let erasure = ErasureId(body.map_or(Uuid::nil(), |body| body.about));
    let sealed = base64url::decode(&said.sealed()).unwrap_or_default();
    let opened = open(erasure, &said.associated(), &sealed);
    if !matches!(opened, Ok(None))
        && let Err(beyond) = body
    {
        return Some(Err(beyond.clone()));
    }
    match opened {
        Ok(None) => None,
        Ok(Some(decision)) if ErasureRecord::replayed(erasure, &decision.record).is_ok() => {
            Some(Ok(decision))
        }
        Err(VaultError::NewerFormat { found, .. }) => Some(Err(Beyond::Format(found.to_string()))),
        Ok(Some(_)) | Err(_) => Some(Err(Beyond::Form)),
    }
}

/// Whether a holder of the vault, or of one of its backups, sealed it for who signs it.
pub(crate) fn opens(said: &Announcement, vault: &Vault) -> bool {
    let open = |erasure, associated: &[u8], sealed: &[u8]| {
        vault.open_decision(erasure, associated, sealed)
    };
    content(said, open).is_some()
}

/// What of these announcements is said in the name of the vault that a backup is of, and does not count there.
/// Where it is none, [`replay`](super::replay) takes them all.
#[cfg(feature = "backup")]
pub fn unsuitable(backup: &VerifiedBackup, said: &[Announcement]) -> Unsuitable {
    let mut history = backup.signing_history().clone();
    let ours = said.iter().filter(|said| said.vault() == backup.vault().0);
    let (statements, erasures): (Vec<_>, Vec<_>) =
        ours.partition(|said| said.kind().is_some_and(AnnouncementKind::is_of_keys));
    history.learn_all(&statements);
    let unlearned = statements.iter().find_map(|said| history.learn(said).err());
    let (mut odd, mut compromised) = (0, 0);
    for said in erasures {
        let opened = open_by(said, &history, |erasure, associated, sealed| {
            backup.open_decision(erasure, associated, sealed)
        });
        match opened {
            Ok(_) => {}
            Err(Uncounted::Compromised(_)) => compromised += 1,
            Err(_) => odd += 1,
        }
    }
    Unsuitable { unlearned, odd, compromised }
}

/// What [`unsuitable`] counts.
#[cfg(feature = "backup")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsuitable {
    /// Why the first of the statements about keys does not count, where one does not. Without it, nothing
    /// that a later key says counts either.
    pub unlearned: Option<Unlearned>,
    /// The erasures that are forged, changed or cut.
    pub odd: usize,
    /// Those that only a key says that was compromised by then.
    pub compromised: usize,
}

/// The stream of announcements.
pub(super) fn stream() -> Result<StreamName, StoreError> {
    StreamName::new(ANNOUNCEMENTS).map_err(|error| StoreError::Invalid(error.to_string()))
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{
        event::Era,
        vault::{Unlearned, history_as_vector, open_vector},
    };

    fn files() -> [Value; 2] {
        ["announcements.json", "distrust.json"].map(crate::layer::document::vectors::committed)
    }

    fn lines(of: &Value) -> impl Iterator<Item = (&Value, Announcement)> {
        of.as_array()
            .unwrap()
            .iter()
            .map(|vector| (vector, vector["line"].to_string().parse::<Announcement>().unwrap()))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The history that the vectors' statements lead to.
    fn history(file: &Value) -> History {
        let mut history =
            History::begin(file["keys"][0]["public"].as_str().unwrap().parse().unwrap());
        for (vector, said) in lines(&file["statements"]) {
            assert_eq!(history.learn(&said), Ok(true), "{vector}");
            assert_eq!(history.learn(&said), Ok(false), "{vector}");
        }
        history
    }

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn eras(file: &Value) -> Vec<(Era, [u8; 32])> {
        let era = |era: &Value| {
            let name = era["era"].as_str().unwrap().parse().unwrap();
            (name, bytes(&era["secret"]).try_into().unwrap())
        };
        file["eras"].as_array().unwrap().iter().map(era).collect()
    }

    /// What is said of an announcement by a vault with that history and the eras of the file.
    fn told(file: &Value, history: &History, said: &Announcement) -> &'static str {
        if said.vault().to_string() != file["vault"].as_str().unwrap() {
            return "another vault";
        }
        if said.kind().is_some_and(AnnouncementKind::is_of_keys) {
            return match history.clone().learn(said) {
                Ok(_) => "good",
                Err(Unlearned::Gap { .. }) => "gap",
                Err(Unlearned::Forged) => "forged",
                Err(Unlearned::Compromised { .. }) => "compromised",
                Err(Unlearned::Replaced { .. }) => "replaced",
                Err(Unlearned::NotTheSuccessor { .. }) => "not the successor",
                Err(Unlearned::PinnedBefore { .. }) => "pinned before",
                Err(Unlearned::NotLater { .. }) => "not later",
                Err(Unlearned::UnknownSigner { .. }) => "unknown signer",
            };
        }
        let eras = eras(file);
        let open = |erasure, associated: &[u8], sealed: &[u8]| {
            open_vector(&eras, erasure, associated, sealed)
        };
        match open_by(said, history, open) {
            Ok(_) => "good",
            Err(Uncounted::Unsigned) => "unsigned",
            Err(Uncounted::Stranger(..)) => "stranger",
            Err(Uncounted::TooNew) => "too new",
            Err(Uncounted::Compromised(_)) => "compromised",
            Err(Uncounted::Beyond(Beyond::Format(_))) => "format",
            Err(Uncounted::Beyond(Beyond::Reserved(_))) => "reserved",
            Err(Uncounted::Beyond(Beyond::Unknown(_))) => "kind",
            Err(Uncounted::Beyond(Beyond::Form)) => "form",
        }
    }

    /// The vectors of `docs/format.md`.
    #[test]
    fn the_vectors_are_bound_to_what_stands_in_clear() {
        for file in files() {
            let history = history(&file);
            for (vector, line) in lines(&file["vectors"]).chain(lines(&file["statements"])) {
                assert_eq!(hex(&line.associated()), vector["associated"].as_str().unwrap());
                assert_eq!(hex(&line.signed_bytes()), vector["signed"].as_str().unwrap());
                if let Some(proved) = vector["proved"].as_str() {
                    assert_eq!(hex(&line.proof_bytes()), proved);
                }
                let again: Value = serde_json::to_value(&line).unwrap();
                assert_eq!(again, vector["line"]);
                assert_eq!(told(&file, &history, &line), "good", "{vector}");
            }
            for (vector, line) in lines(&file["bad"]) {
                assert_eq!(told(&file, &history, &line), vector["error"], "{vector}");
            }
        }
    }

    /// Where no statement leads to a key, the vector gives the history as its memo has it.
    #[test]
    fn a_successor_that_waits_is_the_only_one_for_the_key_that_a_restored_vault_made() {
        let file = crate::layer::document::vectors::committed("histories.json");
        let read = |text: &Value| history_as_vector(text.as_str().unwrap().as_bytes()).unwrap();
        for given in file["histories"].as_array().unwrap() {
            let history = read(&given["history"]);
            for (vector, said) in lines(&given["vectors"]) {
                assert_eq!(told(&file, &history, &said), "good", "{vector}");
                let mut after = history.clone();
                let learned = after.learn(&said) == Ok(true);
                assert_eq!(learned, vector["leaves"].is_string(), "{vector}");
                if learned {
                    assert_eq!(after, read(&vector["leaves"]), "{vector}");
                }
            }
            for (vector, said) in lines(&given["bad"]) {
                assert_eq!(told(&file, &history, &said), vector["error"], "{vector}");
            }
        }
    }

    /// A store may spell a number in another way, and change the order of members.
    #[test]
    fn a_store_may_respell_it() {
        let [file, _] = files();
        let history = history(&file);
        let (_, line) = lines(&file["vectors"]).next().unwrap();
        let text = serde_json::to_string(&line).unwrap();
        let respelled = text.replace(r#""epoch":17"#, r#""epoch": 1.70e1"#);
        assert_ne!(respelled, text);
        let respelled: Announcement = respelled.parse().unwrap();
        assert_eq!(told(&file, &history, &respelled), "good");
        assert_eq!(respelled, line);
    }

    #[test]
    fn no_bit_and_no_byte_of_an_announcement_can_change_unnoticed() {
        let mut read = 0;
        for file in files() {
            let (history, mut seen) = (history(&file), BTreeSet::new());
            let all = lines(&file["vectors"]).chain(lines(&file["statements"]));
            // One of each kind, because each takes seconds.
            for (_, line) in all.filter(|(_, line)| seen.insert(line.kind())) {
                assert_eq!(told(&file, &history, &line), "good");
                let text = serde_json::to_string(&line).unwrap();
                // Of each byte three bits, and all eight within eight bytes.
                let bits = |at: usize| [at, at + 3, at + 6].map(|bit| (at, bit % 8));
                let changed = (0..text.len()).flat_map(bits).map(|(at, bit)| {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] ^= 1 << bit;
                    bytes
                });
                let cut = (0..text.len()).map(|at| {
                    let mut bytes = text.clone().into_bytes();
                    bytes.remove(at);
                    bytes
                });
                for bytes in changed.chain(cut) {
                    let Ok(text) = String::from_utf8(bytes) else { continue };
                    let Ok(other) = text.parse::<Announcement>() else { continue };
                    read += u32::from(other != line);
                    assert!(other == line || told(&file, &history, &other) != "good", "{text}");
                }
            }
        }
        assert!(read > 4_000, "{read}");
    }
}
