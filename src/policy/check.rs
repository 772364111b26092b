//! Checks between the rules of one policy.

use std::ops::Range;

use super::{
    Problem,
    compiler::{Compiler, line_and_column},
    pattern::NamePattern,
    rules::{Rule, Rules},
};
use crate::event::Layout;

impl Compiler<'_> {
    /// No two rules may claim a name with equal right, and none the names of a split's halves.
    pub(super) fn check_patterns(&mut self, rules: &[(Rule, Range<usize>)]) {
        for (i, (rule, at)) in rules.iter().enumerate() {
            for (other, other_at) in &rules[..i] {
                let (line, _) = line_and_column(self.text, other_at.start);
                let tie = rule.pattern.prefix().len() == other.pattern.prefix().len();
                if tie && rule.pattern.overlaps(&other.pattern) {
                    let message = format!(
                        "this pattern and the one of line {line} fit the same names, and neither \
                         begins with the longer literal; make one of them more specific"
                    );
                    self.mistake(at.clone(), Problem::Conflict, message);
                }
            }
            for (j, (split, split_at)) in rules.iter().enumerate() {
                let Some(halves) = split.halves.as_ref().filter(|_| split.layout == Layout::Split)
                else {
                    continue;
                };
                let stronger = rule.pattern.prefix().len() >= split.pattern.prefix().len();
                let fits =
                    rule.pattern.overlaps(&halves.public) || rule.pattern.overlaps(&halves.private);
                if i != j && stronger && fits {
                    let (line, _) = line_and_column(self.text, split_at.start);
                    let message = format!(
                        "this pattern fits names of the halves of the streams that line {line} \
                         splits; choose other names"
                    );
                    self.mistake(at.clone(), Problem::Conflict, message);
                }
            }
        }
    }

    /// An owner whose name fits no rule may be a misspelling: forgetting the person who was meant would
    /// not reach the stream.
    pub(super) fn check_owners(&mut self, rules: &Rules) {
        for (sample, at) in std::mem::take(&mut self.owners) {
            if rules.of(&sample).is_none() {
                let message = format!(
                    "no rule fits the streams that this names (`{sample}`, say): is it the name of a \
                     person's own stream, as forgetting them names it?"
                );
                self.warn(&at, message);
            }
        }
    }

    /// Follows owners that the names alone decide, from a made-up stream of each rule.
    pub(super) fn check_cycles(&mut self, rules: &Rules, spans: &[Range<usize>]) {
        for (rule, at) in rules.rules.iter().zip(spans) {
            let start = sample(&rule.pattern);
            let mut seen = vec![start.clone()];
            let mut todo = vec![start.clone()];
            while let Some(name) = todo.pop() {
                let Some((found, captures)) = rules.of(&name) else { continue };
                for owner in found.owners.iter().filter(|o| o.template.is_of_the_name()) {
                    let next = owner.template.compose_from_name(&captures);
                    if next == start {
                        let message = "these streams own each other in a circle; take one of the \
                                       owner rules out";
                        self.mistake(at.clone(), Problem::Cycle, message);
                        todo.clear();
                        break;
                    }
                    // A template may lengthen the name each time: names have an end.
                    if !seen.contains(&next) && seen.len() < 64 {
                        seen.push(next.clone());
                        todo.push(next);
                    }
                }
            }
        }
    }
}

/// Captures made up for a pattern.
pub(super) fn sample_captures(pattern: &NamePattern) -> Vec<String> {
    (0..pattern.capture_names().len()).map(|i| format!("7x{i}")).collect()
}

/// A name that fits a pattern.
pub(super) fn sample(pattern: &NamePattern) -> String {
    let captures = sample_captures(pattern);
    pattern.name(&captures.iter().map(String::as_str).collect::<Vec<_>>())
}
