//! Follows the topic where somebody else writes to it.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use rdkafka::Message;

use crate::{
    config::Purpose,
    error::KafkaError,
    log::{Cursor, Met},
    shared::Shared,
};

/// Starts the thread that does. It ends with the store.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    thread::Builder::new().name("oubliette-kafka-tail".to_owned()).spawn(move || run(&shared))?;
    Ok(())
}

fn run(shared: &Weak<Shared>) {
    let mut cursor = None;
    while let Some(shared) = shared.upgrade() {
        match follow(&shared, &mut cursor) {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                cursor = None;
                drop(shared);
                thread::sleep(Duration::from_millis(500));
            }
            Err(error) => {
                tracing::error!(%error, "the topic is not followed any more");
                shared.stop(error);
                return;
            }
        }
    }
}

/// Takes what comes within a moment.
fn follow(shared: &Shared, following: &mut Option<Cursor>) -> Result<(), KafkaError> {
    let cursor = match &mut *following {
        Some(cursor) => cursor,
        none => {
            let mut cursor = shared.cursors.make(Purpose::Follow)?;
            // Meanwhile another topic may have come by this name, and be longer.
            shared.check_identity()?;
            cursor.jump_to(shared.index().end())?;
            none.insert(cursor)
        }
    };
    if let Met::Record(record) = cursor.poll(Duration::from_millis(100))? {
        let offset = u64::try_from(record.offset()).unwrap_or(0);
        shared.take(offset, &record)?;
    } else if cursor.was_interrupted() {
        *following = None;
    }
    Ok(())
}
