//! What is fuzzed of lists of erasures.

use super::{Ends, ListError, Sum, bare, parse, without_mark};

/// A list that is whole is read the same when its end does not count, and when it is exported again. Of a list with the
/// right end, no line can be left out.
pub fn list(data: &[u8]) {
    let cut = parse(data, true);
    if let Ok(list) = parse(data, false) {
        assert_eq!(cut.expect("it is whole"), list);
        let lines = list.iter().map(|announcement| serde_json::to_string(announcement).unwrap());
        let lines: Vec<String> = lines.collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(parse(ended(&lines).as_bytes(), false).expect("it was exported"), list);
    }

    let Ok(text) = str::from_utf8(data) else { return };
    let lines = text.lines().map(without_mark).filter(|line| !bare(line).is_empty());
    let lines: Vec<&str> = lines.collect();
    if lines.iter().any(|line| serde_json::from_str::<Ends>(line).is_ok()) {
        return;
    }
    match parse(ended(&lines).as_bytes(), false) {
        Ok(list) => assert_eq!(list.len(), lines.len()),
        Err(ListError::NoAnnouncement { line, .. }) => return assert!(line <= lines.len()),
        Err(error) => panic!("{error}"),
    }
    let end = end(&lines);
    for left_out in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(left_out);
        fewer.push(&end);
        let read = parse(fewer.join("\n").as_bytes(), false);
        assert!(
            matches!(read, Err(ListError::OtherEnd(_))),
            "line {left_out} was left out: {read:?}"
        );
    }
}

fn ended(lines: &[&str]) -> String {
    let end = end(lines);
    [lines, &[end.as_str()]].concat().join("\n")
}

fn end(lines: &[&str]) -> String {
    let mut sum = Sum::default();
    lines.iter().for_each(|line| sum.add(line));
    serde_json::to_string(&sum.end()).unwrap()
}
