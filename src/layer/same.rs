//! Whether an event that is appended again is the one that is stored, of which parts may be gone since.
//!
//! The policy may be another one by now, so that what is gone is known by what the stored event says of it: the names
//! of its fields. An event with one token names none. Where that leaves a doubt, it is taken for a retry: refusing one
//! would have its writer append the event a second time, under another id.

use std::{borrow::Cow, collections::HashMap};

use super::Opened;
use crate::event::{Json, Kind, Node, Payload, Pointer, Tree, WithheldReason, same};

/// Whether two payloads are one. How a store respells JSON makes no difference.
pub(super) fn is_same(one: &Payload, other: &Payload) -> bool {
    match (one, other) {
        (Payload::Json(one), Payload::Json(other)) => {
            one == other || is_value(one.tree().root(), other.tree().root())
        }
        (one, other) => one == other,
    }
}

/// Whether what is left of a stored event, of which parts are gone, can be left of `asked`. `clear`: what the present
/// policy leaves of that in clear.
pub(super) fn is_left_of(
    opened: &Opened,
    left: &Payload,
    asked: &Payload,
    clear: Option<&Json>,
) -> bool {
    let (Payload::Json(stored), Payload::Json(whole)) = (left, asked) else {
        // What is no JSON is in one piece.
        return left == asked;
    };
    let (stored, whole, clear) = (stored.tree(), whole.tree(), clear.map(Json::tree));
    let (stored, whole) = (stored.root(), whole.root());
    if !stored.is_object() {
        // So is all but an object.
        return is_value(stored, whole);
    }
    let gone = Gone::of(opened);
    Walk { gone: &gone, path: Vec::new() }.fits(stored, whole, clear.as_ref().map(Tree::root))
}

fn is_value(one: Node<'_>, other: Node<'_>) -> bool {
    one.to_canonical() == other.to_canonical()
}

/// What of a stored event is gone.
struct Gone {
    /// Where: pointers in which `*` is any step. What stands there may stand in for what is gone.
    places: Vec<Pointer>,
    /// Whether that is also what no pointer names.
    rest: bool,
    /// Whether something may stand in for what is gone at a place that is not named.
    unnamed: bool,
}

impl Gone {
    fn of(opened: &Opened) -> Self {
        // What was missing of a copy is missing of the event that is asked for as well.
        let own = opened.shredded.iter().filter(|part| !part.copied).map(|part| &part.fields);
        let unvouched = opened.withheld.iter().filter(|part| part.why == WithheldReason::Unvouched);
        let fields = own.chain(unvouched.map(|part| &part.fields)).flatten();
        let unnamed = opened.keys.len() == 1;
        let mut gone = Self { places: Vec::new(), rest: false, unnamed };
        for field in fields {
            match field.parse() {
                Ok(place) => gone.places.push(place),
                // `*`, the rest.
                Err(_) => gone.rest = true,
            }
        }
        gone
    }

    /// Whether a place is one of those that are named.
    fn has(&self, path: &[Cow<'_, str>]) -> bool {
        let fits = |place: &Pointer| {
            let steps = place.steps();
            steps.len() == path.len()
                && steps.iter().zip(path).all(|(step, key)| {
                    let step = step.as_str();
                    step == "*" || same(step, key)
                })
        };
        self.places.iter().any(fits)
    }
}

/// A way through both payloads at once.
struct Walk<'g, 't> {
    gone: &'g Gone,
    path: Vec<Cow<'t, str>>,
}

impl<'t> Walk<'_, 't> {
    fn fits(&mut self, stored: Node<'t>, asked: Node<'t>, clear: Option<Node<'t>>) -> bool {
        if self.gone.has(&self.path) {
            return true;
        }
        match (stored.kind(), asked.kind()) {
            (Kind::Object, Kind::Object) => self.members(stored, asked, clear),
            (Kind::Array, Kind::Array) => self.elements(stored, asked, clear),
            _ => is_value(stored, asked) || self.may_stand_in(stored, asked, clear),
        }
    }

    fn members(&mut self, stored: Node<'t>, asked: Node<'t>, clear: Option<Node<'t>>) -> bool {
        let mut stored = by_key(stored);
        let clear = clear.map(by_key).unwrap_or_default();
        for member in asked.children() {
            let Some(key) = member.key() else { return false };
            let (found, clear) = (stored.remove(&key), clear.get(&key).copied());
            self.path.push(key);
            let fits = match found {
                Some(found) => self.fits(found, member, clear),
                None => self.gone.rest || self.is_all_gone(member),
            };
            self.path.pop();
            if !fits {
                return false;
            }
        }
        // What else is stored, this event never had.
        stored.is_empty()
    }

    fn elements(&mut self, stored: Node<'t>, asked: Node<'t>, clear: Option<Node<'t>>) -> bool {
        let mut stored = stored.children();
        let clear = clear.filter(|clear| clear.kind() == Kind::Array);
        let mut clear = clear.into_iter().flat_map(|clear| clear.children());
        for (i, element) in asked.children().enumerate() {
            let Some(found) = stored.next() else { return false };
            let clear = clear.next();
            self.path.push(i.to_string().into());
            // A sealed element leaves a `null`, so that the others keep their places.
            let fits = self.fits(found, element, clear)
                || found.kind() == Kind::Null && (self.gone.rest || self.is_all_gone(element));
            self.path.pop();
            if !fits {
                return false;
            }
        }
        stored.next().is_none()
    }

    /// Whether all that was asked for here is at places that are gone.
    fn is_all_gone(&mut self, asked: Node<'t>) -> bool {
        if self.gone.has(&self.path) {
            return true;
        }
        for (i, child) in asked.children().enumerate() {
            self.path.push(child.key().unwrap_or_else(|| i.to_string().into()));
            let is_gone = self.is_all_gone(child);
            self.path.pop();
            if !is_gone {
                return false;
            }
        }
        // A value by itself, and an empty container, would be there.
        asked.children().next().is_some()
    }

    /// Whether a text may be a residue or a placeholder. Not where the present policy has the very value in clear.
    fn may_stand_in(&self, stored: Node<'t>, asked: Node<'t>, clear: Option<Node<'t>>) -> bool {
        self.gone.unnamed
            && self.gone.rest
            && stored.kind() == Kind::String
            && clear.is_none_or(|clear| !is_value(clear, asked))
    }
}

/// The members of an object.
fn by_key(object: Node<'_>) -> HashMap<Cow<'_, str>, Node<'_>> {
    object.children().filter_map(|member| Some((member.key()?, member))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{KEY_ID_BYTES, KeyId, Withheld};

    /// What is left of an event, of which these fields are gone. One with one token does not name them.
    fn fits(gone: &[&str], left: &str, asked: &str, clear: &str) -> bool {
        let fields = gone.iter().map(|field| (*field).to_owned()).collect();
        let opened = Opened {
            keys: vec![KeyId([0; KEY_ID_BYTES]); if gone == ["*"] { 1 } else { 2 }],
            withheld: vec![Withheld { why: WithheldReason::Unvouched, fields }],
            ..Opened::default()
        };
        let [left, asked, clear] = [left, asked, clear].map(|text| Json::parse(text).unwrap());
        is_left_of(&opened, &left.into(), &asked.into(), Some(&clear))
    }

    #[test]
    fn what_is_left_of_an_event_is_known_again() {
        let event = r#"{"id":1,"name":"Erika","of":{"iban":"DE","user":"u"},"l":[1,"x",{"y":2}]}"#;
        for (gone, left) in [
            (&["*"][..], r#"{"id":1}"#),
            // As a store respells it.
            (&["*"], r#"{ "id": 1.0e0, "of": {"user":"\u0075"}, "l":[null,null,null] }"#),
            // Residues and placeholders; also where the policy is another one by now.
            (&["*"], r#"{"id":1,"name":"E","l":"gone","of":{"iban":"gone"}}"#),
            (&["/name", "*"], r#"{"id":1,"name":"Er"}"#),
            (&["/of/iban"], r#"{"id":1,"name":"Erika","of":{"user":"u"},"l":[1,"x",{"y":2}]}"#),
            (&["/of/*"], r#"{"id":1,"name":"Erika","l":[1,"x",{"y":2}]}"#),
            (&["/l/*/y", "/of"], r#"{"id":1,"name":"Erika","l":[1,"x",null]}"#),
            (&["/of"], r#"{"id":1,"name":"Erika","of":"gone","l":[1,"x",{"y":2}]}"#),
        ] {
            assert!(fits(gone, left, event, r#"{"id":1}"#), "{gone:?}: {left}");
        }
    }

    #[test]
    fn what_is_left_of_another_event_is_not() {
        let event = r#"{"id":1,"name":"Erika","of":{"iban":"DE","user":"u"},"l":[1,"x"]}"#;
        for (gone, left) in [
            (&["*"][..], r#"{"id":2}"#),
            (&["*"], r#"{"id":null}"#),
            (&["*"], r#"{"id":1,"more":1}"#),
            (&["*"], r#"{"id":1,"of":{"user":{}}}"#),
            (&["*"], r#"{"id":1,"l":[null]}"#),
            (&["*"], r#"{"id":1,"l":[null,null,null]}"#),
            (&["*"], r#"{"id":1,"l":[2,null]}"#),
            // The present policy has the name in clear.
            (&["*"], r#"{"id":1,"name":"Otto"}"#),
            (&["/of/iban"], r#"{"id":1,"name":"Erika","of":{"user":"u"}}"#),
            (&["/of/iban"], r#"{"id":1,"name":"Erika","l":[1,"x"]}"#),
            (&["/of/iban"], r#"{"id":1,"name":"Otto","of":{"user":"u"},"l":[1,"x"]}"#),
            (&["/of/iban"], r#"{"id":1,"name":"Erika","of":{"user":"u"},"l":[null,"x"]}"#),
            (&["/of/iban", "*"], r#"{"id":1,"of":{"user":"v"}}"#),
        ] {
            let clear = r#"{"id":1,"name":"Erika"}"#;
            assert!(!fits(gone, left, event, clear), "{gone:?}: {left}");
        }
    }

    #[test]
    fn what_is_no_object_is_in_one_piece() {
        for (left, fits_it) in
            [("[1,2]", true), ("[1,3]", false), ("[1,null]", false), ("7", false)]
        {
            assert_eq!(fits(&["*"], left, "[1,2]", "[1,2]"), fits_it, "{left}");
        }
    }
}
