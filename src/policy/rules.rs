//! The compiled form of a policy.

use std::collections::HashMap;

use super::{file::Otherwise, path::PathPattern, pattern::NamePattern, template::Template};
use crate::event::{Layout, PolicyDigest};

/// All rules of a policy, checked.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) metadata: FieldRules,
    pub(super) pad: Option<usize>,
    pub(super) digest: PolicyDigest,
    pub(super) owner_digest: Option<PolicyDigest>,
    /// Each rule by which streams get owners, in words.
    pub(super) owner_rules: Vec<String>,
    pub(super) warnings: Vec<super::Warning>,
}

/// One `[[stream]]`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) pattern: NamePattern,
    /// The names of the halves, were the stream split; a pattern without captures has none.
    pub(super) halves: Option<Halves>,
    pub(super) layout: Layout,
    pub(super) subject: Option<Template>,
    pub(super) otherwise: Option<Otherwise>,
    pub(super) owners: Vec<Owner>,
    pub(super) any_owner: bool,
    /// Names of these streams may look like numbers of payment cards.
    pub(super) card_like_ids: bool,
    pub(super) cut: FieldRules,
    pub(super) types: HashMap<String, FieldRules>,
}

#[derive(Debug)]
pub(super) struct Halves {
    pub(super) public: NamePattern,
    pub(super) private: NamePattern,
}

#[derive(Debug)]
pub(super) struct Owner {
    pub(super) event: String,
    pub(super) change: Change,
    pub(super) template: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
    Replace,
}

/// What of a document is public, and which fields have a rule of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldRules {
    /// `public = ["*"]`.
    pub(super) whole: bool,
    pub(super) public: Vec<PathPattern>,
    /// The first so many of `public` count only where they find a scalar.
    pub(super) scalars: usize,
    pub(super) fields: Vec<Field>,
    /// Of a type's rules: whether it says nothing of one of the two, so that the stream's rule counts there.
    pub(super) inherits_public: bool,
    pub(super) inherits_fields: bool,
}

/// One `[[stream.field]]`.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) place: PathPattern,
    pub(super) keep: Option<Keep>,
    /// As JSON.
    pub(super) placeholder: Option<String>,
    pub(super) subject: Option<Template>,
}

/// What of a string stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    First(usize),
    Last(usize),
    Year,
}

impl Keep {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let count = |n: &str| n.parse().ok().filter(|n| *n > 0);
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["first", n] => count(n).map(Self::First),
            ["last", n] => count(n).map(Self::Last),
            ["year"] => Some(Self::Year),
            _ => None,
        }
    }

    /// The residue of a string; `None` where it would be all of it, or where there is none.
    pub(super) fn residue(self, text: &str) -> Option<&str> {
        let nth = |n: usize| text.char_indices().nth(n).map(|(at, _)| at);
        match self {
            Self::First(n) => nth(n).map(|at| &text[..at]),
            Self::Last(n) => {
                nth(n)?;
                text.char_indices().nth_back(n - 1).map(|(at, _)| &text[at..])
            }
            Self::Year => year(text),
        }
    }
}

impl Rule {
    /// Whether the streams' events, or parts of them, may be somebody else's.
    pub(super) fn lets_others_in(&self) -> bool {
        let for_others = |cut: &FieldRules| cut.fields.iter().any(|field| field.subject.is_some());
        self.subject.is_some()
            || self.otherwise == Some(Otherwise::Named)
            || for_others(&self.cut)
            || self.types.values().any(for_others)
    }
}

/// The year of an ISO 8601 date (`1984-02-29`), month (`1984-02`) or date with a time. Nothing of
/// what merely looks like one, as a telephone number may: the date must exist, in a year from 1800
/// to 2199, and nothing else may follow it.
fn year(text: &str) -> Option<&str> {
    let dated = |date: &str| date.parse::<jiff::civil::Date>().is_ok();
    let is_date = match text.len() {
        7 => dated(&format!("{text}-01")),
        10 => dated(text),
        _ => {
            matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '))
                && (text.parse::<jiff::civil::DateTime>().is_ok()
                    || text.parse::<jiff::Timestamp>().is_ok())
        }
    };
    let (year, rest) = text.split_at_checked(4)?;
    let plausible = year.parse::<u16>().is_ok_and(|year| (1800..2200).contains(&year));
    (is_date && rest.starts_with('-') && plausible).then_some(year)
}

impl Rules {
    /// The rule of a stream: of those that fit the one with the longest literal prefix. A tie
    /// was refused when the policy was loaded.
    pub(super) fn of<'n>(&self, stream: &'n str) -> Option<(&Rule, Vec<&'n str>)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((rule, rule.pattern.captures(stream)?)))
            .max_by_key(|(rule, _)| rule.pattern.prefix().len())
    }

    /// The logical name, where a name is that of a half of a split stream, and whether of the
    /// public half.
    pub(super) fn logical(&self, name: &str) -> Option<(String, bool)> {
        let split = self.rules.iter().filter(|rule| rule.layout == Layout::Split);
        split.filter_map(|rule| Some((rule, rule.halves.as_ref()?))).find_map(|(rule, halves)| {
            let half = |pattern: &NamePattern| {
                let logical = rule.pattern.name(&pattern.captures(name)?);
                // Another rule may be the logical name's.
                let own = self.of(&logical).is_some_and(|(of, _)| std::ptr::eq(of, rule));
                own.then_some(logical)
            };
            half(&halves.public)
                .map(|logical| (logical, true))
                .or_else(|| half(&halves.private).map(|logical| (logical, false)))
        })
    }
}
