//! What is wrong with a row, in words that hold no value of it.

use std::fmt;

use oubliette::event::{JsonError, MAX_PAYLOAD_BYTES, NameError};
use serde::de::DeserializeOwned;

/// What is wrong with a row. No message holds anything of it but places, and the name of a member that it should not
/// have, where that is a word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("not UTF-8, at byte {0}")]
    NotUtf8(usize),
    #[error("longer than {} MiB", .0 / (1024 * 1024))]
    TooLong(usize),
    #[error(transparent)]
    Json(JsonError),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("`{0}` stands twice")]
    Twice(&'static str),
    #[error(
        "its member {0} is unknown; a row has stream, type, data, and may have subject, \
         id, metadata, and what `read` adds"
    )]
    Unknown(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    #[error("`{0}`: {1}")]
    Name(&'static str, NameError),
    #[error("`id` is not a UUID")]
    NotAnId,
    #[error("`{0}`: {1}")]
    Payload(&'static str, JsonError),
    #[error("`metadata` is not an object")]
    Metadata,
    #[error("`{0}` has {1} bytes, at most {MAX_PAYLOAD_BYTES} are accepted")]
    TooLarge(&'static str, usize),
    #[error("`bytes` is not base64")]
    NotBase64,
    #[error("`data` and `bytes` are both there")]
    Both,
    #[error("parts of it are shredded or withheld; --with-holes imports it with these holes")]
    Holes,
    #[error("`{0}` is not a list as `read` writes it: {1}")]
    OddHoles(&'static str, OddPart),
    #[error("`recorded` is no time such as 2026-01-31T12:00:00Z")]
    NotATime,
    #[error(
        "`recorded` is kept only together with `revision`, which is missing: its place in its stream, from 0"
    )]
    NoRevision,
    #[error("`revision` is no number from 0")]
    NotARevision,
    #[error("a tombstone; --with-holes passes over it")]
    Tombstone,
}

/// Where a list of missing parts is wrong.
#[derive(Debug)]
pub(crate) enum OddPart {
    /// One of our own members.
    Missing(String),
    /// At this character of the list.
    At(usize),
    /// It has the parts, and not their form.
    Spelling,
}

impl fmt::Display for OddPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(member) => write!(f, "a part of it has no `{member}`"),
            Self::At(at) => write!(f, "it is wrong at or before its character {at}"),
            Self::Spelling => f.write_str("its parts have another spelling"),
        }
    }
}

impl OddPart {
    /// The error's own words quote what is there, but for the names of members that are not.
    pub(super) fn of<T: DeserializeOwned>(list: &str) -> Self {
        let Err(error) = serde_json::from_str::<Vec<T>>(list) else { return Self::Spelling };
        let text = error.to_string();
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        missing.map_or(Self::At(error.column()), |(member, _)| Self::Missing(member.to_owned()))
    }
}
