use super::*;
use crate::{
    crypto::{Body, Context, DataKey, EventTag, Plaintext, Purpose, SealPart, open, seal},
    event::{EventId, EventType, Json, KeyId, Payload, PolicyDigest, StreamName},
};

pub(super) fn key(n: u8) -> DataKey {
    DataKey::from_bytes(KeyId([n; 20]), &[n; 32])
}

pub(super) struct Place {
    stream: StreamName,
    id: EventId,
    event_type: EventType,
}

impl Place {
    pub(super) fn new() -> Self {
        Self {
            stream: StreamName::new("user-456").unwrap(),
            id: EventId(uuid::Uuid::from_u128(7)),
            event_type: EventType::new("UserRegistered").unwrap(),
        }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            purpose: Purpose::Event,
            stream: &self.stream,
            event_id: self.id,
            event_type: &self.event_type,
        }
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub(super) fn part<'a>(key: &'a DataKey, body: Body<'a>, metadata: &'a str) -> SealPart<'a> {
    SealPart { key, policy: PolicyDigest([9; 8]), body, metadata, pad: 0 }
}

fn stored(data: &Payload, metadata: Option<&Json>) -> Result<Stored, Unreadable> {
    match parse(data, metadata)? {
        Document::Stored(stored) => Ok(stored),
        Document::Clear => panic!("reads as clear"),
    }
}

/// Opens the tokens whose keys are given.
pub(super) fn open_all(stored: &Stored, keys: &[&DataKey]) -> Result<Vec<Plaintext>, Unreadable> {
    let place = Place::new();
    let associated = stored.associated(&place.context());
    let mut opened = Vec::new();
    for token in &stored.tokens {
        if let Some(key) = keys.iter().find(|key| key.id() == token.key_id()) {
            opened.push(open(token.clone(), key, &associated)?);
        }
    }
    Ok(opened)
}

#[test]
fn a_payload_without_public_fields_is_one_token_and_comes_back_byte_for_byte() {
    let (key, place) = (key(1), Place::new());
    let text = "{ \"name\" : \"J\\u00fcrgen\", \"n\":1e400 }";
    let payload = json(text);
    let draft = Draft::new(None, None, &Notes::default());
    let tokens = seal(&[part(&key, (&payload).into(), "")], &place.context(), draft.digest());
    let (data, metadata) = draft.store(&tokens.unwrap());
    assert!(data.as_json().unwrap().as_str().starts_with("{\"$sealed\":[\""));
    assert_eq!(metadata, None);
    // Some stores give `{}` back where nothing was.
    for metadata in [None, Some(&json("{}"))] {
        let stored = stored(&data, metadata).unwrap();
        let opened = open_all(&stored, &[&key]).unwrap();
        assert_eq!(stored.assemble(opened).unwrap(), (Some(payload.clone().into()), None));
    }
}

/// The tag alone is read without looking at the text any closer. However a store spells it, it is the same.
#[test]
fn metadata_of_a_tag_alone_read_as_when_they_are_spelled_otherwise() {
    let data = json(r#"{"a":1}"#).into();
    for tag in ["A".repeat(38), "w_-9".repeat(9) + "xw"] {
        let as_written = json(&format!(r#"{{"$oubliette":{{"mac":"{tag}"}}}}"#));
        assert!(Notes::only_a_tag(&as_written).is_some());
        let as_written = stored(&data, Some(&as_written)).unwrap();
        assert_eq!(as_written.notes.mac, EventTag::parse(&tag));
        for other in [
            format!(r#"{{ "$oubliette": {{"mac": "{tag}"}} }}"#),
            format!(r#"{{"\u0024oubliette":{{"mac":"{tag}"}}}}"#),
        ] {
            let other = json(&other);
            assert!(Notes::only_a_tag(&other).is_none());
            let other = stored(&data, Some(&other)).unwrap();
            assert_eq!((&other.notes, other.digest), (&as_written.notes, as_written.digest));
            assert_eq!(other.assemble(Vec::new()), as_written.assemble(Vec::new()));
        }
    }
    // What begins and ends so, and is none.
    for odd in
        ["A".repeat(37), "A".repeat(39), format!("{}B", "A".repeat(37)), "A".repeat(36) + "=="]
    {
        let odd = json(&format!(r#"{{"$oubliette":{{"mac":"{odd}"}}}}"#));
        assert!(Notes::only_a_tag(&odd).is_none());
        assert!(matches!(parse(&data, Some(&odd)), Err(Unreadable::Malformed(_))));
    }
    let two = json(&format!(r#"{{"$oubliette":{{"mac":"{0}","mac2":"{0}"}}}}"#, "A".repeat(38)));
    assert!(matches!(parse(&data, Some(&two)), Err(Unreadable::Malformed(_))));
}

#[test]
fn public_fields_stay_and_two_people_s_fields_come_back_in_order() {
    let (a, b, place) = (key(1), key(2), Place::new());
    let notes = Notes { fields: vec![vec!["*".into()], vec!["/iban".into()]], ..Notes::default() };
    let public = json(r#"{"amount":5,"note":{}}"#);
    let draft = Draft::new(Some(public.into()), Some(&json(r#"{"trace":"t"}"#)), &notes);
    let parts = [
        part(&a, Body::Fields(r#"0 0 10 "name":"N"5 0 5 /note"x":1"#), r#"0 0 10 "who":"me""#),
        part(&b, Body::Fields(r#"0 2 11 "iban":"DE""#), ""),
    ];
    let tokens = seal(&parts, &place.context(), draft.digest()).unwrap();
    let (data, metadata) = draft.store(&tokens);
    let stored = stored(&data, metadata.as_ref()).unwrap();
    assert_eq!(stored.notes, notes);
    let both = stored.assemble(open_all(&stored, &[&a, &b]).unwrap()).unwrap();
    assert_eq!(both.0, Some(json(r#"{"name":"N","amount":5,"iban":"DE","note":{"x":1}}"#).into()));
    assert_eq!(both.1, Some(json(r#"{"who":"me","trace":"t"}"#)));
    let one = stored.assemble(open_all(&stored, &[&b]).unwrap()).unwrap();
    assert_eq!(one.0, Some(json(r#"{"amount":5,"note":{},"iban":"DE"}"#).into()));
    assert_eq!(one.1, Some(json(r#"{"trace":"t"}"#)));
}

#[test]
fn the_halves_of_a_split_event_join() {
    let (key, place) = (key(1), Place::new());
    let private_id = EventId(uuid::Uuid::from_u128(8));
    let front =
        Notes { stream: Some(place.stream.clone()), private: Some(private_id), ..Notes::default() };
    let back =
        Notes { stream: Some(place.stream.clone()), public: Some(place.id), ..Notes::default() };
    let tag = EventTag::parse(&"A".repeat(38)).unwrap();
    for public in [None, Some("{}"), Some(r#"{"id":4}"#)] {
        let half = Draft::new(public.map(|text| json(text).into()), None, &front);
        let body = json(r#"{"a":1}"#);
        let parts = [part(&key, (&body).into(), "")];
        let tokens = seal(&parts, &place.context(), half.digest()).unwrap();
        let public_half = half.tagged(tag, &tokens).store_clear();
        let private_half = Draft::new(None, None, &back).store(&tokens);
        let first = || stored(&public_half.0, public_half.1.as_ref()).unwrap();
        let second = || stored(&private_half.0, private_half.1.as_ref()).unwrap();
        let joined = first().join(place.id, second(), private_id).unwrap();
        let opened = open_all(&joined, &[&key]).unwrap();
        let read = joined.assemble(opened);
        if public.is_some_and(|text| text != "{}") {
            // A payload that is sealed whole has nothing in clear.
            assert!(matches!(read, Err(Unreadable::Malformed(_))), "{read:?}");
        } else {
            assert_eq!(read.unwrap().0, Some(body.into()));
        }
        let swapped = first().join(place.id, second(), EventId::random());
        assert_eq!(swapped.unwrap_err(), Unreadable::Tampered);
        // By itself it still knows which tokens it had.
        let alone = first().alone().unwrap();
        assert_eq!(alone.associated(&place.context()), joined.associated(&place.context()));
        assert_eq!(open_all(&alone, &[&key]).unwrap_err(), Unreadable::Purged);
    }
}

#[test]
fn bytes_are_one_raw_token() {
    let (key, place) = (key(1), Place::new());
    let notes = Notes { sealed_bytes: true, ..Notes::default() };
    let draft = Draft::new(None, None, &notes);
    let parts = [part(&key, Body::Bytes(&[0, 255, 7]), "")];
    let tokens = seal(&parts, &place.context(), draft.digest()).unwrap();
    let (data, metadata) = draft.store(&tokens);
    assert_eq!(data.as_bytes(), tokens[0].as_bytes());
    assert_eq!(metadata, Some(json(r#"{"$oubliette":{"sealed":"bytes"}}"#)));
    let stored = stored(&data, metadata.as_ref()).unwrap();
    let opened = open_all(&stored, &[&key]).unwrap();
    let payload = Payload::Bytes([0, 255, 7].as_slice().into());
    assert_eq!(stored.assemble(opened).unwrap(), (Some(payload), None));
}

#[test]
fn a_wholly_public_payload_keeps_its_kind_and_the_token_stands_in_the_metadata() {
    let (key, place) = (key(1), Place::new());
    let bytes = Payload::Bytes(b"{\"a\":1}".as_slice().into());
    for public in [json("[1]").into(), json("{}").into(), json("7").into(), bytes] {
        let public: Payload = public;
        let draft = Draft::new(Some(public.clone()), None, &Notes::default());
        let parts = [part(&key, Body::Nothing, r#"0 0 5 "m":1"#)];
        let tokens = seal(&parts, &place.context(), draft.digest()).unwrap();
        let (data, metadata) = draft.store(&tokens);
        assert_eq!(data, public);
        let taken = stored(&data, metadata.as_ref()).unwrap();
        let opened = open_all(&taken, &[&key]).unwrap();
        let expected = (Some(public), Some(json(r#"{"m":1}"#)));
        assert_eq!(taken.assemble(opened).unwrap(), expected);
        // The same text as another kind of payload is another payload.
        let other = match &data {
            Payload::Json(json) => Payload::Bytes(json.as_str().as_bytes().into()),
            Payload::Bytes(_) => json(r#"{"a":1}"#).into(),
        };
        assert!(matches!(stored(&other, metadata.as_ref()), Err(Unreadable::Malformed(_))));
    }
}

#[test]
fn old_events_read_as_clear_and_half_sealed_ones_are_malformed() {
    let data = |text: &str| Payload::Json(json(text));
    assert!(matches!(parse(&data(r#"{"a":1}"#), None), Ok(Document::Clear)));
    assert!(matches!(parse(&data("[]"), Some(&json("{}"))), Ok(Document::Clear)));
    let bytes = Payload::Bytes([1, 2].as_slice().into());
    assert!(matches!(parse(&bytes, Some(&json(r#"{"a":1}"#))), Ok(Document::Clear)));
    for text in [
        r#"{"$sealed":[]}"#,
        r#"{"$sealed":"x"}"#,
        r#"{"$sealed":[1]}"#,
        r#"{"$sealed":null,"a":1}"#,
    ] {
        assert!(matches!(parse(&data(text), None), Err(Unreadable::Malformed(_))), "{text}");
    }
    assert_eq!(parse(&data(r#"{"$sealed":["!"]}"#), None).unwrap_err(), Unreadable::NotBase64);
    assert_eq!(parse(&data(r#"{"$sealed":["AQEA"]}"#), None).unwrap_err(), Unreadable::Truncated);
    assert_eq!(parse(&data(r#"{"$sealed":["AgEA"]}"#), None).unwrap_err(), Unreadable::Version(2));
    assert_eq!(
        parse(&data(r#"{"$sealed":["AQIA"]}"#), None).unwrap_err(),
        Unreadable::Algorithm(2)
    );
    for text in [
        r#"{"$oubliette":{}}"#,
        r#"{"$oubliette":[]}"#,
        r#"{"$oubliette":{"new":1}}"#,
        r#"{"$oubliette":{"sealed":"Bytes"}}"#,
        r#"{"$oubliette":{"fields":[["*"],["/a"]]}}"#,
        r#"{"$oubliette":{"private":"00000000-0000-0000-0000-00000000000A"}}"#,
        r#"{"$oubliette":{"holes":[null,[["/a"]],null,null]}}"#,
        r#"{"$oubliette":{"holes":{"withheld":[["/a"]],"bare":null}}}"#,
        r#"{"$oubliette":{"holes":{"withheld":[["/a"]],"shredded":null}}}"#,
    ] {
        let read = parse(&data(r#"{"a":1}"#), Some(&json(text)));
        assert!(matches!(read, Err(Unreadable::Malformed(_))), "{text}");
    }
    let written = json(r#"{"$oubliette":{"holes":{"withheld":[["/a"]]}}}"#);
    assert!(matches!(parse(&data(r#"{"a":1}"#), Some(&written)), Ok(Document::Stored(_))));
}

#[test]
fn what_was_spoiled_in_the_store_does_not_pass_for_clear() {
    // A store that reads back its own text does not parse it.
    for spoiled in [r#"{"$sealed":["AQE"]}x"#, r#"{"$sealed":["AQE"]"#, "not json", ""] {
        let data = Payload::Json(Json::trusted(spoiled));
        assert!(matches!(parse(&data, None), Err(Unreadable::Malformed(_))), "{spoiled}");
    }
}

/// Whoever asks for the notes alone decides by them where an event belongs.
#[test]
fn notes_that_cannot_be_read_are_not_taken_for_none() {
    let of = |text: &str| Notes::of(Some(&json(text)));
    assert_eq!(Notes::of(None), Ok(Notes::default()));
    assert_eq!(of(r#"{"a":"\u0001"}"#), Ok(Notes::default()));
    let stream = StreamName::new("user-456").unwrap();
    for name in ["$oubliette", r"\u0024oubliette", r"$o\u0075bliette"] {
        let read = of(&format!(r#"{{"{name}":{{"stream":"user-456"}}}}"#)).unwrap();
        assert_eq!(read.stream.as_ref(), Some(&stream), "{name}");
        assert!(of(&format!(r#"{{"{name}":{{"stream":7}}}}"#)).is_err());
        let later = of(&format!(r#"{{"{name}":{{"stream":"user-456","v":2}}}}"#));
        assert_eq!(later, Err(Unreadable::NotesVersion(2)));
    }
}

#[test]
fn only_a_later_number_is_a_newer_programs() {
    for newer in
        [Unreadable::Version(2), Unreadable::Algorithm(255), Unreadable::NotesVersion(u32::MAX)]
    {
        assert!(newer.is_newer(), "{newer}");
    }
    for other in [Unreadable::Version(0), Unreadable::Algorithm(0), Unreadable::Tampered] {
        assert!(!other.is_newer(), "{other}");
    }
}
