//! Numbers in sentences, and errors in a line, as people say them: for the crates of this repository, and no part of the library's
//! interface.

use std::error::Error;

/// `1 event`, `2 events`, `2 copies`.
pub fn count(number: u64, what: &str) -> String {
    match what.strip_suffix('y') {
        _ if number == 1 => format!("1 {what}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {what}s"),
    }
}

/// The word that goes with a number: that for one, or that for none and several.
pub fn agree(number: u64, one: &'static str, several: &'static str) -> &'static str {
    if number == 1 { one } else { several }
}

/// What an error says, and what each that it comes from says, but for those that repeat what was said already.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
        source = cause.source();
    }
    said
}

/// An error with all that it comes from, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_said_as_people_say_them() {
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!([count(0, "key"), count(2, "key")], ["0 keys", "2 keys"]);
        assert_eq!([count(1, "copy"), count(3, "copy")], ["1 copy", "3 copies"]);
        assert_eq!([0, 1, 2].map(|n| agree(n, "is", "are")), ["are", "is", "are"]);
    }
}
