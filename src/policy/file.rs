//! The policy file as it is written: serde types, with the place of each word in the file.
//!
//! What a file means is decided when it is compiled; these types are public so that tools can
//! read and write policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::event::Layout;

/// A policy file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub(crate) struct PolicyFile {
    /// Pointers into an event's metadata that are in clear, besides the correlation id, the
    /// causation id and the trace headers.
    #[serde(default)]
    pub public_metadata: Vec<Spanned<String>>,
    /// Tokens are padded to multiples of so many bytes, to hide how long their content is.
    #[serde(default)]
    pub pad: Option<Spanned<u32>>,
    /// The rules.
    #[serde(default)]
    pub stream: Vec<StreamRule>,
}

/// `[[stream]]`: what holds for all streams whose name fits a pattern.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub(crate) struct StreamRule {
    /// The pattern of the names: literals and `{captures}`.
    #[serde(rename = "match")]
    pub pattern: Spanned<String>,
    /// How the events are stored; `sealed`, or `inline` where something is public.
    pub layout: Option<Spanned<Layout>>,
    /// Pointers to what is in clear; `*` alone is the whole payload.
    pub public: Option<Vec<Spanned<String>>>,
    /// Whose the rest is, as a template; without it the stream is its own subject.
    pub subject: Option<Spanned<String>>,
    /// What holds where the subject's pointers find nothing, or where there is no subject.
    pub otherwise: Option<Spanned<Otherwise>>,
    /// Which events say on whom the stream depends.
    #[serde(default)]
    pub owner: Vec<Spanned<OwnerRule>>,
    /// What happens to the stream when its owners are forgotten.
    pub on_owner_forgotten: Option<Spanned<OnOwnerForgotten>>,
    /// Fields with a rule of their own.
    #[serde(default)]
    pub field: Vec<Spanned<FieldRule>>,
    /// What is different for some event types, by type.
    #[serde(default, rename = "type")]
    pub types: BTreeMap<Spanned<String>, TypeRule>,
}

/// `[stream.type.X]`: what replaces the stream's rule for events of one type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub(crate) struct TypeRule {
    /// Replaces the stream's `public`; `[]` makes nothing public.
    pub public: Option<Vec<Spanned<String>>>,
    /// Replaces the stream's fields.
    pub field: Option<Vec<Spanned<FieldRule>>>,
}

/// `[[stream.field]]`: one field (or, with `*`, many) that is sealed with a rule of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub(crate) struct FieldRule {
    /// Which field.
    pub pointer: Spanned<String>,
    /// What of it stays readable: `first N`, `last N` or `year`.
    pub keep: Option<Spanned<String>>,
    /// What is shown in its place where nothing of it stays readable.
    pub placeholder: Option<Spanned<String>>,
    /// Under whose key it is sealed, as a template; without it like the rest of the payload.
    pub subject: Option<Spanned<String>>,
}

/// One of `owner = [ … ]`: an event type that says on whom the stream depends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub(crate) struct OwnerRule {
    /// The event type.
    pub event: Spanned<String>,
    /// The subject who becomes an owner.
    pub add: Option<Spanned<String>>,
    /// The subject who is no longer one.
    pub remove: Option<Spanned<String>>,
    /// The subject who becomes the only one.
    pub replace: Option<Spanned<String>>,
}

/// What holds where the pointers of `subject` find nothing, or where there is no `subject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub(crate) enum Otherwise {
    /// The stream is its own subject.
    Stream,
    /// The event may name its subject; where it names no one, the stream is its own.
    Named,
}

/// What happens to a stream when its owners are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub(crate) enum OnOwnerForgotten {
    /// It is shredded with its last owner.
    #[default]
    Shred,
    /// It is shredded with the first of its owners.
    ShredOnAny,
}
