//! The event that tells a stream and its readers that a subject is forgotten in it.

use serde::{Deserialize, Serialize};

use super::{ErasureId, Json, Subject, Timestamp};

/// The event type of a tombstone. No user's event may have it.
pub const SUBJECT_FORGOTTEN: &str = "SubjectForgotten";

/// What a tombstone says. It holds no personal data, so that it may stay for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The erasure that this belongs to.
    pub erasure: ErasureId,
    /// When the erasure was decided.
    pub at: Timestamp,
    /// Whether this stream's own subject asked, or one that it depends on.
    pub cause: Cause,
    /// How many owner edges lie between the one who asked and this stream; 0 for their own.
    pub depth: u32,
    /// The ids of the data keys that died in this stream, as they stand in its tokens.
    pub keys: Vec<String>,
    /// Who is forgotten: named only in the subject's own stream, because in a shared one it
    /// would publish for ever who was a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// Why a stream received its tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// A subject whose events are in this stream asked to be forgotten.
    Request,
    /// The owner of this stream was forgotten.
    OwnerForgotten,
}

impl Tombstone {
    /// The tombstone in a payload, where it is one.
    pub fn parse(data: &Json) -> Option<Self> {
        serde_json::from_str(data.as_str()).ok()
    }
}
