//! Which options exclude each other, and with which commands one would have no effect.
//!
//! It is asked before anything is read. Clap's own `conflicts_with` does not do for global options: it sees no
//! conflict where one stands before the command and the other behind it.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{exit::CliError, open::Globals};

/// What a command does with the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touches {
    /// It does not open it, or needs no vault for what it looks at.
    Nothing,
    /// It reads events, with the vault or without.
    Events,
    /// It opens the vault, and is not there to write.
    Vault,
    /// It opens the vault, and writes.
    Changes,
    /// It changes where root slot or pages are, and reads no event.
    Places,
}

impl Globals {
    /// Refuses what cannot be followed as a whole.
    ///
    /// # Errors
    /// Wrong usage, by the names of the options.
    pub(super) fn check(&self, touches: Touches, takes_policy: bool) -> Result<(), CliError> {
        let words = self.words();
        let first = words.first();
        if self.read_only {
            if let Some(word) = first {
                return exclude("--read-only", word);
            }
            if matches!(touches, Touches::Changes | Touches::Places) {
                return Err(CliError::usage(
                    "--read-only says to write nothing, and this command is there to write",
                ));
            }
        }
        if self.no_vault {
            let mirror = (!self.mirrors.is_empty()).then_some(&"--mirror");
            let counter = self.past_counter.then_some(&"--past-counter");
            if let Some(word) = first.or(counter).or(mirror) {
                return exclude("--no-vault", word);
            }
            if !matches!(touches, Touches::Events | Touches::Nothing) {
                return Err(CliError::usage(
                    "this command needs the vault, --no-vault says not to open it",
                )
                .with_hint("--no-vault is for read, read-all and subscribe"));
            }
        }
        if matches!(touches, Touches::Nothing | Touches::Places)
            && let Some(word) = first
        {
            return Err(CliError::usage(format!(
                "{word} has no effect with this command, which does not open the event store"
            )));
        }
        if self.policy.is_some() && !takes_policy {
            return Err(CliError::usage("--policy has no effect with this command"));
        }
        Ok(self.folder().check()?)
    }

    /// What the user says of this folder, to be noted.
    fn words(&self) -> Vec<&'static str> {
        let said = [
            (self.past_gap.is_some(), "--past-gap"),
            (!self.past_erasures.is_empty(), "--past-erasure"),
            (!self.believed_erasures.is_empty(), "--believe-erasure"),
            (self.this_is_the_one, "--this-is-the-one"),
        ];
        said.into_iter().filter_map(|(is_said, word)| is_said.then_some(word)).collect()
    }

    /// Adds what stands before the command to the options that may be said several times. Of these clap keeps
    /// what is said last: before the command, or behind it.
    pub(super) fn add_said_before(&mut self) {
        let Ok(Before { globals, .. }) = Before::try_parse() else { return };
        add(globals.mirrors, &mut self.mirrors);
        add(globals.past_erasures, &mut self.past_erasures);
        add(globals.believed_erasures, &mut self.believed_erasures);
    }
}

fn add<T: PartialEq>(before: Vec<T>, all: &mut Vec<T>) {
    let missing: Vec<T> = before.into_iter().filter(|one| !all.contains(one)).collect();
    all.extend(missing);
}

fn exclude(one: &str, other: &str) -> Result<(), CliError> {
    Err(CliError::usage(format!("{one} and {other} exclude each other: leave one of them out")))
}

/// The command line up to the command.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Before {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    _rest: Rest,
}

#[derive(Debug, Subcommand)]
enum Rest {
    #[command(external_subcommand)]
    Command(#[allow(dead_code, reason = "clap wants a place for it")] Vec<OsString>),
}
