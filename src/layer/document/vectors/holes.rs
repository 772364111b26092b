//! The vectors of copied events: what is missing of them, and what only says so.

use super::{reader::told_quickly, *};
use crate::event::{Day, ErasureRef, Holes, LAYER_KEY, Shredded, VaultId};

fn gone(from: u8, keys: &[u8], fields: &[&str]) -> Shredded {
    Shredded {
        origin: VaultId(OTHER_VAULT),
        reference: ErasureRef(counting(from)),
        day: "2026-11-28".parse::<Day>().unwrap(),
        keys: keys.iter().map(|&n| KeyId(counting(n))).collect(),
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
        copied: true,
    }
}

fn said(holes: &Holes) -> Vec<u8> {
    let place = Place::event();
    holes.tagged_bytes(&place.stream, EventId(ID), &place.event_type)
}

fn keyed_for(era: Era, label: Label) -> hmac::Hmac<sha2::Sha256> {
    keyed(&derive(&Secret::copy_of(&of_era(era)), label))
}

fn tag(vault: Uuid, era: Era, said: &[u8]) -> EventTag {
    let key = keyed_for(era, Label::HOLES);
    EventTag::new(&key, vault.as_bytes(), era, said, &[])
}

fn noted(holes: &Holes) -> Notes {
    noted_in(ERA, holes)
}

fn noted_in(era: Era, holes: &Holes) -> Notes {
    let mac = tag(VAULT, era, &said(holes));
    let noted = NotedHoles::new(holes.clone(), mac);
    Notes { holes: Some(Box::new(noted)), ..Notes::default() }
}

fn good() -> Vec<Value> {
    let all = Holes {
        shredded: vec![gone(0xa0, &[0xb0], &["*"])],
        withheld: vec![],
        bare: true,
        not_wanted: false,
    };
    let two = Holes {
        shredded: vec![gone(0xa1, &[0xb1, 0xb2], &["/name", "/plate"]), gone(0xa2, &[], &[])],
        withheld: vec![],
        bare: false,
        not_wanted: false,
    };
    let unopened = Holes {
        shredded: vec![gone(0xa3, &[0xb3], &["/é"])],
        withheld: vec![vec!["/iban".to_owned()], vec!["*".to_owned()]],
        bare: false,
        not_wanted: false,
    };
    let rest = Body::Json(r#"{"town": "Bonn"}"#);
    let town = Body::Fields(list(&[("", 1, r#""town":"Bonn""#)]));
    let cases = [
        (all.clone(), Case::new("hole", "nothing was readable", vec![]).notes(noted(&all))),
        (
            two.clone(),
            Case::new("holes", "what was readable is sealed anew", vec![(OWN, rest, "", 0)])
                .metadata(r#"{"traceparent":"00-01"}"#)
                .notes(noted(&two)),
        ),
        (
            unopened.clone(),
            Case::new("unopened", "two parts that the copier could not open", vec![])
                .public(r#"{"amount":12.50}"#)
                .notes(noted(&unopened)),
        ),
        (
            two.clone(),
            Case::new("split-holes", "on the public half", vec![(OWN, town, "", 0)])
                .public(r#"{"id":456}"#)
                .notes(noted(&two))
                .split(),
        ),
        (
            all.clone(),
            Case { split: true, ..Case::new("split-hole", "a public half alone", vec![]) }
                .notes(Notes { stream: Some(StreamName::new(STREAM).unwrap()), ..noted(&all) }),
        ),
        (
            two.clone(),
            Case::new("holes-and-shredded", "the rest is shredded, too", vec![(DEAD, rest, "", 0)])
                .notes(noted(&two)),
        ),
        (
            all.clone(),
            Case::new("of-a-later-era", "both tags are: nobody vouches for it", vec![])
                .notes(noted_in(LATER, &all))
                .by(By::Us(LATER)),
        ),
        (
            two.clone(),
            Case::new(
                "noted-in-a-later-era",
                "what opens vouches for it",
                vec![(OWN, rest, "", 0)],
            )
            .notes(noted_in(LATER, &two))
            .by(By::Us(LATER)),
        ),
    ];
    let vector = |(number, (holes, case)): (u8, (Holes, Case))| {
        let mut vector = case.good(number);
        vector["said"] = hex(&said(&holes)).into();
        vector
    };
    (0x50u8..).zip(cases).map(vector).collect()
}

fn bad(good: &[Value]) -> Vec<Value> {
    let (hole, holes, unopened) = (&good[0], &good[1], &good[2]);
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, vector: &Value, edit: &dyn Fn(&mut Value)| {
        let mut vector = called(name, error, vector.clone());
        let text = vector["metadata"].as_str().unwrap();
        let mut metadata: Value = serde_json::from_str(text).unwrap();
        edit(&mut metadata["$oubliette"]);
        vector["metadata"] = metadata.to_string().into();
        bad.push(vector);
    };
    let forged = "forged-hole";
    let whole = Holes {
        shredded: vec![gone(0xa0, &[0xb0], &["*"])],
        withheld: vec![],
        bare: true,
        not_wanted: false,
    };
    let elsewhere = {
        let (stream, kind) = (StreamName::new("user-457").unwrap(), Place::event().event_type);
        tag(VAULT, ERA, &whole.tagged_bytes(&stream, EventId(ID), &kind)).to_string()
    };
    let theirs = tag(OTHER_VAULT, THEIRS, &said(&whole)).to_string();
    let later = tag(VAULT, LATER, &said(&whole)).to_string();
    let an_events = EventTag::new(
        &keyed_for(ERA, Label::EVENT_TAGS),
        VAULT.as_bytes(),
        ERA,
        &said(&whole),
        &[],
    );
    let drop_member = |of: &mut Value, name: &str| drop(of.as_object_mut().unwrap().remove(name));
    for (kind, vector) in [("", hole), ("-beside-a-token", holes)] {
        let name = |name: &str| format!("{name}{kind}");
        add(&name("no-tag"), forged, vector, &|n| drop_member(&mut n["holes"], "mac"));
        add(&name("another-reference"), forged, vector, &|n| {
            n["holes"]["shredded"][0]["ref"] = "AAAAAAAAAAAAAAAAAAAAAA".into();
        });
        add(&name("another-day"), forged, vector, &|n| {
            n["holes"]["shredded"][0]["day"] = "2026-11-27".into();
        });
        add(&name("no-keys"), forged, vector, &|n| {
            n["holes"]["shredded"][0]["keys"] = json!([]);
        });
        add(&name("other-fields"), forged, vector, &|n| {
            n["holes"]["shredded"][0]["fields"] = json!(["/name/plate"]);
        });
        add(&name("another-origin"), forged, vector, &|n| {
            n["holes"]["shredded"][0]["origin"] = VAULT.to_string().into();
        });
        add(&name("a-withheld-part-more"), forged, vector, &|n| {
            n["holes"]["withheld"] = json!([["*"]]);
        });
        add(&name("the-tag-of-another-event"), forged, vector, &|n| {
            n["holes"]["mac"] = elsewhere.clone().into();
        });
        add(&name("another-vaults-tag"), forged, vector, &|n| {
            n["holes"]["mac"] = theirs.clone().into();
        });
        add(&name("removed"), "tampered", vector, &|n| drop_member(n, "holes"));
    }
    add("made-as-an-events-tag", forged, hole, &|n| {
        n["holes"]["mac"] = an_events.to_string().into();
    });
    add("not-bare", forged, hole, &|n| drop_member(&mut n["holes"], "bare"));
    add("withheld-as-one-part", forged, unopened, &|n| {
        n["holes"]["withheld"] = json!([["/iban", "*"]]);
    });
    add("of-an-era-that-the-events-tag-is-not-of", "tampered", hole, &|n| {
        n["holes"]["mac"] = later.clone().into();
    });
    add("all-of-it-another-vaults", "other-vault", hole, &|n| {
        n["holes"]["mac"] = theirs.clone().into();
        n["mac"] = theirs.clone().into();
    });
    add("the-events-tag-removed", "untagged", hole, &|n| drop_member(n, "mac"));
    add("under-a-tag-of-its-own-only", "untagged", unopened, &|n| drop_member(n, "mac"));
    for (name, written) in [
        ("nothing-missing", json!({})),
        ("an-empty-list", json!({ "shredded": [], "bare": true })),
        ("bare-as-false", json!({ "withheld": [["*"]], "bare": false })),
        ("a-member-more", json!({ "withheld": [["*"]], "new": 1 })),
        ("a-tag-cut", json!({ "withheld": [["*"]], "mac": "AAAA" })),
        ("no-origin", json!({ "shredded": [{ "ref": "AAAAAAAAAAAAAAAAAAAAAA" }] })),
    ] {
        add(name, "malformed", hole, &|n| n["holes"] = written.clone());
    }
    add("an-origin-in-another-spelling", "malformed", hole, &|n| {
        let upper = OTHER_VAULT.to_string().to_uppercase();
        n["holes"]["shredded"][0]["origin"] = upper.into();
    });
    let private = |edit: &dyn Fn(&mut Value)| {
        let mut vector = good[3].clone();
        let text = vector["private"]["metadata"].as_str().unwrap();
        let mut metadata: Value = serde_json::from_str(text).unwrap();
        edit(&mut metadata["$oubliette"]);
        vector["private"]["metadata"] = metadata.to_string().into();
        vector
    };
    let noted: Value = serde_json::from_str(hole["metadata"].as_str().unwrap()).unwrap();
    let noted = noted["$oubliette"].clone();
    for (name, member) in
        [("holes-on-the-private-half", "holes"), ("a-tag-on-the-private-half", "mac")]
    {
        add(name, "tampered", &private(&|n| n[member] = noted[member].clone()), &|_| {});
    }
    add("data-although-bare", "malformed", unopened, &|n| n["holes"]["bare"] = true.into());
    bad
}

#[test]
fn the_committed_holes_are_what_is_written_today_and_each_bad_one_has_its_name() {
    let good = good();
    let bad = bad(&good);
    have_their_names(&bad);
    are_committed("holes.json", &file(json!({ "vectors": good, "bad": bad })));
}

/// Every bit of what is noted matters: what still reads is the same event.
#[test]
fn no_bit_of_a_copys_notes_can_change_unnoticed() {
    let mut changes = 0;
    for vector in good() {
        // The codec has no halves.
        if vector.get("in").is_some() {
            continue;
        }
        let text = vector["metadata"].as_str().unwrap();
        let canonical = |text: &Json| text.tree().root().to_canonical();
        let whole = canonical(&Json::parse(text).unwrap());
        for bit in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let Ok(json) = Json::parse(&changed) else { continue };
            // Without its notes it is no vault's event, and counted.
            if canonical(&json) == whole || json.tree().root().member(LAYER_KEY).is_none() {
                continue;
            }
            let mut forged = vector.clone();
            forged["metadata"] = changed.into();
            let read = told_quickly(&forged);
            // While a key lives it vouches for the event, and the tag is not asked.
            let lives = vector["plaintexts"] != json!([]);
            if lives && without_tag(&forged) == without_tag(&vector) {
                assert_eq!(read.as_ref(), Ok(&vector["opened"]), "{}", vector["name"]);
                continue;
            }
            // What is of an era that the vault does not know says so.
            let unvouched = read.as_ref().is_ok_and(|read| read["unvouched"] == true);
            assert!(read.is_err() || unvouched, "{} reads with bit {bit} changed", vector["name"]);
            changes += 1;
        }
    }
    assert!(changes > 1000, "{changes}");
}

/// The metadata of a vector without the event's own tag, if it has the form of one.
fn without_tag(vector: &Value) -> Value {
    let mut metadata: Value = serde_json::from_str(vector["metadata"].as_str().unwrap()).unwrap();
    let notes = metadata[LAYER_KEY].as_object_mut().unwrap();
    if notes.get("mac").and_then(Value::as_str).is_some_and(|mac| EventTag::parse(mac).is_some()) {
        notes.remove("mac");
    }
    metadata
}
