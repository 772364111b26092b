//! Which options exclude each other, and with which commands one would have no effect.
//!
//! It is asked before anything is read. Clap's own `conflicts_with` does not do for global options: it sees no
//! conflict where one is before the command and the other behind it.

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource, value_parser};
use uuid::Uuid;

use super::{exit::CliError, open::Globals};

/// What a command does with the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touches {
    /// None is asked for, and what is printed is a text for another program, and no row.
    Text,
    /// None is asked for.
    Nothing,
    /// It reads the folder's `policy.toml`, and nothing else of it.
    PolicyFile,
    /// It looks into it, and opens no vault.
    Folder,
    /// It reads events, with the vault or without.
    Events,
    /// It opens the vault, and is not there to write.
    Vault,
    /// It opens the vault, and writes.
    Changes,
    /// It changes where root slot or pages are, and reads no event.
    Places,
}

impl Touches {
    /// The options that say anything to a command of which most say nothing, and why these do not.
    fn only(self) -> Option<(&'static [&'static str], &'static str)> {
        match self {
            Self::Text => Some((&[], "which prints no rows, and asks for no data folder")),
            Self::Nothing => Some((&["json"], "which asks for no data folder")),
            Self::PolicyFile => {
                Some((&["dir", "json", "read-only"], "which reads the folder's policy.toml alone"))
            }
            Self::Folder | Self::Events | Self::Vault | Self::Changes | Self::Places => None,
        }
    }
}

impl Globals {
    /// Refuses what cannot be followed as a whole.
    ///
    /// # Errors
    /// Wrong usage, by the names of the options.
    pub(super) fn check(
        &self,
        touches: Touches,
        takes_policy: bool,
        said: &BTreeSet<String>,
    ) -> Result<(), CliError> {
        if let Some((takes, why)) = touches.only()
            && let Some(option) = said.iter().find(|option| !takes.contains(&option.as_str()))
        {
            return Err(no_effect(option, why));
        }
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
            if touches == Touches::Folder {
                return Err(no_effect("no-vault", "which opens no vault"));
            }
            if touches != Touches::Events {
                return Err(CliError::usage(
                    "this command needs the vault, --no-vault says not to open it",
                )
                .with_hint("--no-vault is for read, read-all and subscribe"));
            }
        }
        if self.wait.is_some() && (self.no_vault || touches == Touches::Folder) {
            return Err(no_effect("wait", "which opens no vault"));
        }
        if matches!(touches, Touches::Folder | Touches::Places)
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

    /// Adds what was said at other levels of a command line of these commands to the options that may be said several times: of
    /// these clap keeps what is said last. Returns which options were said, by their names.
    ///
    /// # Errors
    /// Wrong usage, where one that counts once is said at two levels.
    pub(super) fn add_said(
        &mut self,
        all: &Command,
        words: Vec<OsString>,
    ) -> Result<BTreeSet<String>, CliError> {
        let (mut said, mut once) = (BTreeSet::new(), BTreeSet::new());
        let globals: Vec<&Arg> = globals(all).collect();
        for level in levels(all, words) {
            for global in &globals {
                let id = global.get_id().as_str();
                if level.value_source(id) != Some(ValueSource::CommandLine) {
                    continue;
                }
                let name = global.get_long().unwrap_or(id).to_owned();
                if matches!(global.get_action(), ArgAction::Set) && !once.insert(name.clone()) {
                    return Err(CliError::usage(format!("--{name} is said twice; say it once")));
                }
                said.insert(name);
            }
            add::<PathBuf>(&level, "mirrors", &mut self.mirrors);
            add::<Uuid>(&level, "past_erasures", &mut self.past_erasures);
            add::<Uuid>(&level, "believed_erasures", &mut self.believed_erasures);
        }
        Ok(said)
    }
}

fn add<T: Clone + PartialEq + Send + Sync + 'static>(
    level: &ArgMatches,
    id: &str,
    all: &mut Vec<T>,
) {
    for one in level.get_many::<T>(id).into_iter().flatten() {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

/// What is said at each level of a command line of these commands: before the command, behind it, behind the next one. Clap's own
/// answer has each global option once.
pub(super) fn levels(all: &Command, mut words: Vec<OsString>) -> Vec<ArgMatches> {
    // Not built, which would copy each global option to each command: most of what starting takes. One level after the
    // other gets them here.
    let mut command = all;
    let mut levels = Vec::new();
    loop {
        let is_own =
            |argument: &&Arg| command.get_arguments().any(|own| own.get_id() == argument.get_id());
        let own = command.get_arguments().chain(globals(all).filter(|global| !is_own(global)));
        let own = own.filter(|argument| !argument.is_positional() || !command.has_subcommands());
        let own = own.filter(|argument| {
            !matches!(
                argument.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            )
        });
        // As this level alone: what is required may be said by the next.
        let level = Command::new("level")
            .args(own.map(|argument| argument.clone().required(false).global(false)))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .disable_help_subcommand(true)
            .allow_external_subcommands(command.has_subcommands())
            .external_subcommand_value_parser(value_parser!(OsString));
        // What is wrong with it is told already, or nothing is.
        let Ok(level) = level.try_get_matches_from(&words) else { return levels };
        let next = level.subcommand().and_then(|(name, rest)| {
            let next = command.find_subcommand(name)?;
            let rest = rest.get_many::<OsString>("").into_iter().flatten().cloned();
            Some((next, std::iter::once(name.into()).chain(rest).collect()))
        });
        levels.push(level);
        let Some(next) = next else { return levels };
        (command, words) = next;
    }
}

fn globals(all: &Command) -> impl Iterator<Item = &Arg> {
    all.get_arguments().filter(|argument| argument.is_global_set())
}

fn no_effect(option: &str, why: &str) -> CliError {
    CliError::usage(format!("--{option} has no effect with this command, {why}"))
}

fn exclude(one: &str, other: &str) -> Result<(), CliError> {
    Err(CliError::usage(format!("{one} and {other} exclude each other: leave one of them out")))
}
