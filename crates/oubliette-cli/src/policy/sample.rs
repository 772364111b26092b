//! Trying a policy on a sample of events: what of it fits none of them, and which it would refuse.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, stdin},
    path::Path,
};

use oubliette::policy::{FitsNothing, Policy, PolicyRefusal, WithoutStream};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    exit::CliError,
    import::lines::{Ids, Lines, What},
    known::kind,
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
    /// Owners and other subjects that are no stream of the sample.
    without_stream: Vec<WithoutStream>,
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
    /// That of the first line, as an example.
    reason: String,
    /// Whether other lines have other words for it, because they name others.
    #[serde(skip)]
    differs: bool,
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
                    if let Err(refusal) = policy.explain(&stream, &event) {
                        refused.add(line.number, cause(&refusal), &refusal.to_string());
                    }
                }
                What::Tombstone => {}
                What::Bad { error, .. } => {
                    let reason = error.to_string();
                    bad.add(line.number, reason.clone(), &reason);
                }
            }
        }
    }
    let (unfit, without_rule) = (sample.fits_nothing(), sample.without_rule());
    let without_stream = sample.without_stream();
    Ok(Sampled { events, without_rule, unfit, without_stream, refused, bad })
}

/// What is the same of refusals that are told together. Where the words name a stream or a subject, each event would
/// have its own.
pub(crate) fn cause(refusal: &PolicyRefusal) -> String {
    match refusal {
        PolicyRefusal::PhysicalName { .. }
        | PolicyRefusal::SubjectContradicts { .. }
        | PolicyRefusal::SubjectNotExpected { .. } => kind("refusal", refusal),
        refusal => refusal.to_string(),
    }
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
                "rule": unfit.rule, "type": unfit.event_type, "events": unfit.events,
                "word": unfit.word, "says": unfit.says,
            })
        });
        let examples = self.without_stream.iter().take(NAMED);
        let examples = examples.map(|who| json!({ "subject": who.subject, "in": who.named_in }));
        json!({
            "events": self.events,
            "without_rule": self.without_rule,
            "fits_nothing": unfit.collect::<Vec<_>>(),
            "without_stream": {
                "count": self.without_stream.len(), "examples": examples.collect::<Vec<_>>(),
            },
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
        for FitsNothing { rule, event_type, events, word, says, .. } in &self.unfit {
            let says = printable(says);
            let of = event_type.as_ref().map(|of| format!(" of type {}", printable(of)));
            let events = format!("{}{}", count(*events, "event"), of.unwrap_or_default());
            let what = match rule {
                Some(rule) if *word == "match" => format!("no event is in a stream `{rule}`"),
                Some(rule) => {
                    format!("`{word}` of `{}`: `{says}` fits nothing in {events}", printable(rule),)
                }
                None => format!("`{word}`: `{says}` fits nothing in {events}"),
            };
            lines.push(format!("{} {what}", style.yellow("warning:")));
        }
        if let Some(WithoutStream { subject, named_in, .. }) = self.without_stream.first() {
            let subjects = self.without_stream.len() as u64;
            lines.push(format!(
                "{} {} that events name {} in the sample, such as {subject} (of {named_in}): they have their \
                 streams elsewhere, or the policy makes a wrong name, and forgetting misses what depends on them",
                style.yellow("warning:"),
                count(subjects, "subject"),
                agree(subjects, "has no stream", "have no stream"),
            ));
        }
        let error = style.red("error:");
        for (reasons, what) in [(&self.bad, "no row"), (&self.refused, "would be refused")] {
            for reason in reasons.all.iter().take(TOLD) {
                lines.push(format!("{error} {}: {what}: {}", reason.of(), reason.example()));
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
    fn add(&mut self, line: u64, cause: String, reason: &str) {
        let at = *self.at.entry(cause).or_insert_with(|| {
            let (reason, lines) = (reason.to_owned(), Vec::new());
            self.all.push(Reason { reason, differs: false, count: 0, lines });
            self.all.len() - 1
        });
        let Some(known) = self.all.get_mut(at) else { return };
        known.differs |= known.reason != reason;
        known.count += 1;
        if known.lines.len() < NAMED {
            known.lines.push(line);
        }
    }

    fn lines(&self) -> u64 {
        self.all.iter().map(|reason| reason.count).sum()
    }
}

impl Reason {
    /// The words, and of which line they are, where they are not of all.
    fn example(&self) -> String {
        match self.lines.first() {
            Some(first) if self.differs => {
                format!("{} (so line {first}; the others name others)", self.reason)
            }
            _ => self.reason.clone(),
        }
    }

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
