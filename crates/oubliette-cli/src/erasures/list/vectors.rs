//! Makes the vectors of lists of erasures of `docs/format.md`, and checks that the committed ones are what is
//! written today, and are read as they say.

use serde_json::{Value, json};

use super::*;
use crate::vectors::{are_committed, committed};

fn named(text: &str) -> Result<usize, &'static str> {
    match parse(text.as_bytes(), false) {
        Ok(list) => Ok(list.len()),
        Err(ListError::NoAnnouncement { .. }) => Err("no announcement"),
        Err(ListError::OtherEnd(_)) => Err("other end"),
        Err(ListError::OddEnd(_)) => Err("odd end"),
        Err(ListError::NoEnd) => Err("no end"),
        Err(ListError::Io(error)) => panic!("{error}"),
    }
}

fn end(lines: &[&str]) -> String {
    let mut sum = Sum::default();
    lines.iter().for_each(|line| sum.add(line));
    serde_json::to_string(&sum.end()).unwrap()
}

/// Announcements, a line each: a statement, and an erasure.
fn lines() -> [String; 2] {
    let file = committed("announcements.json");
    [("statements", 0), ("vectors", 0)].map(|(kind, at)| file[kind][at]["line"].to_string())
}

fn whole() -> String {
    let [one, two] = lines();
    format!("{one}\n{two}\n{}\n", end(&[&one, &two]))
}

fn good() -> Vec<Value> {
    let ([one, two], none, whole) = (lines(), end(&[]), whole());
    let good = [
        ("nobody was forgotten, and that is said", 0, format!("{none}\n")),
        ("a statement and an erasure", 2, whole.clone()),
        ("one list after another", 4, format!("{whole}{none}\n{whole}")),
        ("a byte-order mark, lines that end as on Windows, empty ones", 2, {
            format!("\u{feff}{}\r\n \r\n", whole.replace('\n', "\r\n"))
        }),
        ("white space around the lines", 2, {
            format!("  {one} \n\t{two}\n {} \n", end(&[&one, &two]))
        }),
        ("without the last line feed", 2, whole.trim_end().to_owned()),
        ("another spelling of the count", 2, whole.replace("s\":2,", "s\": 0.2e1,")),
        ("the members of the end in another order", 2, {
            let end = end(&[&one, &two]);
            let (head, digest) = end.split_once(",\"").unwrap();
            let count = head.split_once("{\"end\":{").unwrap().1;
            let digest = digest.strip_suffix("}}").unwrap();
            format!("{one}\n{two}\n{{\"end\":{{\"{digest},{count}}}}}\n")
        }),
    ];
    let good = good.into_iter().map(|(name, announcements, text)| {
        assert_eq!(named(&text), Ok(announcements), "{name}");
        json!({ "name": name, "text": text, "announcements": announcements })
    });
    good.collect()
}

fn bad() -> Vec<Value> {
    let ([one, two], whole) = (lines(), whole());
    let end = end(&[&one, &two]);
    let last = |end: &str| format!("{one}\n{two}\n{end}\n");
    let digest = end.rsplit('"').nth(1).unwrap();
    let bad = [
        ("empty", "no end", String::new()),
        ("empty lines", "no end", "\n \n".to_owned()),
        ("cut off before its end", "no end", format!("{one}\n{two}\n")),
        ("more follows its end", "no end", format!("{whole}{one}\n")),
        ("a line is missing", "other end", format!("{two}\n{end}\n")),
        ("a line stands twice", "other end", format!("{one}\n{one}\n{two}\n{end}\n")),
        ("its lines in another order", "other end", format!("{two}\n{one}\n{end}\n")),
        ("the end alone", "other end", format!("{end}\n")),
        ("its end twice", "other end", format!("{whole}{end}\n")),
        ("a line was spelled anew", "other end", whole.replacen("{", "{ ", 1)),
        ("a line was changed", "other end", whole.replacen("\"epoch\":19", "\"epoch\":18", 1)),
        ("another count", "other end", last(&end.replace(":2,", ":3,"))),
        (
            "another digest",
            "other end",
            last(&end.replace(digest, &digest.replacen(&digest[..1], "x", 1))),
        ),
        ("a digest in capitals", "other end", last(&end.replace(digest, &digest.to_uppercase()))),
        ("a digest that is cut", "other end", last(&end.replace(digest, &digest[1..]))),
        ("half a count", "odd end", last(&end.replace(":2,", ":2.5,"))),
        ("a count below zero", "odd end", last(&end.replace(":2,", ":-2,"))),
        ("a count as a text", "odd end", last(&end.replace(":2,", ":\"2\","))),
        ("a count beyond all", "odd end", last(&end.replace(":2,", ":1e99,"))),
        ("no count", "odd end", last(&format!("{{\"end\":{{\"sha256\":\"{digest}\"}}}}"))),
        ("no digest", "odd end", last("{\"end\":{\"announcements\":2}}")),
        (
            "a digest that is no text",
            "odd end",
            last("{\"end\":{\"announcements\":2,\"sha256\":7}}"),
        ),
        ("a member more", "odd end", last(&end.replace("{\"ann", "{\"more\":1,\"ann"))),
        ("a line of white space that is not JSON's", "no announcement", format!("\u{a0}\n{whole}")),
        ("a member more beside it", "odd end", last(&end.replace("{\"end", "{\"more\":1,\"end"))),
        ("an end that is a list", "odd end", last(&format!("{{\"end\":[2,\"{digest}\"]}}"))),
        ("an end that is nothing", "odd end", last("{\"end\":null}")),
        ("an end cut off", "no announcement", last(&end[..20])),
        ("no JSON", "no announcement", format!("Erika\n{whole}")),
        ("JSON that is no object", "no announcement", format!("[]\n{whole}")),
        ("an announcement without its id", "no announcement", {
            format!("{}\n{whole}", one.replacen("\"id\":", "\"no\":", 1))
        }),
        ("an announcement without its vault", "no announcement", {
            format!("{}\n{whole}", one.replacen("\"vault\":", "\"no\":", 1))
        }),
        ("a member of an announcement twice", "no announcement", {
            format!("{}\n{whole}", one.replacen("{\"", "{\"epoch\":1,\"", 1))
        }),
    ];
    let bad = bad.into_iter().map(|(name, error, text)| {
        assert_eq!(named(&text), Err(error), "{name}");
        json!({ "name": name, "text": text, "error": error })
    });
    bad.collect()
}

#[test]
fn the_committed_lists_are_what_is_written_today() {
    are_committed("lists.json", &json!({ "good": good(), "bad": bad() }));
}

/// With `--even-cut` a list counts as far as it goes; only its last line may be half a one.
#[test]
fn a_list_that_is_cut_off_is_taken_only_when_asked_for() {
    let ([one, two], none) = (lines(), end(&[]));
    let even_cut = |text: &str| parse(text.as_bytes(), true).map(|list| list.len());
    assert_eq!(even_cut("").unwrap(), 0);
    assert_eq!(even_cut(&format!("{one}\n{two}\n")).unwrap(), 2);
    assert_eq!(even_cut(&format!("{one}\n{}", &two[..40])).unwrap(), 1);
    assert_eq!(even_cut(&format!("{one}\n{none}\n")).unwrap(), 1);
    assert!(even_cut(&format!("{}\n{two}\n", &one[..40])).is_err());
}
