//! Opening one event.

use std::sync::atomic::Ordering;

use super::{
    CodecError, EventRef, Layer, Opened,
    document::{Document, Notes},
    error::unreadable_event,
    halves::{Found, HeadAndHalf, document_of},
    opening::is_dead,
    tombstone::{self, Unvouched},
    wanted::{Wanted, pass_by},
};
use crate::{
    event::{Payload, RecordedEvent, Withheld, WithheldReason},
    store::{EventStore, StoreError, Unreadable},
    vault::Tagged,
};

impl<S: EventStore> Layer<S> {
    /// Opens an event that was found in the store, where it is, as far as the vault can and its reader wants.
    pub(super) async fn open(
        &self,
        found: &mut Found,
        wanted: Option<&Wanted>,
    ) -> Result<(), StoreError> {
        let Found { event, read } = found;
        if event.is_tombstone() {
            return self.vouch(event).await;
        }
        if wanted.is_some_and(|wanted| !wanted.takes(event)) {
            pass_by(event);
            return Ok(());
        }
        let public_only = wanted.is_some_and(|wanted| wanted.public_only);
        let opened = self.try_open(event, read.take(), public_only).await;
        let opened = opened.map_err(|error| error.on_read(event))?;
        self.count(event, opened.unsealed, opened.unvouched);
        event.data = opened.data;
        event.metadata = opened.metadata;
        event.subject = opened.subject;
        event.keys = opened.keys;
        event.shredded = opened.shredded;
        event.withheld = opened.withheld;
        Ok(())
    }

    /// Opens the public half of a split event, which is read by its own name and is under the
    /// logical one: what is public of it, if the tag does not say otherwise.
    pub(super) async fn open_public(&self, event: &mut RecordedEvent) -> Result<(), StoreError> {
        if event.is_tombstone() {
            return self.vouch(event).await;
        }
        let unreadable = |error: Unreadable| CodecError::from(error).on_read(event);
        let (mut unsealed, mut unvouched) = (false, false);
        match (Document::of(event).map_err(unreadable)?, self.keeper()) {
            (_, None) => {}
            (Document::Clear, Some(_)) => unsealed = true,
            (Document::Stored(stored), Some(vault)) => {
                let id = EventRef::of(event);
                stored.holes(vault, id).await.map_err(|error| error.on_read(event))?;
                let stored = stored.by_itself().map_err(unreadable)?;
                // As of the whole event, of which no part opens here.
                let mut dead = false;
                for token in &stored.tokens {
                    dead |= is_dead(vault, token).await;
                }
                match stored.tagged(vault, id).await {
                    Some(Tagged::Ours) => {}
                    Some(Tagged::Forged) => return Err(unreadable(Unreadable::Tampered)),
                    Some(Tagged::OtherVault) if !stored.tokens.is_empty() => {
                        return Err(unreadable(Unreadable::OtherVault));
                    }
                    Some(Tagged::UnknownEra) => {
                        unvouched = true;
                        event.withheld.extend(dead.then(|| {
                            let fields = stored.notes.fields.concat();
                            let fields =
                                if fields.is_empty() { vec!["*".to_owned()] } else { fields };
                            Withheld { why: WithheldReason::Unvouched, fields }
                        }));
                    }
                    None if dead => return Err(unreadable(Unreadable::Untagged)),
                    _ => unsealed = true,
                }
            }
        };
        self.count(event, unsealed, unvouched);
        event.metadata = Notes::strip(event.metadata.as_ref());
        Ok(())
    }

    fn count(&self, event: &RecordedEvent, unsealed: bool, unvouched: bool) {
        // Announcements are the layer's own words, in clear.
        if event.is_bookkeeping() {
            return;
        }
        // Most are neither, and threads that only count nothing would wait for each other.
        if unsealed {
            self.unsealed.fetch_add(1, Ordering::Relaxed);
        }
        if unvouched {
            self.unvouched.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives an event of the tombstone's type, under its logical stream, the tombstone that it is, if the
    /// vault vouches for it. No vault ever sealed such an event, so that it reads as it is.
    async fn vouch(&self, event: &mut RecordedEvent) -> Result<(), StoreError> {
        if let Some(vault) = self.keeper() {
            let judged = tombstone::judge(vault, event).await;
            let judged = judged.map_err(|error| CodecError::from(error).on_read(event))?;
            // Anyone may write what only looks like it, and stops no reader. What the vault says
            // must not be passed over because it is not understood.
            if let Err(Unvouched::Newer(state)) = judged {
                return Err(unreadable_event(Unreadable::State(state), event));
            }
            if let Ok(tombstone) = &judged
                && !tombstone::living(vault, tombstone).await.is_empty()
            {
                return Err(unreadable_event(Unreadable::Undone, event));
            }
            event.tombstone = judged.ok().map(Box::new);
        }
        // They are not signed.
        event.metadata = None;
        // What is no JSON of ours (a member is there twice) is given as the bytes that it is.
        if let Some(Payload::Json(json)) = &event.data
            && json.try_tree().is_err()
        {
            event.data = Some(Payload::Bytes(json.as_str().as_bytes().into()));
        }
        Ok(())
    }

    pub(super) async fn try_open(
        &self,
        event: &RecordedEvent,
        read: Option<Box<HeadAndHalf>>,
        public_only: bool,
    ) -> Result<Opened, CodecError> {
        let id = EventRef { stream: &event.stream, id: event.id, event_type: &event.event_type };
        let mut document = document_of(event, read, self.keeper(), public_only).await?;
        let as_it_stands = || {
            // Only an event that has data reads as it is.
            let data = event.data.clone();
            (data.unwrap_or_else(|| Payload::Bytes([].into())), event.metadata.clone())
        };
        self.codec.open_stored(id, &mut document, public_only, as_it_stands).await
    }
}
