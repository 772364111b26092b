//! The events' part: the state of each token's key, and what the events say of the vault.

use futures::TryStreamExt;

use super::{
    Defect, VerifyOptions, VerifyProgress, VerifyReport,
    announcements::Announcements,
    lots::{Keys, counting},
    owned,
    state::{Events, Others},
    tag::Seen,
    used::{Edges, Lot},
    vault::Books,
};
use crate::{
    audit::{AuditError, Location},
    crypto::Plaintext,
    event::{ANNOUNCEMENTS, Holes, KeyId, Payload, RecordedEvent, Subject, Timestamp},
    layer::{
        CodecError, EventRef, Oubliette, Specimen, TokenFate,
        document::{Document, Parts, Stored},
        try_tokens,
    },
    policy::OWN_STREAMS,
    store::{EventStore, StoreError, Unreadable},
    vault::{Tagged, Vault, VaultError},
};

/// After how many events it is told how far it has come.
const OFTEN: u64 = 512;

pub(super) async fn verify<S: EventStore>(
    layer: &Oubliette<S>,
    vault: &Vault,
    books: &Books,
    began: Timestamp,
    options: VerifyOptions,
    report: &mut VerifyReport,
    tell: &mut (impl FnMut(VerifyProgress) + Send),
) -> Result<(), AuditError> {
    let mut keys = Keys::new(layer, began);
    let most = options.keys_at_once.max(1);
    let (mut lot, mut edges) = keys.next_lot(vault, most);
    let mut said = Announcements::default();
    let mut others = Others::default();
    let (mut pass, mut unused) = (1, 0);
    let mut damaged = false;
    loop {
        keys.tell(report, tell);
        let mut events = layer.specimens();
        let (mut read, mut passed_over) = (0, None);
        loop {
            let specimen = match events.try_next().await {
                Ok(Some(specimen)) => specimen,
                Ok(None) => break,
                // The rest is still looked at. A store that goes in circles has failed.
                Err(StoreError::Damaged { position, source }) if passed_over < Some(position) => {
                    if pass == 1 {
                        let at = Location::Position(position);
                        report.found(Defect::DamagedEvent.at(at, source.to_string()), tell);
                    }
                    (damaged, passed_over) = (true, Some(position));
                    events = layer.specimens_after(passed_over);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            read += 1;
            if u64::is_multiple_of(read, OFTEN) {
                tell(VerifyProgress::Events { read, pass });
            }
            if pass > 1 {
                mark(&specimen, &mut lot);
                if !edges.is_empty() {
                    read_again(layer, vault, specimen, &mut edges).await?;
                }
                continue;
            }
            let (lot, edges, others) = (&mut lot, &mut edges, &mut others);
            let mut events = Events { layer, vault, books, report, tell, lot, edges, others };
            events.judge(specimen, &mut said).await?;
        }
        tell(VerifyProgress::Events { read, pass });
        // What a damaged event would have shown is not known, nor what a newer program knows.
        let hidden = damaged || report.events.newer > 0;
        let unseen: Vec<KeyId> = lot.unseen().filter(|_| !hidden).collect();
        for &id in &unseen {
            // Between the taking of the inventory and now it may have been destroyed.
            let Ok(Some(info)) = vault.key_info(id) else { continue };
            unused += 1;
            let at = Location::Key { id: id.to_string(), stream: Some(info.stream) };
            report
                .found(Defect::UnusedKey.at(at, "no event in the store is sealed under it"), tell);
        }
        // Of a stream whose events are elsewhere, nothing can be said.
        let unstated = edges.unseen().filter(|(_, id)| unseen.binary_search(id).is_err());
        for (edge, id) in unstated.filter(|_| !hidden) {
            let Ok(Some(info)) = vault.key_info(id) else { continue };
            // Since the taking of the inventory it may have been given away.
            let owner = counting(vault, &info.subject)
                .into_iter()
                .find(|owner| Edges::edge(vault, &info.subject, owner) == edge);
            let Some(owner) = owner else { continue };
            let what = format!("no event states that {owner} owns it");
            report.found(Defect::OwnerNotStated.at(Location::Subject(info.subject), what), tell);
        }
        (lot, edges) = keys.next_lot(vault, most);
        if lot.is_empty() {
            break;
        }
        pass += 1;
    }
    keys.tell(report, tell);
    report.vault.ownerless = keys.ownerless;
    let hidden = damaged || report.events.newer > 0;
    report.vault.unused_keys = (!keys.broken && !hidden).then_some(unused);
    said.tombstones.leave_out_living(layer, vault, books).await?;
    said.missing(vault, books, damaged, report, tell);
    Ok(())
}

/// Notes the owners that an event states, as far as it can be read.
fn stated<S: EventStore>(
    layer: &Oubliette<S>,
    vault: &Vault,
    event: &RecordedEvent,
    data: Option<&Payload>,
    edges: &mut Edges,
) {
    let (policy, dependent) = (layer.policy(), Subject::of(&event.stream));
    if edges.is_empty() || !policy.states_owners(&event.stream, &event.event_type) {
        return;
    }
    let changes = data.map(|data| policy.stated_owners(&event.stream, &event.event_type, data));
    let changes = changes.unwrap_or_default();
    if changes.is_empty() {
        edges.see_all_of(vault, &dependent);
    }
    for change in changes {
        edges.see(Edges::edge(vault, &dependent, change.owner()));
    }
}

/// Of a later pass: notes the owners that an event states, and nothing else.
async fn read_again<S: EventStore>(
    layer: &Oubliette<S>,
    vault: &Vault,
    specimen: Specimen,
    edges: &mut Edges,
) -> Result<(), AuditError> {
    let anothers = specimen.is_anothers(vault).await;
    let Specimen { event, document, .. } = specimen;
    if anothers || !layer.policy().states_owners(&event.stream, &event.event_type) {
        return Ok(());
    }
    let data = match document {
        Ok(Document::Stored(mut stored)) => {
            let fates = try_tokens(vault, &event, &mut stored).await?;
            let opened = fates.into_iter().filter_map(|(_, fate)| match fate {
                TokenFate::Open(plaintext, _) => Some(plaintext),
                _ => None,
            });
            stored.assemble(opened.collect::<Parts>()).ok().and_then(|(data, _)| data)
        }
        Ok(Document::Clear) => event.data.clone(),
        Err(_) => None,
    };
    stated(layer, vault, &event, data.as_ref(), edges);
    Ok(())
}

/// Notes which keys an event uses, and nothing else.
fn mark(specimen: &Specimen, lot: &mut Lot) {
    if let Ok(Document::Stored(stored)) = &specimen.document {
        stored.tokens.iter().for_each(|token| lot.see(token.key_id()));
    }
}

impl<S: EventStore, T: FnMut(VerifyProgress) + Send> Events<'_, S, T> {
    async fn judge(
        &mut self,
        specimen: Specimen,
        said: &mut Announcements,
    ) -> Result<(), AuditError> {
        mark(&specimen, self.lot);
        let tagged = specimen.tagged(self.vault).await;
        let anothers = specimen.is_anothers(self.vault).await;
        let Specimen { event, document, lone_half } = specimen;
        self.report.events.events += 1;
        match document {
            // Nothing was taken apart of the stream that it is in.
            _ if event.is_tombstone() && !lone_half => self.tombstone(&event, said).await?,
            // Its holes, too, may say what is this vault's.
            Ok(Document::Stored(stored)) if anothers => {
                if !self.has_forged_holes(&event, &stored).await? {
                    self.anothers(&event, stored.tokens.is_empty() && stored.notes.holes.is_none());
                }
            }
            Err(_) if anothers => self.anothers(&event, false),
            Err(Unreadable::HalfMissing) => {
                let which = if lone_half { "public" } else { "private" };
                stated(self.layer, self.vault, &event, None, self.edges);
                self.found(Defect::HalfMissing, &event, format!("its {which} half is missing"));
            }
            Err(unreadable) => {
                stated(self.layer, self.vault, &event, None, self.edges);
                self.unreadable(&event, &unreadable);
            }
            Ok(_) if event.is_announcement() => self.announcement(&event, said)?,
            Ok(_) if event.stream.as_str() == ANNOUNCEMENTS => {
                let what = "it is in the stream of announcements, and is none";
                self.found(Defect::ForgedAnnouncement, &event, what);
            }
            // What the layer itself writes into streams of its own holds nothing personal.
            Ok(Document::Clear) if event.stream.as_str().starts_with(OWN_STREAMS) => {}
            Ok(Document::Clear) => self.clear(&event)?,
            Ok(Document::Stored(stored)) => self.stored(&event, stored, tagged).await?,
        }
        Ok(())
    }

    /// An event from before the layer, or written past it: it may be about somebody who is
    /// forgotten.
    pub(super) fn clear(&mut self, event: &RecordedEvent) -> Result<(), AuditError> {
        self.in_clear(event, "it was never sealed");
        stated(self.layer, self.vault, event, event.data.as_ref(), self.edges);
        match &event.data {
            Some(data) => self.owners(event, data, true),
            None => Ok(()),
        }
    }

    /// Another vault's event. What it states, and for whom it is sealed, is that vault's to judge.
    fn anothers(&mut self, event: &RecordedEvent, in_clear: bool) {
        self.report.events.other_vaults += 1;
        self.others.add(&event.stream);
        if in_clear {
            // Anybody can write such a tag, so that it hides nothing.
            self.in_clear(event, "another vault's event holds it in clear");
        }
        self.found(Defect::OtherVault, event, "its tag names another vault");
    }

    async fn stored(
        &mut self,
        event: &RecordedEvent,
        mut stored: Stored,
        tagged: Option<Tagged>,
    ) -> Result<(), AuditError> {
        if self.has_forged_holes(event, &stored).await? {
            // Its tokens are bound to the note: that they do not open says nothing more.
            stated(self.layer, self.vault, event, None, self.edges);
            return Ok(());
        }
        let mut seen = Seen { holes: stored.notes.holes.is_some(), ..Seen::default() };
        let mut opened: Vec<Plaintext> = Vec::new();
        let parts = stored.tokens.len();
        let (mut sealed_for, present) = (Vec::new(), self.layer.policy().digest());
        for (id, fate) in try_tokens(self.vault, event, &mut stored).await? {
            match fate {
                TokenFate::Open(plaintext, subject) => {
                    self.report.events.open += 1;
                    sealed_for.extend((plaintext.policy() != present).then_some(subject));
                    opened.push(plaintext);
                }
                TokenFate::Shredded(..) => seen.dead.push(id),
                TokenFate::NoKey(VaultError::KeyMissing(_)) => {
                    self.report.events.unknown += 1;
                    self.found(Defect::UnknownKey, event, format!("no key {id} in this vault"));
                }
                TokenFate::Failed(unreadable) => {
                    seen.failed = true;
                    self.unreadable(event, &unreadable);
                }
                // The damaged page is told already.
                TokenFate::NoKey(_) => self.report.events.lost += 1,
            }
        }
        (seen.parts, seen.open) = (parts, !opened.is_empty());
        self.tag(event, tagged, &seen)?;
        let data = match stored.assemble(opened) {
            Ok((data, _)) => data,
            Err(unreadable) => {
                self.unreadable(event, &unreadable);
                None
            }
        };
        let ours = parts > 0 || tagged == Some(Tagged::Ours);
        if let Some(data) = data.as_ref().filter(|_| ours) {
            // Of an event that is dead in part, it is not known for whom it was sealed.
            if !sealed_for.is_empty() && sealed_for.len() == parts {
                let policy = self.layer.policy();
                let told = owned::of_subjects(policy, self.vault, event, data, &sealed_for)?;
                told.into_iter().for_each(|(kind, what)| self.found(kind, event, what));
            }
            self.owners(event, data, false)?;
        }
        stated(self.layer, self.vault, event, data.as_ref(), self.edges);
        Ok(())
    }

    /// Counts what was missing of a copy, if this vault noted it; says whether somebody else did. Where
    /// all of the event is another vault's, its own tag says so.
    async fn has_forged_holes(
        &mut self,
        event: &RecordedEvent,
        stored: &Stored,
    ) -> Result<bool, AuditError> {
        let (kind, what) = match stored.holes(self.vault, EventRef::of(event)).await {
            Ok(holes) => {
                self.report.events.holes += holes.map_or(0, Holes::count) as u64;
                return Ok(false);
            }
            Err(CodecError::Vault(error)) => return Err(error.into()),
            Err(CodecError::Unreadable(Unreadable::ForgedHole)) => {
                (Defect::ForgedHole, "this vault did not note that parts of it are missing")
            }
            Err(_) => return Ok(false),
        };
        self.found(kind, event, what);
        Ok(true)
    }

    /// Whether the vault knows of the owners that an event states.
    fn owners(
        &mut self,
        event: &RecordedEvent,
        data: &Payload,
        in_clear: bool,
    ) -> Result<(), AuditError> {
        match owned::of_owners(self.layer, self.vault, event, data, in_clear) {
            Ok(told) => told.into_iter().for_each(|(kind, what)| self.found(kind, event, what)),
            Err(VaultError::Damaged(_)) => self.report.vault.unchecked += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
