//! What is fuzzed of JSON.

use serde_json::{Value, value::RawValue};

use super::{Json, JsonError, Node};

/// A text is taken as `serde_json` takes it, but for duplicate keys; it comes back as it was spelled, and has one
/// canonical form that means the same.
pub fn json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let theirs = serde_json::from_str::<Value>(text);
    let json = match Json::parse(text) {
        Ok(json) => json,
        Err(JsonError::DuplicateKey { at } | JsonError::TooDeep { at }) => {
            return assert!(at < text.len());
        }
        Err(error) => {
            let JsonError::Syntax { at, .. } = error else { panic!("{error:?}") };
            assert!(at <= text.len());
            return assert!(theirs.is_err(), "serde_json takes what is refused: {error}");
        }
    };
    assert_eq!(json.as_str(), text.trim_matches([' ', '\t', '\n', '\r']));
    let raw: Box<RawValue> = serde_json::from_str(text).expect("serde_json takes it");
    assert_eq!(json.as_str(), raw.get());

    let tree = json.tree();
    let root = tree.root();
    // Where there are members or elements, their pieces and the brackets are all of the text.
    let pieces: Vec<&str> = root.children().map(|child| child.piece()).collect();
    if !pieces.is_empty() {
        let inner = pieces.join(",");
        assert_eq!(&json.as_str()[1..json.as_str().len() - 1], inner);
    }

    if root.is_object() {
        let reversed: Vec<&str> = pieces.iter().rev().copied().collect();
        let reversed =
            Json::parse(&format!("{{{}}}", reversed.join(","))).expect("it has the same members");
        assert!(reversed.is_same(&json), "the order of members makes another value");
    }

    let canonical = root.to_canonical();
    // Numbers such as 1e39 are written out.
    assert!(
        canonical.len() <= 12 * text.len() + 45,
        "{} bytes become {}",
        text.len(),
        canonical.len()
    );
    let again = Json::parse(&canonical).expect("the canonical form is JSON");
    assert_eq!(again.as_str(), canonical);
    assert_eq!(again.to_canonical(), canonical, "the canonical form has another");
    assert!(json.is_same(&again));
    if let Ok(theirs) = theirs {
        assert_eq!(ours(root), values(&theirs), "a member counts for less, or more, than one");
        let canonical =
            serde_json::from_str(&canonical).expect("serde_json takes the canonical form");
        assert!(is_alike(&theirs, &canonical), "the canonical form means something else");
    }
}

/// How many values there are, at any depth.
fn ours(node: Node<'_>) -> usize {
    1 + node.children().map(ours).sum::<usize>()
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

/// Whether both are the same, but for the last digit that a double has.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(key, one)| other.get(key).is_some_and(|other| is_alike(one, other));
            one.len() == other.len() && one.iter().all(has)
        }
        (Value::Number(one), Value::Number(other)) if one != other => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-15
        }
        (one, other) => one == other,
    }
}
