//! Cutting against an independent oracle, on made-up policies and documents.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const KEYS: [&str; 6] = ["a", "b", "c", "0", "1", "m/~n"];

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..100u32).prop_map(Value::from),
        "[A-Zü]{0,5}".prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            objects(inner),
        ]
    });
    objects(any)
}

/// Objects whose members come in any order.
fn objects(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let keys = prop::sample::subsequence(&KEYS[..], 0..=KEYS.len()).prop_shuffle();
    (keys, prop::collection::vec(values, KEYS.len())).prop_map(|(keys, values)| {
        Value::Object(keys.into_iter().map(str::to_owned).zip(values).collect::<Map<_, _>>())
    })
}

fn pointers() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        2 => prop::sample::select(vec!["a", "b", "c", "0", "1", "m~1~0n"]),
        1 => Just("*"),
    ];
    prop::collection::vec(step, 1..4).prop_map(|steps| format!("/{}", steps.join("/")))
}

#[derive(Debug, Clone)]
struct MadeUp {
    public: Vec<String>,
    /// Pointer, and one of: nothing, keep, placeholder, another's.
    fields: Vec<(String, u8)>,
}

impl MadeUp {
    fn toml(&self) -> String {
        let mut toml = format!(
            "[[stream]]\nmatch = 's-{{id}}'\nlayout = 'inline'\npublic = {:?}\n",
            self.public
        );
        for (pointer, kind) in &self.fields {
            toml += &format!("[[stream.field]]\npointer = {pointer:?}\n");
            toml += match kind {
                0 => "",
                1 => "keep = 'first 2'\n",
                2 => "placeholder = 'PLACE'\n",
                3 => "subject = 'user-{id}'\n",
                _ => "subject = 'other-{id}'\nkeep = 'last 1'\n",
            };
        }
        toml
    }
}

fn policies() -> impl Strategy<Value = MadeUp> {
    let public = prop_oneof![
        4 => prop::collection::vec(pointers(), 0..4),
        1 => Just(vec!["*".to_owned()]),
    ];
    let fields = prop::collection::vec((pointers(), 0..5u8), 0..3);
    (public, fields).prop_map(|(public, fields)| MadeUp { public, fields })
}

fn steps(pointer: &str) -> Vec<String> {
    let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
    pointer.split('/').skip(1).map(unescape).collect()
}

/// Whether a pattern names this place or one above it.
fn names(pattern: &str, path: &[String]) -> bool {
    let pattern = steps(pattern);
    pattern.len() <= path.len()
        && pattern.iter().zip(path).all(|(step, key)| step == "*" || step == key)
}

fn is_public(policy: &MadeUp, path: &[String]) -> bool {
    policy.public.iter().any(|pattern| pattern == "*" || names(pattern, path))
        && !policy.fields.iter().any(|(field, _)| names(field, path))
}

/// Checks that each scalar and each empty container of the public part may be there.
fn check_shown(
    policy: &MadeUp,
    shown: &Value,
    whole: &Value,
    path: &mut Vec<String>,
    in_array: bool,
) {
    let field = policy.fields.iter().find(|(field, _)| names(field, path));
    match (shown, whole) {
        (Value::Object(shown), Value::Object(whole)) if field.is_none() => {
            assert!(!shown.is_empty() || is_public(policy, path) || path.is_empty(), "{path:?}");
            for (key, value) in shown {
                path.push(key.clone());
                check_shown(policy, value, &whole[key], path, false);
                path.pop();
            }
        }
        (Value::Array(shown), Value::Array(whole)) if field.is_none() => {
            assert_eq!(shown.len(), whole.len());
            assert!(!shown.is_empty() || is_public(policy, path));
            for (i, (shown, whole)) in shown.iter().zip(whole).enumerate() {
                path.push(i.to_string());
                check_shown(policy, shown, whole, path, true);
                path.pop();
            }
        }
        (Value::Null, _) if in_array => {}
        (Value::String(text), _) if field.is_some() => {
            let (_, kind) = field.unwrap();
            let length = text.chars().count();
            let original = whole.as_str().map_or(0, |whole| whole.chars().count());
            match kind {
                1 => assert!(
                    length == 2 && original > 2 && whole.as_str().unwrap().starts_with(text)
                ),
                2 => assert_eq!(text, "PLACE"),
                4 => {
                    assert!(length == 1 && original > 1 && whole.as_str().unwrap().ends_with(text));
                }
                _ => panic!("a field without residue is shown at {path:?}"),
            }
        }
        (shown, whole) => {
            assert!(is_public(policy, path), "{path:?} is shown");
            assert_eq!(shown, whole);
        }
    }
}

/// Checks that everything public is shown.
fn check_complete(policy: &MadeUp, whole: &Value, shown: Option<&Value>, path: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match whole {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    if children.is_empty() {
        if is_public(policy, path) && !path.is_empty() {
            assert_eq!(shown, Some(whole), "{path:?}");
        }
        return;
    }
    for (key, value) in children {
        let below = shown.and_then(|shown| match shown {
            Value::Array(items) => items.get(key.parse::<usize>().unwrap()),
            other => other.get(&key),
        });
        path.push(key);
        check_complete(policy, value, below, path);
        path.pop();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_cut_is_public_only_where_a_rule_says_so_and_goes_together_again(
        made_up in policies(), document in documents(), pretty in any::<bool>()
    ) {
        let policy = Policy::parse(&made_up.toml());
        prop_assume!(policy.is_ok());
        let policy = policy.unwrap();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let json = Json::parse(&text.unwrap()).unwrap();
        let text = json.as_str().to_owned();
        let (name, event_type) = (stream("s-1"), EventType::new("X").unwrap());
        let facts = EventFacts { stream: &name, event_type: &event_type, subject: None };
        let pieces = policy.cut(&facts, &json.into(), None).unwrap();

        let public: Option<Value> =
            pieces.public.as_ref().map(|json| serde_json::from_str(json.as_str()).unwrap());
        if let Some(public) = &public {
            check_shown(&made_up, public, &document, &mut Vec::new(), false);
        }
        check_complete(&made_up, &document, public.as_ref(), &mut Vec::new());

        if pieces.parts.iter().any(|part| part.body == Body::Whole) {
            prop_assert!(public.is_none() && pieces.parts.len() == 1);
        } else {
            prop_assert_eq!(rebuild(&pieces, |_| true), text);
            // Whoever is forgotten, the others' parts still find their places.
            for part in &pieces.parts {
                let _ = rebuild(&pieces, |who| *who == part.subject);
                let _ = rebuild(&pieces, |who| *who != part.subject);
            }
        }
        prop_assert_eq!(pieces.clear, pieces.parts.is_empty());
    }

    #[test]
    fn metadata_goes_together_again(metadata in documents(), more in pointers()) {
        let toml = format!("public_metadata = [{more:?}]");
        let text = serde_json::to_string(&metadata).unwrap();
        let json = Json::parse(&text).unwrap();
        let (name, event_type) = (stream("s-1"), EventType::new("X").unwrap());
        let facts = EventFacts { stream: &name, event_type: &event_type, subject: None };
        let data = Payload::from(Json::parse("{}").unwrap());
        let pieces = policy(&toml).cut(&facts, &data, Some(&json)).unwrap();
        let texts = pieces.parts[0].metadata.iter().map(|text| text.as_str());
        prop_assert_eq!(rebuild_from(pieces.public_metadata.as_ref(), texts, false), text);
    }

    #[test]
    fn arbitrary_files_never_panic(text in ".*") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn arbitrary_words_never_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "[[stream]]\n", "match = 'user-{id}'\n", "match = '{a}/{b}'\n", "match = 5\n", "public = ['*']\n",
            "public = ['/a/*', 7]\n", "layout = 'split'\n", "layout = 'x'\n", "[[stream.field]]\n",
            "pointer = '/a'\n", "pointer = ''\n", "keep = 'first 0'\n", "subject = '{/a/*}'\n",
            "subject = '{id}'\n", "[stream.type.X]\n", "owner = [{ event = 'A', add = 'user-{id}' }]\n",
            "owner = { }\n", "on_owner_forgotten = { retain = '10y' }\n", "pad = 0\n", "grace = 1\n",
            "public_metadata = ['/x', '']\n", "otherwise = 'stream'\n", "field = []\n", "\u{feff}", "=\n",
        ]), 0..12)
    ) {
        if let Err(errors) = Policy::parse(&words.concat()) {
            prop_assert!(!errors.errors().is_empty());
            prop_assert!(errors.errors().iter().all(|error| error.line > 0 && error.column > 0));
        }
    }
}
