//! Trying a policy on a sample of events: what of it fits none of them, and which it would refuse.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, stdin},
    path::Path,
};

use oubliette::policy::{FitsNothing, Policy};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    exit::CliError,
    import::lines::{Ids, Lines, What},
    output::{agree, count, printable, stdout_style},
};

/// How many reasons are told each on a terminal.
const TOLD: usize = 20;
/// How many lines are named for each reason: enough to find what they have in common.
const NAMED: usize = 5;

/// What became of a sample.
pub(super) struct Sampled {
    events: u64,
    without_rule: u64,
    unfit: Vec<FitsNothing>,
    /// Events that the policy would refuse.
    refused: Reasons,
    /// Lines that are no rows.
    bad: Reasons,
}

/// Why, for how many lines, and which come first: one mistake is often made in every line.
#[derive(Default)]
struct Reasons {
    /// In the order of their first lines.
    all: Vec<Reason>,
    /// Where each is.
    at: HashMap<String, usize>,
}

#[derive(Serialize)]
struct Reason {
    reason: String,
    count: u64,
    lines: Vec<u64>,
}

pub(super) fn try_on(policy: &Policy, file: &Path) -> Result<Sampled, CliError> {
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        let named = |error| CliError::failed(format!("{}: {error}", file.display()));
        Box::new(File::open(file).map_err(named)?)
    };
    // Nothing is stored: any ids will do. A copy with holes is a sample as well.
    let mut lines = Lines::new(input, Some(Ids::of("sample")), true, false);
    let mut sample = policy.sample();
    let (mut events, mut refused, mut bad) = (0, Reasons::default(), Reasons::default());
    while let Some(batch) = lines.next_batch().map_err(|stop| stop.told(" of the sample"))? {
        for line in batch.lines {
            match line.what {
                What::Event { stream, event, .. } => {
                    events += 1;
                    sample.add(&stream, &event);
                    // Of a copy parts may be missing that an original has.
                    if event.holes.is_none()
                        && let Err(refusal) = policy.explain(&stream, &event)
                    {
                        refused.add(line.number, refusal.to_string());
                    }
                }
                What::Tombstone => {}
                What::Bad { error, .. } => bad.add(line.number, error.to_string()),
            }
        }
    }
    let (unfit, without_rule) = (sample.fits_nothing(), sample.without_rule());
    Ok(Sampled { events, without_rule, unfit, refused, bad })
}

impl Sampled {
    /// What is wrong with it, in numbers, if anything is.
    pub(super) fn wrong(&self) -> Option<String> {
        let (refused, bad) = (self.refused.lines(), self.bad.lines());
        let refused = (refused > 0).then(|| {
            format!("{refused} of {} of the sample would be refused", count(self.events, "event"))
        });
        let bad = (bad > 0).then(|| {
            let (lines, are) = (count(bad, "line"), agree(bad, "is no row", "are no rows"));
            format!("{lines} of the sample {are}")
        });
        let wrong: Vec<_> = refused.into_iter().chain(bad).collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }

    /// Whether lines of it are no rows: then it is the sample that is wrong.
    pub(super) fn is_bad(&self) -> bool {
        self.bad.lines() > 0
    }

    pub(super) fn as_json(&self) -> Value {
        let unfit = self.unfit.iter().map(|unfit| {
            json!({
                "rule": unfit.rule, "events": unfit.events, "word": unfit.word, "says": unfit.says,
            })
        });
        json!({
            "events": self.events,
            "without_rule": self.without_rule,
            "fits_nothing": unfit.collect::<Vec<_>>(),
            "refused": self.refused.all,
            "bad": self.bad.all,
        })
    }

    pub(super) fn as_text(&self) -> Vec<String> {
        let style = stdout_style();
        let mut lines = vec![format!(
            "sample: {}, {} without a rule, which are sealed whole",
            count(self.events, "event"),
            self.without_rule
        )];
        for FitsNothing { rule, events, word, says, .. } in &self.unfit {
            let says = printable(says);
            let what = match rule {
                Some(rule) if *word == "match" => format!("no event is in a stream `{rule}`"),
                Some(rule) => format!(
                    "`{word}` of `{}`: `{says}` fits nothing in {}",
                    printable(rule),
                    count(*events, "event")
                ),
                None => format!("`{word}`: `{says}` fits nothing in {}", count(*events, "event")),
            };
            lines.push(format!("{} {what}", style.yellow("warning:")));
        }
        let error = style.red("error:");
        for (reasons, what) in [(&self.bad, "no row"), (&self.refused, "would be refused")] {
            for reason in reasons.all.iter().take(TOLD) {
                lines.push(format!("{error} {}: {what}: {}", reason.of(), reason.reason));
            }
            let more = reasons.all.len().saturating_sub(TOLD) as u64;
            if more > 0 {
                let more = count(more, "more reason");
                lines.push(format!("{error} {what}: {more}; `--json` has all"));
            }
        }
        lines
    }
}

impl Reasons {
    fn add(&mut self, line: u64, reason: String) {
        let at = *self.at.entry(reason).or_insert_with_key(|reason| {
            self.all.push(Reason { reason: reason.clone(), count: 0, lines: Vec::new() });
            self.all.len() - 1
        });
        let Some(reason) = self.all.get_mut(at) else { return };
        reason.count += 1;
        if reason.lines.len() < NAMED {
            reason.lines.push(line);
        }
    }

    fn lines(&self) -> u64 {
        self.all.iter().map(|reason| reason.count).sum()
    }
}

impl Reason {
    /// `line 4`, `12 lines (1, 2, 3, 4, 5, …)`.
    fn of(&self) -> String {
        let mut named: Vec<_> = self.lines.iter().map(ToString::to_string).collect();
        if self.count == 1 {
            return format!("line {}", named.concat());
        }
        if self.count > named.len() as u64 {
            named.push("…".to_owned());
        }
        format!("{} ({})", count(self.count, "line"), named.join(", "))
    }
}
