//! Instants in spellings that nobody writes: wherever one is in an announcement, all but one spelling are bad.

use super::*;

const DECIDED: &str = "2023-06-30T03:34:18.518Z";
const STATED: &str = "2026-12-03T00:00:00Z";

/// An instant in spellings that nobody writes. All but one are the same instant.
pub(super) fn odd(instant: &str) -> Vec<String> {
    let whole = instant.trim_end_matches('Z');
    let (date, time) = whole.split_once('T').unwrap();
    let fraction = if whole.contains('.') { "" } else { "." };
    vec![
        format!("{whole}{fraction}0Z"),
        format!("{whole}{fraction}000000Z"),
        format!("{whole}{fraction}000000000Z"),
        format!("{whole}{fraction}0000001Z"),
        format!("{whole}+00:00"),
        format!("{whole}-00:00"),
        format!("{whole}z"),
        format!("{date}t{time}Z"),
        format!("{date} {time}Z"),
        format!("{whole}Z[UTC]"),
        format!("{whole} Z"),
        format!(" {whole}Z"),
        format!("+00{whole}Z"),
        format!("{}T{}Z", date.replace('-', ""), time.replace(':', "")),
        whole.to_owned(),
        "2023-13-01T00:00:00Z".to_owned(),
        "yesterday".to_owned(),
        String::new(),
    ]
}

/// What is bad by its form, each by a name.
pub(super) fn bad() -> Vec<(String, Value)> {
    let mut bad = Vec::new();
    for spelled in odd(DECIDED) {
        let at = first().with("at", spelled.clone()).line();
        bad.push((format!("decided at {spelled}"), at));
        let at = edited(&format!("\"at\":\"{DECIDED}\""), &format!("\"at\":\"{spelled}\""));
        bad.push((format!("a record of what was decided at {spelled}"), at));
        for member in ["replayed", "dealt_with"] {
            let also = format!("\"announced\":false,\"{member}\":\"{spelled}\"");
            let also = edited("\"announced\":false", &also);
            bad.push((format!("a record with {member} {spelled}"), also));
        }
    }
    let change = || statement(43, "signing-key", STATED, 53, SUCCESSOR, PRESENT).by(SUCCESSOR);
    for spelled in odd(STATED) {
        let at = change().with("at", spelled.clone()).line();
        bad.push((format!("a statement at {spelled}"), at));
        let mut stolen = change();
        stolen.line["statement"]["compromised"] = spelled.clone().into();
        bad.push((format!("a key that is stolen since {spelled}"), stolen.line()));
    }
    bad
}
