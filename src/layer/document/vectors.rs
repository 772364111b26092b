//! Makes the vectors of `docs/format.md`, under fixed keys and nonces, and checks that the
//! committed ones are still what this program writes. They never change: what once was sealed
//! must open for ever. `tests/format_vectors.rs` opens them through the public functions.

use serde_json::{Value, json};
use uuid::Uuid;

#[path = "../../../tests/common/vectors.rs"]
mod files;
mod holes;

pub(crate) use files::{are_committed, committed, hex, is_wanted, path};

use super::*;
use crate::{
    crypto::{
        Body, Context, DataKey, EventTag, KeyId, Purpose, SealPart, Secret, Token, derive, keyed,
        seal_with_nonces,
    },
    event::{
        Era, EventId, EventType, Fillings, Json, KEY_ID_BYTES, Payload, PolicyDigest, StreamName,
    },
};

const STREAM: &str = "user-456";
const TYPE: &str = "AddressChanged";
const ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0001);
const PRIVATE_ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0002);
const OTHER_ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0003);
const VAULT: Uuid = Uuid::from_u128(0x8863_13e1_3b8a_4372_9b90_0c9a_ee19_9e5d);
const ERA: Era = Era([0x0e, 0x7a, 0x00, 0x03]);
/// Which of the secrets of the vectors is the one of that era.
const ERA_SECRET: u8 = 3;
const POLICY: PolicyDigest = PolicyDigest([0x50, 0x4f, 0x4c, 0x49, 0x43, 0x59, 0x30, 0x31]);

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(u8::try_from(i).unwrap()))
}

fn id(n: u8) -> [u8; KEY_ID_BYTES] {
    counting(n.wrapping_mul(0x11))
}

fn secret(n: u8) -> [u8; 32] {
    counting(n.wrapping_mul(0x20))
}

fn key(n: u8) -> DataKey {
    DataKey::from_bytes(KeyId(id(n)), &secret(n))
}

fn keys() -> Value {
    (1..=2)
        .map(|n| (hex(&id(n)), Value::from(hex(&secret(n)))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

struct Place {
    stream: StreamName,
    event_type: EventType,
    purpose: Purpose,
}

impl Place {
    fn event() -> Self {
        Self {
            stream: StreamName::new(STREAM).unwrap(),
            event_type: EventType::new(TYPE).unwrap(),
            purpose: Purpose::Event,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            purpose: self.purpose,
            stream: &self.stream,
            event_id: EventId(ID),
            event_type: &self.event_type,
        }
    }
}

/// Fillings as text: container, index, piece.
fn list(fillings: &[(&str, usize, &str)]) -> &'static str {
    let mut text = String::new();
    for (parent, index, piece) in fillings {
        Fillings::write(parent, *index, &[piece], &mut text);
    }
    text.leak()
}

fn payload(data: &Payload) -> Value {
    match data {
        Payload::Json(json) => json!({ "json": json.as_str() }),
        Payload::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
    }
}

fn text(json: Option<&Json>) -> Value {
    json.map_or(Value::Null, |json| json.as_str().into())
}

/// One event to be sealed.
struct Case {
    name: &'static str,
    about: &'static str,
    public: Option<Payload>,
    metadata: Option<&'static str>,
    notes: Notes,
    parts: Vec<(u8, Body<'static>, &'static str, usize)>,
    purpose: Purpose,
    split: bool,
}

impl Case {
    fn new(
        name: &'static str,
        about: &'static str,
        parts: Vec<(u8, Body<'static>, &'static str, usize)>,
    ) -> Self {
        Self {
            name,
            about,
            public: None,
            metadata: None,
            notes: Notes::default(),
            parts,
            purpose: Purpose::Event,
            split: false,
        }
    }

    fn public(mut self, text: &str) -> Self {
        self.public = Some(Json::parse(text).unwrap().into());
        self
    }

    fn metadata(mut self, text: &'static str) -> Self {
        self.metadata = Some(text);
        self
    }

    fn notes(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }

    fn vector(self, number: u8) -> Value {
        let place = Place { purpose: self.purpose, ..Place::event() };
        let context = place.context();
        let metadata = self.metadata.map(|text| Json::parse(text).unwrap());
        let keys: Vec<DataKey> = self.parts.iter().map(|part| key(part.0)).collect();
        let parts: Vec<SealPart<'_>> = (self.parts.iter().zip(&keys))
            .map(|(&(_, body, metadata, pad), key)| SealPart {
                key,
                policy: POLICY,
                body,
                metadata,
                pad,
            })
            .collect();
        let nonces: Vec<[u8; 12]> =
            (0..parts.len()).map(|i| counting(number * 16 + u8::try_from(i).unwrap())).collect();
        let draft = Draft::new(self.public, metadata.as_ref(), &self.notes);
        let digest = *draft.digest();
        let tokens = seal_with_nonces(&parts, &context, &digest, &nonces).unwrap();
        let associated = context.associated(tokens.iter().map(Token::key_id), &digest);
        let tags =
            keyed(&derive(&Secret::copy_of(&secret(ERA_SECRET)), b"oubliette era 1: event tags"));
        let tag = EventTag::new(&tags, VAULT.as_bytes(), ERA, &associated, &tokens);
        let draft = draft.tagged(tag, &tokens);
        let mut vector = json!({
            "name": self.name,
            "about": self.about,
            "purpose": context.purpose as u8,
            "stream": STREAM,
            "id": ID.to_string(),
            "type": TYPE,
            "digest": hex(digest.as_bytes()),
            "associated": hex(&associated),
        });
        let public = parse_public(&draft, &tokens, self.split);
        let mut plaintexts = Vec::new();
        let mut opened = Vec::new();
        for token in &tokens {
            let key = keys.iter().find(|key| key.id() == token.key_id()).unwrap();
            let bytes = token.as_bytes();
            let nonce = bytes[22..34].try_into().unwrap();
            plaintexts.push(hex(&key.cipher().open(nonce, &associated, &bytes[34..]).unwrap()));
            opened.push(crate::crypto::open(token.clone(), key, &associated).unwrap());
        }
        let (data, metadata) = public.assemble(opened).unwrap();
        vector["plaintexts"] = plaintexts.into();
        let data = data.as_ref().map_or(Value::Null, payload);
        vector["opened"] = json!({ "data": data, "metadata": text(metadata.as_ref()) });
        if self.split {
            let notes = Notes {
                stream: self.notes.stream.clone(),
                public: Some(EventId(ID)),
                ..Notes::default()
            };
            let (data, metadata) = Draft::new(None, None, &notes).store(&tokens);
            vector["private"] = json!({
                "id": PRIVATE_ID.to_string(),
                "data": payload(&data),
                "metadata": text(metadata.as_ref()),
            });
            let (data, metadata) = draft.store_clear();
            vector["data"] = payload(&data);
            vector["metadata"] = text(metadata.as_ref());
        } else {
            let (data, metadata) = draft.store(&tokens);
            vector["data"] = payload(&data);
            vector["metadata"] = text(metadata.as_ref());
        }
        vector
    }
}

/// What a reader takes the draft for, once stored.
fn parse_public(draft: &Draft, tokens: &[Token], split: bool) -> Stored {
    let (data, metadata) =
        if split { draft.clone().store_clear() } else { draft.clone().store(tokens) };
    let Document::Stored(mut stored) = parse(&data, metadata.as_ref()).unwrap() else { panic!() };
    stored.tokens = tokens.to_vec();
    stored
}

fn good() -> Vec<Value> {
    let fields = |lists: &[&[&str]]| {
        lists.iter().map(|list| list.iter().map(|&field| field.to_owned()).collect()).collect()
    };
    let whole = r#"{"name": "J\u00fcrgen", "plate": "B-OU 12", "balance": 1e400}"#;
    let cases = [
        Case::new(
            "whole",
            "a whole JSON payload, byte for byte; nothing is public",
            vec![(1, Body::Json(whole), "", 0)],
        ),
        Case::new(
            "whole-padded",
            "the same, padded to a multiple of 64 bytes",
            vec![(1, Body::Json(whole), "", 64)],
        ),
        Case::new(
            "metadata",
            "sealed metadata with the payload, and public metadata beside it",
            vec![(1, Body::Json("7"), list(&[("", 0, r#" "ip": "192.0.2.7""#)]), 0)],
        )
        .metadata(r#"{"traceparent":"00-01"}"#),
        Case::new(
            "fields",
            "public fields beside the token; spelled oddly, bound canonically, restored to the byte",
            vec![(
                1,
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
                    1,
                    Body::Fields(list(&[("", 1, r#""text":"hello""#)])),
                    list(&[("", 0, r#""ip":"192.0.2.7""#)]),
                    0,
                ),
                (
                    2,
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
                    1,
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
                    2,
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
            vec![(1, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public("[1,2]"),
        Case::new(
            "public-empty",
            "a public {} is not the same as nothing public",
            vec![(1, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
        )
        .public("{}"),
        Case::new(
            "bytes",
            "a payload that is not JSON: the data are the token's bytes",
            vec![(1, Body::Bytes(&[0, 1, 254, 255]), "", 0)],
        )
        .notes(Notes { sealed_bytes: true, ..Notes::default() }),
        Case {
            public: Some(Payload::Bytes([0, 1, 254, 255].as_slice().into())),
            ..Case::new(
                "public-bytes",
                "wholly public bytes with sealed metadata",
                vec![(1, Body::Nothing, list(&[("", 0, r#""user":"jr""#)]), 0)],
            )
        },
        Case {
            split: true,
            ..Case::new(
                "split",
                "two halves: public fields in one, the token in the other",
                vec![(1, Body::Fields(list(&[("", 1, r#""name":"Ada""#)])), "", 0)],
            )
        }
        .public(r#"{"id":456,"colour":"red"}"#)
        .metadata(r#"{"traceparent":"00-01"}"#)
        .notes(Notes {
            stream: Some(StreamName::new(STREAM).unwrap()),
            private: Some(EventId(PRIVATE_ID)),
            ..Notes::default()
        }),
        Case {
            purpose: Purpose::Snapshot,
            ..Case::new(
                "snapshot",
                "the same payload sealed as a snapshot",
                vec![(1, Body::Json(whole), "", 0)],
            )
        },
    ];
    let mut vectors: Vec<Value> =
        (1u8..).zip(cases).map(|(number, case)| case.vector(number)).collect();
    vectors.push(rewritten(&vectors[3]));
    vectors
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

/// The tokens of a vector whose data hold them.
fn tokens(vector: &Value) -> Vec<String> {
    let data: Value = serde_json::from_str(vector["data"]["json"].as_str().unwrap()).unwrap();
    serde_json::from_value(data["$sealed"].clone()).unwrap()
}

/// The vector with other tokens in its data.
fn with_tokens(vector: &Value, tokens: &[String]) -> Value {
    let old: Vec<String> = self::tokens(vector);
    let list = |tokens: &[String]| serde_json::to_string(tokens).unwrap();
    let mut vector = vector.clone();
    let data = vector["data"]["json"].as_str().unwrap().replace(&list(&old), &list(tokens));
    vector["data"]["json"] = data.into();
    vector
}

/// The vector with its only token's bytes changed.
fn edited(vector: &Value, edit: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Token::parse(&tokens(vector)[0]).unwrap().into_bytes();
    edit(&mut bytes);
    let mut text = String::new();
    base64::Engine::encode_string(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes, &mut text);
    with_tokens(vector, &[text])
}

/// A genuine token of a wrong plaintext.
fn forged(vector: &Value, number: u8, plaintext: &[u8]) -> Value {
    let mut associated = Vec::new();
    let text = vector["associated"].as_str().unwrap();
    for at in (0..text.len()).step_by(2) {
        associated.push(u8::from_str_radix(&text[at..at + 2], 16).unwrap());
    }
    edited(vector, |bytes| {
        let nonce = counting(number);
        bytes.truncate(22);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        key(1).cipher().seal_with_nonce(nonce, &associated, bytes, 34).unwrap();
    })
}

fn bad(good: &[Value]) -> Vec<Value> {
    let find = |name: &str| good.iter().find(|vector| vector["name"] == name).unwrap().clone();
    let (whole, fields, two, split) =
        (find("whole"), find("fields"), find("two-people"), find("split"));
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, mut vector: Value| {
        let members = vector.as_object_mut().unwrap();
        for member in ["opened", "plaintexts", "digest", "associated", "about"] {
            members.remove(member);
        }
        vector["name"] = name.into();
        vector["error"] = error.into();
        bad.push(vector);
    };
    let set = |vector: &Value, member: &str, value: &str| {
        let mut vector = vector.clone();
        vector[member] = value.into();
        vector
    };
    let replaced = |vector: &Value, member: &str, from: &str, to: &str| {
        let mut vector = vector.clone();
        let place =
            if member == "data" { &mut vector["data"]["json"] } else { &mut vector[member] };
        let text = place.as_str().unwrap();
        assert!(text.contains(from), "{from}");
        *place = text.replace(from, to).into();
        vector
    };
    let one = tokens(&whole)[0].clone();
    let both = tokens(&two);

    add("truncated", "truncated", edited(&whole, |bytes| bytes.truncate(62)));
    add("truncated-to-nothing", "truncated", with_tokens(&whole, &[String::new()]));
    add("cut-by-a-byte", "tampered", edited(&whole, |bytes| bytes.truncate(bytes.len() - 1)));
    add("extended", "tampered", edited(&whole, |bytes| bytes.push(0)));
    add("nonce-flipped", "tampered", edited(&whole, |bytes| bytes[22] ^= 1));
    add("ciphertext-flipped", "tampered", edited(&whole, |bytes| bytes[40] ^= 1));
    let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    add("tag-flipped", "tampered", edited(&whole, last));
    add(
        "id-of-another-key",
        "tampered",
        edited(&whole, |bytes| bytes[2..22].copy_from_slice(&id(2))),
    );
    add("unknown-key", "key-missing", edited(&whole, |bytes| bytes[2] ^= 1));
    add("moved-to-another-event", "tampered", set(&whole, "id", &OTHER_ID.to_string()));
    add("moved-to-another-stream", "tampered", set(&whole, "stream", "user-457"));
    add("moved-to-another-type", "tampered", set(&whole, "type", "AddressChangedV2"));
    let mut snapshot = whole.clone();
    snapshot["purpose"] = 2.into();
    add("event-taken-for-a-snapshot", "tampered", snapshot);
    add("stream-and-type-shifted", "tampered", {
        let shifted = set(&whole, "stream", "user-456A");
        set(&shifted, "type", "ddressChanged")
    });
    add("joined-by-another", "tampered", with_tokens(&whole, &[one.clone(), both[1].clone()]));
    add("repeated", "tampered", with_tokens(&whole, &[one.clone(), one.clone()]));
    let mut unnoted = two.clone();
    unnoted["metadata"] = Value::Null;
    add("dropped-beside-another", "tampered", with_tokens(&unnoted, &both[..1]));
    add("dropped-although-noted", "malformed", with_tokens(&two, &both[..1]));
    add("reordered", "tampered", with_tokens(&two, &[both[1].clone(), both[0].clone()]));
    add("public-field-edited", "tampered", replaced(&two, "data", "12.50", "12.51"));
    add("public-field-removed", "tampered", replaced(&two, "data", "\"amount\":12.50,", ""));
    add("public-field-added", "tampered", replaced(&whole, "data", "{\"$", "{\"a\":1,\"$"));
    let metadata = find("metadata");
    add("public-metadata-edited", "tampered", replaced(&metadata, "metadata", "00-01", "00-02"));
    let mut dropped = metadata.clone();
    dropped["metadata"] = Value::Null;
    add("public-metadata-removed", "tampered", dropped);
    add("public-metadata-added", "tampered", set(&whole, "metadata", r#"{"a":1}"#));
    add(
        "note-edited",
        "tampered",
        replaced(&two, "metadata", "/counterparty/iban", "/counterparty/name"),
    );
    add(
        "note-added",
        "tampered",
        set(&whole, "metadata", r#"{"$oubliette":{"stream":"user-456"}}"#),
    );
    add("note-unknown", "malformed", set(&whole, "metadata", r#"{"$oubliette":{"new":true}}"#));
    add("token-moved-to-the-metadata", "tampered", {
        let moved = replaced(&whole, "data", &format!(r#""$sealed":["{one}"]"#), "");
        set(&moved, "metadata", &format!(r#"{{"$sealed":["{one}"]}}"#))
    });
    add(
        "tokens-in-two-places",
        "malformed",
        set(&whole, "metadata", &format!(r#"{{"$sealed":["{one}"]}}"#)),
    );
    add("future-version", "version", edited(&whole, |bytes| bytes[0] = 2));
    add("unknown-algorithm", "algorithm", edited(&whole, |bytes| bytes[1] = 2));
    add("not-base64", "not-base64", replaced(&whole, "data", &one, "this is no token"));
    add("padded", "not-base64", replaced(&whole, "data", &one, &format!("{one}=")));
    add("white-space", "not-base64", replaced(&whole, "data", &one, &format!("{one} ")));
    let standard = one.replace('-', "+").replace('_', "/");
    assert_ne!(standard, one);
    add("standard-alphabet", "not-base64", replaced(&whole, "data", &one, &standard));
    add("trailing-bits", "not-base64", {
        let spare = |vector: &&Value| !tokens(vector)[0].len().is_multiple_of(4);
        let padded = find("whole-padded");
        let vector = [&whole, &metadata, &padded].into_iter().find(spare).unwrap();
        let text = tokens(vector)[0].clone();
        // The last character's lowest bits are spare, so that the next one has a bit set there.
        let next = char::from(text.as_bytes()[text.len() - 1] + 1);
        replaced(vector, "data", &text, &format!("{}{next}", &text[..text.len() - 1]))
    });
    add("no-tokens", "malformed", with_tokens(&whole, &[]));
    add("token-not-a-string", "malformed", replaced(&whole, "data", &format!("\"{one}\""), "7"));
    add(
        "sealed-not-a-list",
        "malformed",
        replaced(&whole, "data", &format!("[\"{one}\"]"), &format!("\"{one}\"")),
    );
    add("form-unknown", "malformed", forged(&whole, 1, &[&[4][..], &[0; 16]].concat()));
    add("lengths-too-long", "malformed", forged(&whole, 2, &[&[1][..], &[0; 15], &[1]].concat()));
    add("padding-not-zero", "malformed", forged(&whole, 3, &[&[0][..], &[0; 16], &[1]].concat()));
    add(
        "body-without-form",
        "malformed",
        forged(&whole, 4, &[&[0][..], &[0; 15], &[1], b"7"].concat()),
    );
    add("not-utf-8", "malformed", forged(&whole, 5, &[&[1][..], &[0; 15], &[1], &[0xff]].concat()));
    for (number, name, lost) in [
        (6, "no-place-for-a-field", list(&[("/no/where", 0, "\"a\":1")])),
        (8, "a-member-without-a-key", list(&[("", 0, "1")])),
    ] {
        let length = [u8::try_from(lost.len()).unwrap()];
        let plaintext = [&[2][..], &[0; 15], &length, lost.as_bytes()].concat();
        add(name, "malformed", forged(&fields, number, &plaintext));
    }
    add(
        "fillings-not-a-list",
        "malformed",
        forged(&fields, 7, &[&[2][..], &[0; 15], &[2], b"{}"].concat()),
    );
    // Of a token that is purged everything is left but what could be read.
    add("purged", "purged", {
        edited(&whole, |bytes| {
            bytes.drain(34..bytes.len() - 16);
        })
    });
    add("split-stub-of-another-token", "tampered", {
        let notes = split["metadata"].as_str().unwrap();
        let stub = tokens(&whole)[0].clone();
        let stub = Token::parse(&stub).unwrap().stub().to_string();
        let at = notes.find("\"stubs\":[\"").unwrap() + 10;
        let mut vector = split.clone();
        vector["metadata"] = [&notes[..at], &stub, &notes[at + stub.len()..]].concat().into();
        vector
    });
    add("split-stub-that-is-a-token", "malformed", {
        let notes = split["metadata"].as_str().unwrap();
        let at = notes.find("\"stubs\":[\"").unwrap() + 10;
        let mut vector = split.clone();
        vector["metadata"] = [&notes[..at], &one, &notes[at + 67..]].concat().into();
        vector
    });
    add("split-stub-of-a-later-version", "version", {
        let notes = split["metadata"].as_str().unwrap();
        let at = notes.find("\"stubs\":[\"").unwrap() + 10;
        let mut stub = crate::crypto::base64url::decode(&notes[at..at + 67]).unwrap();
        stub[0] = 2;
        let mut text = String::new();
        crate::crypto::base64url::encode(&stub, &mut text);
        set(&split, "metadata", &[&notes[..at], &text, &notes[at + 67..]].concat())
    });
    // What else stands in an event is not looked at once its notes are of a later version.
    let noted = |vector: &Value, notes: &str| {
        set(vector, "metadata", &format!(r#"{{"$oubliette":{{{notes}}}}}"#))
    };
    add("notes-of-a-later-version", "version", noted(&whole, r#""v":2"#));
    add("notes-of-a-later-version-with-more", "version", {
        noted(&whole, r#""mac":{"none":1},"v":4294967295,"new":[null]"#)
    });
    add("notes-of-a-later-version-beside-what-is-none", "version", {
        noted(&replaced(&whole, "data", &format!("[\"{one}\"]"), "{}"), r#""v":3"#)
    });
    let in_clear = replaced(&whole, "data", "$sealed", "plate");
    add("notes-of-a-later-version-in-clear", "version", noted(&in_clear, r#""v":2"#));
    for (name, version) in [
        ("notes-that-say-this-version", "1"),
        ("notes-of-version-0", "0"),
        ("notes-of-a-version-below-0", "-2"),
        ("notes-of-a-version-in-quotes", "\"2\""),
        ("notes-of-a-version-with-a-point", "2.0"),
        ("notes-of-a-version-with-an-exponent", "2e0"),
        ("notes-of-a-version-that-is-too-large", "4294967296"),
        ("notes-of-no-version", "null"),
    ] {
        add(name, "malformed", noted(&whole, &format!(r#""v":{version}"#)));
    }
    add("split-private-half-missing", "half-missing", {
        let mut vector = split.clone();
        vector.as_object_mut().unwrap().remove("private").unwrap();
        vector
    });
    add("split-private-half-that-is-in-clear", "half-missing", {
        let mut vector = split.clone();
        vector["private"]["data"]["json"] = r#"{"name":"Ada"}"#.into();
        vector["private"]["metadata"] = Value::Null;
        vector
    });
    add("split-public-half-edited", "tampered", replaced(&split, "data", "red", "rod"));
    add("split-private-half-of-another", "tampered", {
        let mut vector = split;
        let notes = vector["private"]["metadata"].as_str().unwrap();
        let notes = notes.replace(&ID.to_string(), &OTHER_ID.to_string());
        vector["private"]["metadata"] = notes.into();
        vector
    });
    bad
}

#[test]
fn the_committed_vectors_are_what_is_written_today() {
    let good = good();
    let files = [("bad.json", bad(&good)), ("good.json", good)];
    for (name, vectors) in files {
        are_committed(
            name,
            &json!({
                "vault": VAULT.to_string(), "eras": eras(), "keys": keys(), "vectors": vectors,
            }),
        );
    }
}

fn eras() -> Value {
    json!([{ "era": ERA, "secret": hex(&secret(ERA_SECRET)) }])
}
