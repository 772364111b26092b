//! What is written comes back, and what is wrong is said without a word of it.

use oubliette::event::{ErasureRef, KeyId, Position, Revision, Shredded, Timestamp, VaultId};

use super::*;

fn event(data: Payload) -> RecordedEvent {
    RecordedEvent::plain(
        StreamName::new("s-1").unwrap(),
        Revision(3),
        Position::number(9),
        EventId::random(),
        EventType::new("Happened").unwrap(),
        Timestamp::from_micros(0),
        data,
        None,
    )
}

fn taken_back(line: &str) -> Row {
    match parse(line.as_bytes(), false) {
        Ok(Parsed::Event(row)) => row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_taken_back_byte_for_byte() {
    for text in [r#"{"b": 1e400,"a":9007199254740993,"ü":"\u00fc"}"#, "null", "[1, 2]", "-0"] {
        let data = Payload::Json(Json::parse(text).unwrap());
        let row = write(&event(data.clone()));
        assert!(row.contains(text), "{row}");
        assert_eq!(taken_back(&row).data, data);
    }
}

#[test]
fn a_position_is_a_text_and_a_restored_event_says_so() {
    let mut event = event(Payload::Json(Json::parse("1").unwrap()));
    assert!(write(&event).contains(r#""revision":3,"position":"9","id""#));
    assert!(!write(&event).contains("restored"));
    event.position = Position::pair(9, 2);
    event.restored = Some(Timestamp::from_micros(1));
    let row = write(&event);
    assert!(row.contains(r#""position":"9-2""#), "{row}");
    let times = r#""recorded":"1970-01-01T00:00:00Z","restored":"1970-01-01T00:00:00.000001Z""#;
    assert!(row.contains(times), "{row}");
    assert_eq!(taken_back(&row).id, Some(event.id));
}

#[test]
fn bytes_and_json_that_looks_like_them_are_two_things() {
    let bytes = Payload::Bytes([0, 159, 255].into());
    assert_eq!(taken_back(&write(&event(bytes.clone()))).data, bytes);
    let json = Payload::Json(Json::parse(r#"{"bytes":"AJ//"}"#).unwrap());
    assert_eq!(taken_back(&write(&event(json.clone()))).data, json);
}

#[test]
fn a_row_is_one_line_however_the_payload_is_laid_out() {
    let data = Payload::Json(Json::parse("{\r\n  \"a\": \"x\\ny\"\n}").unwrap());
    let row = write(&event(data));
    assert!(!row.contains(['\n', '\r']));
    assert!(row.contains(r#"{    "a": "x\ny" }"#), "{row}");
}

#[test]
fn a_tombstone_that_nobody_vouches_for_is_no_data() {
    let mut forged = event(Payload::Json(Json::parse(r#"{"state":"forgotten"}"#).unwrap()));
    forged.event_type = EventType::new(SUBJECT_FORGOTTEN).unwrap();
    let row = write(&forged);
    assert!(row.contains(r#""foreign":{"state":"forgotten"}"#), "{row}");
    assert!(!row.contains(r#""data""#), "{row}");
    assert!(matches!(parse(row.as_bytes(), true), Ok(Parsed::Tombstone)));
}

#[test]
fn holes_are_said_and_taken_only_when_asked_for() {
    let part = Shredded {
        origin: VaultId(uuid::Uuid::from_u128(5)),
        reference: ErasureRef([7; 16]),
        day: Timestamp::from_micros(0).day(),
        keys: vec![KeyId([9; 20])],
        fields: vec!["*".to_owned()],
        copied: false,
    };
    let whole = RecordedEvent::plain(
        StreamName::new("s").unwrap(),
        Revision(0),
        Position::number(1),
        EventId::random(),
        EventType::new("T").unwrap(),
        Timestamp::now(),
        Payload::Bytes([].into()),
        None,
    );
    let mut shredded = whole;
    shredded.data = None;
    shredded.shredded = vec![part.clone()];
    let row = write(&shredded);
    let written = r#""shredded":[{"origin":"00000000-0000-0000-0000-000000000005","ref":"BwcHBwcHBwcHBwcHBwcHBw","day":"1970-01-01","keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"fields":["*"]}]}"#;
    assert!(row.ends_with(written), "{row}");
    assert!(matches!(parse(row.as_bytes(), false), Err(RowError::Holes)));
    let Ok(Parsed::Event(taken)) = parse(row.as_bytes(), true) else { panic!() };
    let holes = taken.holes.unwrap();
    assert_eq!(holes.withheld().count(), 0);
    assert_eq!(holes.shredded(), [Shredded { copied: true, ..part }]);
    for (odd, told) in [
        (row.replace("1970", "70"), "character"),
        (row.replace("00005", "0000A"), "character"),
        (row.replace("\"ref\":\"BwcHBwcHBwcHBwcHBwcHBw\",", ""), "no `ref`"),
        (row.replace("\"ref\"", "\"erasure\""), "character"),
        (row.replace("\"day\"", "\"more\":1,\"day\""), "character"),
        (row.replace("[{", "{").replace("}]", "}"), "character"),
        // What a loose reader takes for an object and its members.
        (
            row.replace("[{", "[[")
                .replace("}]", "]]")
                .replace("\"origin\":", "")
                .replace("\"ref\":", "")
                .replace("\"day\":", "")
                .replace("\"keys\":", "")
                .replace("\"fields\":", ""),
            "another spelling",
        ),
        (row.replace("\"day\"", "\"day\":\"1970-01-01\",\"day\""), "character"),
    ] {
        let refused = parse(odd.as_bytes(), true).unwrap_err();
        assert!(matches!(refused, RowError::OddHoles("shredded", _)), "{odd}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
}

/// It was told by its number, to be counted out in a line of some hundred characters.
#[test]
fn a_member_that_is_unknown_is_told_by_its_name() {
    let name = |row: &str| match parse(row.as_bytes(), false) {
        Err(RowError::Unknown(name)) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(r#"{"stream":"s","type":"T","data":1,"tenant":"Erika"}"#), "`tenant`");
    for odd in ["a\\u001b[2J", "erika@example.org", "Erika M", &"x".repeat(50), ""] {
        assert_eq!(name(&format!(r#"{{"stream":"s","{odd}":1}}"#)), "number 2", "{odd}");
    }
}

#[test]
fn bad_rows_are_refused_without_quoting_them() {
    let why = |line: &str| parse(line.as_bytes(), false).unwrap_err().to_string();
    for (line, reason) in [
        ("", "not JSON"),
        ("Erika", "not JSON"),
        ("[\"Erika\"]", "not a JSON object"),
        (r#"{"stream":"s","type":"T"}"#, "`data` is missing"),
        (r#"{"type":"T","data":1}"#, "`stream` is missing"),
        (r#"{"stream":7,"type":"T","data":1}"#, "`stream` is not a string"),
        (r#"{"stream":"Erika M","type":"T","data":1}"#, "white space"),
        (r#"{"stream":"s","type":"T","data":1,"data":2}"#, "`data` stands twice"),
        (r#"{"stream":"s","Marker":"Erika","data":1}"#, "its member `Marker` is unknown"),
        (r#"{"stream":"s","type":"T","data":{"Erika":1,"Erika":2}}"#, "same key twice"),
        (r#"{"stream":"s","type":"T","data":1,"id":"Erika"}"#, "not a UUID"),
        (r#"{"stream":"s","type":"T","data":1,"metadata":["Erika"]}"#, "not an object"),
        (r#"{"stream":"s","type":"T","bytes":"Erika!"}"#, "not base64"),
        (r#"{"stream":"s","type":"T","bytes":"","data":1}"#, "both there"),
        (r#"{"stream":"s","type":"SubjectForgotten","data":{}}"#, "tombstone"),
        (r#"{"stream":"s","type":"T","data":1,"shredded":[{}]}"#, "`shredded` is not a list"),
        (r#"{"stream":"s","type":"T","withheld":[["no-vault",["*"]]]}"#, "`withheld` is not"),
        (
            r#"{"stream":"s","type":"T","withheld":[{"why":"no-vault","fields":["*"]}]}"#,
            "--with-holes",
        ),
        (
            r#"{"stream":"s","type":"T","withheld":[{"why":"Erika","fields":["*"]}]}"#,
            "`withheld` is not",
        ),
    ] {
        let told = why(line);
        assert!(told.contains(reason), "{line}: {told}");
        assert!(!told.contains("Erika"), "{told}");
    }
    assert!(matches!(parse(&[0xff], false), Err(RowError::NotUtf8(0))));
}

/// What a row says, member by member.
fn said(row: Row) -> [String; 7] {
    let Row { stream, id, event_type, subject, metadata, data, holes, .. } = row;
    [
        stream.to_string(),
        format!("{id:?}"),
        event_type.to_string(),
        format!("{subject:?}"),
        // `Debug` shows nothing of what they hold.
        metadata.map_or_else(String::new, |json| json.as_str().to_owned()),
        format!("{:?}", data.as_bytes()),
        holes.map_or_else(String::new, |holes| {
            let withheld: Vec<_> = holes.withheld().map(|part| part.fields).collect();
            format!("{:?} {withheld:?}", holes.shredded())
        }),
    ]
}

/// No seal is over a row. But what is changed in one is refused, or shows in the member that it was changed in.
#[test]
fn a_changed_bit_of_a_row_is_refused_or_shows_where_it_is() {
    let rows = [
        r#"{"stream":"s-1","revision":3,"position":"9","id":"6fa459ea-ee8a-4ca4-894e-db77e1603500","type":"Moved","subject":"s-1","recorded":"1970-01-01T00:00:00Z","metadata":{"trace":"a"},"data":{"to":"Bonn","n":1.50},"keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"shredded":[{"origin":"00000000-0000-0000-0000-000000000005","ref":"BwcHBwcHBwcHBwcHBwcHBw","day":"1970-01-01","keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"fields":["/name"]}],"withheld":[{"why":"no-vault","fields":["/iban"]}]}"#,
        r#"{"stream":"s-1","type":"Sent","restored":"1970-01-01T00:00:00Z","bytes":"AJ//AA=="}"#,
    ];
    // In the order of `said`; the others are passed over.
    let members = ["stream", "id", "type", "subject", "metadata", "data", "shredded"];
    for row in rows {
        let taken = |bytes: &[u8]| match parse(bytes, true) {
            Ok(Parsed::Event(row)) => Some(said(row)),
            Ok(Parsed::Tombstone) => panic!("a tombstone"),
            Err(_) => None,
        };
        let whole = taken(row.as_bytes()).unwrap();
        // The member that a byte is of, and whether it is of its name.
        let member = |at: usize| {
            let begins = NAMES.map(|name| (row.find(&format!("\"{name}\":")), name));
            let before = begins.into_iter().filter(|(begin, _)| begin.is_some_and(|b| b <= at));
            let Some((Some(begin), name)) = before.max() else { return ("", true) };
            let of = match name {
                "bytes" => "data",
                "withheld" => "shredded",
                name => name,
            };
            (of, at < begin + name.len() + 2)
        };
        let mut shown = 0;
        let mut check = |bytes: &[u8], at: usize| {
            let Some(now) = taken(bytes) else { return };
            let (member, is_name) = member(at);
            assert!(!is_name, "byte {at}: another member, or none");
            let differs = |n: &usize| now[*n] != whole[*n];
            let differ: Vec<&str> = (0..7).filter(differs).map(|n| members[n]).collect();
            shown += differ.len();
            match differ.as_slice() {
                [one] => assert_eq!(*one, member, "byte {at}"),
                // Another spelling of the same, or nothing that is taken.
                [] => {
                    let passed = ["revision", "position", "recorded", "restored", "keys"];
                    let same = ["id", "shredded"].contains(&member);
                    assert!(same || passed.contains(&member), "byte {at}");
                }
                more => panic!("byte {at}: {more:?}"),
            }
        };
        for bit in 0..row.len() * 8 {
            let mut bytes = row.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            check(&bytes, bit / 8);
        }
        for at in 0..row.len() {
            let mut bytes = row.as_bytes().to_vec();
            bytes.remove(at);
            check(&bytes, at);
            assert!(parse(&row.as_bytes()[..at], true).is_err(), "cut to {at}");
        }
        assert!(shown > 50, "{shown}");
    }
}
