//! What is fuzzed of policies.

use serde_json::Value;

use super::{Body, EventFacts, Policy};
use crate::event::{EventType, Fillings, Json, NewEvent, Payload, StreamName, Tree, fill};

/// A policy that is read has one name, and says of every event what happens to it: what it shows is of the event, and
/// what it cuts out goes together again, byte for byte.
///
/// The policy goes up to a line `---`; behind it are a stream, a type, data and metadata, one a line.
pub fn policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (toml, event) = text.split_once("\n---\n").unwrap_or((text, ""));
    let policy = match Policy::parse(toml) {
        Ok(policy) => policy,
        Err(refused) => {
            assert!(!refused.errors().is_empty());
            let lines = toml.matches('\n').count() + 1;
            for error in refused.errors() {
                assert!((1..=lines).contains(&error.line) && error.column > 0, "{error:?}");
            }
            return;
        }
    };
    let commented = Policy::parse(&format!("# The same.\n{toml}\n# It ends."));
    assert_eq!(commented.map(|policy| policy.digest()), Ok(policy.digest()));
    for warning in policy.warnings() {
        assert!(warning.line > 0 && warning.column > 0, "{warning:?}");
    }

    let mut lines = event.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (Ok(stream), Ok(event_type)) = (StreamName::new(line()), EventType::new(line())) else {
        return;
    };
    let data = line();
    let payload =
        Json::parse(data).map_or_else(|_| Payload::Bytes(data.as_bytes().into()), Payload::Json);
    let metadata = Json::parse(line()).ok().filter(|json| json.tree().root().is_object());
    explained(&policy, &stream, &event_type, &payload, metadata.as_ref());
    explained(&Policy::sealed_by_default(), &stream, &event_type, &payload, metadata.as_ref());
}

fn explained(
    policy: &Policy,
    stream: &StreamName,
    event_type: &EventType,
    data: &Payload,
    metadata: Option<&Json>,
) {
    let mut event = NewEvent::new(event_type.clone(), data.clone());
    event.metadata = metadata.cloned();
    let Ok(explained) = policy.explain(stream, &event) else { return };
    assert_eq!(policy.explain(stream, &event).ok().as_ref(), Some(&explained));
    let _ = policy.stated_owners(stream, event_type, data);

    let facts = EventFacts { stream, event_type, subject: None };
    let Ok(cut) = policy.cut(&facts, data, metadata) else {
        panic!("it is explained, and not cut");
    };
    let bodies = || cut.parts.iter().map(|part| &part.body);
    assert!(!cut.clear || bodies().all(|body| *body == Body::Nothing));
    if bodies().any(|body| *body == Body::Whole) {
        // It is one token, and nothing of the payload is beside it.
        assert!(
            explained.data.is_none()
                && bodies().filter(|body| **body != Body::Nothing).count() == 1
        );
    } else if let (Payload::Json(json), false) = (data, cut.clear) {
        let parts = bodies().filter_map(|body| match body {
            Body::Fields(text) => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(together(cut.public.as_ref(), parts), json.as_str());
        shows_no_more(cut.public.as_ref(), json);
    }
    if let Some(json) = metadata {
        let parts =
            cut.parts.iter().filter_map(|part| part.metadata.as_ref().map(|text| text.as_str()));
        assert_eq!(together(cut.public_metadata.as_ref(), parts), json.as_str());
        shows_no_more(cut.public_metadata.as_ref(), json);
    }
}

/// Everything that was cut out, put back into what is left.
fn together<'t>(public: Option<&Json>, parts: impl Iterator<Item = &'t str>) -> String {
    let read: Vec<Fillings<'_>> = parts.map(|text| Fillings::read(text).unwrap()).collect();
    let all = read.iter().flat_map(Fillings::iter).map(Result::unwrap).collect();
    let tree = public.map(Json::tree);
    let filled = fill(tree.as_ref().map(Tree::root), &[], all, false);
    filled.expect("what was cut out has its place").as_str().to_owned()
}

/// Every member that is shown is one of the event's.
fn shows_no_more(public: Option<&Json>, whole: &Json) {
    let value = |json: &Json| serde_json::from_str::<Value>(json.as_str()).ok();
    if let (Some(public), Some(whole)) = (public.and_then(value), value(whole)) {
        is_of(&public, &whole);
    }
}

fn is_of(public: &Value, whole: &Value) {
    match (public, whole) {
        (Value::Object(public), Value::Object(whole)) => {
            assert!(
                public.iter().all(|(key, value)| {
                    whole.get(key).map(|whole| is_of(value, whole)).is_some()
                })
            );
        }
        (Value::Array(public), Value::Array(whole)) => {
            assert_eq!(public.len(), whole.len());
            public.iter().zip(whole).for_each(|(public, whole)| is_of(public, whole));
        }
        // A residue of a field is a text, and a hole in a list is null.
        (Value::String(_) | Value::Null, _) => {}
        (public, whole) => assert_eq!(public, whole, "shown is what was not there"),
    }
}
