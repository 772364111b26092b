//! The policy: what is public, whose the rest is, and who depends on whom.
//!
//! [`Policy::parse`] reads a policy, [`Policy::load`] a file of one; [`Oubliette::open`](crate::Oubliette::open) takes it.
//! It is an allow-list. What no rule calls public is sealed: a field that is added next month, a new event type, a renamed
//! one. Without any rule everything in a stream is personal, and the stream is its own subject.
//!
//! [`Policy::explain`] shows what becomes of an event, and [`PolicySample`] what a policy does to many.
//! [The reference](crate::guide::policy) describes the language.

// The layer asks it on every append (`Policy::cut`); reading never does, because a sealed
// event says itself what its tokens fill. This room knows of `crate::event` and of nothing
// else: no store, no key.

mod check;
mod compile;
mod compiler;
mod cut;
mod digest;
mod error;
mod explain;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod identifying;
mod load;
mod path;
mod pattern;
pub(crate) mod personal_data;
mod pieces;
mod rules;
mod sample;
mod template;

use std::{path::Path, sync::Arc};

pub(crate) use cut::{Body, CutEvent, EventFacts, OWN_STREAMS, Part};
pub use error::{PolicyError, PolicyErrors, PolicyRefusal, Problem, Warning};
pub use explain::{Explanation, SealedFor};
pub use personal_data::PersonalData;
pub use sample::{FitsNothing, PolicySample, WithoutStream};

use crate::event::{
    EventType, Json, Layout, OwnerChange, Payload, PolicyDigest, StreamName, Subject,
};
use rules::Rules;

/// A policy that was read and checked. Cheap to clone.
///
/// ```
/// use oubliette::*;
/// let policy = Policy::parse(
///     r#"
///     [[stream]]
///     match  = "account-{id}"
///     public = ["/owner", "/amount"]
///     owner  = [{ event = "AccountOpened", add = "{/owner}" }]
///     "#,
/// )?;
/// assert!(policy.warnings().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy(Arc<Rules>);

/// What the policy says of a stream, whatever its events hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct StreamPlan {
    /// How its events are stored.
    pub layout: Layout,
    /// The names of its halves, where the layout is [`Layout::Split`].
    pub split: Option<SplitNames>,
    /// The names that its halves would have, or had when the layout was another: where a reader
    /// may find a stream that was split earlier. `None` where no rule fits the stream.
    pub split_names: Option<SplitNames>,
    /// Whether events of the stream can name owners.
    pub declares_owners: bool,
    /// Whether events of the stream, or parts of them, can be another subject's.
    pub lets_others_in: bool,
    /// Whose an event is that says nothing else; `None` where its payload decides.
    pub default_subject: Option<Subject>,
}

/// The names of a split stream's halves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct SplitNames {
    /// Such as `user-public-456`.
    pub public: StreamName,
    /// Such as `user-private-456`.
    pub private: StreamName,
}

impl Policy {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// All that is wrong with it, each with line and column.
    pub fn parse(toml: &str) -> Result<Self, PolicyErrors> {
        Self::parse_as(toml, "policy")
    }

    /// As [`Policy::parse`]; errors name the text's origin.
    ///
    /// # Errors
    /// All that is wrong with it, each with origin, line and column.
    pub fn parse_as(toml: &str, origin: &str) -> Result<Self, PolicyErrors> {
        load::load(toml)
            .map(|rules| Self(Arc::new(rules)))
            .map_err(|errors| PolicyErrors { file: origin.to_owned(), errors })
    }

    /// Reads and checks a policy file.
    ///
    /// # Errors
    /// [`Problem::Unreadable`], or all that is wrong with the policy.
    pub fn load(path: &Path) -> Result<Self, PolicyErrors> {
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse_as(&text, &origin),
            Err(error) => Err(PolicyErrors::unreadable(path, &error)),
        }
    }

    /// The policy without rules: everything is sealed, each stream is its own subject.
    pub fn sealed_by_default() -> Self {
        let (rules, _) = compile::compile(&file::PolicyFile::default(), "");
        Self(Arc::new(rules))
    }

    /// Names the policy: the first eight bytes of the SHA-256 of its canonical form, which does
    /// not depend on white space, comments, or the order of rules.
    pub fn digest(&self) -> PolicyDigest {
        self.0.digest
    }

    /// Names the rules by which streams get owners, as [`Policy::digest`] names the whole; `None`: no
    /// rule names owners.
    pub(crate) fn owner_digest(&self) -> Option<PolicyDigest> {
        self.0.owner_digest
    }

    /// Each rule by which streams get owners, in words: to compare two policies, and to name what only one
    /// of them has.
    pub fn owner_rules(&self) -> &[String] {
        &self.0.owner_rules
    }

    /// What is allowed, and about which people should think twice: a residue or a public field
    /// that may identify somebody (GDPR, Recital 26).
    pub fn warnings(&self) -> &[Warning] {
        &self.0.warnings
    }

    /// Tokens are padded to multiples of so many bytes; `None`: they are not padded.
    pub(crate) fn pad(&self) -> Option<usize> {
        self.0.pad
    }

    /// What the policy says of a stream that is to be appended to.
    ///
    /// # Errors
    /// [`PolicyRefusal`] if no one may append to a stream of this name: a half of a split
    /// stream, a name of the layer's own, or one that looks like personal data.
    pub(crate) fn rule_for(&self, stream: &StreamName) -> Result<StreamPlan, PolicyRefusal> {
        self.0.check_stream(stream)?;
        self.0.plan(stream)
    }

    /// What the policy says of a stream that is to be read: as [`Policy::rule_for`], but streams
    /// of every name may be read.
    pub(crate) fn reading_plan(&self, stream: &StreamName) -> StreamPlan {
        self.0.plan(stream).unwrap_or(StreamPlan {
            layout: Layout::Sealed,
            split: None,
            split_names: None,
            declares_owners: false,
            lets_others_in: false,
            default_subject: None,
        })
    }

    /// The pattern of the rule that a stream falls under; `None`: no rule fits it.
    pub(crate) fn family(&self, stream: &StreamName) -> Option<String> {
        self.0.of(stream.as_str()).map(|(rule, _)| rule.pattern.to_string())
    }

    /// The stream whose public half has this name (`user-public-456` → `user-456`), where a rule
    /// splits it.
    pub(crate) fn logical_of_public(&self, stream: &StreamName) -> Option<StreamName> {
        let (logical, public) = self.0.logical(stream.as_str())?;
        if !public || self.0.logical(&logical).is_some() {
            return None;
        }
        StreamName::new(logical).ok()
    }

    /// Cuts an event into what is public and whose the rest is.
    ///
    /// A subject that the event names must agree with the one that the rule's `subject` finds.
    /// Where the policy is silent (no rule, a rule without `subject`, or nothing found), the stream
    /// is its own subject. Only `otherwise = "named"` lets the event name another.
    ///
    /// # Errors
    /// [`PolicyRefusal`]; the event must then not be appended.
    pub(crate) fn cut(
        &self,
        facts: &EventFacts<'_>,
        data: &Payload,
        metadata: Option<&Json>,
    ) -> Result<CutEvent, PolicyRefusal> {
        self.0.cut(facts, Some(data), metadata, false)
    }

    /// As [`Policy::cut`], of a copy of which parts are missing (`data` is `None` where nothing of
    /// the payload is there). What would say whose it is may be among them: then it keeps the subject
    /// that it names. Owners who are not named any more are passed over.
    ///
    /// # Errors
    /// [`PolicyRefusal`]; also if something must be sealed and it is not known for whom.
    pub(crate) fn cut_copy(
        &self,
        facts: &EventFacts<'_>,
        data: Option<&Payload>,
        metadata: Option<&Json>,
    ) -> Result<CutEvent, PolicyRefusal> {
        self.0.cut(facts, data, metadata, true)
    }
}

impl Policy {
    /// Whether events of this type state owners of the stream.
    pub(crate) fn states_owners(&self, stream: &StreamName, event_type: &EventType) -> bool {
        self.0.states_owners(stream, event_type)
    }

    /// Whether a stream is shredded with the first of its owners, rather than the last.
    pub(crate) fn any_owner(&self, stream: &StreamName) -> bool {
        self.0.of(stream.as_str()).is_some_and(|(rule, _)| rule.any_owner)
    }

    /// The types of events by which a stream gets an owner; empty where its rule declares none.
    pub(crate) fn owner_events(&self, stream: &StreamName) -> Vec<String> {
        self.0.owner_events(stream)
    }

    /// The owner changes that a stored event states, as far as its content is readable and says
    /// what the rules expect.
    pub(crate) fn stated_owners(
        &self,
        stream: &StreamName,
        event_type: &EventType,
        data: &Payload,
    ) -> Vec<OwnerChange> {
        self.0.stated(stream, event_type, data)
    }
}

impl Rules {
    fn plan(&self, stream: &StreamName) -> Result<StreamPlan, PolicyRefusal> {
        let Some((rule, captures)) = self.of(stream.as_str()) else {
            return Ok(StreamPlan {
                layout: Layout::Sealed,
                split: None,
                split_names: None,
                declares_owners: false,
                lets_others_in: false,
                default_subject: Some(Subject::of(stream)),
            });
        };
        let name = |text: String| {
            StreamName::new(text).map_err(|error| PolicyRefusal::BadName {
                what: "name of the stream's half",
                error,
            })
        };
        let names = |halves: &rules::Halves| {
            Ok(SplitNames {
                public: name(halves.public.name(&captures))?,
                private: name(halves.private.name(&captures))?,
            })
        };
        let split_names = rule.halves.as_ref().map(names).transpose();
        let split = match rule.layout {
            Layout::Split => split_names.clone()?,
            Layout::Sealed | Layout::Inline => None,
        };
        let default_subject = match &rule.subject {
            None => Some(Subject::of(stream)),
            Some(template) if template.is_of_the_name() => {
                Subject::new(template.compose_from_name(&captures)).ok()
            }
            Some(_) => None,
        };
        Ok(StreamPlan {
            layout: rule.layout,
            split,
            // A name too long for its halves was never split.
            split_names: split_names.unwrap_or_default(),
            declares_owners: !rule.owners.is_empty(),
            lets_others_in: rule.lets_others_in(),
            default_subject,
        })
    }
}

#[cfg(test)]
mod tests;
