//! The vectors of copied events: what is missing of them, and what only says so.

use super::*;
use crate::{
    event::{Day, ErasureRef, Holes, LAYER_KEY, Shredded, VaultId},
    layer::opening::judge_holes,
    vault::Tagged,
};

const OTHER_VAULT: Uuid = Uuid::from_u128(0x0f0e_0d0c_0b0a_4908_8706_0504_0302_0100);

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

fn of_era(label: &[u8]) -> hmac::Hmac<sha2::Sha256> {
    keyed(&derive(&Secret::copy_of(&secret(ERA_SECRET)), label))
}

fn tag(vault: Uuid, era: Era, said: &[u8]) -> EventTag {
    EventTag::new(&of_era(b"oubliette era 1: holes"), vault.as_bytes(), era, said, &[])
}

fn noted(holes: &Holes) -> Notes {
    let mac = tag(VAULT, ERA, &said(holes));
    Notes { holes: Some(NotedHoles::new(holes.clone(), mac)), ..Notes::default() }
}

fn good() -> Vec<Value> {
    let all = Holes { shredded: vec![gone(0xa0, &[0xb0], &["*"])], withheld: vec![], bare: true };
    let two = Holes {
        shredded: vec![gone(0xa1, &[0xb1, 0xb2], &["/name", "/plate"]), gone(0xa2, &[], &[])],
        withheld: vec![],
        bare: false,
    };
    let unopened = Holes {
        shredded: vec![gone(0xa3, &[0xb3], &["/é"])],
        withheld: vec![vec!["/iban".to_owned()], vec!["*".to_owned()]],
        bare: false,
    };
    let rest = Body::Json(r#"{"town": "Bonn"}"#);
    let cases = [
        (all.clone(), Case::new("hole", "nothing was readable", vec![]).notes(noted(&all))),
        (
            two.clone(),
            Case::new("holes", "what was readable is sealed anew", vec![(1, rest, "", 0)])
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
            Case {
                split: true,
                ..Case::new("split-holes", "on the public half", vec![(1, rest, "", 0)])
            }
            .public(r#"{"id":456}"#)
            .notes(Notes {
                stream: Some(StreamName::new(STREAM).unwrap()),
                private: Some(EventId(PRIVATE_ID)),
                ..noted(&two)
            }),
        ),
        (
            all.clone(),
            Case { split: true, ..Case::new("split-hole", "a public half alone", vec![]) }
                .notes(Notes { stream: Some(StreamName::new(STREAM).unwrap()), ..noted(&all) }),
        ),
    ];
    let vector = |(number, (holes, case)): (u8, (Holes, Case))| {
        let mut vector = case.vector(number);
        // With nothing in the other half there is none.
        if vector["private"]["data"]["json"] == "{}" {
            vector.as_object_mut().unwrap().remove("private");
        }
        vector["said"] = hex(&said(&holes)).into();
        vector["opened"]["shredded"] = json!(holes.shredded);
        vector["opened"]["withheld"] = json!(holes.withheld);
        vector
    };
    (1u8..).zip(cases).map(vector).collect()
}

fn bad(good: &[Value]) -> Vec<Value> {
    let (hole, holes, unopened) = (&good[0], &good[1], &good[2]);
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, vector: &Value, edit: &dyn Fn(&mut Value)| {
        let mut vector = vector.clone();
        let members = vector.as_object_mut().unwrap();
        for member in ["opened", "plaintexts", "digest", "associated", "about", "said"] {
            members.remove(member);
        }
        let text = vector["metadata"].as_str().unwrap();
        let mut metadata: Value = serde_json::from_str(text).unwrap();
        edit(&mut metadata["$oubliette"]);
        vector["metadata"] = metadata.to_string().into();
        vector["name"] = name.into();
        vector["error"] = error.into();
        bad.push(vector);
    };
    let forged = "forged-hole";
    let whole = Holes { shredded: vec![gone(0xa0, &[0xb0], &["*"])], withheld: vec![], bare: true };
    let elsewhere = {
        let (stream, kind) = (StreamName::new("user-457").unwrap(), Place::event().event_type);
        tag(VAULT, ERA, &whole.tagged_bytes(&stream, EventId(ID), &kind)).to_string()
    };
    let theirs = tag(OTHER_VAULT, ERA, &said(&whole)).to_string();
    let later = tag(VAULT, Era([0x0e, 0x7a, 0x00, 0x04]), &said(&whole)).to_string();
    let an_events = EventTag::new(
        &of_era(b"oubliette era 1: event tags"),
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
    add("of-an-era-that-is-not-known", "unknown-era", hole, &|n| {
        n["holes"]["mac"] = later.clone().into();
        n["mac"] = later.clone().into();
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

fn json_of(vector: &Value, of: &str) -> Option<Json> {
    vector[of].as_str().map(|text| Json::parse(text).unwrap())
}

fn stored(vector: &Value) -> Result<Stored, Unreadable> {
    let read = |half: &Value| {
        let data = Json::parse(half["data"]["json"].as_str().unwrap()).unwrap();
        match parse(&data.into(), json_of(half, "metadata").as_ref())? {
            Document::Stored(stored) => Ok::<_, Unreadable>(stored),
            Document::Clear => panic!("reads as clear"),
        }
    };
    let public = read(vector)?;
    match vector.get("private") {
        None => Ok(public),
        Some(half) => public.join(EventId(ID), read(half)?, EventId(PRIVATE_ID)),
    }
}

fn checked(tag: &EventTag, fits: impl FnOnce(&EventTag) -> bool) -> Tagged {
    match (VAULT.as_bytes().starts_with(tag.vault()), tag.era() == ERA) {
        (false, _) => Tagged::OtherVault,
        (true, false) => Tagged::UnknownEra,
        (true, true) if fits(tag) => Tagged::Ours,
        (true, true) => Tagged::Forged,
    }
}

/// Reads as the layer does: the holes first, then the tokens, then the event's own tag.
fn told(vector: &Value) -> Result<Option<Payload>, Unreadable> {
    let stored = stored(vector)?;
    let (place, mac) = (Place::event(), stored.notes.mac);
    if let Some(NotedHoles { holes, mac: tag }) = &stored.notes.holes {
        let key = of_era(b"oubliette era 1: holes");
        let tagged = tag.map(|tag| checked(&tag, |tag| tag.covers(&key, &said(holes), &[])));
        let others = mac.is_some_and(|mac| !VAULT.as_bytes().starts_with(mac.vault()));
        judge_holes(tagged, others)?;
    }
    let associated = stored.associated(&place.context());
    let mut opened = Vec::new();
    for token in &stored.tokens {
        opened.push(crate::crypto::open(token.clone(), &key(1), &associated)?);
    }
    let tags = of_era(b"oubliette era 1: event tags");
    let covers = |tag: &EventTag| tag.covers(&tags, &associated, &stored.tokens);
    match mac.map(|mac| checked(&mac, covers)) {
        Some(Tagged::Ours) => {}
        // What opens is bound to the tag of the holes.
        Some(Tagged::UnknownEra) if opened.is_empty() => return Err(Unreadable::UnknownEra),
        None => return Err(Unreadable::Untagged),
        Some(_) => return Err(Unreadable::Tampered),
    }
    Ok(stored.assemble(opened)?.0)
}

#[test]
fn holes_are_written_so_and_each_bad_one_has_its_name() {
    let good = good();
    let bad = bad(&good);
    let file = json!({
        "vault": VAULT.to_string(), "eras": eras(), "keys": keys(), "vectors": good, "bad": bad,
    });
    are_committed("holes.json", &file);
    for vector in &good {
        let opened = told(vector).unwrap().as_ref().map_or(Value::Null, payload);
        assert_eq!(opened, vector["opened"]["data"], "{}", vector["name"]);
        let holes = stored(vector).unwrap().notes.holes.unwrap().holes;
        assert_eq!(json!(holes.shredded), vector["opened"]["shredded"]);
        assert_eq!(hex(&said(&holes)), vector["said"]);
    }
    for vector in &bad {
        let name = match told(vector).unwrap_err() {
            Unreadable::ForgedHole => "forged-hole",
            Unreadable::Tampered => "tampered",
            Unreadable::Untagged => "untagged",
            Unreadable::OtherVault => "other-vault",
            Unreadable::UnknownEra => "unknown-era",
            Unreadable::Malformed(_) => "malformed",
            other => panic!("{}: {other}", vector["name"]),
        };
        assert_eq!(vector["error"], name, "{}", vector["name"]);
    }
}

/// Every bit of what is noted matters: what still reads is the same event.
#[test]
fn no_bit_of_a_copys_notes_can_change_unnoticed() {
    let mut changes = 0;
    for vector in good() {
        let text = vector["metadata"].as_str().unwrap();
        let canonical = |text: &Json| text.tree().root().to_canonical();
        let whole = canonical(&Json::parse(text).unwrap());
        for bit in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let Ok(json) = Json::parse(&changed) else { continue };
            // Without its notes it is an event of nobody's, and counted.
            if canonical(&json) == whole || json.tree().root().member(LAYER_KEY).is_none() {
                continue;
            }
            let mut forged = vector.clone();
            forged["metadata"] = changed.into();
            assert!(told(&forged).is_err(), "{} reads with bit {bit} changed", vector["name"]);
            changes += 1;
        }
    }
    assert!(changes > 1000, "{changes}");
}
