//! What an event is: names, numbers, payloads, and what a reader gets back.
//!
//! A program makes a [`NewEvent`] of an [`EventType`] and a [`Json`], and appends it to a [`StreamName`]. It reads
//! [`RecordedEvent`]s, and asks each for its [`Content`]: clear, partly readable, shredded, withheld, a tombstone, or an
//! unverified one.
//!
//! Each type is checked when it is made. A [`StreamName`] is always valid, and a [`Json`] holds well-formed JSON without
//! duplicate keys.

// Every other room may use this one; this one uses none of them.

mod announced;
mod announcement;
mod characters;
mod class;
mod holes;
mod json;
mod layout;
mod name;
mod number;
mod opaque;
mod owner;
mod position;
mod recorded;
mod signed;
mod tombstone;
mod vault_note;

pub use announced::{ANNOUNCED, ANNOUNCEMENTS};
pub use announcement::{Announcement, AnnouncementError, AnnouncementKind};
pub(crate) use announcement::{AnnouncementRef, Beyond, Body, Distrust, Previous, Statement};
pub(crate) use characters::{Odd, UNICODE_VERSION, normalized, same, typed};
pub(crate) use class::Class;
pub use holes::{Holes, Shredded, Withheld, WithheldReason};
#[cfg(any(test, fuzzing))]
pub(crate) use json::fuzz;
pub(crate) use json::{Entry, Sink, fill};
pub(crate) use json::{Fillings, Kind, Node, Pieces, Pointer, Tree};
pub use json::{Json, JsonError, MAX_DEPTH, canonical_number};
pub use layout::{Layout, PolicyDigest};
pub use name::{Category, EventType, MAX_NAME_BYTES, NameError, StreamName, Subject};
pub use number::{
    Day, DayError, ErasureId, EventId, Generation, Revision, Timestamp, TimestampError, VaultId,
};
pub(crate) use opaque::Digest;
pub(crate) use opaque::{ERA_BYTES, Era};
pub use opaque::{
    ErasureRef, KEY_ID_BYTES, KeyId, OpaqueError, Signature, SigningKeyId, VerifyingKey,
};
pub use owner::OwnerChange;
pub use position::{MAX_POSITION_BYTES, Position, PositionError};
pub use recorded::{
    Content, MAX_PAYLOAD_BYTES, MAX_STORED_BYTES, NewEvent, Payload, RecordedEvent,
};
pub(crate) use signed::framed;
pub(crate) use tombstone::SignedTombstone;
pub use tombstone::{Cause, SUBJECT_FORGOTTEN, State, Tombstone, TombstoneError};
pub use vault_note::{VAULTS, VaultNote};

/// The member that holds the tokens of a sealed payload; no payload of a user's may use it.
pub const SEALED_KEY: &str = "$sealed";

/// The member of an event's metadata in which the layer notes what a reader needs to put a
/// sealed event together again; no metadata of a user's may use it.
pub const LAYER_KEY: &str = "$oubliette";
