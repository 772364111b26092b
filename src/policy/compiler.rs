//! What is noted while a policy is compiled: mistakes and warnings, each with its place in the file, so that
//! all are told at once.

use std::ops::Range;

use super::{Problem, Warning};

/// A mistake and where it is, in bytes.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Range<usize>,
    pub(super) problem: Problem,
    pub(super) message: String,
}

/// What a policy is compiled with.
pub(super) struct Compiler<'t> {
    pub(super) text: &'t str,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
    /// A name such as each owner template composes, and where that is.
    pub(super) owners: Vec<(String, Range<usize>)>,
}

impl Compiler<'_> {
    pub(super) fn mistake(
        &mut self,
        at: Range<usize>,
        problem: Problem,
        message: impl Into<String>,
    ) {
        self.mistakes.push(Mistake { at, problem, message: message.into() });
    }

    pub(super) fn warn(&mut self, at: &Range<usize>, message: impl Into<String>) {
        let (line, column) = line_and_column(self.text, at.start);
        self.warnings.push(Warning { line, column, message: message.into() });
    }

    /// Takes a result out, or notes what is wrong.
    pub(super) fn noted<T>(
        &mut self,
        result: Result<T, String>,
        at: Range<usize>,
        problem: Problem,
    ) -> Option<T> {
        result.map_err(|message| self.mistake(at, problem, message)).ok()
    }
}

/// Line and column, from 1, of a byte.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
