//! The vectors of events that are none: each with the error that a reader gets.

use super::*;

pub(super) fn vectors(good: &[Value]) -> Vec<Value> {
    let find = |name: &str| good.iter().find(|vector| vector["name"] == name).unwrap().clone();
    let (whole, fields, two, split) =
        (find("whole"), find("fields"), find("two-people"), find("split"));
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, vector: Value| bad.push(called(name, error, vector));
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
        edited(&whole, |bytes| bytes[2..22].copy_from_slice(&id(OTHERS).0)),
    );
    add("moved-to-another-event", "tampered", set(&whole, "id", &OTHER_ID.to_string()));
    add("moved-to-another-stream", "tampered", set(&whole, "stream", "user-457"));
    add("moved-to-another-type", "tampered", set(&whole, "type", "AddressChangedV2"));
    let mut snapshot = find("snapshot");
    snapshot["purpose"] = 1.into();
    add("snapshot-taken-for-an-event", "tampered", snapshot);
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
    // What else is in an event is not looked at once its notes are of a later version.
    let with_notes = |vector: &Value, notes: &str| {
        set(vector, "metadata", &format!(r#"{{"$oubliette":{{{notes}}}}}"#))
    };
    add("notes-of-a-later-version", "version", with_notes(&whole, r#""v":2"#));
    add("notes-of-a-later-version-with-more", "version", {
        with_notes(&whole, r#""mac":{"none":1},"v":4294967295,"new":[null]"#)
    });
    add("notes-of-a-later-version-beside-what-is-none", "version", {
        with_notes(&replaced(&whole, "data", &format!("[\"{one}\"]"), "{}"), r#""v":3"#)
    });
    let in_clear = replaced(&whole, "data", "$sealed", "plate");
    add("notes-of-a-later-version-in-clear", "version", with_notes(&in_clear, r#""v":2"#));
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
        add(name, "malformed", with_notes(&whole, &format!(r#""v":{version}"#)));
    }
    add("split-private-half-missing", "half-missing", {
        let mut vector = split.clone();
        vector.as_object_mut().unwrap().remove("private").unwrap();
        vector
    });
    add("split-private-half-that-is-in-clear", "tampered", {
        let mut vector = split.clone();
        vector["private"]["data"]["json"] = r#"{"name":"Ada"}"#.into();
        vector["private"]["metadata"] = Value::Null;
        vector
    });
    add("split-public-half-edited", "tampered", replaced(&split, "data", "red", "rod"));
    add("split-private-half-of-another", "tampered", {
        let mut vector = split.clone();
        let notes = vector["private"]["metadata"].as_str().unwrap();
        let notes = notes.replace(&ID.to_string(), &OTHER_ID.to_string());
        vector["private"]["metadata"] = notes.into();
        vector
    });
    let noted = |vector: &Value, half: Option<&str>, edit: &dyn Fn(&mut Value)| {
        let mut vector = vector.clone();
        let half = match half {
            Some(half) => &mut vector[half],
            None => &mut vector,
        };
        let text = half["metadata"].as_str().unwrap_or("{}");
        let mut metadata: Value = serde_json::from_str(text).unwrap();
        edit(&mut metadata["$oubliette"]);
        half["metadata"] = metadata.to_string().into();
        vector
    };
    let without = |notes: &mut Value, name: &str| {
        notes.as_object_mut().unwrap().remove(name).unwrap();
    };
    let private = Some("private");
    let half = |edit: &dyn Fn(&mut Value)| noted(&split, private, edit);
    add(
        "split-private-half-with-a-tag",
        "tampered",
        half(&|n| {
            n["mac"] = "A".repeat(38).into();
        }),
    );
    add("split-private-half-with-fields", "tampered", half(&|n| n["fields"] = json!([["*"]])));
    add("split-private-half-with-others", "tampered", half(&|n| n["others"] = true.into()));
    add("split-private-half-with-data-in-clear", "tampered", {
        let mut vector = split.clone();
        let text = vector["private"]["data"]["json"].as_str().unwrap();
        vector["private"]["data"]["json"] = text.replace("{\"$", "{\"a\":1,\"$").into();
        vector
    });
    add("split-private-half-with-metadata", "tampered", {
        let mut vector = split.clone();
        let text = vector["private"]["metadata"].as_str().unwrap();
        vector["private"]["metadata"] = text.replace("{\"$", "{\"a\":1,\"$").into();
        vector
    });
    add("split-private-half-of-another-id", "half-missing", {
        let mut vector = split.clone();
        vector["private"]["id"] = OTHER_ID.to_string().into();
        vector
    });
    let public = |edit: &dyn Fn(&mut Value)| noted(&split, None, edit);
    add("split-without-stubs", "tampered", public(&|n| without(n, "stubs")));
    add("split-without-private", "malformed", public(&|n| without(n, "private")));
    add(
        "stubs-of-nothing",
        "malformed",
        noted(&whole, None, &|n| {
            n["stubs"] = json!(["AQE".to_owned() + &"A".repeat(64)]);
        }),
    );

    // Where an event is.
    let lies = |vector: &Value, physical: &str| set(vector, "in", physical);
    let of_stream = |name: &str| noted(&whole, None, &|n| n["stream"] = name.into());
    add("of-another-stream", "misplaced", of_stream("user-457"));
    add("moved-with-its-note", "misplaced", lies(&of_stream(STREAM), "user-457"));
    add("split-public-half-moved", "misplaced", lies(&split, "user-public-457"));
    add("split-public-half-in-the-private-one", "misplaced", lies(&split, "user-private-456"));
    add(
        "a-half-of-nothing",
        "misplaced",
        noted(&whole, None, &|n| {
            n["public"] = OTHER_ID.to_string().into();
        }),
    );
    add(
        "hidden-as-a-private-half",
        "misplaced",
        noted(&whole, None, &|n| {
            (n["stream"], n["public"]) = (STREAM.into(), OTHER_ID.to_string().into());
        }),
    );

    // What the vault knows of the keys.
    let sealed = |number: u8, key: u8, by: By| {
        Case::new("", "", vec![(key, Body::Json(good::WHOLE), "", 0)]).by(by).vector(number)
    };
    let ours = By::Us(ERA);
    add("never-made", "key-missing", sealed(0x30, NEVER, ours));
    add("spared-and-lost", "key-missing", sealed(0x31, LOST, ours));
    add("never-made-and-no-tag", "key-missing", sealed(0x32, NEVER, By::Nobody));
    add("key-of-a-later-era-and-no-tag", "key-missing", sealed(0x33, OF_LATER, By::Nobody));
    add("key-of-a-later-era", "unknown-era", sealed(0x34, OF_LATER, By::Us(LATER)));
    add("key-of-a-later-era-under-todays-tag", "unknown-era", sealed(0x35, OF_LATER, ours));
    add("unknown-key", "unknown-era", edited(&whole, |bytes| bytes[2] ^= 1));
    add("of-another-vault", "other-vault", sealed(0x36, OF_THEIRS, By::AnotherVault));
    add(
        "never-made-under-another-vaults-tag",
        "other-vault",
        sealed(0x37, NEVER, By::AnotherVault),
    );

    // Of an event of which no part opens.
    let dead = |number: u8, by: By| sealed(number, DEAD, by);
    let gone = find("shredded");
    add("shredded-without-a-tag", "untagged", dead(0x38, By::Nobody));
    add("shredded-under-another-vaults-tag", "other-vault", dead(0x39, By::AnotherVault));
    add("shredded-under-a-tag-of-an-earlier-era", "tampered", dead(0x3a, By::Us(FIRST)));
    add(
        "shredded-and-its-tag-flipped",
        "tampered",
        noted(&gone, None, &|n| {
            let mac = n["mac"].as_str().unwrap();
            let last = if mac.ends_with('A') { "Q" } else { "A" };
            n["mac"] = [&mac[..mac.len() - 2], "A", last].concat().into();
        }),
    );
    add("shredded-and-moved", "tampered", set(&gone, "id", &OTHER_ID.to_string()));
    add(
        "shredded-and-public-data-added",
        "tampered",
        replaced(&gone, "data", "{\"$", "{\"a\":1,\"$"),
    );
    add("shredded-and-its-token-flipped", "tampered", edited(&gone, last));
    add("a-dead-keys-id-over-a-living-event", "tampered", {
        edited(&whole, |bytes| bytes[2..22].copy_from_slice(&id(DEAD).0))
    });
    add("clear-and-edited", "tampered", replaced(&find("in-clear"), "data", "hello", "hullo"));
    add("split-shredded-public-half-edited", "tampered", {
        replaced(&find("split-shredded-half-gone"), "data", "456", "457")
    });
    add("split-shredded-stub-removed", "malformed", {
        noted(&find("split-shredded-half-gone"), None, &|n| n["stubs"] = json!([]))
    });

    // A payload that is sealed whole has nothing beside it.
    let whole_beside = |number: u8, body: Body<'static>, public: &str| {
        Case::new("", "", vec![(OWN, body, "", 0)]).public(public).vector(number)
    };
    let town = Body::Json(r#"{"town":"Bonn"}"#);
    add("whole-beside-public-data", "malformed", whole_beside(0x40, town, r#"{"id":456}"#));
    add("whole-bytes-beside-public-data", "malformed", {
        whole_beside(0x41, Body::Bytes(&[0, 255]), r#"{"id":456}"#)
    });
    add("whole-beside-a-public-array", "malformed", whole_beside(0x42, town, "[1]"));
    add("split-whole-beside-public-data", "malformed", {
        Case::new("", "", vec![(OWN, town, "", 0)]).public(r#"{"id":456}"#).split().vector(0x43)
    });
    let parts = |number: u8, first: Body<'static>, second: Body<'static>| {
        let lists = vec![vec!["*".to_owned()], vec!["/iban".to_owned()]];
        Case::new("", "", vec![(OWN, first, "", 0), (OTHERS, second, "", 0)])
            .notes(Notes { fields: lists, ..Notes::default() })
            .vector(number)
    };
    let some = Body::Fields(list(&[("", 0, r#""iban":"DE02""#)]));
    add("two-wholes", "malformed", parts(0x44, town, town));
    add("whole-beside-fields", "malformed", parts(0x45, town, some));

    // Of which kind the payload is.
    add(
        "sealed-bytes-over-json",
        "tampered",
        noted(&whole, None, &|n| n["sealed"] = "bytes".into()),
    );
    add(
        "clear-bytes-over-json",
        "malformed",
        noted(&whole, None, &|n| n["clear"] = "bytes".into()),
    );
    add("clear-bytes-not-noted", "malformed", {
        noted(&find("public-bytes"), None, &|n| without(n, "clear"))
    });
    add("sealed-bytes-noted-as-clear", "tampered", {
        let mut vector = find("bytes");
        vector["metadata"] = vector["metadata"].as_str().unwrap().replace("sealed", "clear").into();
        vector
    });
    for (name, member, value) in [
        ("note-of-another-type", "others", json!(false)),
        ("no-fields", "fields", json!([])),
        ("an-id-in-another-spelling", "private", json!(PRIVATE_ID.simple().to_string())),
        ("a-tag-that-is-cut", "mac", json!("AAAA")),
        ("a-stream-that-is-no-name", "stream", json!("")),
        ("no-stubs", "stubs", json!([])),
    ] {
        add(name, "malformed", noted(&whole, None, &|n| n[member] = value.clone()));
    }
    add("no-notes", "malformed", set(&whole, "metadata", r#"{"$oubliette":{}}"#));
    bad
}
