//! Setting tombstones again that a key signed whose word does not count, or not with everybody.
//!
//! A tombstone counts by its signature alone. Once a signing key is called compromised, none of its tombstones counts, the
//! genuine ones included. Nor does one that an earlier restoration set, of which only the announcement was
//! believed. So the vault says again what it knows, under the key that signs now. What the old ones say is not
//! looked at: they may leave out a key, or are in a stream that no forgetting reached. What counts is which dead keys
//! the events have, as far as their tags vouch for them, and whom the fences name.
//!
//! In the own stream of somebody who was admitted again none is set: see [`tombstone::lives_on`].

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    ErasureError, ErasureRecord, ErasureRefusal, PendingError,
    journal::Journal,
    tombstones::{Untold, appended, at_once},
};
use crate::{
    crypto::Token,
    event::{ErasureId, EventId, KeyId, RecordedEvent, StreamName, Subject},
    layer::{EventRef, Layer, Oubliette, document::Document, tombstone},
    store::{Append, EventStore, ReadAllOptions, StoreError},
    vault::{History, KeyLookup, KeyOrigin, Tagged, Vault, VaultError},
};

impl<S: EventStore> Oubliette<S> {
    /// Sets again each tombstone that is due and not in the store, because the store lost its last events, say: it came back
    /// from a backup, or did not have on its disk what it had acknowledged. [`Oubliette::verify`] finds such erasures. It reads
    /// the whole store. Returns how many it set.
    ///
    /// # Errors
    /// [`PendingError::Retelling`] where the store does not take them; [`ErasureRefusal::NoVault`]; errors of the vault.
    pub async fn set_tombstones_again(&self) -> Result<usize, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureRefusal::NoVault)?;
        crate::runtime::check()?;
        let set = set_again(&self.layer, vault).await;
        set.map_err(|untold| untold.or(PendingError::Retelling))
    }
}

/// Reads the whole store, and sets each tombstone that is due and not there. Repeatable: what an earlier call set counts as
/// there. Returns how many it set.
///
/// It keeps the name of each stream in memory, and the dead key ids of those in which somebody is forgotten.
pub(super) async fn set_again<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<usize, Untold> {
    let mut told = Told::new(vault)?;
    let (mut after, mut events) = (None, layer.store.read_all(ReadAllOptions::default()));
    loop {
        match layer.next(&mut events).await {
            Ok(Some(event)) => {
                // A private half says nothing that the public one does not say.
                if let Some(event) = layer.under_its_stream(event) {
                    told.look_at(&event).await?;
                }
            }
            Ok(None) => break,
            // What is damaged there shows nothing. A store that goes in circles has failed.
            Err(StoreError::Damaged { position, .. }) if after < Some(position) => {
                after = Some(position);
                let options = ReadAllOptions { after, ..ReadAllOptions::default() };
                events = layer.store.read_all(options);
            }
            Err(source) => return Err(Untold::Store(source)),
        }
    }
    let due = told.due()?;
    let mut setting = Setting { layer, group: Vec::new(), set: 0, refused: None };
    for (stream, erasure, keys, own) in due {
        let append = appended(layer, vault, EventId::random(), (erasure, &stream), keys, own);
        setting.take(append.await?).await;
    }
    setting.flush().await;
    setting.refused.map_or(Ok(setting.set), |error| Err(Untold::Store(error)))
}

/// Tombstones on their way into the store, many in one append.
struct Setting<'a, S> {
    layer: &'a Layer<S>,
    group: Vec<Append>,
    set: usize,
    /// The last one that the store did not take.
    refused: Option<StoreError>,
}

impl<S: EventStore> Setting<'_, S> {
    async fn take(&mut self, append: Append) {
        // A store takes no stream twice in one append. Two erasures may have reached one stream.
        let is_there = self.group.iter().any(|other| other.stream == append.stream);
        if is_there || self.group.len() >= at_once(self.layer) {
            self.flush().await;
        }
        self.group.push(append);
    }

    async fn flush(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return;
        }
        let Err(error) = self.layer.answer(self.layer.store.append(group.clone())).await else {
            self.set += group.len();
            return;
        };
        if group.len() == 1 {
            self.refused = Some(error);
            return;
        }
        // One that the store does not take keeps it from none of the others.
        for append in group {
            match self.layer.answer(self.layer.store.append(vec![append])).await {
                Ok(_) => self.set += 1,
                Err(error) => self.refused = Some(error),
            }
        }
    }
}

/// In which stream which erasure, the keys that it took there, and whether the stream is the subject's own.
type Due = (StreamName, ErasureId, Vec<KeyId>, bool);

/// What the events tell.
struct Told<'a> {
    vault: &'a Vault,
    history: History,
    seen: HashSet<StreamName>,
    dead: BTreeMap<(StreamName, ErasureId), BTreeSet<KeyId>>,
    /// Those with a tombstone that counts with everybody who knows this vault.
    there: HashSet<(StreamName, ErasureId)>,
}

impl<'a> Told<'a> {
    fn new(vault: &'a Vault) -> Result<Self, VaultError> {
        let history = vault.signing_history()?;
        let (seen, dead, there) = (HashSet::new(), BTreeMap::new(), HashSet::new());
        Ok(Self { vault, history, seen, dead, there })
    }

    async fn look_at(&mut self, event: &RecordedEvent) -> Result<(), VaultError> {
        let (vault, stream) = (self.vault, &event.stream);
        if event.is_bookkeeping() {
            return Ok(());
        }
        if event.is_tombstone() {
            if let Ok(tombstone) = tombstone::judge(vault, event).await? {
                // No statement leads to a key that a restored vault made: others do not know it.
                let key = tombstone.key;
                let is_led_to = self.history.origin_of(key) != Some(KeyOrigin::Restored);
                if is_led_to || key == self.history.signs() {
                    let erasure = vault.erasure(tombstone.reference, stream);
                    self.there.insert((stream.clone(), erasure));
                }
            }
            return Ok(());
        }
        if self.seen.insert(stream.clone())
            && let Some(fence) = vault.subject_state(&Subject::of(stream))?.fence
        {
            for (_, _, erasure) in fence.dead {
                self.dead.entry((stream.clone(), erasure)).or_default();
            }
        }
        let Ok(Document::Stored(stored)) = Document::of(event) else { return Ok(()) };
        let ids = stored.notes.stubs.iter().chain(&stored.tokens).map(Token::key_id);
        let ids: Vec<KeyId> = ids.collect();
        let tagged = match stored.by_itself() {
            Ok(stored) => stored.tagged(vault, EventRef::of(event)).await,
            Err(_) => None,
        };
        if tagged != Some(Tagged::Ours) {
            return Ok(());
        }
        for id in ids {
            match vault.opening_key(id) {
                Ok(KeyLookup::Shredded { erasure }) if vault.may_be_key_of(id, stream)? => {
                    self.dead.entry((stream.clone(), erasure)).or_default().insert(id);
                }
                Ok(_) | Err(VaultError::KeyMissing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is to be set, in the order of the references, from which nothing can be told.
    fn due(self) -> Result<Vec<Due>, ErasureError> {
        let Self { vault, dead, there, .. } = self;
        let mut due = Vec::new();
        for ((stream, erasure), keys) in dead {
            if there.contains(&(stream.clone(), erasure)) {
                continue;
            }
            // One that is in progress sets its own.
            if ErasureRecord::find(vault, erasure)?.is_none()
                || Journal::find(vault, erasure)?.is_some()
            {
                continue;
            }
            if tombstone::lives_on(vault, &stream, erasure)? {
                continue;
            }
            let own = tombstone::own_fence(vault, &stream, erasure)?.is_some();
            due.push((stream, erasure, keys.into_iter().collect(), own));
        }
        due.sort_by_cached_key(|(stream, erasure, ..)| vault.reference(*erasure, stream));
        Ok(due)
    }
}
