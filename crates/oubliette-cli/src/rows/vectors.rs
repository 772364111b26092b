//! Makes the vectors of rows of `docs/format.md`, and checks that the committed ones are what is written today, and
//! are taken as they say.

use oubliette::event::{
    ErasureRef, EventId, KeyId, Position, RecordedEvent, Revision, Shredded, Timestamp, VaultId,
    Withheld, WithheldReason,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::vectors::{are_committed, hex};

fn recorded(data: Option<Payload>) -> RecordedEvent {
    let mut event = RecordedEvent::plain(
        StreamName::new("user-456").unwrap(),
        Revision(3),
        Position::number(42),
        EventId(Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0001)),
        EventType::new("AddressChanged").unwrap(),
        "2026-11-28T12:00:00.25Z".parse::<Timestamp>().unwrap(),
        Payload::Bytes([].into()),
        None,
    );
    event.data = data;
    event
}

fn of(text: &str) -> Option<Payload> {
    Some(Json::parse(text).unwrap().into())
}

fn shredded() -> Shredded {
    Shredded {
        origin: VaultId("886313e1-3b8a-4372-9b90-0c9aee199e5d".parse().unwrap()),
        reference: ErasureRef(std::array::from_fn(|at| at as u8)),
        day: "2026-11-28".parse().unwrap(),
        keys: vec![KeyId([0x11; 20]), KeyId([0x22; 20])],
        fields: vec!["/name".to_owned(), "*".to_owned()],
        copied: false,
    }
}

fn withheld(why: WithheldReason) -> Withheld {
    Withheld { why, fields: vec!["/street".to_owned()] }
}

/// What `read` writes of these.
fn events() -> Vec<(&'static str, RecordedEvent)> {
    let plain = || recorded(of(r#"{"street":"Rue du Bac"}"#));
    let with = |change: &dyn Fn(&mut RecordedEvent)| {
        let mut event = plain();
        change(&mut event);
        event
    };
    let spelled = "{ \"b\" : 1e400,\n \"a\":9007199254740993, \"ü\":\"\\u00fc\\n\" }";
    vec![
        ("in clear", plain()),
        ("whose it is, its keys, its metadata", {
            with(&|event| {
                event.subject = Some(Subject::new("user-456").unwrap());
                event.keys = vec![KeyId([0x11; 20])];
                event.metadata = Some(Json::parse(r#"{"correlation": "c-1"}"#).unwrap());
            })
        }),
        ("spelled as it is, but for line breaks", with(&|event| event.data = of(spelled))),
        ("null", with(&|event| event.data = of("null"))),
        ("a text that looks like an object", with(&|event| event.data = of(r#""{\"a\":1}""#))),
        ("bytes", with(&|event| event.data = Some(Payload::Bytes([0, 159, 255, 7].into())))),
        ("no bytes", with(&|event| event.data = Some(Payload::Bytes([].into())))),
        ("restored, at a pair", {
            with(&|event| {
                event.restored = Some("2026-11-29T00:00:00Z".parse().unwrap());
                event.position = Position::pair(42, 17);
            })
        }),
        ("a part is shredded", with(&|event| event.shredded = vec![shredded()])),
        ("all is withheld", {
            with(&|event| {
                event.data = None;
                event.withheld =
                    vec![withheld(WithheldReason::NoVault), withheld(WithheldReason::NotCopied)];
            })
        }),
        ("shredded, and unvouched", {
            with(&|event| {
                event.shredded = vec![Shredded { keys: vec![], fields: vec![], ..shredded() }];
                event.withheld = vec![withheld(WithheldReason::Unvouched)];
            })
        }),
        ("a tombstone for which nobody vouches", {
            with(&|event| {
                event.event_type = EventType::new(SUBJECT_FORGOTTEN).unwrap();
                event.data = of(r#"{"state":"forgotten"}"#);
            })
        }),
    ]
}

const ID: &str = "0190a6c0-0000-7000-8000-000000000001";

/// What else is taken.
fn others() -> Vec<(&'static str, String)> {
    let id = |id: &str| format!(r#"{{"stream":"s","type":"T","data":1,"id":"{id}"}}"#);
    let texts = [
        ("as little as there can be", r#"{"stream":"s","type":"T","data":1}"#),
        ("white space", " {\t\"stream\" : \"s\" ,\"type\":\"T\", \"data\" : [ 1 ] } \r"),
        ("what has nothing to say is null, but for data", {
            r#"{"stream":"s","type":"T","subject":null,"id":null,"metadata":null,"bytes":null,"shredded":null,"withheld":null,"revision":null,"data":null}"#
        }),
        ("lists of holes that are empty", {
            r#"{"stream":"s","type":"T","data":1,"shredded":[],"withheld":[]}"#
        }),
        ("what is passed over may be anything", {
            r#"{"stream":"s","type":"T","data":1,"revision":"x","position":{},"recorded":7,"restored":[],"keys":0,"foreign":1}"#
        }),
        ("a member's name with an escape", r#"{"\u0073tream":"s","type":"T","data":1}"#),
        (
            "a name in another form of Unicode",
            "{\"stream\":\"u\u{308}-1\",\"type\":\"T\",\"data\":1}",
        ),
        ("metadata without members", r#"{"stream":"s","type":"T","data":1,"metadata":{}}"#),
    ];
    let texts = texts.map(|(name, text)| (name, text.to_owned()));
    let ids = [
        ("an id in capitals", id(&ID.to_uppercase())),
        ("an id without hyphens", id(&ID.replace('-', ""))),
        ("an id in braces", id(&format!("{{{ID}}}"))),
        ("an id as a URN", id(&format!("urn:uuid:{ID}"))),
    ];
    texts.into_iter().chain(ids).collect()
}

fn taken(text: &str) -> Value {
    let row = match parse(text.as_bytes(), true).unwrap() {
        Parsed::Tombstone => return json!("tombstone"),
        Parsed::Event(row) => row,
    };
    let mut taken = json!({ "stream": row.stream, "type": row.event_type });
    let mut put = |member: &str, value: Value| taken[member] = value;
    match &row.data {
        Payload::Json(json) => put("data", json.as_str().into()),
        Payload::Bytes(bytes) => put("bytes", hex(bytes).into()),
    }
    if let Some(id) = row.id {
        put("id", json!(id));
    }
    if let Some(subject) = &row.subject {
        put("subject", json!(subject));
    }
    if let Some(metadata) = &row.metadata {
        put("metadata", metadata.as_str().into());
    }
    if let Some(holes) = &row.holes {
        put("shredded", json!(holes.shredded()));
        put("withheld", json!(holes.withheld().map(|part| part.fields).collect::<Vec<_>>()));
    }
    taken
}

fn good() -> Vec<Value> {
    let written = events().into_iter().map(|(name, event)| (name, write(&event)));
    let good = written.chain(others()).map(|(name, row)| {
        assert!(!row.contains('\n'), "{name}");
        json!({ "name": name, "row": row, "taken": taken(&row) })
    });
    good.collect()
}

fn named(row: &[u8], holes: bool) -> &'static str {
    match parse(row, holes) {
        Ok(_) => "good",
        Err(RowError::NotUtf8(_)) => "not UTF-8",
        Err(RowError::TooLong(_) | RowError::TooLarge(..)) => "too long",
        Err(RowError::Json(_)) => "no JSON",
        Err(RowError::NotAnObject) => "no object",
        Err(RowError::Twice(_)) => "twice",
        Err(RowError::Unknown(_)) => "unknown",
        Err(RowError::Missing(_)) => "missing",
        Err(RowError::NotAString(_)) => "no text",
        Err(RowError::Name(..)) => "name",
        Err(RowError::NotAnId) => "id",
        Err(RowError::Payload(..)) => "payload",
        Err(RowError::Metadata) => "metadata",
        Err(RowError::NotBase64) => "base64",
        Err(RowError::Both) => "both",
        Err(RowError::Holes) => "holes",
        Err(RowError::OddHoles(..)) => "odd holes",
        Err(RowError::Tombstone) => "tombstone",
        Err(RowError::NotATime | RowError::NoRevision | RowError::NotARevision) => "what is kept",
    }
}

/// Each is refused with holes and without, but for two errors that are about just that.
fn bad() -> Vec<Value> {
    let row = |members: &str| format!(r#"{{"stream":"s","type":"T",{members}}}"#);
    let shredded = json!([shredded()]).to_string();
    let holes = |list: String| row(&format!(r#""data":1,"shredded":{list}"#));
    let withheld = |list: &str| row(&format!(r#""data":1,"withheld":{list}"#));
    let deep = |depth| row(&format!(r#""data":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(named(deep(128).as_bytes(), false), "good");
    let bad: Vec<(&str, &str, String)> = vec![
        ("nothing", "no JSON", String::new()),
        ("words", "no JSON", "Erika".into()),
        ("an object that does not end", "no JSON", r#"{"stream":"s""#.into()),
        ("something follows the row", "no JSON", format!("{}{{}}", row(r#""data":1"#))),
        ("a comma too many", "no JSON", row(r#""data":1,"#)),
        ("a list", "no object", "[1]".into()),
        ("a number", "no object", "7".into()),
        ("the end of what was there", "unknown", r#"{"caughtUp":true}"#.into()),
        ("a member that is not known", "unknown", row(r#""data":1,"tags":[]"#)),
        ("a member in capitals", "unknown", row(r#""data":1,"Id":null"#)),
        ("a member twice", "twice", row(r#""data":1,"data":1"#)),
        (
            "a member twice, the second time with an escape",
            "twice",
            row(r#""data":1,"d\u0061ta":1"#),
        ),
        ("a member that is passed over, twice", "twice", row(r#""data":1,"keys":[],"keys":[]"#)),
        ("no stream", "missing", r#"{"type":"T","data":1}"#.into()),
        ("a stream that is null", "missing", r#"{"stream":null,"type":"T","data":1}"#.into()),
        ("no type", "missing", r#"{"stream":"s","data":1}"#.into()),
        ("neither data nor bytes nor holes", "missing", r#"{"stream":"s","type":"T"}"#.into()),
        ("a stream that is a number", "no text", r#"{"stream":7,"type":"T","data":1}"#.into()),
        ("a type that is a list", "no text", r#"{"stream":"s","type":["T"],"data":1}"#.into()),
        ("a subject that is an object", "no text", row(r#""data":1,"subject":{}"#)),
        ("an id that is a number", "no text", row(r#""data":1,"id":7"#)),
        ("bytes that are a list", "no text", row(r#""bytes":[1]"#)),
        (
            "a stream with half a surrogate pair",
            "no text",
            r#"{"stream":"\ud800","type":"T","data":1}"#.into(),
        ),
        ("a stream without a letter", "name", r#"{"stream":"","type":"T","data":1}"#.into()),
        ("a stream with a space", "name", r#"{"stream":"Erika M","type":"T","data":1}"#.into()),
        ("a stream that begins with $", "name", r#"{"stream":"$all","type":"T","data":1}"#.into()),
        (
            "a type with what does not show",
            "name",
            r#"{"stream":"s","type":"T\u200b","data":1}"#.into(),
        ),
        (
            "a subject of 256 bytes",
            "name",
            row(&format!(r#""data":1,"subject":"{}""#, "a".repeat(256))),
        ),
        ("an id that is none", "id", row(r#""data":1,"id":"Erika""#)),
        ("an id that is cut", "id", row(r#""data":1,"id":"0190a6c0-0000-7000-8000-00000000000""#)),
        (
            "an id with its hyphens at odd places",
            "id",
            row(r#""data":1,"id":"0190a6c000-00-7000-8000-000000000001""#),
        ),
        ("data with a member twice", "payload", row(r#""data":{"a":1,"a":1}"#)),
        ("data with half a surrogate pair", "payload", row(r#""data":"\udc00""#)),
        ("data that are nested 129 deep", "payload", deep(129)),
        (
            "metadata with a member twice",
            "payload",
            row(r#""data":1,"metadata":{"a":1,"\u0061":1}"#),
        ),
        ("metadata that are a list", "metadata", row(r#""data":1,"metadata":[]"#)),
        ("metadata that are a text", "metadata", row(r#""data":1,"metadata":"{}""#)),
        ("bytes in the other alphabet", "base64", row(r#""bytes":"_-8=""#)),
        ("bytes without padding", "base64", row(r#""bytes":"/+8""#)),
        ("bytes whose spare bits are not zero", "base64", row(r#""bytes":"/+9=""#)),
        ("bytes with white space", "base64", row(r#""bytes":"/+8= ""#)),
        ("data and bytes", "both", row(r#""data":null,"bytes":"""#)),
        ("a foreign payload of a type of one's own", "missing", row(r#""foreign":1"#)),
        ("a shredded part that is no list", "odd holes", holes("{}".into())),
        (
            "a shredded part without a member",
            "odd holes",
            holes(shredded.replace(r#""day":"2026-11-28","#, "")),
        ),
        (
            "a shredded part with a member more",
            "odd holes",
            holes(shredded.replace(r#""day""#, r#""more":1,"day""#)),
        ),
        (
            "a shredded part with a member twice",
            "odd holes",
            holes(shredded.replace(r#""day""#, r#""day":"2026-11-28","day""#)),
        ),
        (
            "a day that there is not",
            "odd holes",
            holes(shredded.replace("2026-11-28", "2026-11-31")),
        ),
        (
            "a day in another spelling",
            "odd holes",
            holes(shredded.replace("2026-11-28", "20261128")),
        ),
        ("a vault in capitals", "odd holes", holes(shredded.replace("886313e1", "886313E1"))),
        (
            "a reference that is cut",
            "odd holes",
            holes(shredded.replace("AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0O")),
        ),
        ("a key id that is cut", "odd holes", holes(shredded.replacen("ERER", "", 1))),
        ("a part as a list", "odd holes", withheld(r#"[["no-vault",["*"]]]"#)),
        (
            "withheld for another reason",
            "odd holes",
            withheld(r#"[{"why":"Erika","fields":["*"]}]"#),
        ),
        ("withheld without fields", "odd holes", withheld(r#"[{"why":"no-vault"}]"#)),
        ("a field that is no text", "odd holes", withheld(r#"[{"why":"no-vault","fields":[7]}]"#)),
    ];
    let told = bad.into_iter().map(|(name, error, row)| {
        assert_eq!(named(row.as_bytes(), false), error, "{name}");
        assert_eq!(named(row.as_bytes(), true), error, "{name}");
        json!({ "name": name, "error": error, "row": row })
    });
    let mut told: Vec<_> = told.collect();
    let only = [
        ("holes that nobody asked for", "holes", holes(shredded)),
        (
            "a tombstone",
            "tombstone",
            r#"{"stream":"s","type":"SubjectForgotten","data":{}}"#.into(),
        ),
    ];
    for (name, error, row) in only {
        assert_eq!(named(row.as_bytes(), false), error, "{name}");
        assert_eq!(named(row.as_bytes(), true), "good", "{name}");
        told.push(json!({ "name": name, "error": error, "row": row, "unless": "--with-holes" }));
    }
    let odd = [row(r#""data":""#).as_bytes(), b"\xff\"}"].concat();
    assert_eq!(named(&odd, true), "not UTF-8");
    told.push(json!({ "name": "not UTF-8", "error": "not UTF-8", "hex": hex(&odd) }));
    told
}

#[test]
fn the_committed_rows_are_what_is_written_and_taken_today() {
    are_committed("rows.json", &json!({ "good": good(), "bad": bad() }));
}
