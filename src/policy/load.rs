//! Reading a policy file so that all of its mistakes are found at once, not only the first.

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{
    PolicyError, Problem, compile,
    compiler::{Mistake, line_and_column},
    file::PolicyFile,
    rules::Rules,
};

/// Words of the policy's language that come later, and mean nothing yet.
const NOT_YET: &[&str] = &[
    "retain",
    "retention",
    "grace",
    "undo",
    "hold",
    "legal_hold",
    "restrict",
    "restriction",
    "forget_on",
];

pub(super) fn load(text: &str) -> Result<Rules, Vec<PolicyError>> {
    let (file, mut mistakes) = read(text);
    let mut compiled = None;
    if let Some(file) = file {
        let (rules, more) = compile::compile(&file, text);
        mistakes.extend(more);
        compiled = Some(rules);
    }
    match compiled {
        Some(rules) if mistakes.is_empty() => Ok(rules),
        _ => {
            // What types inherit is checked with each of them.
            mistakes.sort_by(|a, b| (a.at.start, &a.message).cmp(&(b.at.start, &b.message)));
            mistakes.dedup_by(|a, b| a.at == b.at && a.message == b.message);
            Err(mistakes
                .into_iter()
                .map(|mistake| {
                    let (line, column) = line_and_column(text, mistake.at.start);
                    let Mistake { problem, message, .. } = mistake;
                    PolicyError { line, column, problem, message }
                })
                .collect())
        }
    }
}

/// Reads what can be read. serde stops at the first mistake: so that one is noted and cut out of
/// the table, and the rest is read again.
fn read(text: &str) -> (Option<PolicyFile>, Vec<Mistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> =
        errors.iter().map(|error| mistake(error, Problem::Syntax)).collect();
    if !mistakes.is_empty() {
        // After its first mistake a line's others are mostly echoes.
        mistakes.sort_by_key(|mistake| mistake.at.start);
        mistakes.dedup_by_key(|mistake| line_and_column(text, mistake.at.start).0);
        return (None, mistakes);
    }
    let whole = table.span();
    let mut table = table.into_inner();
    take_not_yet(&mut table, &mut mistakes);
    let mut pruned: Vec<String> = Vec::new();
    loop {
        let deserializer = Deserializer::from(Spanned::new(whole.clone(), table.clone()));
        let error = match PolicyFile::deserialize(deserializer) {
            Ok(file) => return (Some(file), mistakes),
            Err(error) => error,
        };
        // What was cut out is missing then; that is no second mistake.
        if !pruned.iter().any(|key| error.message() == format!("missing field `{key}`")) {
            mistakes.push(mistake(&error, Problem::Word));
        }
        let at = error.span().unwrap_or(whole.clone());
        if !prune(&mut table, &at, &mut pruned) {
            return (None, mistakes);
        }
    }
}

fn mistake(error: &toml::de::Error, problem: Problem) -> Mistake {
    let at = error.span().unwrap_or(0..0);
    let message = match problem {
        Problem::Syntax => format!("this is not TOML: {}", error.message()),
        _ => error.message().to_owned(),
    };
    Mistake { at, problem, message }
}

/// Notes and removes the words whose meaning is not there yet.
fn take_not_yet(table: &mut DeTable<'_>, mistakes: &mut Vec<Mistake>) {
    take_from(table, mistakes);
    if let Some(DeValue::Array(rules)) = table.get_mut("stream").map(Spanned::get_mut) {
        for rule in rules.iter_mut() {
            if let DeValue::Table(rule) = rule.get_mut() {
                take_from(rule, mistakes);
            }
        }
    }
}

fn take_from(table: &mut DeTable<'_>, mistakes: &mut Vec<Mistake>) {
    for (key, value) in std::mem::take(table) {
        let word = &**key.get_ref();
        let what = match word {
            "on_owner_forgotten" if value.get_ref().is_table() => {
                "`on_owner_forgotten = { retain = … }`".to_owned()
            }
            word if NOT_YET.contains(&word) => format!("`{word}`"),
            _ => {
                table.insert(key, value);
                continue;
            }
        };
        mistakes.push(Mistake {
            at: key.span(),
            problem: Problem::NotYet,
            message: format!("{what} is not there in this version; take it out"),
        });
    }
}

/// Removes what a mistake is about: the entry with that key or value. Returns false
/// where there is no such entry.
fn prune(table: &mut DeTable<'_>, at: &Range<usize>, keys: &mut Vec<String>) -> bool {
    let mut pruned = false;
    for (key, mut value) in std::mem::take(table) {
        if !pruned {
            pruned = prune_value(&mut value, at, keys);
            if !pruned && (key.span() == *at || value.span() == *at) {
                keys.push(key.get_ref().to_string());
                pruned = true;
                continue;
            }
        }
        table.insert(key, value);
    }
    pruned
}

/// Removes something within a value.
fn prune_value(
    value: &mut Spanned<DeValue<'_>>,
    at: &Range<usize>,
    keys: &mut Vec<String>,
) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => prune(table, at, keys),
        DeValue::Array(items) => {
            let mut pruned = false;
            let all = std::mem::replace(items, std::iter::empty().collect());
            for mut item in all {
                if !pruned {
                    pruned = prune_value(&mut item, at, keys);
                    if !pruned && item.span() == *at {
                        pruned = true;
                        continue;
                    }
                }
                items.push(item);
            }
            pruned
        }
        _ => false,
    }
}
