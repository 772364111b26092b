//! The note in an event store that says whose vault's tokens it holds.

use uuid::Uuid;

use super::{EventId, EventType, Json, NameError, NewEvent, RecordedEvent, StreamName, VaultId};

/// The stream in which a store notes whose tokens it holds. No user's event may be in it.
pub const VAULTS: &str = "oubliette-vaults";

/// The event type of such a note.
const NOTED: &str = "VaultNoted";

/// Says that a vault's tokens are in a store. It is an event in a stream of the layer's, so that it is the same in every
/// store, and goes with its events wherever they are copied. It is no secret, and proves nothing: it keeps an operator from
/// opening a store with the vault of another one.
///
/// A store may hold the tokens of several vaults, and then has a note of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VaultNote {
    /// Whose tokens are there.
    pub vault: VaultId,
}

impl VaultNote {
    /// The stream of these notes.
    ///
    /// # Errors
    /// Never: it is a valid name.
    pub fn stream() -> Result<StreamName, NameError> {
        StreamName::new(VAULTS)
    }

    /// The event that notes it. It has the same id each time, so that to note it again writes nothing.
    ///
    /// # Errors
    /// Never: its type is a valid name.
    pub fn event(self) -> Result<NewEvent, NameError> {
        let data = Json::trusted(format!(r#"{{"vault":"{}"}}"#, self.vault));
        Ok(NewEvent::new(EventType::new(NOTED)?, data).with_id(self.id()))
    }

    fn id(self) -> EventId {
        // A name of ours in the namespace of our own: UUIDv5, so that anybody can compute it.
        let name = format!("{VAULTS}/{}", self.vault);
        EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }

    /// The note that an event is.
    pub fn of(event: &RecordedEvent) -> Option<Self> {
        if event.stream.as_str() != VAULTS || event.event_type.as_str() != NOTED {
            return None;
        }
        let data = event.data.as_ref()?.as_json()?;
        let vault: Uuid = data.tree().root().member("vault")?.string()?.parse().ok()?;
        Some(Self { vault: VaultId(vault) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Payload, Position, Revision, Timestamp};

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        let note = VaultNote { vault: VaultId(Uuid::from_u128(7)) };
        let event = note.event().unwrap();
        assert_eq!(event.id, note.event().unwrap().id);
        let recorded = |stream: &str, data: &str| {
            RecordedEvent::plain(
                StreamName::new(stream).unwrap(),
                Revision(0),
                Position::number(0),
                event.id,
                event.event_type.clone(),
                Timestamp::from_micros(0),
                Payload::Json(Json::parse(data).unwrap()),
                None,
            )
        };
        let data = event.data.as_json().unwrap().as_str();
        // A store may spell it in another way.
        for data in [data, &data.replace(':', ": ")] {
            assert_eq!(VaultNote::of(&recorded(VAULTS, data)), Some(note));
        }
        assert!(recorded(VAULTS, data).is_bookkeeping());
        assert_eq!(VaultNote::of(&recorded("user-1", data)), None);
        for data in ["{}", r#"{"vault":7}"#, r#"{"vault":"me"}"#, "[]"] {
            assert_eq!(VaultNote::of(&recorded(VAULTS, data)), None, "{data}");
        }
    }
}
