//! Trying a policy on a sample of events: what of it fits none of them, and which it would refuse.

use std::{
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::Path,
};

use oubliette::{
    event::EventId,
    policy::{FitsNothing, Policy},
};
use serde_json::{Value, json};

use crate::{
    exit::CliError,
    output::{count, printable, stdout_style},
    rows::{self, Parsed},
};

/// How many refused events are told each.
const TOLD: usize = 20;

/// What became of a sample.
pub(super) struct Sampled {
    events: u64,
    without_rule: u64,
    unfit: Vec<FitsNothing>,
    /// The numbers of lines, and why.
    refused: Vec<(usize, String)>,
}

pub(super) fn try_on(policy: &Policy, file: &Path) -> Result<Sampled, CliError> {
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        let named = |error| CliError::failed(format!("{}: {error}", file.display()));
        Box::new(BufReader::new(File::open(file).map_err(named)?))
    };
    let mut sample = policy.sample();
    let (mut events, mut refused) = (0, Vec::new());
    for (line, number) in lines.lines().zip(1..) {
        let line = line?;
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |error| CliError::usage(format!("line {number} of the sample: {error}"));
        let Parsed::Event(row) = rows::parse(line.as_bytes(), true).map_err(wrong)? else {
            continue;
        };
        let id = row.id.unwrap_or_else(EventId::random);
        let has_holes = row.holes.is_some();
        let (stream, event) = row.into_event(id);
        events += 1;
        sample.add(&stream, &event);
        // Of a copy parts may be missing that an original has.
        if !has_holes && let Err(refusal) = policy.explain(&stream, &event) {
            refused.push((number, refusal.to_string()));
        }
    }
    let (unfit, without_rule) = (sample.fits_nothing(), sample.without_rule());
    Ok(Sampled { events, without_rule, unfit, refused })
}

impl Sampled {
    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn as_json(&self) -> Value {
        let unfit = self.unfit.iter().map(|unfit| {
            json!({
                "rule": unfit.rule, "events": unfit.events, "word": unfit.word, "says": unfit.says,
            })
        });
        let refused = self.refused.iter().map(|(line, why)| json!({ "line": line, "reason": why }));
        json!({
            "events": self.events,
            "without_rule": self.without_rule,
            "fits_nothing": unfit.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
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
        for (line, why) in self.refused.iter().take(TOLD) {
            lines.push(format!("{} line {line} would be refused: {why}", style.red("error:")));
        }
        if self.refused.len() > TOLD {
            let all = count(self.refused.len() as u64, "event");
            lines.push(format!("{} {all} would be refused in all", style.red("error:")));
        }
        lines
    }
}
