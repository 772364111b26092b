//! The program `oubliette`: words in, rows out.
//!
//! A library so that a fuzzer can call what reads untrusted text; the program beside it calls [`main`], and nothing
//! else is here for others. `Args` says what there is to say, one module a command says how it is done, `exit` how
//! it ends. Nothing here knows how anything is sealed, kept or forgotten: that is the library's.

mod adoption;
mod allowed;
mod append;
mod asking;
mod backup;
mod claims;
mod clock;
mod demo;
#[cfg(test)]
mod documents;
mod drill;
mod environment;
mod erasures;
mod exit;
mod findings;
mod forget;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hints;
mod import;
mod inventory;
mod kek;
mod keys;
mod known;
mod logging;
mod migrate;
mod misused;
mod open;
mod output;
mod owners;
mod plan;
mod policy;
mod private;
mod purge;
mod read;
mod report;
mod root;
mod rotate;
mod rows;
mod seal_existing;
mod shell;
mod signals;
mod stores;
mod tables;
#[cfg(unix)]
mod terminal;
mod vault;
#[cfg(test)]
#[path = "../../../tests/common/vectors.rs"]
mod vectors;
mod verify;
mod watch;

use std::{env, ffi::OsString, process::ExitCode, time::Duration};

use clap::{Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};
use oubliette::audit::drill::READER;

use allowed::Touches;
use exit::{CliError, Exit};
use open::Globals;
use output::{Out, Unread};

const FIRST_WALK: &str = "\
A first walk:
  oubliette append user-456 UserRegistered --data '{\"name\":\"Erika\"}'
  oubliette append user-456 UserMoved --expect 0 --data '{\"town\":\"Bremen\"}'
  oubliette read user-456
  oubliette plan user-456
  oubliette forget user-456 --reason 'asked for it' --yes
  oubliette read user-456      (the events are there, and say they are shredded)
  oubliette inventory          (no key of theirs is left)

Or watch a bank forget a customer, in a temporary folder:
  oubliette demo

Exit codes:
  0 done   1 failed   2 wrong usage   3 conflict (expected revision)
  4 forgotten: a key of a forgotten subject was needed
  5 vault in use by another process

With --json, stdout holds one JSON value a line and nothing else; errors, notes
and logs are JSON on stderr. OUBLIETTE_LOG=info shows what the library does (on
stderr), OUBLIETTE_LOG=debug more of it. OUBLIETTE_DIR, OUBLIETTE_ROOT,
OUBLIETTE_KEK and OUBLIETTE_EXPECT_EPOCH stand for the options of these names,
which override them; an empty one counts as not set. OUBLIETTE_STORE_PASSWORD is
the password of an event store at a server.
NO_COLOR=1 switches colours off.

`oubliette help COMMAND` explains a command, with examples; `-h` is short.";

/// An event store that can forget: every stream is encrypted under a key of its own, and to
/// forget a person is to destroy their keys.
#[derive(Debug, Parser)]
#[command(name = "oubliette", version, after_help = FIRST_WALK, max_term_width = 80)]
#[command(
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Args {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// What the words say to all commands together.
    ///
    /// # Errors
    /// They are not understood, or ask for help.
    fn of(all: &clap::Command, words: &[OsString]) -> Result<Self, clap::Error> {
        // Clap copies each global option to each command before it reads a word. The first word that names a command
        // mostly is the command, and then that one is enough. Where it is not, or something is wrong with the words, or help
        // is asked for, all commands together say so.
        let named = words.iter().skip(1).find_map(|word| all.find_subcommand(word.to_str()?));
        let Some(named) = named else { return Self::try_parse_from(words) };
        let one = Globals::augment_args(clap::Command::new(all.get_name().to_owned()));
        let read = one.subcommand(named.clone()).try_get_matches_from(words);
        match read.map(|matches| Self::from_arg_matches(&matches)) {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(_)) | Err(_) => Self::try_parse_from(words),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a bank forget a customer, in a temporary folder
    #[command(after_help = "Example:\n  oubliette demo")]
    Demo,
    Import(import::ImportArgs),
    Migrate(migrate::MigrateArgs),
    SealExisting(seal_existing::SealExistingArgs),
    Append(append::AppendArgs),
    Read(read::ReadArgs),
    ReadAll(read::ReadAllArgs),
    Subscribe(read::SubscribeArgs),
    Plan(plan::PlanArgs),
    Forget(forget::ForgetArgs),
    Reopen(forget::ReopenArgs),
    Claims(claims::ClaimsArgs),
    Settle(claims::SettleArgs),
    Rotate(rotate::RotateArgs),
    Inventory(inventory::InventoryArgs),
    Erasures(erasures::ErasuresArgs),
    Keys(keys::KeysArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Verify(verify::VerifyArgs),
    Storage(purge::StorageArgs),
    Purge(purge::PurgeArgs),
    Drill(drill::DrillArgs),
    Policy(policy::PolicyArgs),
    Owners(owners::OwnersArgs),
    Root(root::RootArgs),
    Vault(vault::VaultArgs),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

impl Command {
    fn touches(&self) -> Touches {
        match self {
            Self::Demo => Touches::Nothing,
            Self::Completions(_) => Touches::Text,
            Self::Man(args) => args.touches(),
            Self::Read(_) | Self::ReadAll(_) | Self::Subscribe(_) => Touches::Events,
            Self::Plan(_)
            | Self::Claims(_)
            | Self::Inventory(_)
            | Self::Storage(_)
            | Self::Drill(_) => Touches::Vault,
            Self::Import(_)
            | Self::Append(_)
            | Self::Forget(_)
            | Self::Reopen(_)
            | Self::Settle(_)
            | Self::Rotate(_)
            | Self::SealExisting(_)
            | Self::Purge(_)
            | Self::Restore(_) => Touches::Changes,
            Self::Migrate(args) => args.touches(),
            Self::Erasures(args) => args.touches(),
            Self::Keys(args) => args.touches(),
            Self::Backup(args) => args.touches(),
            Self::Verify(args) => args.touches(),
            Self::Policy(args) => args.touches(),
            Self::Owners(args) => args.touches(),
            Self::Root(args) => args.touches(),
            Self::Vault(args) => args.touches(),
        }
    }

    /// What it does where nobody reads what it prints. A short list may as well be printed to its end.
    fn unread(&self) -> Unread {
        match self {
            Self::Read(_) | Self::ReadAll(_) | Self::Subscribe(_) | Self::Inventory(_) => {
                Unread::Ends
            }
            Self::Erasures(args) if args.touches() != Touches::Changes => Unread::Ends,
            _ => Unread::GoesOn,
        }
    }

    /// Whether `--policy` says anything to it. A restored vault has its own, and the commands of `policy` are
    /// given a file.
    fn takes_policy(&self) -> bool {
        let has_its_own = matches!(self, Self::Restore(_) | Self::Policy(_));
        let opens_events =
            matches!(self.touches(), Touches::Events | Touches::Vault | Touches::Changes);
        !has_its_own && opens_events
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    // Before there is anything to keep.
    let private = private::keep_memory_private();
    private::keep_files_private();
    signals::outlive_file_limit();
    // What `drill` starts to open a copy of the vault in a process without rights. It is no command: nobody else is
    // to be offered it.
    if env::args_os().nth(1).is_some_and(|word| word == READER) {
        return match drill::ReaderArgs::try_parse_from(env::args_os().skip(1)) {
            Ok(args) => drill::reader(&args).into(),
            Err(error) => misused::tell(&error).into(),
        };
    }
    // To put all commands together takes longer than to read what is said with them.
    let (all, words) = (Args::command(), env::args_os().collect::<Vec<_>>());
    let mut args = match Args::of(&all, &words) {
        Ok(args) => args,
        Err(error) => return misused::tell(&error).into(),
    };
    logging::begin(args.globals.json);
    if let Err(error) = private {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    let (touches, takes_policy) = (args.command.touches(), args.command.takes_policy());
    let said = args.globals.add_said(&all, words);
    let checked = said.and_then(|said| {
        args.globals.take_environment(&said)?;
        args.globals.check(touches, takes_policy, &said)
    });
    if let Err(error) = checked {
        return error.tell(args.globals.json).into();
    }
    let (json, copies) = (args.globals.json, args.globals.read_only);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::from(error).tell(json).into(),
    };
    let exit = match runtime.block_on(run_until_ended(args)) {
        Ok(()) => Exit::Done,
        Err(error) => error.tell(json),
    };
    // What still runs is reading ahead for nobody. It is waited for where it holds what is to be removed.
    runtime.shutdown_timeout(if copies { Duration::from_secs(2) } else { Duration::ZERO });
    exit.into()
}

/// How long a command that was asked to end may take to end by itself.
const GRACE: Duration = Duration::from_millis(300);

/// Runs a command. One that works on copies of files is not cut off by a signal before they are removed.
async fn run_until_ended(args: Args) -> Result<(), CliError> {
    if !args.globals.read_only {
        return run(args).await;
    }
    let (tell, mut told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let _ = tell.send(signals::asked_to_end().await);
        // It may be waiting for somebody who reads what it prints.
        tokio::time::sleep(Duration::from_secs(5)).await;
        std::process::exit(Exit::Failed as i32);
    });
    let mut run = std::pin::pin!(run(args));
    let signal = tokio::select! {
        biased;
        ended = &mut run => return ended,
        Ok(signal) = &mut told => signal?,
    };
    // A command that ends itself on a signal, and well, may hear of it a little later.
    match tokio::time::timeout(GRACE, run).await {
        Ok(ended) => ended,
        Err(_) => Err(CliError::failed(format!("ended by {signal}"))),
    }
}

async fn run(args: Args) -> Result<(), CliError> {
    let Args { globals, command } = args;
    let (json, mut out) = (globals.json, Out::new(command.unread()));
    globals.tell_of_password();
    let ended = match command {
        Command::Demo => return demo::run(globals.json).await,
        Command::Import(args) => import::run(&globals, args, &mut out).await,
        Command::Migrate(args) => migrate::run(globals, args, &mut out).await,
        Command::Append(args) => append::run(&globals, args, &mut out).await,
        Command::Read(args) => read::stream(&globals, &args, &mut out).await,
        Command::ReadAll(args) => read::all(&globals, &args, &mut out).await,
        Command::Subscribe(args) => read::subscribe(&globals, &args, &mut out).await,
        Command::Plan(args) => plan::run(&globals, &args, &mut out).await,
        Command::Forget(args) => forget::forget(&globals, &args, &mut out).await,
        Command::Reopen(args) => forget::reopen(&globals, &args, &mut out).await,
        Command::Claims(_) => claims::list(&globals, &mut out).await,
        Command::Settle(args) => claims::settle(&globals, &args, &mut out).await,
        Command::Rotate(args) => rotate::run(&globals, &args, &mut out).await,
        Command::Inventory(args) => inventory::run(&globals, &args, &mut out).await,
        Command::Erasures(args) => erasures::run(&globals, &args, &mut out).await,
        Command::Keys(args) => keys::run(&globals, args, &mut out).await,
        Command::Root(args) => root::run(&globals, &args, &mut out).await,
        Command::Vault(args) => vault::run(&globals, &args, &mut out).await,
        Command::Backup(args) => backup::run(&globals, args, &mut out).await,
        Command::Restore(args) => backup::restore(&globals, args, &mut out).await,
        Command::Verify(args) => verify::run(&globals, &args, &mut out).await,
        Command::Storage(args) => purge::storage(&globals, &args, &mut out).await,
        Command::Purge(args) => purge::purge(&globals, &args, &mut out).await,
        Command::SealExisting(args) => seal_existing::run(&globals, &args, &mut out).await,
        Command::Drill(args) => drill::run(&globals, args, &mut out).await,
        Command::Policy(args) => policy::run(&globals, args, &mut out).await,
        Command::Owners(args) => owners::run(&globals, &args, &mut out).await,
        Command::Completions(args) => shell::completions(&args, &mut out),
        Command::Man(args) => shell::man(&args, globals.json, &mut out),
    };
    // What was said before an error is said, too; and where it cannot be, that is.
    match (ended, out.close().map_err(CliError::from)) {
        (Ok(()), closed) => closed,
        (Err(CliError::Told(exit)), Err(error)) => {
            error.tell(json);
            Err(CliError::Told(exit))
        }
        (ended, _) => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one command alone reads in a command line, all of them together do.
    #[test]
    fn a_command_line_means_the_same_to_one_command_as_to_all() {
        let before = [&[][..], &["--dir", "append"], &["--json", "--mirror", "m1"]];
        let commands = [
            &["append", "user-1", "T", "--data", "{}"][..],
            &["read", "read", "--limit", "3"],
            &["inventory"],
            &["policy", "check", "read"],
            &["root", "mirror", "add", "forget"],
            &["forget", "user-1", "--reason", "read", "--yes"],
            &["append", "user-1"],
            &["policy"],
            &["apend", "user-1", "T"],
            &["help", "read"],
            &[],
        ];
        let behind = [&[][..], &["--mirror", "m2", "--wait", "3s"], &["--nothing"], &["-h"]];
        let mut understood = 0;
        for before in before {
            for command in commands {
                for behind in behind {
                    let words: Vec<_> = [&["oubliette"], before, command, behind].concat();
                    let given: Vec<_> = words.iter().map(OsString::from).collect();
                    let one = Args::of(&Args::command(), &given);
                    let all = Args::try_parse_from(&words);
                    understood += u32::from(all.is_ok());
                    let told = |read: Result<Args, clap::Error>| match read {
                        Ok(args) => format!("{args:?}"),
                        Err(error) => error.to_string(),
                    };
                    assert_eq!(told(one), told(all), "{words:?}");
                }
            }
        }
        assert!(understood > 30, "{understood}");
    }
}
