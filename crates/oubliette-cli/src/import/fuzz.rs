//! What is fuzzed of rows.

use oubliette::event::{
    EventId, NewEvent, Position, RecordedEvent, Revision, StreamName, Timestamp,
};
use uuid::Uuid;

use super::lines::{Ids, Lines, Stop, What};
use crate::rows;

/// A line costs only itself: it is read as it would be alone. A row is written as one line that reads the same, with
/// payload and metadata as they were spelled.
pub fn rows(data: &[u8]) {
    let Some(read) = read(data) else { return };
    let mut read = read.into_iter().peekable();
    for (number, line) in (1..).zip(data.split(|byte| *byte == b'\n')) {
        // What marks the beginning of a text counts in the first line alone.
        let alone = if number == 1 { line.to_vec() } else { [b"{}\n", line].concat() };
        let alone =
            self::read(&alone).unwrap_or_default().into_iter().find(|(at, _)| *at == number.min(2));
        let among = read.next_if(|(at, _)| *at == number);
        assert_eq!(alone.map(|(_, row)| row), among.map(|(_, row)| row), "line {number}");
    }
    assert!(read.next().is_none(), "a line was read that is not there");
}

/// The lines that are not blank, by their numbers: the row that each is written as, if it is one. `None`: no rows.
fn read(data: &[u8]) -> Option<Vec<(u64, Option<String>)>> {
    let mut lines = Lines::new(data, Some(Ids::of("fuzz")), true, false);
    let mut read = Vec::new();
    loop {
        match lines.next_batch() {
            Ok(Some(batch)) => read.extend(batch.lines.into_iter().map(|line| {
                let row = match line.what {
                    What::Event { stream, event, made_id, .. } => {
                        Some(written(stream, event, made_id))
                    }
                    What::Tombstone => Some("a tombstone".to_owned()),
                    What::Bad { .. } => None,
                };
                (line.number, row)
            })),
            Ok(None) => return Some(read),
            Err(Stop::NotRows(_)) => return None,
            Err(stop) => panic!("{stop:?}"),
        }
    }
}

/// A row of this event, once it is seen that it reads the same.
fn written(stream: StreamName, event: NewEvent, made_id: bool) -> String {
    // Such an id depends on the number of the line.
    let id = if made_id { EventId(Uuid::nil()) } else { event.id };
    let row = as_row(stream, event, id);
    assert!(!row.contains(['\n', '\r']), "it is more than a line");
    let Ok(rows::Parsed::Event(again)) = rows::parse(row.as_bytes(), true) else {
        panic!("it is written as a row that is refused: {row}");
    };
    assert_eq!(again.id, Some(id));
    let (stream, event) = again.into_event(id);
    assert_eq!(as_row(stream, event, id), row, "it reads otherwise than it was written");
    row
}

fn as_row(stream: StreamName, event: NewEvent, id: EventId) -> String {
    let (first, position, recorded) = (Revision(0), Position::number(1), Timestamp::from_micros(0));
    let NewEvent { event_type, data, metadata, subject, holes, .. } = event;
    let mut event =
        RecordedEvent::plain(stream, first, position, id, event_type, recorded, data, metadata);
    event.subject = subject;
    if let Some(holes) = holes {
        event.shredded = holes.shredded().to_vec();
        event.withheld = holes.withheld().collect();
    }
    let row = rows::write(&event);
    // Payload and metadata stand in it as they are spelled, but for line feeds between tokens.
    let json = event.data.as_ref().and_then(|data| data.as_json());
    for (member, json) in [("data", json), ("metadata", event.metadata.as_ref())] {
        let spelled = json.map(|json| json.as_str().replace(['\n', '\r'], " "));
        let member = spelled.map(|spelled| format!("\"{member}\":{spelled}"));
        assert!(
            member.is_none_or(|member| row.contains(&member)),
            "it is spelled otherwise: {row}"
        );
    }
    row
}
