//! The names under which erasures are announced in the event store.

/// The stream in which a layer announces its erasures, in the store that it wraps. No user's
/// event may be in it, as in no stream whose name begins with `oubliette-`.
pub const ANNOUNCEMENTS: &str = "oubliette-announcements";

/// The event type of an announcement. No user's event may have it.
pub const ANNOUNCED: &str = "Announced";
