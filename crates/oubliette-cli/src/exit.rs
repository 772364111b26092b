//! How a command ends: exit codes, and errors as people and programs get them.

use std::{error::Error, io, process::ExitCode};

use oubliette::words::causes;
use serde_json::json;

use super::{
    hints,
    known::{Known, Told},
    output,
};

/// How a command ended, as its process tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It did not.
    Failed = 1,
    /// It was asked for something that makes no sense.
    Usage = 2,
    /// A stream was not at the expected revision.
    Conflict = 3,
    /// A key of a forgotten subject was needed.
    Forgotten = 4,
    /// Another process has the vault open.
    VaultInUse = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Nobody reads what is printed, and all else went well: `oubliette read-all | head`. Not worth a word.
    Pipe,
    /// All has been said already; only the exit code is left.
    Told(Exit),
    /// An error to be told.
    Error {
        /// The exit code.
        exit: Exit,
        /// Of which kind it is, for programs.
        kind: String,
        /// What happened.
        error: Box<dyn Error + Send + Sync>,
        /// What to do about it, where the error itself does not say so.
        hint: Option<String>,
    },
}

impl CliError {
    /// A failure of any kind.
    pub(crate) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Error { exit: Exit::Failed, kind: "failed".into(), error: error.into(), hint: None }
    }

    /// Wrong usage.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Error { exit: Exit::Usage, kind: "usage".into(), error: error.into(), hint: None }
    }

    /// The same error, with a word on what to do.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Error { exit, kind, error, hint: None } => {
                Self::Error { exit, kind, error, hint: Some(hint.into()) }
            }
            other => other,
        }
    }

    /// Tells the error on stderr and says how the process is to end.
    pub(super) fn tell(&self, json: bool) -> Exit {
        let (exit, kind, error, hint) = match self {
            Self::Pipe => return Exit::Done,
            Self::Told(exit) => return *exit,
            Self::Error { exit, kind, error, hint } => (*exit, kind, error, hint),
        };
        let causes = causes(error.as_ref());
        let mut causes: Vec<_> = causes.iter().map(|text| hints::in_commands(text)).collect();
        let message = causes.remove(0);
        if json {
            let mut object = json!({"error": message, "kind": kind, "exit": exit as u8});
            if !causes.is_empty() {
                object["causes"] = json!(causes);
            }
            if let Some(hint) = hint {
                object["hint"] = json!(hint);
            }
            output::to_stderr(&object.to_string());
            return exit;
        }
        // What a file says of itself may be in any of them.
        let (style, clean) = (output::stderr_style(), output::clean);
        output::to_stderr(&format!("{} {}", style.error("error:"), clean(&message)));
        for cause in causes {
            output::to_stderr(&format!("  because: {}", clean(&cause)));
        }
        if let Some(hint) = hint {
            output::to_stderr(&format!("{} {}", style.hint("hint:"), clean(hint)));
        }
        exit
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if output::is_unread(&error) { Self::Pipe } else { Self::failed(error) }
    }
}

impl<E: Known> From<E> for CliError {
    fn from(error: E) -> Self {
        let Told { exit, kind, hint } = error.told();
        let hint = hint.map(str::to_owned);
        Self::Error { exit, kind, error: Box::new(error), hint }
    }
}
