//! What would go, and what stays.
//!
//! In the journal of an erasure its plan is a JSON object with these members, in the order of [`Plan`]:
//!
//! | member | what |
//! | --- | --- |
//! | `subject` | who asked |
//! | `subjects` | a list, each with `subject`, `depth`, `through` (a name; absent for who asked), `generations` (a list of pairs, both ends inclusive; absent: all), `begun`, `keys` |
//! | `streams` | a list, each with `stream`, `cause` (`request` or `owner-forgotten`), `depth`, `keys` (a list of ids), `sealed_about`, `own` |
//! | `kept` | a list, each with `subject`, `by` (a list, each with `subject`, `unknown`), `in_part` (a list of names) |
//! | `unsealed`, `unknown_keys`, `unvouched`, `newer` | lists, each of `stream` and `events`; an empty `newer` is absent |
//! | `passed_over` | a number |
//! | `foreign` | a list, each with `stream`, `subject`, `keys` |
//! | `not_reached` | a list, each with `subject`, `event`, `owner_forgotten` (absent where `false`) |
//! | `owners_unknown` | `true` or `false` |
//! | `clear_unknown` | `true`, where it is so |
//!
//! A journal has no `already`, `decided` or `mirrors`: these are for the caller.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Cause, ErasureId, EventId, Generation, StreamName, Subject},
    vault::{Backup, Dead, Loss, MirrorState},
};

/// What an erasure would do, or does: whose keys die, where tombstones are set, and what stays.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// let plan = store.plan(&Subject::of(&user)).await?; // changes nothing
/// println!("{} keys in {} streams", plan.keys(), plan.streams.len());
/// for kept in &plan.kept {
///     println!("{} stays: {kept}", kept.subject);
/// }
/// assert_eq!(plan.unsealed_events(), 0); // these would stay readable
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// Who is to be forgotten.
    pub subject: Subject,
    /// The erasure that did it, where it is done already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already: Option<ErasureId>,
    /// The erasure of the subject that is decided and waits for the event store, no key being destroyed yet. It
    /// is carried out as it was decided.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none", default)]
    pub decided: Option<ErasureId>,
    /// Whose keys die: the subject, and all who depend on them.
    pub subjects: Vec<AffectedSubject>,
    /// The streams that lose events, each of which gets a tombstone.
    pub streams: Vec<AffectedStream>,
    /// Dependents that stay, and who keeps them.
    pub kept: Vec<Kept>,
    /// Streams with events from before the layer, or written past it: forgetting does not touch
    /// those.
    pub unsealed: Vec<Untouched>,
    /// Streams of those who are forgotten with events that are sealed under keys which this vault does
    /// not have: anyone who has those keys can read on.
    pub unknown_keys: Vec<Untouched>,
    /// Streams with events that are newer than the vault, which was put back, though it has their keys:
    /// once those are destroyed, nothing can vouch for the events any more.
    pub unvouched: Vec<Untouched>,
    /// Streams with events that a newer program wrote: whose they are, and whether forgetting reaches them,
    /// only that one can say. Of a stream in two halves there may be more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newer: Vec<Untouched>,
    /// How many streams were not looked into for such events: their first event is sealed.
    pub passed_over: u64,
    /// What stays of others in the own streams of those who are forgotten.
    #[serde(rename = "foreign")]
    pub bystanders: Vec<Bystander>,
    /// Dependents that it may have to reach, and does not: it is not known whose they are.
    pub not_reached: Vec<NotReached>,
    /// Whether events may state owners of whom the vault does not know: some were stored before the
    /// layer was, before the present rules that name owners, or, where the vault was put back, since then, and no one
    /// looked
    /// ([`Oubliette::rebuild_owners`](crate::layer::Oubliette::rebuild_owners)).
    pub owners_unknown: bool,
    /// Whether events about those who are forgotten may be in clear in streams in which they have no key, and it cannot be seen: the
    /// event store had writers before the layer, or has others, and does not read all streams; or it has events in clear of which
    /// the policy does not say whose they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clear_unknown: bool,
    /// Where it is done already: the mirrors of the root slot that may still hold a root from before
    /// it, and the counter, if that is behind. Until then it is pending.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty", default)]
    pub mirrors: Vec<MirrorState>,
    /// Where it is done already: the backups of the vault from which the keys can still be had, until
    /// somebody says that they are destroyed.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty", default)]
    pub backups: Vec<Backup>,
}

/// A subject whose keys die.
///
/// [`Plan`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffectedSubject {
    /// The subject who loses keys.
    pub subject: Subject,
    /// How many owner edges from the one who asked.
    pub depth: u32,
    /// The owner through whom they are affected; `None` for the one who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Subject>,
    /// The spans of generations that die (both ends inclusive); `None`: all, and the subject is
    /// closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generations: Option<Vec<(Generation, Generation)>>,
    /// The newest generation that had begun when this was planned.
    pub begun: Generation,
    /// How many of their keys die.
    pub keys: u64,
}

/// A stream that loses events.
///
/// [`Plan`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffectedStream {
    /// The logical stream that loses events.
    pub stream: StreamName,
    /// Why the stream is affected.
    pub cause: Cause,
    /// How many owner edges are between the one who asked and this stream.
    pub depth: u32,
    /// The ids of the keys that die in it.
    pub keys: Vec<String>,
    /// About how many sealed parts become unreadable in it.
    #[serde(rename = "sealed_about")]
    pub sealed_at_most: u64,
    /// Whether the stream's own subject is forgotten: only then the tombstone names them.
    pub own: bool,
}

/// A dependent that stays.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let policy = Policy::parse(
/// #     r#"
/// #     [[stream]]
/// #     match  = "account-{id}"
/// #     public = ["/owner"]
/// #     owner  = [{ event = "AccountOpened", add = "{/owner}" }]
/// #     "#,
/// # )?;
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, policy).await?;
/// # let account = StreamName::new("account-7")?;
/// # for owner in ["user-456", "user-789"] {
/// #     let opened = Json::parse(&format!(r#"{{"owner":"{owner}","iban":"DE89"}}"#))?;
/// #     let opened = NewEvent::new(EventType::new("AccountOpened")?, opened);
/// #     store.append_to(&account, ExpectedRevision::Any, vec![opened]).await?;
/// # }
/// // `account-7` belongs to `user-456` and `user-789`: it goes with the last of them.
/// let plan = store.plan(&Subject::new("user-456")?).await?;
/// let kept = &plan.kept[0];
/// assert_eq!(kept.subject.as_str(), "account-7");
/// assert_eq!(kept.by[0].subject.as_str(), "user-789");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Kept {
    /// The dependent that stays.
    pub subject: Subject,
    /// The owners who keep it. With none below either, the edge is no longer, or not yet, in force.
    pub by: Vec<KeptBy>,
    /// Owners who lose only what they had in the time of somebody who is forgotten, because they
    /// changed hands. It is not known what of the dependent is of that time, and all of it stays.
    pub in_part: Vec<Subject>,
}

impl Kept {
    /// Whether something of it may be of the time of somebody who is forgotten.
    pub fn is_missed(&self) -> bool {
        !self.in_part.is_empty()
    }
}

/// An owner who is not forgotten, and so keeps what they own.
///
/// [`Kept`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeptBy {
    /// The owner.
    pub subject: Subject,
    /// Whether the name is unknown here: there is no key, no stream, no erasure. They may
    /// be somebody who is yet to come, so they keep what they own; or their name is misspelt.
    pub unknown: bool,
}

/// Events of a stream that forgetting does not touch.
///
/// [`Plan`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Untouched {
    /// The stream that holds the events.
    pub stream: StreamName,
    /// How many of its events are, or may be, about somebody who is forgotten.
    pub events: u64,
}

/// Another subject with keys in the own stream of a subject who is forgotten. Their data stays.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// for bystander in store.plan(&Subject::of(&user)).await?.bystanders {
///     println!("{} stays in {}", bystander.subject, bystander.stream);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bystander {
    /// The own stream of a subject who is forgotten.
    pub stream: StreamName,
    /// The subject whose events stay in it.
    pub subject: Subject,
    /// How many of their keys are used there.
    pub keys: u64,
}

/// A dependent with an owner claim of which it is not known whether its event was stored, or said so
/// when the owner was forgotten already. What it may own stays; once the claim is settled, forget it
/// by name where it should have gone.
///
/// [`Plan`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotReached {
    /// The dependent that is not reached.
    pub subject: Subject,
    /// The event that decides it.
    pub event: EventId,
    /// Whether that event is known to be stored, or not, since the owner was forgotten.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub owner_forgotten: bool,
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, event, .. } = self;
        if self.owner_forgotten {
            write!(f, "{subject} was not reached (claim of event {event} settled too late)")
        } else {
            write!(f, "{subject} is not reached (claim of event {event} open)")
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((owner, more)) = self.in_part.split_first() {
            write!(f, "its owner {owner} ")?;
            if !more.is_empty() {
                write!(f, "(and {} more) ", more.len())?;
            }
            return write!(
                f,
                "changed hands and loses one part only, and which part of {} belongs to that is not \
                 known; forget {} by name where it should go",
                self.subject, self.subject,
            );
        }
        let Some((first, more)) = self.by.split_first() else {
            return f.write_str("the owner edge is no longer, or not yet, in force");
        };
        write!(f, "{} is an owner, too, and is not forgotten", first.subject)?;
        if !more.is_empty() {
            write!(f, ", and so are {} more", more.len())?;
        }
        for keeper in self.by.iter().filter(|keeper| keeper.unknown) {
            write!(
                f,
                "; nobody called {} is known here: check the spelling of that owner",
                keeper.subject
            )?;
        }
        Ok(())
    }
}

impl Plan {
    /// Nothing goes, and nothing stays.
    pub(super) fn nothing(subject: &Subject, already: Option<ErasureId>) -> Self {
        Self {
            subject: subject.clone(),
            already,
            decided: None,
            subjects: vec![],
            streams: vec![],
            kept: vec![],
            unsealed: vec![],
            unknown_keys: vec![],
            unvouched: vec![],
            newer: vec![],
            passed_over: 0,
            bystanders: vec![],
            not_reached: vec![],
            owners_unknown: false,
            clear_unknown: false,
            mirrors: vec![],
            backups: vec![],
        }
    }

    /// Adds what a plan that was made later has more: an erasure that is decided takes no less
    /// than was decided. Of dependents it takes no generation that began since, unless the later
    /// plan says so: a new owner since then is not forgotten. Returns whether anything
    /// is different.
    pub(super) fn extend(&mut self, later: Self) -> bool {
        let before = (self.subjects.clone(), self.streams.clone());
        (self.not_reached, self.kept) = (later.not_reached, later.kept);
        // Between deciding and doing, an account may get a new owner, who did not ask. So what was decided is confined
        // to the generations that had begun then, unless the later plan still takes all.
        let wholly: HashSet<&Subject> = later
            .subjects
            .iter()
            .filter(|now| now.generations.is_none())
            .map(|now| &now.subject)
            .collect();
        for ours in self.subjects.iter_mut().filter(|ours| !wholly.contains(&ours.subject)) {
            ours.confine();
        }
        let known = |(at, ours): (usize, &AffectedSubject)| (ours.subject.clone(), at);
        let known: HashMap<Subject, usize> = self.subjects.iter().enumerate().map(known).collect();
        for theirs in later.subjects {
            match known.get(&theirs.subject) {
                None => self.subjects.push(theirs),
                Some(at) => self.subjects[*at].extend(theirs),
            }
        }
        let known = |(at, ours): (usize, &AffectedStream)| (ours.stream.clone(), at);
        let known: HashMap<StreamName, usize> =
            self.streams.iter().enumerate().map(known).collect();
        for theirs in later.streams {
            match known.get(&theirs.stream) {
                None => self.streams.push(theirs),
                Some(at) => self.streams[*at].extend(theirs),
            }
        }
        (&self.subjects, &self.streams) != (&before.0, &before.1)
    }

    /// Takes over what was found by looking into the streams of an earlier plan. Streams that came
    /// to light since were not looked into: what is in them is sealed just now.
    pub(super) fn take_survey(&mut self, earlier: Self) {
        self.owners_unknown = earlier.owners_unknown;
        self.clear_unknown = earlier.clear_unknown;
        self.passed_over = earlier.passed_over;
        self.pass_over_since(earlier.streams.len());
        (self.unsealed, self.unknown_keys) = (earlier.unsealed, earlier.unknown_keys);
        (self.unvouched, self.newer) = (earlier.unvouched, earlier.newer);
        self.bystanders = earlier.bystanders;
    }

    /// Counts the streams that came to light since there were so many: they were not looked into.
    pub(super) fn pass_over_since(&mut self, streams: usize) {
        self.passed_over += self.streams.len().saturating_sub(streams) as u64;
    }

    /// Of dependents, only the generations that had begun when this was planned.
    pub(super) fn confine(&mut self) {
        self.subjects.iter_mut().for_each(AffectedSubject::confine);
    }

    /// How many events in clear are, or may be, about those who are forgotten.
    pub fn unsealed_events(&self) -> u64 {
        self.unsealed.iter().map(|untouched| untouched.events).sum()
    }

    /// How many events of those who are forgotten are sealed under keys that this vault does not have.
    pub fn unknown_key_events(&self) -> u64 {
        self.unknown_keys.iter().map(|untouched| untouched.events).sum()
    }

    /// How many events a newer program wrote in the streams that lose keys.
    pub fn newer_events(&self) -> u64 {
        self.newer.iter().map(|untouched| untouched.events).sum()
    }

    /// How many keys die.
    pub fn keys(&self) -> u64 {
        self.subjects.iter().map(|affected| affected.keys).sum()
    }

    /// Whom it names.
    pub(super) fn named(&self) -> Vec<Subject> {
        self.subjects.iter().map(|affected| affected.subject.clone()).collect()
    }

    /// Who dies with which generations, in the vault's words.
    pub(super) fn losses(&self) -> Vec<Loss> {
        let losses = |affected: &AffectedSubject| Loss {
            subject: affected.subject.clone(),
            dead: affected.generations.clone().map_or(Dead::All, Dead::Spans),
        };
        self.subjects.iter().map(losses).collect()
    }
}

impl AffectedSubject {
    fn extend(&mut self, later: Self) {
        self.keys = self.keys.max(later.keys);
        self.begun = later.begun;
        self.generations = match (self.generations.take(), later.generations) {
            (Some(mut spans), Some(others)) => {
                spans.extend(others);
                spans.sort_unstable();
                spans.dedup();
                Some(spans)
            }
            // A subject who goes wholly in one of the two plans goes wholly.
            _ => None,
        };
    }

    fn confine(&mut self) {
        if self.depth == 0 {
            return;
        }
        let all = || vec![(Generation::FIRST, Generation(u32::MAX))];
        let spans = self.generations.take().unwrap_or_else(all);
        // `begun` was read when the plan was made: later generations belong to the owner of that time.
        let ended = spans.into_iter().map(|(from, to)| (from, to.min(self.begun)));
        self.generations = Some(ended.filter(|(from, to)| from <= to).collect());
    }
}

impl AffectedStream {
    fn extend(&mut self, later: Self) {
        let known: HashSet<&String> = self.keys.iter().collect();
        let new: Vec<String> = later.keys.into_iter().filter(|key| !known.contains(key)).collect();
        self.keys.extend(new);
        self.sealed_at_most = self.sealed_at_most.max(later.sealed_at_most);
        self.own |= later.own;
    }
}
