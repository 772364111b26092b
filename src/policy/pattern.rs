//! `match` patterns: literals and `{captures}`.
//!
//! A capture stands for one or more characters and never for a `/`. It ends where the literal
//! after it first occurs; the last capture ends with the name.

use std::fmt;

use crate::event::normalized;

/// A parsed pattern: `literals[0] {captures[0]} literals[1] … literals[n]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamePattern {
    literals: Vec<String>,
    captures: Vec<String>,
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, literal) in self.literals.iter().enumerate() {
            f.write_str(literal)?;
            if let Some(capture) = self.captures.get(at) {
                write!(f, "{{{capture}}}")?;
            }
        }
        Ok(())
    }
}

impl NamePattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pattern = Self { literals: Vec::new(), captures: Vec::new() };
        // As names are.
        let text = normalized(text);
        let mut rest = &*text;
        while let Some(open) = rest.find('{') {
            let (literal, tail) = rest.split_at(open);
            let close = tail.find('}').ok_or("a `{` is never closed")?;
            let capture = &tail[1..close];
            if !is_capture_name(capture) {
                return Err(format!(
                    "`{{{capture}}}` is no capture: write letters, digits or `_` between the braces"
                ));
            }
            if pattern.captures.iter().any(|known| known == capture) {
                return Err(format!("`{{{capture}}}` captures twice; use two names"));
            }
            if literal.is_empty() && !pattern.captures.is_empty() {
                return Err("two captures need a literal between them".to_owned());
            }
            pattern.push_literal(literal)?;
            pattern.captures.push(capture.to_owned());
            rest = &tail[close + 1..];
        }
        pattern.push_literal(rest)?;
        Ok(pattern)
    }

    fn push_literal(&mut self, literal: &str) -> Result<(), String> {
        if literal.contains('}') {
            return Err("a `}` closes nothing".to_owned());
        }
        self.literals.push(literal.to_owned());
        Ok(())
    }

    /// What the captures of a name are, where it fits.
    pub(super) fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut rest = name.strip_prefix(self.literals[0].as_str())?;
        let mut found = Vec::with_capacity(self.captures.len());
        let Some((last, middle)) = self.literals[1..].split_last() else {
            return rest.is_empty().then_some(found);
        };
        for literal in middle {
            // At least one character, then the literal's first occurrence. Taking the first is
            // enough: a later one would only move characters into this capture that the next
            // one could hold as well.
            let first = rest.chars().next()?.len_utf8();
            let at = first + rest.get(first..)?.find(literal.as_str())?;
            found.push(&rest[..at]);
            rest = &rest[at + literal.len()..];
        }
        found.push(rest.strip_suffix(last.as_str())?);
        found.iter().all(|capture| !capture.is_empty() && !capture.contains('/')).then_some(found)
    }

    /// The name that has these captures.
    pub(super) fn name(&self, captures: &[&str]) -> String {
        let mut name = self.literals[0].clone();
        for (capture, literal) in captures.iter().zip(&self.literals[1..]) {
            name.push_str(capture);
            name.push_str(literal);
        }
        name
    }

    pub(super) fn capture_names(&self) -> &[String] {
        &self.captures
    }

    /// How long the literal before the first capture is: what decides between rules.
    pub(super) fn prefix(&self) -> &str {
        &self.literals[0]
    }

    pub(super) fn literals(&self) -> &[String] {
        &self.literals
    }

    /// The same pattern with a word before its last capture; `None` where it has no capture.
    pub(super) fn with_word(&self, word: &str) -> Option<Self> {
        let mut pattern = self.clone();
        let last = pattern.captures.len().checked_sub(1)?;
        pattern.literals[last].push_str(word);
        Some(pattern)
    }

    /// Whether some name fits both patterns.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.tokens(), other.tokens());
        // Which pairs of places can be reached together, row by row from the end.
        let mut meets = vec![vec![false; b.len() + 1]; a.len() + 1];
        for i in (0..=a.len()).rev() {
            for j in (0..=b.len()).rev() {
                meets[i][j] = match (a.get(i), b.get(j)) {
                    (None, None) => true,
                    (Some(Token::More), None) => meets[i + 1][j],
                    (None, Some(Token::More)) => meets[i][j + 1],
                    (None, _) | (_, None) => false,
                    (Some(Token::More), Some(other)) => {
                        meets[i + 1][j] || (other.can_be_captured() && meets[i][j + 1])
                    }
                    (Some(own), Some(Token::More)) => {
                        meets[i][j + 1] || (own.can_be_captured() && meets[i + 1][j])
                    }
                    (Some(own), Some(other)) => own.meets(*other) && meets[i + 1][j + 1],
                };
            }
        }
        meets[0][0]
    }

    fn tokens(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.literals[0].chars().map(Token::Char).collect();
        for literal in &self.literals[1..] {
            tokens.extend([Token::One, Token::More]);
            tokens.extend(literal.chars().map(Token::Char));
        }
        tokens
    }
}

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    /// Any character but `/`.
    One,
    /// Any number of characters but `/`.
    More,
}

impl Token {
    fn can_be_captured(self) -> bool {
        !matches!(self, Self::Char('/'))
    }

    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Char(a), Self::Char(b)) => a == b,
            (a, b) => a.can_be_captured() && b.can_be_captured(),
        }
    }
}

pub(super) fn is_capture_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
        NamePattern::parse(pattern).unwrap().captures(name)
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(captures("user-{id}", "user-456"), Some(vec!["456"]));
        assert_eq!(captures("{tenant}/user-{id}", "acme/user-7"), Some(vec!["acme", "7"]));
        assert_eq!(captures("{a}-{b}", "x-y-z"), Some(vec!["x", "y-z"]));
        assert_eq!(captures("{a}-end", "x-end-end"), Some(vec!["x-end"]));
        assert_eq!(captures("{a}-{b}", "--x"), Some(vec!["-", "x"]));
        assert_eq!(captures("settings", "settings"), Some(vec![]));
        assert_eq!(captures("ü{a}ß", "üöß"), Some(vec!["ö"]));
        for (pattern, name) in [
            ("user-{id}", "user-"),
            ("user-{id}", "user-a/b"),
            ("user-{id}", "xuser-1"),
            ("settings", "settings2"),
            ("{a}-{b}", "-x"),
            ("{a}-end", "-end"),
            ("{a}/{b}", "a/b/c"),
        ] {
            assert_eq!(captures(pattern, name), None, "{pattern} {name}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["user-{id", "user-id}", "user-{}", "{a}{b}", "{a}-{a}", "{/a}", "{1}"] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn overlaps_are_seen() {
        let overlap = |a: &str, b: &str| {
            let (a, b) = (NamePattern::parse(a).unwrap(), NamePattern::parse(b).unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("user-{id}", "user-{id}-x"));
        assert!(overlap("user-{id}", "user-public-{id}"));
        assert!(overlap("{a}-1", "x-{b}"));
        assert!(!overlap("user-{id}", "user-{id}/x"));
        assert!(!overlap("user-{id}", "bank-{id}"));
        assert!(!overlap("user-", "user-{id}"));
    }

    proptest! {
        #[test]
        fn a_pattern_reads_the_names_it_writes(
            literals in prop::collection::vec("[a-z/-]{1,4}", 1..4),
            values in prop::collection::vec("[A-Z0-9]{1,5}", 3),
        ) {
            let mut text = literals[0].clone();
            for (i, literal) in literals[1..].iter().enumerate() {
                text.push_str(&format!("{{c{i}}}{literal}"));
            }
            let pattern = NamePattern::parse(&text).unwrap();
            let values: Vec<&str> =
                values.iter().take(literals.len() - 1).map(String::as_str).collect();
            let name = pattern.name(&values);
            prop_assert_eq!(pattern.captures(&name), Some(values));
        }

        #[test]
        fn patterns_that_share_a_name_overlap(
            a in "([ab-]|\\{x\\}-|-\\{y\\}){1,4}", b in "([ab-]|\\{x\\}-|-\\{y\\}){1,4}",
            name in "[ab-]{1,6}",
        ) {
            let (Ok(a), Ok(b)) = (NamePattern::parse(&a), NamePattern::parse(&b)) else {
                return Ok(());
            };
            if a.captures(&name).is_some() && b.captures(&name).is_some() {
                prop_assert!(a.overlaps(&b));
            }
        }

        #[test]
        fn arbitrary_patterns_never_panic(pattern in "[{}a/-]{0,12}|.*", name in ".*") {
            if let Ok(pattern) = NamePattern::parse(&pattern) {
                let _ = pattern.captures(&name);
            }
        }
    }
}
