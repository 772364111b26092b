//! One event, cut into what is public and whose the rest is.

use std::{collections::HashSet, fmt};

use zeroize::Zeroizing;

use super::{
    PolicyRefusal,
    compile::PUBLIC_METADATA,
    file::Otherwise,
    personal_data::{self, PersonalData},
    pieces::{self, FieldSubjects, Outcome},
    rules::{Change, Field, FieldRules, Owner, Rule, Rules},
    template::{Composed, Template},
};
use crate::event::{
    ANNOUNCED, EventType, Json, Kind, LAYER_KEY, Layout, Node, OwnerChange, Payload, SEALED_KEY,
    SUBJECT_FORGOTTEN, StreamName, Subject, Tree,
};

/// Names beginning so are the layer's own streams.
pub(crate) const OWN_STREAMS: &str = "oubliette-";

/// What is known of an event besides its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventFacts<'e> {
    /// The (logical) stream that it is appended to.
    pub stream: &'e StreamName,
    /// The event's type.
    pub event_type: &'e EventType,
    /// The subject that the event names itself, if any.
    pub subject: Option<&'e Subject>,
}

/// An event cut into what is public and whose the rest is.
#[derive(Clone)]
#[non_exhaustive]
pub(crate) struct CutEvent {
    /// How it is stored.
    pub layout: Layout,
    /// Whose the rest is.
    pub subject: Subject,
    /// The whole payload is in clear, as it is. For a payload that is not JSON this is the
    /// only way to be public.
    pub clear: bool,
    /// What of the payload is in clear: with `clear` all of it; `None` if nothing is,
    /// or the payload is not JSON.
    pub public: Option<Json>,
    /// What of the metadata is in clear, an object; `None` if nothing is.
    pub public_metadata: Option<Json>,
    /// What is sealed; empty where payload and metadata are wholly public. Where there is one
    /// for `subject`, it is the first.
    pub parts: Vec<Part>,
    /// What the event says about the owners of its stream, in the policy's order.
    pub owners: Vec<OwnerChange>,
    /// Whether the stream is shredded with the first of its owners, rather than the last.
    pub any_owner: bool,
    /// Whether events of the stream can name owners.
    pub declares_owners: bool,
}

/// What is sealed under the key of (stream, `subject`).
#[derive(Clone)]
#[non_exhaustive]
pub(crate) struct Part {
    /// The subject under whose key it is sealed.
    pub subject: Subject,
    /// What of the payload it holds.
    pub body: Body,
    /// What of the metadata it holds, in the form of [`Body::Fields`]; they fill what is public
    /// of the metadata, or `{}`.
    pub metadata: Option<Zeroizing<String>>,
    /// The policy's pointers of the fields that it holds; `*` is the rest of the payload.
    pub fields: Vec<String>,
}

/// What of a payload a part holds. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Body {
    /// Nothing.
    Nothing,
    /// All of it, byte for byte.
    Whole,
    /// Members and elements of it, to be read with [`Fillings`](crate::event::Fillings). They
    /// belong into what is public, or into `{}` where nothing is.
    Fields(Zeroizing<String>),
}

impl fmt::Debug for CutEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CutEvent")
            .field("layout", &self.layout)
            .field("subject", &self.subject)
            .field("clear", &self.clear)
            .field("parts", &self.parts)
            .field("owners", &self.owners)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("subject", &self.subject)
            .field("body", &self.body)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Whole => f.write_str("Whole"),
            Self::Fields(text) => write!(f, "Fields({} bytes)", text.len()),
        }
    }
}

impl Rules {
    /// Refuses names of streams to which no one may append.
    pub(super) fn check_stream(&self, stream: &StreamName) -> Result<(), PolicyRefusal> {
        if let Some((logical, _)) = self.logical(stream.as_str()) {
            return Err(PolicyRefusal::PhysicalName { stream: stream.clone(), logical });
        }
        check_own(stream.as_str(), "a stream name beginning with `oubliette-`")?;
        self.check_looks(stream.as_str(), "stream name")
    }

    /// Refuses subjects that can be nobody's own stream.
    fn check_subject(&self, subject: &Subject, what: &'static str) -> Result<(), PolicyRefusal> {
        if let Some((logical, _)) = self.logical(subject.as_str()) {
            return Err(PolicyRefusal::PhysicalName { stream: subject.stream(), logical });
        }
        check_own(subject.as_str(), "a subject beginning with `oubliette-`")?;
        self.check_looks(subject.as_str(), what)
    }

    /// Ids of 14 to 16 digits may be what they are: a stream's rule says so.
    fn check_looks(&self, name: &str, what: &'static str) -> Result<(), PolicyRefusal> {
        match check_looks(name, what) {
            Err(PolicyRefusal::LooksPersonal { looks: PersonalData::Card, .. })
                if self.of(name).is_some_and(|(rule, _)| rule.card_like_ids) =>
            {
                Ok(())
            }
            checked => checked,
        }
    }

    /// With `copy`, of an event of which parts may be missing; no data: all of it is.
    pub(super) fn cut(
        &self,
        facts: &EventFacts<'_>,
        data: Option<&Payload>,
        metadata: Option<&Json>,
        copy: bool,
    ) -> Result<CutEvent, PolicyRefusal> {
        self.check_stream(facts.stream)?;
        if facts.event_type.as_str() == SUBJECT_FORGOTTEN {
            return Err(PolicyRefusal::Reserved { what: "the event type `SubjectForgotten`" });
        }
        if facts.event_type.as_str() == ANNOUNCED {
            return Err(PolicyRefusal::Reserved { what: "the event type `Announced`" });
        }
        check_looks(facts.event_type.as_str(), "event type")?;

        let found = self.of(facts.stream.as_str());
        let (rule, captures) = match &found {
            Some((rule, captures)) => (Some(*rule), captures.as_slice()),
            None => (None, [].as_slice()),
        };
        let sealed = FieldRules::default();
        let cut = rule.map_or(&sealed, |rule| rule.cut_of(facts.event_type));
        let owners: Vec<_> =
            rule.iter().flat_map(|rule| rule.owners_by(facts.event_type)).collect();

        let json = data.and_then(Payload::as_json);
        let needs_tree = !cut.public.is_empty()
            || !cut.fields.is_empty()
            || rule.is_some_and(|rule| rule.subject.as_ref().is_some_and(|s| !s.is_of_the_name()))
            || owners.iter().any(|owner| !owner.template.is_of_the_name());
        let tree = json
            .filter(|json| needs_tree || may_name_the_sealed_key(json.as_str()))
            .map(Json::tree);
        let tree = tree.as_ref().map(Tree::root);
        if tree.is_some_and(|tree| tree.member(SEALED_KEY).is_some()) {
            return Err(PolicyRefusal::Reserved { what: "the member `$sealed` of a payload" });
        }

        let (subject, unknown) = self.subject(rule, captures, facts, tree, copy)?;
        let mut changes = Vec::with_capacity(owners.len());
        for owner in owners {
            match self.change(owner, captures, facts.stream, tree) {
                // Who it was is gone with what names them.
                Err(PolicyRefusal::Missing { .. }) if copy => {}
                change => changes.push(change?),
            }
        }

        let outcome = match data {
            Some(_) => self.cut_payload(cut, &subject, captures, tree, copy)?,
            None => Outcome::Parts { public: None, parts: Vec::new() },
        };
        let mut cut = CutEvent {
            layout: rule.map_or(Layout::Sealed, |rule| rule.layout),
            subject,
            clear: false,
            public: None,
            public_metadata: None,
            parts: Vec::new(),
            owners: changes,
            any_owner: rule.is_some_and(|rule| rule.any_owner),
            declares_owners: rule.is_some_and(|rule| !rule.owners.is_empty()),
        };
        match outcome {
            Outcome::Clear => {
                cut.clear = true;
                cut.public = json.cloned();
            }
            Outcome::Whole => cut.parts.push(Part {
                subject: cut.subject.clone(),
                body: Body::Whole,
                metadata: None,
                fields: vec!["*".to_owned()],
            }),
            Outcome::Parts { public, parts } => {
                cut.public = public;
                cut.parts = parts
                    .into_iter()
                    .map(|part| Part {
                        subject: part.subject,
                        body: Body::Fields(part.fillings),
                        metadata: None,
                        fields: part.fields,
                    })
                    .collect();
            }
        }
        if let Some(metadata) = metadata {
            self.cut_metadata(metadata, &mut cut)?;
        }
        match unknown {
            // An absent subject is no fault only if there is nothing of theirs to seal.
            Some(unknown) if cut.parts.iter().any(|part| part.subject == cut.subject) => {
                Err(unknown)
            }
            _ => Ok(cut),
        }
    }

    pub(super) fn states_owners(&self, stream: &StreamName, event_type: &EventType) -> bool {
        let rule = self.of(stream.as_str());
        rule.is_some_and(|(rule, _)| rule.owners_by(event_type).next().is_some())
    }

    /// The types of events by which a stream gets an owner, in the policy's order.
    pub(super) fn owner_events(&self, stream: &StreamName) -> Vec<String> {
        let rule = self.of(stream.as_str()).map(|(rule, _)| rule);
        let owners = rule.into_iter().flat_map(|rule| &rule.owners);
        let gives = owners.filter(|owner| owner.change != Change::Remove);
        let mut events: Vec<String> = gives.map(|owner| owner.event.clone()).collect();
        let mut seen = HashSet::new();
        events.retain(|event| seen.insert(event.clone()));
        events
    }

    /// The owner changes that an event states, as far as its content is readable.
    pub(super) fn stated(
        &self,
        stream: &StreamName,
        event_type: &EventType,
        data: &Payload,
    ) -> Vec<OwnerChange> {
        let Some((rule, captures)) = self.of(stream.as_str()) else { return Vec::new() };
        let mut owners = rule.owners_by(event_type).peekable();
        if owners.peek().is_none() {
            return Vec::new();
        }
        let tree = data.as_json().map(Json::tree);
        let tree = tree.as_ref().map(Tree::root);
        owners.filter_map(|owner| self.change(owner, &captures, stream, tree).ok()).collect()
    }

    fn change(
        &self,
        owner: &Owner,
        captures: &[&str],
        stream: &StreamName,
        tree: Option<Node<'_>>,
    ) -> Result<OwnerChange, PolicyRefusal> {
        let who = owner.template.compose("owner", captures, tree, &[])?;
        let who = self.composed(who, "owner")?;
        if who.as_str() == stream.as_str() {
            return Err(PolicyRefusal::OwnsItself);
        }
        Ok(match owner.change {
            Change::Add => OwnerChange::Add(who),
            Change::Remove => OwnerChange::Remove(who),
            Change::Replace => OwnerChange::Replace(who),
        })
    }

    /// Whose the event is. Where the policy says so, the event must agree; where it is silent, the
    /// stream is its own subject, unless the rule lets the event say. Of a copy, what says whose it
    /// is may be missing: then it keeps the subject that it had, and if that is not known either,
    /// comes with the refusal of whatever must be sealed for them.
    fn subject(
        &self,
        rule: Option<&Rule>,
        captures: &[&str],
        facts: &EventFacts<'_>,
        tree: Option<Node<'_>>,
        copy: bool,
    ) -> Result<(Subject, Option<PolicyRefusal>), PolicyRefusal> {
        let what = "subject";
        let own = Subject::of(facts.stream);
        let said = match rule.and_then(|rule| Some((rule, rule.subject.as_ref()?))) {
            None => None,
            Some((rule, template)) => match template.compose(what, captures, tree, &[])? {
                Composed::Missing(_) if copy && facts.subject.is_some() => {
                    let kept = facts.subject.cloned().unwrap_or(own);
                    self.check_subject(&kept, what)?;
                    return Ok((kept, None));
                }
                Composed::Missing(_) if rule.otherwise.is_some() => None,
                Composed::Missing(pointer) if copy => {
                    return Ok((own, Some(PolicyRefusal::Missing { what, pointer })));
                }
                composed => Some(self.composed(composed, what)?),
            },
        };
        match (said, facts.subject) {
            (Some(said), Some(given)) if said != *given => {
                Err(PolicyRefusal::SubjectContradicts { given: given.clone() })
            }
            (Some(said), _) => Ok((said, None)),
            (None, Some(given)) if *given != own => {
                self.check_subject(given, what)?;
                match rule.and_then(|rule| rule.otherwise) {
                    Some(Otherwise::Named) => Ok((given.clone(), None)),
                    _ => Err(PolicyRefusal::SubjectNotExpected { given: given.clone() }),
                }
            }
            (None, _) => Ok((own, None)),
        }
    }

    fn composed(&self, composed: Composed, what: &'static str) -> Result<Subject, PolicyRefusal> {
        match composed {
            Composed::Subject(subject) => {
                self.check_subject(&subject, what)?;
                Ok(subject)
            }
            Composed::Missing(pointer) => Err(PolicyRefusal::Missing { what, pointer }),
        }
    }

    fn cut_payload(
        &self,
        cut: &FieldRules,
        subject: &Subject,
        captures: &[&str],
        tree: Option<Node<'_>>,
        copy: bool,
    ) -> Result<Outcome, PolicyRefusal> {
        if cut.public.is_empty() && cut.fields.is_empty() {
            return Ok(if cut.whole { Outcome::Clear } else { Outcome::Whole });
        }
        match tree {
            Some(root) if root.kind() == Kind::Object => {
                pieces::cut(root, cut, subject, &Subjects { rules: self, captures, tree, copy })
            }
            // Fields cannot be found in what is no object: what they take out of a public
            // payload may be anywhere in it, so that none of it is public.
            _ if cut.fields.iter().any(|field| field.subject.is_some()) => {
                Err(PolicyRefusal::NotAnObject)
            }
            Some(root) if cut.whole && root.kind() != Kind::Array => Ok(Outcome::Clear),
            _ if cut.whole && cut.fields.is_empty() => Ok(Outcome::Clear),
            _ => Ok(Outcome::Whole),
        }
    }

    fn cut_metadata(&self, metadata: &Json, cut: &mut CutEvent) -> Result<(), PolicyRefusal> {
        let tree = metadata.tree();
        let root = tree.root();
        if root.kind() != Kind::Object {
            return Err(PolicyRefusal::MetadataNotAnObject);
        }
        if root.member(SEALED_KEY).is_some() || root.member(LAYER_KEY).is_some() {
            let what = "a member `$sealed` or `$oubliette` of an event's metadata";
            return Err(PolicyRefusal::Reserved { what });
        }
        for pointer in PUBLIC_METADATA {
            let value = root.member(&pointer[1..]).and_then(|value| value.string());
            if let Some(value) = value.filter(|value| !is_made_id(value)) {
                let what = "correlation or causation id, or trace header, of the metadata";
                personal_data::check_text(&value)
                    .map_err(|looks| PolicyRefusal::LooksPersonal { what, looks })?;
            }
        }
        let outcome = if root.is_empty() {
            Outcome::Clear
        } else {
            match pieces::cut(root, &self.metadata, &cut.subject, &NoSubjects)? {
                // Always as fillings, so that a reader knows one form only.
                Outcome::Whole => pieces::all_of(root, &cut.subject),
                other => other,
            }
        };
        match outcome {
            Outcome::Clear => cut.public_metadata = Some(metadata.clone()),
            Outcome::Whole => {}
            Outcome::Parts { public, parts } => {
                cut.public_metadata = public;
                let fillings = parts.into_iter().next().map(|part| part.fillings);
                match cut.parts.first_mut() {
                    Some(first) if first.subject == cut.subject => first.metadata = fillings,
                    _ => cut.parts.insert(
                        0,
                        Part {
                            subject: cut.subject.clone(),
                            body: Body::Nothing,
                            metadata: fillings,
                            fields: Vec::new(),
                        },
                    ),
                }
            }
        }
        Ok(())
    }
}

impl Rule {
    pub(super) fn owners_by(&self, event_type: &EventType) -> impl Iterator<Item = &Owner> {
        self.owners.iter().filter(move |owner| owner.event == event_type.as_str())
    }

    pub(super) fn cut_of(&self, event_type: &EventType) -> &FieldRules {
        self.types.get(event_type.as_str()).unwrap_or(&self.cut)
    }
}

/// Finds the subjects of fields in one payload.
struct Subjects<'r> {
    rules: &'r Rules,
    captures: &'r [&'r str],
    tree: Option<Node<'r>>,
    /// Whether what names them may be missing.
    copy: bool,
}

impl FieldSubjects for Subjects<'_> {
    fn subject(
        &self,
        field: &Field,
        stars: &[&str],
        value: Node<'_>,
    ) -> Result<Option<Subject>, PolicyRefusal> {
        let what = "subject of a field";
        let Some(template) = &field.subject else { return Ok(None) };
        match Template::compose(template, what, self.captures, self.tree, stars)? {
            // Where there is no value, no subject is needed.
            Composed::Missing(_) if value.kind() == Kind::Null => Ok(None),
            Composed::Missing(pointer) if self.copy => {
                Err(PolicyRefusal::FieldOfNobody { field: field.place.to_string(), pointer })
            }
            composed => self.rules.composed(composed, what).map(Some),
        }
    }
}

struct NoSubjects;

impl FieldSubjects for NoSubjects {
    fn subject(
        &self,
        _: &Field,
        _: &[&str],
        _: Node<'_>,
    ) -> Result<Option<Subject>, PolicyRefusal> {
        Ok(None)
    }
}

/// Whether a text may have the key `$sealed`, also with escapes (`\u0024sealed`): a cheap look
/// before a tree is built.
fn may_name_the_sealed_key(text: &str) -> bool {
    text.contains(SEALED_KEY) || text.contains("\\u00")
}

fn check_own(name: &str, what: &'static str) -> Result<(), PolicyRefusal> {
    if name.starts_with(OWN_STREAMS) { Err(PolicyRefusal::Reserved { what }) } else { Ok(()) }
}

/// Whether a text is an id that machines draw at random, in which digits may be in any order.
fn is_made_id(text: &str) -> bool {
    let is_trace = || {
        let lengths = text.split('-').map(str::len);
        lengths.eq([2, 32, 16, 2]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    };
    uuid::Uuid::try_parse(text).is_ok() || is_trace()
}

fn check_looks(name: &str, what: &'static str) -> Result<(), PolicyRefusal> {
    personal_data::check_name(name).map_err(|looks| PolicyRefusal::LooksPersonal { what, looks })
}
