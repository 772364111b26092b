use proptest::prelude::*;

use super::*;

fn none() -> Prefix {
    Prefix::new("").unwrap()
}

fn moved(data: impl Into<Payload>) -> NewEvent {
    NewEvent::new(EventType::new("Zügig").unwrap(), data)
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// What the server returns of an event that it was sent.
fn stored(event: &NewEvent) -> Found {
    Found {
        stream: "user-1".to_owned(),
        revision: 7,
        position: Some((4_096, 4_000)),
        id: event.id.0,
        event_type: event.event_type.as_str().to_owned(),
        json: event.data.as_json().is_some(),
        ticks: Some(17_960_292_001_234_567),
        data: Bytes::copy_from_slice(event.data.as_bytes()),
        metadata: event.metadata.as_ref().map_or_else(Bytes::new, |metadata| {
            Bytes::copy_from_slice(metadata.as_str().as_bytes())
        }),
    }
}

#[test]
fn an_event_comes_back_as_it_went_in() {
    for (data, metadata) in [
        (Payload::from(json("{ \"a\" : [1 ,\t2],\n\"é\":1e400 }")), None),
        (Payload::Bytes([0, 255, 10, 13].into()), Some("{\"a\":\"é\u{2028} \"}")),
        (Payload::Bytes([].into()), None),
        (json("null").into(), Some("{ \"a\" : 1 ,\r\n\t\"$correlationId\":\"c\" }")),
        (json(r#""\ud83e\udd80 \u0000""#).into(), Some("{}")),
    ] {
        let new = NewEvent { metadata: metadata.map(json), ..moved(data) };
        let found = stored(&new);
        assert!(found.is_as(&new));
        let read = incoming(&found, &none()).unwrap().unwrap();
        assert_eq!((read.id, &read.event_type), (new.id, &new.event_type));
        assert_eq!((read.data, read.metadata), (Some(new.data), new.metadata));
        assert_eq!((read.stream.as_str(), read.revision.0), ("user-1", 7));
        assert_eq!(read.position, Position::pair(4_096, 4_000));
        assert_eq!(read.recorded.as_micros(), 1_796_029_200_123_456);
        assert_eq!(read.restored, None);
    }
}

/// What the client is given has the id, the type, the kind, and the bytes as they are.
#[test]
fn an_event_goes_out_as_it_is() {
    let spelled = "{ \"a\" : 1.50, \"b\":1e400 }";
    let new = moved(json(spelled)).with_metadata(json("{ \"m\" : 1 }"));
    let shown = format!("{:?}", outgoing(&new).unwrap());
    let bytes = |text: &str| format!("{:?}", Bytes::copy_from_slice(text.as_bytes()));
    for part in [
        format!("payload: {}", bytes(spelled)),
        format!("id_opt: Some({})", new.id),
        format!("custom_metadata: Some({})", bytes("{ \"m\" : 1 }")),
        "\"content-type\": \"application/json\"".to_owned(),
        "\"type\": \"Zügig\"".to_owned(),
    ] {
        assert!(shown.contains(&part), "{part} is not in {shown}");
    }
    let new = moved(Payload::Bytes(b"{}"[..].into()));
    let shown = format!("{:?}", outgoing(&new).unwrap());
    assert!(shown.contains("application/octet-stream") && shown.contains("custom_metadata: None"));
}

#[test]
fn another_content_is_told_from_the_same() {
    let new = moved(json(r#"{"a":1}"#)).with_metadata(json(r#"{"b":2}"#));
    assert!(stored(&new).is_as(&new));
    let other = [
        NewEvent { data: json(r#"{"a":2}"#).into(), ..new.clone() },
        NewEvent { data: Payload::Bytes(b"{\"a\":1}"[..].into()), ..new.clone() },
        NewEvent { metadata: None, ..new.clone() },
        NewEvent { event_type: EventType::new("Other").unwrap(), ..new.clone() },
        new.clone().with_id(EventId::random()),
    ];
    for other in other {
        assert!(!stored(&new).is_as(&other));
    }
}

#[test]
fn what_is_the_servers_own_is_left_out() {
    let event = stored(&moved(json("{}")));
    for (stream, event_type) in [
        ("$$user-1", "$metadata"),
        ("$ce-user", "$>"),
        ("$stats-127.0.0.1:2113", "$statsCollected"),
        ("user-1", "$>"),
        ("user-1", "$@"),
    ] {
        let own = Found {
            stream: stream.to_owned(),
            event_type: event_type.to_owned(),
            data: Bytes::from_static(b"0@user-1"),
            ..event.clone()
        };
        assert!(matches!(incoming(&own, &none()), Ok(None)), "{stream} {event_type}");
    }
    let bank = Prefix::new("bank-").unwrap();
    assert!(matches!(incoming(&event, &bank), Ok(None)), "another store's");
}

#[test]
fn another_programs_event_that_cannot_be_one_of_ours_is_damage_and_says_why() {
    let event = stored(&moved(json("{}")));
    let with = |change: fn(&mut Found)| {
        let mut found = event.clone();
        change(&mut found);
        found
    };
    for (found, what) in [
        (with(|found| found.stream = "user 1".into()), "prefix"),
        (with(|found| found.event_type = "two words".into()), "type"),
        (with(|found| found.event_type = String::new()), "type"),
        (with(|found| found.data = Bytes::from_static(b"{\"a\":1,\"a\":2}")), "JSON"),
        (with(|found| found.data = Bytes::from_static(b"\xff")), "JSON"),
        (with(|found| found.data = Bytes::new()), "JSON"),
        (with(|found| found.metadata = Bytes::from_static(b"[]")), "metadata"),
        (with(|found| found.metadata = Bytes::from_static(b"\0")), "metadata"),
        (with(|found| found.ticks = None), "created"),
    ] {
        let Err(StoreError::Damaged { position, source }) = incoming(&found, &none()) else {
            panic!("{what} was taken")
        };
        assert_eq!(position.as_pair(), Some((4_096, 4_000)));
        assert!(source.to_string().contains(what), "{source}");
    }
    let without = with(|found| found.position = None);
    let told = incoming(&without, &none()).unwrap_err();
    assert!(matches!(told, StoreError::Damaged { .. }));
    assert!(
        matches!(incoming(&with(|found| found.metadata = Bytes::from_static(b"null")), &none()), Ok(Some(read)) if read.metadata.is_none())
    );
}

proptest! {
    #[test]
    fn a_position_is_a_pair_and_ordered_as_the_server_orders(a in any::<Pair>(), b in any::<Pair>()) {
        let theirs = |(commit, prepare): Pair| kurrentdb::Position { commit, prepare };
        prop_assert_eq!(position(a).cmp(&position(b)), theirs(a).cmp(&theirs(b)));
        prop_assert_eq!(pair(position(a)).unwrap(), a);
        prop_assert_eq!(position(a).as_bytes().len(), 16);
        prop_assert!(matches!(pair(Position::number(a.0)), Err(StoreError::ForeignPosition(_))));
    }

    #[test]
    fn ticks_are_microseconds_and_a_tenth(micros in 0..253_402_207_200_000_000_u64, rest in 0..10_u64) {
        let found = Found { ticks: Some(micros * 10 + rest), ..stored(&moved(json("{}"))) };
        let read = incoming(&found, &none()).unwrap().unwrap();
        prop_assert_eq!(read.recorded.as_micros(), i64::try_from(micros).unwrap());
    }
}
