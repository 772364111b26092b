//! The witness: what the event store has announced is compared with what the vault knows.
//!
//! A vault and its root slot that were rolled back together are whole and open well. That
//! erasures were undone is known to somebody else alone: here, to the announcements in the event
//! store, if that was not rolled back as well.

use serde::{Deserialize, Serialize};

use super::{
    ErasureError, ErasureRecord, Uncounted,
    announce::{self, Draft, open, stream},
    journal::Journal,
    keys::say_due,
};
use crate::{
    event::{
        Announcement, AnnouncementKind, ErasureId, EventId, NewEvent, RecordedEvent, Revision,
        SigningKeyId,
    },
    layer::{Layer, Oubliette},
    store::{
        Append, Capability, Direction, EventStore, ExpectedRevision, ReadAllOptions, ReadOptions,
        StoreError,
    },
    vault::{Destruction, NoteKind, Unlearned, Vault, VaultError, Verdict, notes},
};

/// How many subjects one announcement names at most: some forty kilobytes, which any store takes.
const SUBJECTS_PER_ANNOUNCEMENT: usize = 1024;
/// How many times other events may have the ids of an announcement before something else is the
/// matter than chance.
const MOST_ATTEMPTS: usize = 8;
/// The id of the note of the kind `Witness` that holds the [`Mark`]. The others of that kind have the
/// ids of erasures: see [`believe`].
const MARK: [u8; 16] = [0; 16];
/// What the others say.
const BELIEVED: &[u8] = b"believed";

/// What the announcements in the event store told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Witnessed {
    /// The vault had been rolled back, or restored from a backup: these erasures were undone by
    /// that, and were applied again.
    pub replayed: Vec<ErasureId>,
    /// Events that claim to be announcements of this vault and are not signed by it, or do not
    /// open: forged, changed, or of a newer program. They do not count.
    pub unverifiable: Vec<EventId>,
    /// Announcements of erasures that the vault does not know, and that only a signing key says which
    /// somebody else has as well. They do not count.
    pub compromised: Vec<EventId>,
    /// Signing keys of the vault's that it learned of.
    pub keys: Vec<SigningKeyId>,
    /// Signing keys of the vault's of which it learned that they are compromised.
    pub distrusted: Vec<SigningKeyId>,
    /// Statements about signing keys that do not count.
    pub refused: Vec<RefusedStatement>,
    /// Whether announcements that the vault knows of are no longer in the store, or stand there
    /// in another order: it was rolled back itself, or somebody removed them.
    pub gap: bool,
    /// Whether the store is empty, although the vault announced erasures before: it stands in for
    /// another store, as beside a codec, or is not the one that was. It bears witness to nothing.
    pub elsewhere: bool,
}

impl Witnessed {
    fn add(&mut self, other: &Self) {
        self.replayed.extend(&other.replayed);
        self.unverifiable.extend(&other.unverifiable);
        self.compromised.extend(&other.compromised);
        self.keys.extend(&other.keys);
        self.distrusted.extend(&other.distrusted);
        self.refused.extend(&other.refused);
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replayed {
    /// The erasures that the vault had not known, oldest first.
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
/// [`ErasureError::NotReplayed`]; errors of the vault.
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

/// Whether the operator took a stranger's word for an erasure.
fn is_believed(vault: &Vault, erasure: [u8; 16]) -> Result<bool, VaultError> {
    match vault.note(NoteKind::Witness, erasure)? {
        None => Ok(false),
        Some(note) if note.as_slice() == BELIEVED => Ok(true),
        Some(_) => Err(VaultError::Damaged("what the operator said of an erasure".into())),
    }
}

/// Says that an erasure is to be applied which somebody announced with the secrets of this
/// vault, under a key that it does not know ([`ErasureError::UnknownSigner`]) or that is compromised: the
/// operator knows that an earlier restoration, or the vault itself, did. It is applied when a layer over the
/// vault is opened, once.
///
/// # Errors
/// Errors of the vault.
pub async fn believe(vault: &Vault, erasure: ErasureId) -> Result<(), ErasureError> {
    // What was read and did not count is read once more.
    vault.remove_note(NoteKind::Witness, MARK).await?;
    Ok(vault.put_note(NoteKind::Witness, erasure.0.into_bytes(), BELIEVED).await?)
}

/// Says that an erasure which the vault announced and cannot open any more is dealt with: everybody
/// whom it took is forgotten again by name, or never was in what was put back. Without that, a layer
/// over the vault does not open ([`ErasureError::TooOld`], [`ErasureError::UnknownSigner`]).
///
/// # Errors
/// Errors of the vault.
pub async fn pass_over(vault: &Vault, erasure: ErasureId) -> Result<(), ErasureError> {
    let id = erasure.0.into_bytes();
    if vault.note(NoteKind::Erasure, id)?.is_none() {
        let record = ErasureRecord::dealt_with(erasure).to_note()?;
        vault.put_note(NoteKind::Erasure, id, &record).await?;
    }
    Ok(())
}

/// Announcements of all erasures that a vault knows, made anew from its fences and records: for a
/// file that is kept apart from the vault, also where the events are lost. An erasure may come in
/// several parts. Before them come the statements that lead to the key that signs them.
pub fn export(
    vault: &Vault,
) -> impl Iterator<Item = Result<Announcement, ErasureError>> + Send + use<> {
    let sealer = vault.clone();
    let statements = match vault.key_statements() {
        Ok(statements) => statements.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error.into())],
    };
    let erasures = vault.verdicts().flat_map(move |verdicts| {
        let announcements = match verdicts {
            Ok(verdicts) => verdicts
                .iter()
                .map(|verdict| Draft::of(verdict).say(&sealer, EventId::random(), None, None))
                .collect(),
            Err(error) => vec![Err(error.into())],
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
        let vault = self.vault().ok_or(ErasureError::NoVault)?;
        let announcements: Vec<_> = announcements.into_iter().collect();
        replay(vault, announcements).await
    }
}

/// How far the vault knows the announcements in the store: all of its own up to this event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The last event that was looked at, of whichever vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<(Revision, EventId)>,
    /// The last announcement of its own up to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<EventId>,
    /// The last announcement that it made, which the next one names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest: Option<EventId>,
}

impl Mark {
    /// A damaged mark is none: all that the store has is compared. One that a newer program wrote is an
    /// error.
    pub(super) fn load(vault: &Vault) -> Result<Self, VaultError> {
        let note = vault.note(NoteKind::Witness, MARK)?;
        Ok(note
            .and_then(|note| notes::from_json(NoteKind::Witness, &note).ok())
            .unwrap_or_default())
    }

    pub(super) async fn save(self, vault: &Vault) -> Result<(), VaultError> {
        // Where nothing is written, the next one to open it looks again.
        if Self::load(vault)? == self || vault.is_read_only() {
            return Ok(());
        }
        let note = notes::to_json(&self)?;
        vault.put_note(NoteKind::Witness, MARK, &note).await
    }

    /// After announcements of this vault's own were appended. `false`: others wrote in between,
    /// and may have been copies of this vault.
    pub(super) fn advance(&mut self, events: u64, revision: Revision, last: EventId) -> bool {
        let next = self.at.map_or(0, |(revision, _)| revision.0 + 1);
        self.newest = Some(last);
        if revision.0.checked_sub(events - 1) != Some(next) {
            return false;
        }
        (self.at, self.last) = (Some((revision, last)), Some(last));
        true
    }
}

/// What is found in announcements.
#[derive(Default)]
struct Found {
    unknown: Vec<Verdict>,
    known: u64,
    foreign: u64,
    unverifiable: Vec<EventId>,
    /// What only a compromised key says.
    compromised: Vec<(EventId, Verdict)>,
    keys: Vec<SigningKeyId>,
    distrusted: Vec<SigningKeyId>,
    refused: Vec<RefusedStatement>,
    /// What this vault said and this program does not carry out.
    beyond: Vec<(String, EventId)>,
    /// What this vault announced and cannot open any more.
    too_new: Vec<ErasureId>,
    /// What a stranger to this restored vault announced with its secrets, and the stranger.
    strangers: Vec<(Verdict, SigningKeyId)>,
    /// Statements that lead to keys from such as the vault does not know.
    gaps: Vec<(SigningKeyId, SigningKeyId)>,
}

impl Found {
    /// Takes what is said of signing keys into the vault's history, before anything is judged by it: the
    /// statement that a key is stolen comes after what the thief said.
    async fn learn(
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
        for body in learned.iter().filter_map(|said| said.body().ok()) {
            self.keys.extend(body.statement.as_ref().map(|statement| statement.public.id()));
            self.distrusted.extend(body.distrust.as_ref().map(|distrust| distrust.key));
        }
        for said in statements {
            match history.learn(said) {
                Ok(_) => {}
                // Whoever writes to the store can name any keys; only a holder of the vault can seal.
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
                }
            }
        }
        Ok(())
    }

    /// Whether it is this vault's own.
    fn take(&mut self, vault: &Vault, announcement: &Announcement) -> Result<bool, ErasureError> {
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
        let opened = open(announcement, vault)?;
        if let Err(Uncounted::Beyond(beyond)) = &opened {
            self.beyond.push((beyond.to_string(), announcement.id()));
            return Ok(true);
        }
        let Some(erasure) = announcement.erasure() else {
            self.unverifiable.push(announcement.id());
            return Ok(false);
        };
        let id = erasure.0.into_bytes();
        let verdict = match opened {
            Ok(verdict) => verdict,
            Err(Uncounted::TooNew) => {
                self.too_new.push(erasure);
                return Ok(true);
            }
            Err(Uncounted::Stranger(verdict, _) | Uncounted::Compromised(verdict))
                if is_known(vault, &verdict)? =>
            {
                self.known += 1;
                return Ok(true);
            }
            // Once: what comes later under that id is another statement.
            Err(Uncounted::Stranger(verdict, _) | Uncounted::Compromised(verdict))
                if is_believed(vault, id)? && vault.note(NoteKind::Erasure, id)?.is_none() =>
            {
                *verdict
            }
            // It opens, so whoever made it has the secrets of this vault: a restoration of which an old
            // image knows nothing, a history that went on elsewhere; or a thief. Nothing here can tell.
            Err(Uncounted::Stranger(verdict, signer)) => {
                // The operator passed over that erasure, or its word is used up.
                match vault.note(NoteKind::Erasure, id)? {
                    Some(_) => self.unverifiable.push(announcement.id()),
                    None => self.strangers.push((*verdict, signer)),
                }
                return Ok(false);
            }
            Err(Uncounted::Compromised(verdict)) => {
                self.compromised.push((announcement.id(), *verdict));
                return Ok(true);
            }
            Err(_) => {
                self.unverifiable.push(announcement.id());
                return Ok(false);
            }
        };
        // What a journal announced is not done yet, and will be by that journal. One in a backup or
        // an image may be of an earlier attempt than the one that was carried out in the end.
        let own = match Journal::find(vault, verdict.erasure)? {
            Some(journal) => {
                let parts = journal.plan.subjects.len().div_ceil(SUBJECTS_PER_ANNOUNCEMENT).max(1);
                journal.announced_as(announcement.id(), parts)
            }
            None => false,
        };
        if own || is_known(vault, &verdict)? {
            self.known += 1;
        } else {
            self.unknown.push(verdict);
        }
        Ok(true)
    }

    /// Applies what counts. Then what the vault knows is so, whoever says it: an erasure may be announced
    /// again by a key that is known.
    async fn apply(&mut self, vault: &Vault) -> Result<(Vec<ErasureId>, u64), ErasureError> {
        let applied = apply(vault, std::mem::take(&mut self.unknown)).await?;
        for (event, verdict) in std::mem::take(&mut self.compromised) {
            if !is_known(vault, &verdict)? {
                self.compromised.push((event, verdict));
            }
        }
        // An operator passed over these, and so took responsibility for them.
        let noted = |erasure: ErasureId| {
            vault.note(NoteKind::Erasure, erasure.0.into_bytes()).is_ok_and(|note| note.is_some())
        };
        self.strangers.retain(|(verdict, _)| !noted(verdict.erasure));
        self.too_new.retain(|erasure| !noted(*erasure));
        Ok(applied)
    }

    /// What nobody but the operator, or a newer program, can decide keeps everything closed.
    fn refuse_unclear(&self) -> Result<(), ErasureError> {
        if let Some((what, _)) = self.beyond.first() {
            let (what, events) = (what.clone(), self.beyond.iter().map(|(_, event)| *event));
            return Err(ErasureError::NotCarriedOut { what, events: events.collect() });
        }
        // An erasure may come in several parts.
        let distinct = |mut erasures: Vec<ErasureId>| {
            erasures.dedup();
            erasures
        };
        if !self.too_new.is_empty() {
            return Err(ErasureError::TooOld(distinct(self.too_new.clone())));
        }
        let strangers = self.strangers.iter();
        let erasures = distinct(strangers.clone().map(|(verdict, _)| verdict.erasure).collect());
        let led_to = |key: SigningKeyId| self.gaps.iter().find(|(to, _)| *to == key);
        match strangers.clone().find_map(|(_, signer)| led_to(*signer)) {
            Some(&(key, replaces)) => Err(ErasureError::SigningKeyGap { key, replaces, erasures }),
            None if erasures.is_empty() => Ok(()),
            None => Err(ErasureError::UnknownSigner(erasures)),
        }
    }
}

/// Whether the vault has a record of the erasure, and all that it took is dead here.
fn is_known(vault: &Vault, verdict: &Verdict) -> Result<bool, VaultError> {
    let noted = vault.note(NoteKind::Erasure, verdict.erasure.0.into_bytes())?.is_some();
    Ok(noted && vault.covers(verdict)?)
}

/// Has the store announce the erasure. Returns whether it has: one that never takes such events
/// cannot bear witness, and must not keep anybody's keys alive.
pub(super) async fn announce<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    destruction: &Destruction,
    record: &ErasureRecord,
    mark: &mut Mark,
) -> Result<bool, ErasureError> {
    let erasure = journal.erasure;
    let pending = |error| match error {
        ErasureError::KeyChangePending(source) => {
            ErasureError::AnnouncementPending { erasure, source }
        }
        other => other,
    };
    // Whoever reads the announcement must know the key that signs it.
    say_due(layer, vault).await.map_err(pending)?;
    *mark = Mark::load(vault)?;
    let verdict = vault.verdict(destruction, &record.to_note()?)?;
    for _ in 0..MOST_ATTEMPTS {
        let (events, ids) = parts(vault, journal, mark.newest, verdict.clone())?;
        let append = Append::new(stream()?, ExpectedRevision::Any, events);
        let appended = match layer.answer(layer.store.append(vec![append])).await {
            Ok(appended) => appended.first().copied(),
            Err(StoreError::IdInUse { .. }) => None,
            Err(
                error @ (StoreError::Invalid(_)
                | StoreError::Unsupported(_)
                | StoreError::Refused { .. }),
            ) => {
                tracing::warn!(
                    %erasure, %error,
                    "the event store does not take announcements of erasures: a vault that is \
                     rolled back to before this one will not be found out by it"
                );
                return Ok(false);
            }
            Err(source) => return Err(ErasureError::AnnouncementPending { erasure, source }),
        };
        // An earlier attempt was answered, and the answer was lost; or another event has the id.
        let is_new = appended.is_some_and(|appended| !appended.already);
        if is_new || are_there(layer, vault, erasure, &ids).await? {
            let last = ids.last().copied().unwrap_or_else(EventId::random);
            let next = appended
                .is_some_and(|appended| mark.advance(ids.len() as u64, appended.revision, last));
            if !next {
                // Another vault over the same store, as a rule; or a copy of this one.
                match look(layer, vault).await {
                    Ok(()) => *mark = Mark::load(vault)?,
                    Err(error) => {
                        tracing::warn!(%erasure, %error, "what others announced is not known");
                    }
                }
            }
            return Ok(true);
        }
        tracing::error!(
            events = ?ids,
            "another event has the id of an announcement, which nobody could foresee; it gets \
             another id: find out who appended that event"
        );
        journal.try_anew();
        journal.write(vault).await?;
    }
    let source = StoreError::IdInUse { id: journal.announcement(0), stream: stream()? };
    Err(ErasureError::AnnouncementPending { erasure, source })
}

/// The parts of the announcement, and their ids.
fn parts(
    vault: &Vault,
    journal: &Journal,
    mut previous: Option<EventId>,
    mut verdict: Verdict,
) -> Result<(Vec<NewEvent>, Vec<EventId>), ErasureError> {
    let taken = std::mem::take(&mut verdict.taken);
    let mut parts: Vec<_> = taken.chunks(SUBJECTS_PER_ANNOUNCEMENT).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let (mut events, mut ids) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    for (part, taken) in parts.into_iter().enumerate() {
        let id = journal.announcement(part);
        verdict.taken = taken.to_vec();
        let said = Draft::of(&verdict).say(vault, id, previous, None)?;
        let invalid = |error: crate::event::NameError| StoreError::Invalid(error.to_string());
        events.push(said.to_event().map_err(invalid)?);
        ids.push(id);
        previous = Some(id);
    }
    Ok((events, ids))
}

/// Whether the events with these ids announce the erasure, in this vault's word.
async fn are_there<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    erasure: ErasureId,
    ids: &[EventId],
) -> Result<bool, ErasureError> {
    let pending = |source| ErasureError::AnnouncementPending { erasure, source };
    let found = layer.find_in(&stream()?, ids.iter().copied().collect(), None).await;
    let found = found.map_err(pending)?;
    for event in &found {
        let opened = Announcement::of(event).map(|announcement| open(&announcement, vault));
        match opened.transpose()? {
            Some(Ok(verdict)) if verdict.erasure == erasure => {}
            _ => return Ok(false),
        }
    }
    Ok(found.len() == ids.len())
}

/// Reads what was announced since the vault last looked, and applies what it does not know. Only
/// one erasure at a time may be under way.
pub(super) async fn look<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<(), ErasureError> {
    let mark = Mark::load(vault)?;
    let (events, mut gap) = since(layer, mark.at).await.map_err(ErasureError::WitnessSilent)?;
    let elsewhere = gap && events.is_empty() && is_empty(layer).await?;
    let announcements: Vec<_> = events.iter().filter_map(Announcement::of).collect();
    let mut found = Found::default();
    found.learn(vault, &announcements).await?;
    // Where all is compared anew, it is not known after which of them the first one comes.
    let mut last = (!gap).then_some(mark.last);
    for announcement in &announcements {
        if found.take(vault, announcement)? {
            gap |= last.is_some_and(|last| last != announcement.previous());
            last = Some(Some(announcement.id()));
        }
    }
    let (replayed, _) = found.apply(vault).await?;
    // Before the mark moves: the next opening must find them as well.
    found.refuse_unclear()?;
    let at = events.last().map(|event| (event.revision, event.id));
    let at = if gap || at.is_some() { at } else { mark.at };
    let last = last.flatten();
    Mark { at, last, newest: last }.save(vault).await?;
    let gap = gap && !elsewhere;
    let Found { unverifiable, compromised, keys, distrusted, refused, .. } = found;
    let compromised = compromised.into_iter().map(|(event, _)| event).collect();
    let witnessed = Witnessed {
        replayed,
        unverifiable,
        compromised,
        keys,
        distrusted,
        refused,
        gap,
        elsewhere,
    };
    tell(vault, &witnessed);
    // No code panics while it holds this lock.
    let so_far = layer.witnessed.lock();
    so_far.unwrap_or_else(std::sync::PoisonError::into_inner).add(&witnessed);
    Ok(())
}

fn tell(vault: &Vault, witnessed: &Witnessed) {
    let vault = vault.id();
    for erasure in &witnessed.replayed {
        tracing::warn!(
            %vault, %erasure,
            "the vault was rolled back or restored; an erasure announced since is applied again"
        );
    }
    for event in &witnessed.unverifiable {
        tracing::warn!(
            %vault, %event,
            "an event says that it announces an erasure of this vault, and is not signed by it or \
             does not open: it is forged, changed, or a newer program's, and does not count"
        );
    }
    for event in &witnessed.compromised {
        tracing::warn!(
            %vault, %event,
            "an erasure is announced by a signing key alone that is compromised: it does not count"
        );
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
            "announcements that this vault knows of are missing in the event store, or stand in \
             another order: the store was rolled back, or they were removed"
        );
    }
}

/// Whether there is nothing at all in the store: then it never held what was announced, as far as
/// can be told, and nobody hides something by it that can still be read there.
async fn is_empty<S: EventStore>(layer: &Layer<S>) -> Result<bool, ErasureError> {
    if !layer.store.capabilities().has(Capability::ReadAll) {
        return Ok(false);
    }
    let mut all = layer.store.read_all(ReadAllOptions::default());
    let first = layer.next(&mut all).await.map_err(ErasureError::WitnessSilent)?;
    Ok(first.is_none())
}

/// The events of the stream after a mark, in order; or, where it is no longer there, all that
/// there are, and that it is missing.
async fn since<S: EventStore>(
    layer: &Layer<S>,
    mark: Option<(Revision, EventId)>,
) -> Result<(Vec<RecordedEvent>, bool), StoreError> {
    let stream = stream()?;
    let Some((revision, id)) = mark else {
        let all = layer.store.read(&stream, ReadOptions::default());
        return Ok((layer.rest(all).await?, false));
    };
    let mut found = Vec::new();
    if layer.store.capabilities().has(Capability::ReadBackwards) {
        let direction = Direction::Backwards;
        let mut events =
            layer.store.read(&stream, ReadOptions { direction, ..ReadOptions::default() });
        while let Some(event) = layer.next(&mut events).await? {
            if event.revision <= revision {
                if event.id == id {
                    found.reverse();
                    return Ok((found, false));
                }
                break;
            }
            found.push(event);
        }
    } else {
        let options = ReadOptions { from: Some(revision), ..ReadOptions::default() };
        let mut events = layer.store.read(&stream, options);
        if layer.next(&mut events).await?.is_some_and(|first| first.id == id) {
            return Ok((layer.rest(events).await?, false));
        }
    }
    let all = layer.store.read(&stream, ReadOptions::default());
    Ok((layer.rest(all).await?, true))
}

/// Applies what the vault does not know, oldest first. Returns the erasures, and how many keys
/// they destroyed.
async fn apply(
    vault: &Vault,
    mut unknown: Vec<Verdict>,
) -> Result<(Vec<ErasureId>, u64), ErasureError> {
    if unknown.is_empty() {
        return Ok((Vec::new(), 0));
    }
    unknown.sort_by_key(|verdict| verdict.erasure);
    let mut erasures: Vec<ErasureId> = unknown.iter().map(|verdict| verdict.erasure).collect();
    erasures.dedup();
    for verdict in &mut unknown {
        verdict.note = ErasureRecord::replayed(verdict.erasure, &verdict.note)?.to_note()?.to_vec();
    }
    let applied = async {
        // Whoever shares the vault may be at work.
        let _closure = vault.close(&vault.named(&unknown)?).await;
        vault.replay(unknown).await
    };
    match applied.await {
        Ok(destroyed) => Ok((erasures, destroyed.keys)),
        Err(source) => Err(ErasureError::NotReplayed { erasures, source }),
    }
}
