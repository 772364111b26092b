//! Removing messages, so that their bytes are gone on the server's disk as well.
//!
//! A message cannot be changed, so that this store removes and does not rewrite. The server keeps the sequence of a message
//! that is gone, and gives it to no other. Of the id it knows until it starts again that it was there.

use async_trait::async_trait;
use oubliette::{
    StoreError,
    store::{Purge, Removed, Rewrite},
};
use serde_json::json;

use crate::{
    JetStreamStore,
    error::code,
    link::{Failed, Lost, Pauses},
    store::Inner,
};

#[async_trait]
impl Purge for JetStreamStore {
    fn as_rewrite(&self) -> Option<&dyn Rewrite> {
        None
    }

    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError> {
        let mut done = Vec::with_capacity(events.len());
        for event in events {
            done.push(self.inner.remove(&event).await?);
        }
        Ok(done)
    }

    async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        let mut still = vec![
            "mirrors of the stream and streams that source from it, backups of the server's folder, and consumers that keep what they \
             read: each has copies of its own"
                .to_owned(),
            "blocks of the server's disk that are free now: overwrite them".to_owned(),
        ];
        if self.inner.facts.replicas > 1 {
            still.push(
                "the logs by which the servers of the cluster agree (`$SYS/_js_` in each server's folder), until they are compacted: \
                 append on, or have the stream step down (`nats stream cluster step-down`) and look again"
                    .to_owned(),
            );
        }
        Ok(still)
    }
}

impl Inner {
    /// Removes a message, if it is still that event. The server overwrites its bytes.
    async fn remove(&self, event: &Removed) -> Result<bool, StoreError> {
        let sequence = event.revision.0;
        let Some(stored) = self.source.message(sequence).await? else { return Ok(false) };
        let there = crate::envelope::event(&stored, &self.prefix)?;
        if there.stream != event.stream || there.id != event.id {
            return Ok(false);
        }
        let mut pauses = Pauses::new();
        loop {
            let what = format!("STREAM.MSG.DELETE.{}", self.stream);
            // No `no_erase`: what it was is overwritten.
            match self.link.api(&what, &json!({ "seq": sequence })).await {
                Ok(_) => return Ok(true),
                // An answer that was lost: it is done.
                Err(Failed::Said(said)) if said.code == code::NO_MESSAGE => return Ok(true),
                Err(Failed::Lost(Lost::Unanswered | Lost::NobodyThere))
                    if pauses.elapsed() < self.link.patience =>
                {
                    pauses.pause().await;
                }
                Err(failed) => return Err(self.failed(failed).into()),
            }
        }
    }
}
