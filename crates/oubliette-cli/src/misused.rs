//! A command line that is not understood.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
};

use clap::{Command, CommandFactory, error::ErrorKind};

use super::{
    Args,
    allowed::levels,
    exit::{CliError, Exit},
};

/// Tells what is wrong with the command line, or the help that was asked for.
pub(super) fn tell(error: &clap::Error) -> Exit {
    // Whether programs read it cannot be known otherwise: nothing was parsed.
    let json = env::args_os().any(|argument| argument == "--json");
    if !error.use_stderr() {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                CliError::failed(format!("the answer could not be printed: {error}")).tell(json)
            }
            _ => Exit::Done,
        };
    }
    match error.kind() {
        // Clap names hidden commands as well.
        ErrorKind::MissingSubcommand => return incomplete(env::args_os()).tell(json),
        // Its text is the help, where nobody reads it.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if json => {
            return incomplete(env::args_os()).tell(true);
        }
        _ => {}
    }
    if json {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // Then come tips and usage, for people.
        let (message, _) = text.split_once("\n\n").unwrap_or((text, ""));
        return CliError::usage(message).tell(true);
    }
    error.exit()
}

/// An error for a command that is to be followed by another.
fn incomplete(words: impl IntoIterator<Item = OsString>) -> CliError {
    let all = Args::command();
    let mut command = &all;
    let mut path = vec![command.get_name().to_owned()];
    for level in levels(&all, words.into_iter().collect()) {
        let Some(name) = level.subcommand_name() else { break };
        let Some(below) = command.find_subcommand(name) else { break };
        path.push(name.to_owned());
        command = below;
    }
    let names = command.get_subcommands().filter(|below| !below.is_hide_set());
    let names: Vec<_> = names.map(Command::get_name).filter(|name| *name != "help").collect();
    let path = path.join(" ");
    CliError::usage(format!("`{path}` needs a subcommand, one of: {}", names.join(", ")))
        .with_hint(format!("`{path} --help` explains each"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_of_the_command_that_lacks_it() {
        for (words, path, names) in [
            (&["--json", "policy"][..], "oubliette policy", "check, adopt, try, show"),
            (
                &["--dir", "policy", "root", "mirror", "--json"],
                "oubliette root mirror",
                "add, retire",
            ),
            (&["--dir", "x"], "oubliette", "demo, import"),
        ] {
            let words = ["oubliette"].iter().chain(words).map(OsString::from);
            let CliError::Error { error, .. } = incomplete(words) else { panic!("{path}") };
            let begins = format!("`{path}` needs a subcommand, one of: {names}");
            assert!(error.to_string().starts_with(&begins), "{error}");
            assert!(!error.to_string().contains("drill-reader"), "{error}");
        }
    }
}
