use proptest::prelude::*;

use super::*;

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(".*", inner, 0..8)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Turns floats aside: `serde_json` refuses out-of-range numbers that are fine JSON.
fn has_float(text: &str) -> bool {
    text.contains(['e', 'E', '.'])
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_and_written_back_verbatim(value in arbitrary_json()) {
        let text = serde_json::to_string(&value).unwrap();
        let json = Json::parse(&text).unwrap();
        prop_assert_eq!(json.as_str(), text);
    }

    #[test]
    fn the_canonical_form_means_the_same(value in arbitrary_json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let canonical = Json::parse(&pretty).unwrap().tree().root().to_canonical();
        let again: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn arbitrary_text_is_judged_as_serde_json_judges_it(
        text in r#"[\[\]{}:,"\\u0-9a-fD8e+.\- ntruefalsl]{0,24}"#
    ) {
        let ours = Json::parse(&text);
        let theirs = serde_json::from_str::<Box<RawValue>>(&text);
        // `RawValue` checks no surrogates, keys or depth, a full read does; ours is the stricter.
        if ours.is_ok() {
            prop_assert!(theirs.is_ok());
        } else if serde_json::from_str::<serde_json::Value>(&text).is_ok() && !has_float(&text) {
            let duplicate = matches!(ours, Err(JsonError::DuplicateKey { .. }));
            prop_assert!(duplicate);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".*") {
        let _ = Json::parse(&text);
    }

    #[test]
    fn pointers_survive_their_text(steps in prop::collection::vec(".*", 0..5)) {
        let pointer = steps.iter().fold(Pointer::root(), |pointer, step| pointer.join(step.as_str()));
        prop_assert_eq!(pointer.to_string().parse::<Pointer>().unwrap(), pointer);
    }
}

#[test]
fn numbers_keep_their_literals() {
    for text in [
        "9007199254740993",
        "1e400",
        "-0",
        "1.0",
        "1E+2",
        "0.1e-7",
        "123456789012345678901234567890",
    ] {
        assert_eq!(Json::parse(text).unwrap().tree().root().text(), text);
    }
    for text in ["01", "+1", ".5", "1.", "1e", "-", "NaN", "0x1"] {
        assert!(Json::parse(text).is_err(), "{text}");
    }
}

#[test]
fn duplicate_keys_are_refused_however_spelled_and_however_many() {
    let refused = |text: &str| matches!(Json::parse(text), Err(JsonError::DuplicateKey { .. }));
    assert!(refused(r#"{"a":1,"a":2}"#));
    assert!(refused(r#"{"a":1,"\u0061":2}"#));
    let mut many: String = (0..100).map(|i| format!(r#""k{i}":0,"#)).collect();
    assert!(Json::parse(&format!("{{{many}\"last\":0}}")).is_ok());
    many.push_str(r#""k57":1"#);
    assert!(refused(&format!("{{{many}}}")));
}

#[test]
fn nesting_is_limited() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(matches!(Json::parse(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep { .. })));
    assert!(matches!(Json::parse(&nested(1_000_000)), Err(JsonError::TooDeep { .. })));
}

#[test]
fn lone_surrogates_are_refused_and_pairs_read() {
    assert!(Json::parse(r#""\ud800""#).is_err());
    assert!(Json::parse(r#""\udc00""#).is_err());
    assert!(Json::parse(r#""\ud800\u0041""#).is_err());
    assert_eq!(Json::parse(r#""\ud83d\ude00""#).unwrap().tree().root().string().unwrap(), "😀");
}

#[test]
fn pieces_of_a_text_are_all_of_it() {
    let json = Json::parse("{ \"a\" : [ 1 ,\t{} ] ,\n\"b\\u0062\":\"x\" }").unwrap();
    let tree = json.tree();
    let root = tree.root();
    let pieces: Vec<&str> = root.children().map(|member| member.piece()).collect();
    assert_eq!(format!("{{{}}}", pieces.join(",")), json.as_str());
    let list = root.member("a").unwrap();
    assert_eq!((list.before(), list.text(), list.after()), (" \"a\" : ", "[ 1 ,\t{} ]", " "));
    let pieces: Vec<&str> = list.children().map(|item| item.piece()).collect();
    assert_eq!(pieces, [" 1 ", "\t{} "]);
    assert_eq!(root.member("bb").unwrap().string().unwrap(), "x");
    assert!(root.find(&"/a/1".parse().unwrap()).unwrap().is_empty());
    assert!(root.find(&"/a/2".parse().unwrap()).is_none());
}

#[test]
fn what_is_left_out_of_the_canonical_form_leaves_no_trace() {
    let paths: &[&[&str]] = &[&["sealed"], &["notes", "mac"]];
    let of = |text: &str| {
        let (json, mut canonical) = (Json::parse(text).unwrap(), String::new());
        json.tree().root().canonical(&mut canonical, paths);
        canonical
    };
    assert_eq!(
        of(r#"{"z":1,"sealed":[1],"a":{"mac":2,"sealed":3}}"#),
        r#"{"a":{"mac":2,"sealed":3},"z":1}"#
    );
    assert_eq!(of(r#"{"notes":{"x":1,"mac":2}}"#), r#"{"notes":{"x":1}}"#);
    assert_eq!(of(r#"{"notes":{"mac":2}}"#), "{}");
    assert_eq!(of(r#"{"notes":{}}"#), r#"{"notes":{}}"#);
    assert_eq!(of(r#"{"notes":[{"mac":2}]}"#), r#"{"notes":[{"mac":2}]}"#);
}

#[test]
fn errors_and_debug_output_hold_no_content() {
    let secret = r#"{"name":"Ringelnatz","name":1}"#;
    assert!(!Json::parse(secret).unwrap_err().to_string().contains("Ringelnatz"));
    let json = Json::parse(r#"{"name":"Ringelnatz"}"#).unwrap();
    assert!(!format!("{json:?} {:?}", json.tree()).contains("Ringelnatz"));
    let error = json.to::<Vec<u32>>().unwrap_err();
    assert!(!error.to_string().contains("Ringelnatz"));
    let error = Json::parse("\"Ringelnatz\"").unwrap().to::<u32>().unwrap_err();
    assert!(!error.to_string().contains("Ringelnatz"));
}

#[test]
fn a_value_has_one_form_where_that_is_asked_for() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        One,
    }
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Value {
        name: Name,
        id: uuid::Uuid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more: Option<u8>,
    }
    let id = uuid::Uuid::from_u128(0xab);
    let exact = |text: &str| Json::parse(text).unwrap().to_exact::<Value>();
    let written = format!(r#"{{"name":"one","id":"{id}","more":7}}"#);
    let value = Value { name: Name::One, id, more: Some(7) };
    assert_eq!(exact(&written), Ok(value));
    // A store may spell it so.
    let respelled = format!(r#"{{ "more": 7, "id": "{id}", "n\u0061me": "one" }}"#);
    assert!(exact(&respelled).is_ok());
    for (from, to) in
        [("\"one\"", "{\"one\":null}"), (":7", ":null"), ("ab\"", "AB\""), ("{", "{\"unknown\":1,")]
    {
        let other = written.replacen(from, to, 1);
        assert!(Json::parse(&other).unwrap().to::<Value>().is_ok(), "{other}");
        assert!(exact(&other).is_err(), "{other}");
    }
    let list = format!(r#"["one","{id}",7]"#);
    assert!(Json::parse(&list).unwrap().to::<Value>().is_ok());
    assert!(exact(&list).is_err());
}
