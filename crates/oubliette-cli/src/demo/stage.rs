//! What the audience sees: steps, tables, checks; in words or as NDJSON.

use std::{io::Write, time::Instant};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    super::{
        output::{self, Out, Unread},
        tables::columns,
    },
    Failure,
};

/// Texts are wrapped at this column, which every terminal has.
const WIDTH: usize = 78;

/// Something that the demo claims is not so.
#[derive(Debug, thiserror::Error)]
#[error("step `{step}` claims that {claim}, and that is not so")]
pub(super) struct Untrue {
    step: &'static str,
    claim: String,
}

/// Where the story is told.
pub(super) struct Stage {
    out: Box<dyn Write + Send>,
    json: bool,
    colour: bool,
    steps: u32,
    began: Instant,
    current: Option<Step>,
}

/// A step as it is told, and its line of NDJSON.
#[derive(Serialize)]
struct Step {
    number: u32,
    step: &'static str,
    title: String,
    shows: String,
    facts: Map<String, Value>,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    claim: String,
    holds: bool,
}

/// What a text is, for its colour.
#[derive(Clone, Copy)]
enum Ink {
    Headline,
    Faint,
    Good,
    Bad,
}

impl Stage {
    /// On standard output; coloured where that is a terminal and `NO_COLOR` is not set.
    pub(super) fn on_stdout(json: bool) -> Self {
        let out = Out::at_once(Unread::Ends);
        Self::on(Box::new(out), json, !json && output::stdout_style().is_on())
    }

    pub(super) fn on(out: Box<dyn Write + Send>, json: bool, colour: bool) -> Self {
        Self { out, json, colour, steps: 0, began: Instant::now(), current: None }
    }

    /// The title of the whole story.
    pub(super) fn title(&mut self, title: &str, text: &str) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.out, "{}", self.inked(Ink::Headline, title))?;
            writeln!(self.out, "{}", wrapped(text, ""))?;
        }
        Ok(())
    }

    /// Begins a step: a headline, and a sentence or two on what it shows.
    pub(super) fn step(
        &mut self,
        step: &'static str,
        title: &str,
        shows: &str,
    ) -> Result<(), Failure> {
        self.finish()?;
        self.steps += 1;
        if !self.json {
            let headline = format!("{:>2}  {title}", self.steps);
            writeln!(self.out, "\n{}", self.inked(Ink::Headline, &headline))?;
            writeln!(self.out, "{}", self.inked(Ink::Faint, &wrapped(shows, "    ")))?;
        }
        self.current = Some(Step {
            number: self.steps,
            step,
            title: title.to_owned(),
            shows: shows.to_owned(),
            facts: Map::new(),
            checks: Vec::new(),
        });
        Ok(())
    }

    /// A line of output, for people only.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.out, "    {line}")?;
        }
        Ok(())
    }

    /// A sentence, for people only.
    pub(super) fn sentence(&mut self, text: &str) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.out, "{}", wrapped(text, "    "))?;
        }
        Ok(())
    }

    /// A table, for people only.
    pub(super) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.to_vec())
            .add_rows(rows);
        for (i, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = if i == 0 { self.inked(Ink::Faint, line) } else { line.to_owned() };
            writeln!(self.out, "   {line}")?;
        }
        Ok(())
    }

    /// A fact of the step, for programs only.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(step) = &mut self.current {
            step.facts.insert(name.to_owned(), value.into());
        }
    }

    /// Says that something is true, and ends the demo if it is not.
    pub(super) fn check(&mut self, claim: &str, holds: bool) -> Result<(), Failure> {
        if !self.json {
            let (ink, mark) = if holds { (Ink::Good, "✓") } else { (Ink::Bad, "✗") };
            let text = wrapped(claim, "      ");
            writeln!(self.out, "    {} {}", self.inked(ink, mark), text.trim_start())?;
        }
        let Some(step) = &mut self.current else { return Ok(()) };
        step.checks.push(Check { claim: claim.to_owned(), holds });
        if holds {
            return Ok(());
        }
        let untrue = Untrue { step: step.step, claim: claim.to_owned() };
        self.finish()?;
        Err(untrue.into())
    }

    /// Ends the step in progress. Its line of NDJSON is written now, with all of its facts.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(step) = self.current.take()
            && self.json
        {
            writeln!(self.out, "{}", serde_json::to_string(&step)?)?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// How long the story has taken so far, in milliseconds.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn inked(&self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Headline => "1;36",
            Ink::Faint => "2",
            Ink::Good => "32",
            Ink::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The text in lines of at most [`WIDTH`] columns, each indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        let fresh = line.len() == indent.len();
        if !fresh && columns(&line) + 1 + columns(word) > WIDTH {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if !fresh {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}
