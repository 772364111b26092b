//! Which words of a policy fit nothing in a sample of events: misspelled pointers, and rules for what is no more.

use std::collections::HashSet;

use super::{
    Policy,
    path::PathPattern,
    rules::{FieldRules, Rule},
};
use crate::event::{Json, NewEvent, Payload, StreamName, Tree};

/// Looks at events, and says which words of a policy fitted none of them: see [`Policy::sample`].
///
/// [`Policy::sample`] has an example.
#[derive(Debug)]
pub struct PolicySample {
    policy: Policy,
    /// How many events each rule was for.
    events: Vec<u64>,
    without_rule: u64,
    fitted: HashSet<(usize, Word)>,
    metadata: HashSet<String>,
}

/// A word of a policy that fitted no event of a sample.
///
/// [`Policy::sample`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FitsNothing {
    /// The `match` of the rule; `None`: it is `public_metadata`.
    pub rule: Option<String>,
    /// How many events of the sample the rule was for.
    pub events: u64,
    /// The word: `match`, `public`, `field`, `subject`, `owner` or `type`.
    pub word: &'static str,
    /// What it says: a pointer, or the type of an event.
    pub says: String,
}

/// A word of a rule, and what it says.
type Word = (&'static str, String);

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
            without_rule: 0,
            fitted: HashSet::new(),
            metadata: HashSet::new(),
        }
    }
}

impl PolicySample {
    /// Looks at an event of this stream.
    pub fn add(&mut self, stream: &StreamName, event: &NewEvent) {
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
        let mut fitted = vec![("type", event.event_type.to_string())];
        let tree = match &event.data {
            Payload::Json(json) => Some(json.tree()),
            Payload::Bytes(_) => None,
        };
        let root = tree.as_ref().map(Tree::root);
        let finds = |path: &PathPattern| root.is_some_and(|root| path.finds(root));
        for (word, path) in paths_of(rule, rule.cut_of(&event.event_type)) {
            if finds(path) {
                fitted.push((word, path.to_string()));
            }
        }
        for owner in rule.owners_by(&event.event_type) {
            fitted.push(("owner", owner.event.clone()));
            let found = owner.template.pointers().filter(|path| finds(path));
            fitted.extend(found.map(|path| ("owner", path.to_string())));
        }
        self.fitted.extend(fitted.into_iter().map(|word| (at, word)));
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
            let mut say = |word, says: String| {
                let pattern = rule.pattern.to_string();
                let events = self.events[at];
                let found = FitsNothing { rule: Some(pattern), events, word, says };
                if !unfit.contains(&found) {
                    unfit.push(found);
                }
            };
            if self.events[at] == 0 {
                say("match", rule.pattern.to_string());
                continue;
            }
            let fits = |word: &'static str, says: &str| {
                self.fitted.contains(&(at, (word, says.to_owned())))
            };
            let mut types: Vec<_> = rule.types.iter().collect();
            types.sort_by_key(|(name, _)| *name);
            for cut in std::iter::once(&rule.cut).chain(types.iter().map(|(_, cut)| *cut)) {
                for (word, path) in paths_of(rule, cut) {
                    let says = path.to_string();
                    if !fits(word, &says) {
                        say(word, says);
                    }
                }
            }
            for owner in &rule.owners {
                if !fits("owner", &owner.event) {
                    say("owner", owner.event.clone());
                    continue;
                }
                for path in owner.template.pointers().map(ToString::to_string) {
                    if !fits("owner", &path) {
                        say("owner", path);
                    }
                }
            }
            for (name, _) in types {
                if !fits("type", name) {
                    say("type", name.clone());
                }
            }
        }
        // The first ones are there without a rule.
        for path in rules.metadata.public.iter().skip(rules.metadata.scalars) {
            let says = path.to_string();
            if !self.metadata.contains(&says) {
                let events = self.events.iter().sum::<u64>() + self.without_rule;
                unfit.push(FitsNothing { rule: None, events, word: "public_metadata", says });
            }
        }
        unfit
    }
}

/// The places that a rule names in a payload, for events to which these rules for fields apply.
fn paths_of<'r>(
    rule: &'r Rule,
    cut: &'r FieldRules,
) -> impl Iterator<Item = (&'static str, &'r PathPattern)> {
    let public = cut.public.iter().map(|path| ("public", path));
    let fields = cut.fields.iter().map(|field| ("field", &field.place));
    let subject = rule.subject.iter().flat_map(|subject| subject.pointers());
    public.chain(fields).chain(subject.map(|path| ("subject", path)))
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
            word("public", "/why"),
            word("type", "Closed"),
            word("subject", "/of"),
            word("owner", "Passed"),
            word("match", "ledger-{id}"),
            word("public_metadata", "/tenant"),
        ];
        assert_eq!(sample(POLICY, &some), expected);
        assert_eq!(sample(POLICY, &[]).len(), 4);
    }
}
