//! Opening one event.

use std::sync::atomic::Ordering;

use super::{
    CodecError, EventRef, Layer, Opened,
    document::{self, Document},
    error::unreadable_event,
    halves::Found,
    tombstone::{self, Unvouched},
};
use crate::{
    event::RecordedEvent,
    store::{EventStore, StoreError, Unreadable},
};

impl<S: EventStore> Layer<S> {
    /// Opens an event that was found in the store, as far as the vault can.
    pub(super) fn open(&self, found: Found) -> Result<RecordedEvent, StoreError> {
        let Found { mut event, private } = found;
        let opened =
            self.try_open(&event, private.as_deref()).map_err(|error| error.on_read(&event))?;
        // Tombstones and announcements are the layer's own words, in clear.
        if opened.unsealed && !event.is_tombstone() && !event.is_announcement() {
            self.unsealed.fetch_add(1, Ordering::Relaxed);
        }
        event.data = opened.data;
        event.metadata = opened.metadata;
        event.subject = opened.subject;
        event.keys = opened.keys;
        event.shredded = opened.shredded;
        event.withheld = opened.withheld;
        self.vouch(&mut event)?;
        Ok(event)
    }

    /// Gives an event, under its logical stream, the tombstone that it is, if the vault vouches
    /// for it.
    pub(super) fn vouch(&self, event: &mut RecordedEvent) -> Result<(), StoreError> {
        if let Some(vault) = self.vault()
            && event.is_tombstone()
        {
            let judged = tombstone::judge(vault, event);
            let judged = judged.map_err(|error| CodecError::from(error).on_read(event))?;
            // Anybody may write what only looks like it, and stops no reader. What the vault says
            // must not be passed over because it is not understood.
            if let Err(Unvouched::Newer(state)) = judged {
                return Err(unreadable_event(Unreadable::State(state.as_str()), event));
            }
            event.tombstone = judged.ok().map(Box::new);
        }
        Ok(())
    }

    pub(super) fn try_open(
        &self,
        event: &RecordedEvent,
        private: Option<&RecordedEvent>,
    ) -> Result<Opened, CodecError> {
        let id = EventRef { stream: &event.stream, id: event.id, event_type: &event.event_type };
        let document = match (parse(event)?, private) {
            (Document::Stored(public), Some(half)) => match parse(half)? {
                Document::Stored(private) => {
                    Document::Stored(public.join(event.id, private, half.id)?)
                }
                Document::Clear => return Err(Unreadable::Tampered.into()),
            },
            (Document::Clear, Some(_)) => return Err(Unreadable::Tampered.into()),
            (Document::Stored(public), None) if public.notes.private.is_some() => {
                return Err(Unreadable::HalfMissing.into());
            }
            (document, None) => document,
        };
        self.codec.open_stored(id, document, || {
            // Only an event that has data reads as it stands.
            let data = event.data.clone();
            (
                data.unwrap_or_else(|| crate::event::Payload::Bytes([].into())),
                event.metadata.clone(),
            )
        })
    }
}

fn parse(event: &RecordedEvent) -> Result<Document, Unreadable> {
    let data = event.data.as_ref().ok_or(Unreadable::Malformed("the store returned no data"))?;
    document::parse(data, event.metadata.as_ref())
}
