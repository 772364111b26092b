//! What is found in announcements: what counts, what does not, and what cannot be judged here.

use std::collections::BTreeSet;

use super::{
    super::{
        ErasureError, ErasureRecord, UnclearError, Uncounted,
        announce::{self, open},
        journal::Journal,
    },
    RefusedStatement,
    announcing::SUBJECTS_PER_ANNOUNCEMENT,
    doubt::{InDoubt, Words},
};
use crate::{
    event::{
        Announcement, AnnouncementKind, AnnouncementRef, Beyond, ErasureId, EventId, SigningKeyId,
    },
    vault::{Decision, MemoKind, Unlearned, Vault, VaultError},
};

/// What is found in announcements.
#[derive(Default)]
pub(super) struct Found {
    unknown: Vec<(EventId, Decision)>,
    pub(super) known: u64,
    pub(super) foreign: u64,
    pub(super) unverifiable: Vec<EventId>,
    /// What only a compromised key says.
    pub(super) compromised: Vec<(EventId, Decision)>,
    pub(super) keys: Vec<SigningKeyId>,
    pub(super) distrusted: Vec<SigningKeyId>,
    pub(super) refused: Vec<RefusedStatement>,
    /// What this vault said and this program does not carry out.
    beyond: Vec<(String, EventId)>,
    /// What this vault announced and cannot open any more.
    too_new: Vec<InDoubt>,
    /// What a stranger to this restored vault announced with its secrets. `None`: this program does not
    /// understand it.
    strangers: Vec<(InDoubt, Option<Decision>)>,
    /// Erasures of which all that they took can be read here.
    finals: BTreeSet<ErasureId>,
    /// Statements that lead to keys from such as the vault does not know.
    gaps: Vec<(SigningKeyId, SigningKeyId)>,
    /// Announcements of this vault's that are there, no matter who signed them: whatever they say is known, or dealt with.
    pub(super) there: BTreeSet<AnnouncementRef>,
    /// Those that the vault's own word names as the ones before it.
    pub(super) named: BTreeSet<AnnouncementRef>,
}

impl Found {
    /// Takes what is said of signing keys into the vault's history, before anything is judged by it: the
    /// statement that a key is stolen comes after what the thief said.
    pub(super) async fn learn(
        &mut self,
        vault: &Vault,
        announcements: &[Announcement],
    ) -> Result<(), ErasureError> {
        let ours = |said: &&Announcement| {
            said.vault() == vault.id().0 && said.kind().is_some_and(AnnouncementKind::is_of_keys)
        };
        let statements: Vec<_> = announcements.iter().filter(ours).collect();
        if statements.is_empty() {
            return Ok(());
        }
        let mut history = vault.signing_history()?;
        let learned = history.learn_all(&statements);
        if !learned.is_empty() {
            vault.has_learned(history.clone()).await?;
        }
        // One may be pinned, and used; or distrusted by several.
        let add = |keys: &mut Vec<SigningKeyId>, key| {
            if !keys.contains(&key) {
                keys.push(key);
            }
        };
        for body in learned.iter().filter_map(|said| said.body().ok()) {
            if let Some(statement) = &body.statement {
                add(&mut self.keys, statement.public.id());
                if statement.compromised.is_some() {
                    add(&mut self.distrusted, statement.replaces);
                }
            }
            if let Some(distrust) = &body.distrust {
                add(&mut self.distrusted, distrust.key);
            }
        }
        for said in statements {
            match history.learn(said) {
                Ok(_) => {}
                // Anyone who can write to the store can name any keys; only a holder of the vault can seal.
                Err(Unlearned::Forged) => self.unverifiable.push(said.id()),
                Err(Unlearned::Gap { .. } | Unlearned::UnknownSigner { .. })
                    if !announce::opens(said, vault) =>
                {
                    self.unverifiable.push(said.id());
                }
                Err(why) => {
                    if let Unlearned::Gap { key, replaces } = why {
                        self.gaps.push((key, replaces));
                    }
                    self.refused.push(RefusedStatement { event: said.id(), why });
                    // It takes no one.
                    self.there.insert(said.reference());
                }
            }
        }
        Ok(())
    }

    /// Whether it counts as this vault's word: a key of the history signed it of which no one else is known to
    /// have it, or an operator believes it.
    pub(super) fn take(
        &mut self,
        vault: &Vault,
        announcement: &Announcement,
    ) -> Result<bool, ErasureError> {
        let is_own = self.judge(vault, announcement)?;
        if is_own {
            self.there.insert(announcement.reference());
        }
        // The thief of a key closes nothing with it.
        let counts = is_own
            && (vault.with_signing_history(|history| history.is_word(announcement))?
                || is_believed(vault, announcement)?);
        if counts {
            self.named.extend(announcement.named());
        }
        Ok(counts)
    }

    fn judge(&mut self, vault: &Vault, announcement: &Announcement) -> Result<bool, ErasureError> {
        if announcement.vault() != vault.id().0 {
            self.foreign += 1;
            return Ok(false);
        }
        if announcement.kind().is_some_and(AnnouncementKind::is_of_keys) {
            // Judged already.
            let refused = self.refused.iter().map(|refused| refused.event);
            let mut uncounted = self.unverifiable.iter().copied().chain(refused);
            return Ok(!uncounted.any(|event| event == announcement.id()));
        }
        let decision = match open(announcement, vault)? {
            Ok(decision) => decision,
            Err(Uncounted::Beyond(beyond)) => {
                self.beyond.push((beyond.to_string(), announcement.id()));
                return Ok(true);
            }
            Err(Uncounted::TooNew) => {
                self.too_new.extend(InDoubt::of(announcement, None));
                return Ok(true);
            }
            Err(Uncounted::Unsigned) => {
                self.unverifiable.push(announcement.id());
                return Ok(false);
            }
            Err(Uncounted::Compromised(decision)) if is_known(vault, &decision)? => {
                self.known += 1;
                return Ok(true);
            }
            Err(Uncounted::Stranger(Ok(decision))) if is_known(vault, &decision)? => {
                self.known += 1;
                self.there.insert(announcement.reference());
                return Ok(is_believed(vault, announcement)?);
            }
            // Only now does an id in the announcement lead to what the vault noted of it.
            Err(Uncounted::Compromised(decision)) => {
                match words(vault, announcement, None)? {
                    Some((doubt, words)) if words.believes(&doubt) => {}
                    _ => {
                        self.compromised.push((announcement.id(), *decision));
                        return Ok(true);
                    }
                }
                *decision
            }
            // It opens, so its author has the secrets of this vault: a restoration of which an old
            // image knows nothing, a history that went on elsewhere; or a thief. Nothing here can tell.
            Err(Uncounted::Stranger(content)) => {
                // If it is not reported what it is, nothing is opened.
                self.there.insert(announcement.reference());
                match (words(vault, announcement, content.as_ref().err())?, content) {
                    (Some((doubt, words)), Ok(decision)) if words.believes(&doubt) => *decision,
                    (Some((doubt, words)), content) if !words.passes_over(&doubt) => {
                        self.strangers.push((doubt, content.ok().map(|decision| *decision)));
                        return Ok(false);
                    }
                    _ => {
                        self.unverifiable.push(announcement.id());
                        return Ok(false);
                    }
                }
            }
        };
        let record = ErasureRecord::read(decision.erasure, &decision.record);
        if record.is_ok_and(|record| record.is_final()) {
            self.finals.insert(decision.erasure);
        }
        // What a journal announced is not done yet, and will be by that journal. One in a backup or
        // an image may be of an earlier attempt than the one that was carried out in the end.
        let own = match Journal::find(vault, decision.erasure)? {
            Some(journal) => {
                let parts = journal.plan.subjects.len().div_ceil(SUBJECTS_PER_ANNOUNCEMENT).max(1);
                journal.announced_as(announcement.id(), parts)
            }
            None => false,
        };
        if own || is_known(vault, &decision)? {
            self.known += 1;
        } else {
            self.unknown.push((announcement.id(), decision));
        }
        Ok(true)
    }

    /// Applies what counts. Then what the vault knows is true, no matter who says it: an erasure may be announced
    /// again by a key that is known.
    pub(super) async fn apply(
        &mut self,
        vault: &Vault,
    ) -> Result<(Vec<ErasureId>, u64), ErasureError> {
        let applied = apply(vault, std::mem::take(&mut self.unknown)).await?;
        for (event, decision) in std::mem::take(&mut self.compromised) {
            if !is_known(vault, &decision)? {
                self.compromised.push((event, decision));
            }
        }
        for (doubt, decision) in std::mem::take(&mut self.strangers) {
            let known = decision.as_ref().map(|decision| is_known(vault, decision)).transpose()?;
            if known != Some(true) {
                self.strangers.push((doubt, decision));
            }
        }
        // The vault's own word is of one erasure, however often it is said. That it was applied as an earlier
        // attempt announced it says nothing of a later one, which may have taken more.
        let finals = &self.finals;
        let is_told = |erasure: &ErasureId| finals.contains(erasure);
        self.too_new.retain(|doubt| {
            !doubt.erasure.as_ref().is_some_and(is_told) && !is_final(vault, doubt.erasure)
        });
        Ok(applied)
    }

    /// What only the operator, or a newer program, can decide keeps everything closed.
    pub(super) fn refuse_unclear(&self) -> Result<(), UnclearError> {
        if let Some((what, _)) = self.beyond.first() {
            let (what, events) = (what.clone(), self.beyond.iter().map(|(_, event)| *event));
            return Err(UnclearError::NotCarriedOut { what, events: events.collect() });
        }
        if !self.too_new.is_empty() {
            return Err(UnclearError::TooOld(self.too_new.clone()));
        }
        let erasures: Vec<_> = self.strangers.iter().map(|(doubt, _)| doubt.clone()).collect();
        let led_to = |key: SigningKeyId| self.gaps.iter().find(|(to, _)| *to == key);
        match erasures.iter().find_map(|doubt| led_to(doubt.signer)) {
            Some(&(key, replaces)) => Err(UnclearError::SigningKeyGap { key, replaces, erasures }),
            None if erasures.is_empty() => Ok(()),
            None => Err(UnclearError::UnknownSigner(erasures)),
        }
    }
}

/// What the operator said of an announcement in doubt.
fn words(
    vault: &Vault,
    said: &Announcement,
    beyond: Option<&Beyond>,
) -> Result<Option<(InDoubt, Words)>, VaultError> {
    let doubt = InDoubt::of(said, beyond);
    doubt.map(|doubt| Ok((doubt.clone(), Words::of(vault, doubt.event)?))).transpose()
}

/// Whether the vault has a record of the erasure by which no later attempt took more.
pub(super) fn is_final(vault: &Vault, erasure: Option<ErasureId>) -> bool {
    let record = erasure.map(|erasure| ErasureRecord::find(vault, erasure));
    matches!(record, Some(Ok(Some(record))) if record.is_final())
}

/// Whether an operator vouched for it.
fn is_believed(vault: &Vault, said: &Announcement) -> Result<bool, VaultError> {
    let known = words(vault, said, None)?;
    Ok(known.is_some_and(|(doubt, words)| words.believes(&doubt)))
}

/// Whether the vault has a record of the erasure, and all that it took is dead here. Of an earlier attempt
/// than the one that was carried out it is enough that the fences tell of the erasure: what the last one
/// spared lives.
pub(super) fn is_known(vault: &Vault, decision: &Decision) -> Result<bool, VaultError> {
    let Some(record) = vault.memo(MemoKind::Erasure, decision.erasure.0.into_bytes())? else {
        return Ok(false);
    };
    let attempt = ErasureRecord::attempt_in(&decision.record);
    let is_earlier = attempt < ErasureRecord::attempt_in(&record);
    Ok((is_earlier && vault.tells_of(decision)?) || vault.covers(decision)?)
}

/// Applies what the vault does not know, in the order in which it was told: a clock may have been set back
/// between two erasures. Returns the erasures, and how many keys they destroyed.
async fn apply(
    vault: &Vault,
    mut unknown: Vec<(EventId, Decision)>,
) -> Result<(Vec<ErasureId>, u64), ErasureError> {
    if unknown.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let mut erasures: Vec<ErasureId> = Vec::new();
    for (_, decision) in &unknown {
        // One may come in several parts.
        if !erasures.contains(&decision.erasure) {
            erasures.push(decision.erasure);
        }
    }
    // The last attempt says what was spared. Which one that is, is signed; where they are is not. Two of
    // one number are of a vault that was put back: then the order is any, but always the same.
    unknown.sort_by_cached_key(|(event, decision)| {
        let told = erasures.iter().position(|erasure| *erasure == decision.erasure);
        (told, ErasureRecord::attempt_in(&decision.record), *event)
    });
    let mut unknown: Vec<_> = unknown.into_iter().map(|(_, decision)| decision).collect();
    for decision in &mut unknown {
        decision.record =
            ErasureRecord::replayed(decision.erasure, &decision.record)?.to_memo()?.to_vec();
    }
    let applied = async {
        // Another holder of the vault may be at work.
        let _closure = vault.close(&vault.named(&unknown)?).await;
        vault.replay(unknown).await
    };
    match applied.await {
        Ok(destroyed) => Ok((erasures, destroyed.keys)),
        Err(source) => Err(ErasureError::NotReplayed { erasures, source }),
    }
}
