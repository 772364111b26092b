//! Which words of a policy fit nothing in a sample of events: misspelled pointers, and rules for what is no more.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Policy, path::PathPattern, rules::FieldRules};
use crate::event::{Json, NewEvent, OwnerChange, Payload, StreamName, Subject, Tree};

/// Looks at events, and says which words of a policy fitted none of them: see [`Policy::sample`].
///
/// [`Policy::sample`] has an example.
#[derive(Debug)]
pub struct PolicySample {
    policy: Policy,
    /// How many events each rule was for, and of them those of each type that the rule treats otherwise.
    events: Vec<u64>,
    of_type: HashMap<(usize, String), u64>,
    without_rule: u64,
    fitted: HashSet<(usize, Word)>,
    metadata: HashSet<String>,
    /// The streams of the sample, as subjects; and the subjects that events name, with the first that does.
    streams: HashSet<Subject>,
    named: BTreeMap<Subject, StreamName>,
}

/// A word of a policy that fitted no event of a sample.
///
/// [`Policy::sample`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FitsNothing {
    /// The `match` of the rule; `None`: it is `public_metadata`.
    pub rule: Option<String>,
    /// The type of events to which the word applies, where it does not apply to all.
    pub event_type: Option<String>,
    /// How many events of the sample it was for.
    pub events: u64,
    /// The word: `match`, `public`, `field`, `subject`, `owner` or `type`.
    pub word: &'static str,
    /// What it says: a pointer, or the type of an event.
    pub says: String,
}

/// A subject that events of a sample name, and that is no stream of the sample: see [`PolicySample::without_stream`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithoutStream {
    /// The subject, as the policy composes it.
    pub subject: Subject,
    /// The stream of the first event that names it.
    pub named_in: StreamName,
}

/// A word of a rule, for which type of events, and what it says. A rule may say the same of a type as of all others, and
/// it may fit in one of the two alone.
type Word = (&'static str, Option<String>, String);

impl Policy {
    /// Begins to look which words of the policy fit nothing in a sample of events. A pointer that is misspelled makes
    /// nothing public, and an owner's rule for a misspelled type has forgetting miss the stream; neither is an
    /// error.
    ///
    /// ```
    /// use oubliette::{EventType, Json, NewEvent, Policy, StreamName};
    ///
    /// let policy = Policy::parse(r#"
    ///     [[stream]]
    ///     match = "user-{id}"
    ///     public = ["/colour", "/contry"]
    /// "#)?;
    /// let mut sample = policy.sample();
    /// let data = Json::parse(r#"{"colour": "blue", "country": "DE"}"#)?;
    /// let event = NewEvent::new(EventType::new("UserRegistered")?, data);
    /// sample.add(&StreamName::new("user-456")?, &event);
    ///
    /// let unfit = sample.fits_nothing();
    /// assert_eq!((unfit[0].word, &*unfit[0].says), ("public", "/contry"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample(&self) -> PolicySample {
        PolicySample {
            policy: self.clone(),
            events: vec![0; self.0.rules.len()],
            of_type: HashMap::new(),
            without_rule: 0,
            fitted: HashSet::new(),
            metadata: HashSet::new(),
            streams: HashSet::new(),
            named: BTreeMap::new(),
        }
    }
}

impl PolicySample {
    /// Looks at an event of this stream.
    pub fn add(&mut self, stream: &StreamName, event: &NewEvent) {
        self.note_names(stream, event);
        let rules = &self.policy.0;
        if let Some(metadata) = event.metadata.as_ref().map(Json::tree) {
            let found = rules.metadata.public.iter().filter(|path| path.finds(metadata.root()));
            self.metadata.extend(found.map(ToString::to_string));
        }
        let Some((rule, _)) = rules.of(stream.as_str()) else {
            self.without_rule += 1;
            return;
        };
        let Some(at) = rules.rules.iter().position(|other| std::ptr::eq(other, rule)) else {
            return;
        };
        self.events[at] += 1;
        let event_type = event.event_type.to_string();
        let of_type = rule.types.contains_key(&event_type).then(|| event_type.clone());
        if let Some(of_type) = of_type.clone() {
            *self.of_type.entry((at, of_type)).or_default() += 1;
        }
        let mut fitted: Vec<Word> = vec![("type", None, event_type)];
        let tree = match &event.data {
            Payload::Json(json) => Some(json.tree()),
            Payload::Bytes(_) => None,
        };
        let root = tree.as_ref().map(Tree::root);
        let finds = |path: &PathPattern| root.is_some_and(|root| path.finds(root));
        for (word, inherited, path) in paths_of(rule.cut_of(&event.event_type)) {
            if finds(path) {
                let of = of_type.clone().filter(|_| !inherited);
                fitted.push((word, of, path.to_string()));
            }
        }
        for path in rule.subject.iter().flat_map(|subject| subject.pointers()) {
            if finds(path) {
                fitted.push(("subject", None, path.to_string()));
            }
        }
        for owner in rule.owners_by(&event.event_type) {
            fitted.push(("owner", None, owner.event.clone()));
            let found = owner.template.pointers().filter(|path| finds(path));
            fitted.extend(found.map(|path| ("owner", Some(owner.event.clone()), path.to_string())));
        }
        self.fitted.extend(fitted.into_iter().map(|word| (at, word)));
    }

    fn note_names(&mut self, stream: &StreamName, event: &NewEvent) {
        let own = Subject::of(stream);
        if let Ok(explained) = self.policy.explain(stream, event) {
            let owners = explained.owners.iter().filter_map(|change| match change {
                OwnerChange::Remove(_) => None,
                OwnerChange::Add(owner) | OwnerChange::Replace(owner) => Some(owner.clone()),
            });
            let parts = explained.sealed.into_iter().map(|part| part.subject);
            for subject in owners.chain(parts).filter(|subject| *subject != own) {
                self.named.entry(subject).or_insert_with(|| stream.clone());
            }
        }
        self.streams.insert(own);
    }

    /// The subjects that the policy composes from these events, and that are no stream among them. They may have their
    /// streams in another service. Where they have not, the policy makes names of nobody: `user-user-456` of a field that
    /// holds `user-456`, and forgetting `user-456` misses what depends on them.
    pub fn without_stream(&self) -> Vec<WithoutStream> {
        let named = self.named.iter().filter(|(subject, _)| !self.streams.contains(*subject));
        named
            .map(|(subject, stream)| WithoutStream {
                subject: subject.clone(),
                named_in: stream.clone(),
            })
            .collect()
    }

    /// How many events there were for which the policy has no rule, so that they are sealed whole.
    pub fn without_rule(&self) -> u64 {
        self.without_rule
    }

    /// The words that fitted no event, rule by rule. Of a rule for no event only its `match` is named.
    pub fn fits_nothing(&self) -> Vec<FitsNothing> {
        let mut unfit = Vec::new();
        let rules = &self.policy.0;
        for (at, rule) in rules.rules.iter().enumerate() {
            let mut say = |word, event_type: Option<&String>, says: String| {
                let pattern = rule.pattern.to_string();
                let events = match event_type {
                    Some(of) => self.of_type.get(&(at, of.clone())).copied(),
                    None => Some(self.events[at]),
                };
                let (rule, events) = (Some(pattern), events.unwrap_or(0));
                let event_type = event_type.cloned();
                let found = FitsNothing { rule, event_type, events, word, says };
                if !unfit.contains(&found) {
                    unfit.push(found);
                }
            };
            if self.events[at] == 0 {
                say("match", None, rule.pattern.to_string());
                continue;
            }
            let fits = |word: &'static str, of: Option<&String>, says: &str| {
                self.fitted.contains(&(at, (word, of.cloned(), says.to_owned())))
            };
            let mut types: Vec<_> = rule.types.iter().collect();
            types.sort_by_key(|(name, _)| *name);
            let cuts = types.iter().map(|(name, cut)| (Some(*name), *cut));
            for (of, cut) in std::iter::once((None, &rule.cut)).chain(cuts) {
                // Of a type without events only the type is named.
                if of.is_some_and(|of| !fits("type", None, of)) {
                    continue;
                }
                for (word, inherited, path) in paths_of(cut) {
                    let (of, says) = (of.filter(|_| !inherited), path.to_string());
                    if !fits(word, of, &says) {
                        say(word, of, says);
                    }
                }
            }
            let subject = rule.subject.iter().flat_map(|subject| subject.pointers());
            for says in subject.map(ToString::to_string) {
                if !fits("subject", None, &says) {
                    say("subject", None, says);
                }
            }
            for owner in &rule.owners {
                if !fits("owner", None, &owner.event) {
                    say("owner", None, owner.event.clone());
                    continue;
                }
                for path in owner.template.pointers().map(ToString::to_string) {
                    if !fits("owner", Some(&owner.event), &path) {
                        say("owner", None, path);
                    }
                }
            }
            for (name, _) in types {
                if !fits("type", None, name) {
                    say("type", None, name.clone());
                }
            }
        }
        // The first ones are there without a rule.
        for path in rules.metadata.public.iter().skip(rules.metadata.scalars) {
            let says = path.to_string();
            if !self.metadata.contains(&says) {
                let events = self.events.iter().sum::<u64>() + self.without_rule;
                let word = "public_metadata";
                unfit.push(FitsNothing { rule: None, event_type: None, events, word, says });
            }
        }
        unfit
    }
}

/// The places that these rules for fields name in a payload, and whether they are those of the stream's rule.
fn paths_of(cut: &FieldRules) -> impl Iterator<Item = (&'static str, bool, &PathPattern)> {
    let public = cut.public.iter().map(|path| ("public", cut.inherits_public, path));
    let fields = cut.fields.iter().map(|field| ("field", cut.inherits_fields, &field.place));
    public.chain(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    fn sample(policy: &str, events: &[(&str, &str, &str)]) -> Vec<(&'static str, String)> {
        let policy = Policy::parse(policy).unwrap();
        let mut sample = policy.sample();
        for (stream, kind, data) in events {
            let event = NewEvent::new(EventType::new(*kind).unwrap(), Json::parse(data).unwrap());
            sample.add(&StreamName::new(*stream).unwrap(), &event);
        }
        sample.fits_nothing().into_iter().map(|unfit| (unfit.word, unfit.says)).collect()
    }

    const POLICY: &str = r#"
        public_metadata = ["/tenant"]
        [[stream]]
        match = "user-{id}"
        public = ["/colour", "/addresses/*/country"]
        [[stream.field]]
        pointer = "/plate"
        [stream.type.Closed]
        public = ["/why"]
        [[stream]]
        match = "account-{id}"
        subject = "user-{/of}"
        otherwise = "stream"
        owner = [{ event = "Opened", add = "{/owner}" }, { event = "Passed", replace = "{/to}" }]
        [[stream]]
        match = "ledger-{id}"
        public = ["/amount"]
    "#;

    #[test]
    fn what_fits_no_event_of_a_sample_is_named_once() {
        let user = r#"{"colour":1,"plate":null,"addresses":[{},{"country":"DE"}]}"#;
        let all = [
            ("user-1", "Registered", user),
            ("user-1", "Closed", r#"{"why":"moved"}"#),
            ("account-1", "Opened", r#"{"owner":"user-1","of":1}"#),
            ("account-1", "Passed", r#"{"to":"user-2"}"#),
            ("ledger-1", "Booked", r#"{"amount":1}"#),
        ];
        let word = |word, says: &str| (word, says.to_owned());
        assert_eq!(sample(POLICY, &all), [word("public_metadata", "/tenant")]);
        let some = [
            ("user-1", "Registered", r#"{"colour":1,"addresses":[{"contry":"DE"}]}"#),
            ("account-1", "Opened", r#"{"owner":"user-1"}"#),
            ("other-1", "T", "[]"),
        ];
        let expected = [
            word("public", "/addresses/*/country"),
            word("field", "/plate"),
            word("type", "Closed"),
            word("subject", "/of"),
            word("owner", "Passed"),
            word("match", "ledger-{id}"),
            word("public_metadata", "/tenant"),
        ];
        assert_eq!(sample(POLICY, &some), expected);
        assert_eq!(sample(POLICY, &[]).len(), 4);
    }

    #[test]
    fn what_fits_in_one_type_of_events_does_not_hide_what_is_misspelled_in_another() {
        let policy = r#"
            [[stream]]
            match = "user-{id}"
            public = ["/country"]
            [stream.type.Moved]
            public = ["/country"]
        "#;
        let policy = Policy::parse(policy).unwrap();
        let mut sample = policy.sample();
        for (kind, data) in [("Came", r#"{"country":"DE"}"#), ("Moved", r#"{"contry":"FR"}"#)] {
            let event = NewEvent::new(EventType::new(kind).unwrap(), Json::parse(data).unwrap());
            sample.add(&StreamName::new("user-1").unwrap(), &event);
        }
        let unfit = sample.fits_nothing();
        assert_eq!(unfit.len(), 1, "{unfit:?}");
        assert_eq!((unfit[0].word, unfit[0].events, &*unfit[0].says), ("public", 1, "/country"));
        assert_eq!(unfit[0].event_type.as_deref(), Some("Moved"));
    }

    /// The field held `user-456` already, and its owner was `user-user-456`.
    #[test]
    fn subjects_that_are_no_stream_of_the_sample_are_named() {
        let policy = r#"
            [[stream]]
            match = "account-{id}"
            owner = [{ event = "Opened", add = "user-{/owner}" }]
        "#;
        let policy = Policy::parse(policy).unwrap();
        let mut sample = policy.sample();
        let events = [
            ("user-1", r#"{}"#),
            ("account-1", r#"{"owner":1}"#),
            ("account-2", r#"{"owner":"user-1"}"#),
        ];
        for (stream, data) in events {
            let data = Json::parse(data).unwrap();
            let event = NewEvent::new(EventType::new("Opened").unwrap(), data);
            sample.add(&StreamName::new(stream).unwrap(), &event);
        }
        let nobody = sample.without_stream();
        assert_eq!(nobody.len(), 1, "{nobody:?}");
        assert_eq!(nobody[0].subject.as_str(), "user-user-1");
        assert_eq!(nobody[0].named_in.as_str(), "account-2");
    }
}
