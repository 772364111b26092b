//! The vectors of events that a reader gets, whole or in part.

use super::*;

pub(super) const WHOLE: &str = r#"{"name": "J\u00fcrgen", "plate": "B-OU 12", "balance": 1e400}"#;

pub(super) fn vectors() -> Vec<Value> {
    let fields = |lists: &[&[&str]]| {
        lists.iter().map(|list| list.iter().map(|&field| field.to_owned()).collect()).collect()
    };
    let cases = [
        Case::new(
            "whole",
            "a whole JSON payload, byte for byte; nothing is public",
            vec![(OWN, Body::Json(WHOLE), "", 0)],
        ),
        Case::new(
            "whole-padded",
            "the same, padded to a multiple of 64 bytes",
            vec![(OWN, Body::Json(WHOLE), "", 64)],
        ),
        Case::new(
            "metadata",
            "sealed metadata with the payload, and public metadata beside it",
            vec![(OWN, Body::Json("7"), list(&[("", 0, r#" "ip": "192.0.2.7""#)]), 0)],
        )
        .metadata(r#"{"traceparent":"00-01"}"#),
        Case::new(
            "fields",
            "public fields beside the token; spelled oddly, bound canonically, restored to the byte",
            vec![(
                OWN,
                Body::Fields(list(&[
                    ("", 1, "\n  \"name\" : \"J\\u00fcrgen\" "),
                    ("/home", 1, "\t\"street\":\"Allee 1\""),
                    ("/lines", 0, "[ 7 ]"),
                ])),
                "",
                0,
            )],
        )
        .public(r#"{ "id": 4.560E+2, "home": {"z": [1, "\u00e9\/\n\u0001"], "a": null}, "lines": [null, -0.0] }"#),
        Case::new(
            "two-people",
            "two tokens under two keys, and the fields that each covers",
            vec![
                (
                    OWN,
                    Body::Fields(list(&[("", 1, r#""text":"hello""#)])),
                    list(&[("", 0, r#""ip":"192.0.2.7""#)]),
                    0,
                ),
                (
                    OTHERS,
                    Body::Fields(list(&[("/counterparty", 0, r#""iban":"DE02120300000000202051""#)])),
                    "",
                    32,
                ),
            ],
        )
        .public(r#"{"amount":12.50,"counterparty":{}}"#)
        .notes(Notes { fields: fields(&[&["*"], &["/counterparty/iban"]]), ..Notes::default() }),
        Case::new(
            "containers",
            "nothing is public, and two people's fields in one list: each token prepares the places",
            vec![
                (
                    OWN,
                    Body::Fields(list(&[
                        ("", 0, " \"a\" : [null, {} ]"),
                        ("/a", 0, "3"),
                        ("/a/1", 1, "\"who\" : 9"),
                        ("", 1, "\"y\":2 "),
                    ])),
                    "",
                    0,
                ),
                (
                    OTHERS,
                    Body::Fields(list(&[
                        ("", 0, " \"a\" : [null, {} ]"),
                        ("/a/1", 0, "\"iban\": \"DE02\" "),
                    ])),
                    "",
                    0,
                ),
            ],
        )
        .notes(Notes { fields: fields(&[&["*"], &["/a/*/iban"]]), ..Notes::default() }),
        Case::new(
            "public-array",
            "wholly public data that are no object: the token stands in the metadata",
            vec![(OWN, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public("[1,2]"),
        Case::new(
            "public-empty",
            "a public {} is not the same as nothing public",
            vec![(OWN, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public("{}"),
        Case::new(
            "bytes",
            "a payload that is not JSON: the data are the token's bytes",
            vec![(OWN, Body::Bytes(&[0, 1, 254, 255]), "", 0)],
        )
        .notes(Notes { sealed_bytes: true, ..Notes::default() }),
        Case::new(
            "public-bytes",
            "wholly public bytes with sealed metadata",
            vec![(OWN, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public_bytes(&[0, 1, 254, 255]),
        Case::new(
            "split",
            "two halves: public fields in one, the token in the other",
            vec![(OWN, Body::Fields(list(&[("", 1, r#""name":"Ada""#)])), "", 0)],
        )
        .public(r#"{"id":456,"colour":"red"}"#)
        .metadata(r#"{"traceparent":"00-01"}"#)
        .split(),
        Case {
            purpose: Purpose::Snapshot,
            ..Case::new(
                "snapshot",
                "the same payload sealed as a snapshot",
                vec![(OWN, Body::Json(WHOLE), "", 0)],
            )
        },
        Case::new(
            "others",
            "nothing is of the stream's own subject",
            vec![(OTHERS, Body::Fields(list(&[("", 1, r#""iban":"DE02""#)])), "", 0)],
        )
        .public(r#"{"amount":1}"#)
        .notes(Notes { others: true, ..Notes::default() }),
        Case::new(
            "older-key",
            "a key of an era that began before that of the tag",
            vec![(OLD, Body::Json("1"), "", 0)],
        ),
        Case::new(
            "numbers",
            "numbers at the edges of their canonical form",
            vec![(OWN, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public(NUMBERS),
        Case::new("in-clear", "nothing is sealed, and the tag vouches for it", vec![])
            .public(r#"{"title": "hello"}"#),
        Case::new("bytes-in-clear", "the same of a payload that is not JSON", vec![])
            .public_bytes(&[0, 1, 254, 255]),
        Case::new("never-sealed", "no tag: nobody vouches for it", vec![])
            .public(r#"{"title": "hello"}"#)
            .by(By::Nobody),
        Case::new("clear-of-another-vault", "another vault's tag, as good as none", vec![])
            .public(r#"{"title": "hello"}"#)
            .by(By::AnotherVault),
        Case::new("clear-of-a-later-era", "of an era that the vault does not know", vec![])
            .public(r#"{"title": "hello"}"#)
            .by(By::Us(LATER)),
        Case::new(
            "shredded",
            "its key is destroyed, and the tag vouches for it",
            vec![(DEAD, Body::Json(WHOLE), "", 0)],
        ),
        Case::new(
            "shredded-in-part",
            "public fields and those of a living key are left",
            vec![
                (OWN, Body::Fields(list(&[("", 1, r#""text":"hello""#)])), "", 0),
                (OTHERS_DEAD, Body::Fields(list(&[("", 2, r#""iban":"DE02""#)])), "", 0),
            ],
        )
        .public(r#"{"amount":1}"#)
        .notes(Notes { fields: fields(&[&["*"], &["/iban"]]), ..Notes::default() }),
        Case::new(
            "split-shredded",
            "both halves are there, and the key is not",
            vec![(DEAD, Body::Fields(list(&[("", 1, r#""name":"Ada""#)])), "", 0)],
        )
        .public(r#"{"id":456}"#)
        .split(),
        Case::new(
            "unvouched",
            "its key is destroyed, and its tag is of an era that the vault does not know",
            vec![(DEAD, Body::Json(WHOLE), "", 0)],
        )
        .by(By::Us(LATER)),
        Case::new(
            "shredded-but-anothers",
            "the first key is destroyed and another person's lives: the event is of nobody any more",
            vec![
                (DEAD, Body::Fields(list(&[("", 1, r#""text":"hello""#)])), "", 0),
                (OTHERS, Body::Fields(list(&[("", 2, r#""iban":"DE02""#)])), "", 0),
            ],
        )
        .public(r#"{"amount":1}"#)
        .notes(Notes { fields: fields(&[&["*"], &["/iban"]]), ..Notes::default() }),
    ];
    let mut vectors: Vec<Value> =
        (1u8..).zip(cases).map(|(number, case)| case.good(number)).collect();
    vectors.push(rewritten(&vectors[3]));
    let half = vectors.iter().find(|vector| vector["name"] == "split-shredded").unwrap();
    vectors.push(with_half_removed(half));
    for vector in &vectors {
        if vector["purpose"] == 1 {
            assert_eq!(told(vector).unwrap(), vector["opened"], "{}", vector["name"]);
        }
    }
    vectors
}

const NUMBERS: &str = r#"{"a": [0, -0, 0.000, 0e5, 1e39, 1e40, 12e38, 1.20e39, 1e-40, 1e-41, 10e-41, 1.5e-41],
 "b": [1e999999999999999999, 0.5e999999999999999999, 1e-999999999999999999, 12e999999999999999999],
 "c": [1e000000000000000000040, 1e1000000000000000000, 0e1000000000000000000, -1.50E+1]}"#;

/// The vector without its private half.
fn with_half_removed(vector: &Value) -> Value {
    let mut vector = vector.clone();
    vector.as_object_mut().unwrap().remove("private").unwrap();
    vector["name"] = "split-shredded-half-gone".into();
    vector["about"] = "the private half is gone as well: the stubs say the same".into();
    vector
}

/// The vector `fields` after a store with a JSON type of its own had it.
fn rewritten(fields: &Value) -> Value {
    let mut vector = fields.clone();
    let token = &tokens(fields)[0];
    let rest = r#""home": {"a": null, "z": [1, "é/\n\u0001"]}, "id": 456.0, "lines": [null, 0.0]"#;
    let opened = "{ \"home\": {\"a\": null,\t\"street\":\"Allee 1\", \"z\": [1, \"é/\\n\\u0001\"]},\n  \
                  \"name\" : \"J\\u00fcrgen\" , \"id\": 456.0, \"lines\": [[ 7 ], 0.0]}";
    vector["name"] = "rewritten".into();
    vector["about"] =
        "`fields` as a store gives it back that sorts keys, respells strings and writes numbers out: the same value, sealed parts to the byte".into();
    vector["data"]["json"] = format!(r#"{{"$sealed": ["{token}"], {rest}}}"#).into();
    vector["opened"]["data"]["json"] = opened.into();
    vector
}
