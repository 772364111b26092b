//! Makes the vectors of values and names of `docs/format.md`, and checks that the committed ones are what is written
//! today.

use serde_json::{Value, json};

use super::*;
use crate::{
    event::{NameError, StreamName},
    layer::document::vectors::are_committed,
};

/// Texts of JSON, each of one value.
fn texts() -> Vec<String> {
    let numbers = [
        "0",
        "-0",
        "0.000",
        "0e9",
        "-0.0e-7",
        "1",
        "-1",
        "1e2",
        "1.50",
        "0.025",
        "-25e-3",
        "1E+2",
        "1e39",
        "10e38",
        "1e40",
        "0.1e41",
        "1e-40",
        "0.1e-39",
        "1e-41",
        "0.10e-40",
        "1.5e400",
        "15e399",
        "9007199254740993",
        "100000000000000000000000000000000000000000000000000",
        "1e999999999999999999",
        "1e0999999999999999999",
        "1e1000000000000000000",
        "10e-1000000000000000000",
        "0e1000000000000000000",
    ];
    let others = [
        "null",
        " true\t",
        "[ ]",
        "{ }\r\n",
        r#"[1, [2.0, {}], null]"#,
        r#"{"b":1,"a":2,"":3,"B":4,"ä":5,"aa":6}"#,
        // U+FF61 is before U+1F600 in UTF-8, and behind it in UTF-16.
        "{\"\u{1f600}\":1,\"\u{ff61}\":2}",
        r#"{"\u0062":1,"a":2}"#,
        r#""\u0000\u0001\b\t\n\u000b\f\r\u001F\u007f""#,
        r#""\"\\\/""#,
        r#""\ud83d\ude00 \u00e9""#,
        "\"\u{2028}\u{7f}e\u{301}\"",
    ];
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    numbers.iter().chain(&others).map(|text| (*text).to_owned()).chain([deep]).collect()
}

/// Texts that are none.
fn bad_texts() -> Vec<(&'static str, String)> {
    let syntax = [
        "",
        " ",
        "nul",
        "True",
        "NaN",
        "-Infinity",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x1",
        "1 2",
        "[1,]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{1:1}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\u{1}\"",
        "\"\n\"",
        "[",
        "]",
        "{\"a\":1]",
        "// a\n1",
        "\u{feff}1",
        "\u{b}1",
        "\u{a0}1",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800\u0041""#,
        r#"{"\udfff":1}"#,
    ];
    let twice = [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"":0,"":0}}]"#];
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
    let syntax = syntax.iter().map(|text| ("no JSON", (*text).to_owned()));
    let twice = twice.iter().map(|text| ("member twice", (*text).to_owned()));
    syntax.chain(twice).chain([("too deep", deep), ("too deep", deep_object)]).collect()
}

fn names() -> Vec<String> {
    let names = [
        "user-456",
        "a",
        "user-456$",
        "Ünï-1",
        "u\u{308}-1",
        "\u{212b}-2",
        "e\u{301}\u{327}",
        "\u{1f600}-3",
        "账户-4",
        "a/b:c.d_e",
        "\u{ac00}",
        "\u{1100}\u{1161}",
    ];
    let long = ["a".repeat(255), format!("{}b", "e\u{301}".repeat(127))];
    names.iter().map(|name| (*name).to_owned()).chain(long).collect()
}

fn bad_names() -> Vec<(&'static str, String)> {
    let hidden = [
        "a b",
        " a",
        "a\n",
        "\u{a0}a",
        "a\u{0}",
        "a\u{7f}",
        "a\u{200b}",
        "\u{feff}a",
        "a\u{ad}",
        "a\u{202e}b",
        "a\u{2800}",
        "a\u{fff9}",
        "a\u{fe0f}",
        "a\u{e000}",
        "a\u{3164}",
        "a\u{180e}",
        "a\u{e0001}",
        "a\u{3000}",
    ];
    let unassigned = ["a\u{378}", "\u{2fe0}", "a\u{ffff}"];
    let hidden = hidden.iter().map(|name| ("bad character", (*name).to_owned()));
    let unassigned = unassigned.iter().map(|name| ("unassigned", (*name).to_owned()));
    let others = [
        ("empty", String::new()),
        ("too long", "a".repeat(256)),
        ("too long", format!("{}b", "e\u{301}".repeat(128))),
        ("reserved", "$all".to_owned()),
        ("reserved", "$".to_owned()),
    ];
    hidden.chain(unassigned).chain(others).collect()
}

#[test]
fn the_committed_values_and_names_have_the_form_that_they_have_today() {
    let json = texts().into_iter().map(|text| {
        let canonical = Json::parse(&text).unwrap().tree().root().to_canonical();
        assert_eq!(Json::parse(&canonical).unwrap().tree().root().to_canonical(), canonical);
        json!({ "text": text, "canonical": canonical })
    });
    let bad = bad_texts().into_iter().map(|(error, text)| {
        let told = match Json::parse(&text) {
            Err(JsonError::Syntax { .. }) => "no JSON",
            Err(JsonError::DuplicateKey { .. }) => "member twice",
            Err(JsonError::TooDeep { .. }) => "too deep",
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(told, error, "{text}");
        json!({ "name": format!("{text:.40}"), "text": text, "error": error })
    });
    let names = names().into_iter().map(|text| {
        let name = StreamName::new(&text).unwrap();
        json!({ "text": text, "name": name })
    });
    let bad_names = bad_names().into_iter().map(|(error, text)| {
        let told = match StreamName::new(&text) {
            Err(NameError::Empty { .. }) => "empty",
            Err(NameError::TooLong { .. }) => "too long",
            Err(NameError::BadCharacter { .. }) => "bad character",
            Err(NameError::Unassigned { .. }) => "unassigned",
            Err(NameError::Reserved { .. }) => "reserved",
            other => panic!("{text:?}: {other:?}"),
        };
        assert_eq!(told, error, "{text:?}");
        json!({ "name": format!("{:.40}", text.escape_unicode()), "text": text, "error": error })
    });
    let lists: [Vec<Value>; 4] =
        [json.collect(), bad.collect(), names.collect(), bad_names.collect()];
    let [json, bad, names, bad_names] = lists;
    are_committed(
        "values.json",
        &json!({ "json": json, "bad": bad, "names": names, "badNames": bad_names }),
    );
}
