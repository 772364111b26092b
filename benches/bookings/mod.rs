//! The events that are measured, and where they go: as services write them, some short fields and a longer one.

#![allow(missing_docs, clippy::unwrap_used)]

use oubliette::event::{EventType, Json, NewEvent};

/// Nothing of an event is public; or three fields beside the token; or these in a stream of their own.
pub(crate) const POLICY: &str = r#"
[[stream]]
match = "sealed-{id}"

[[stream]]
match  = "inline-{id}"
layout = "inline"
public = ["/id", "/amount", "/currency"]

[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/id", "/amount", "/currency"]
"#;

/// An event with a payload of this many bytes.
pub(crate) fn booking(number: u64, size: usize) -> NewEvent {
    let mut text = format!(
        r#"{{"id":"booking-{number}","amount":{}.50,"currency":"EUR","name":"Ada Lovelace","email":"ada@example.org","city":"London","born":"1815-12-10","note":""#,
        number % 1000
    );
    while text.len() < size - 2 {
        text.push_str("paid in at the counter, ");
    }
    text.truncate(size - 2);
    text.push_str("\"}");
    NewEvent::new(EventType::new("AmountDeposited").unwrap(), Json::parse(&text).unwrap())
}
