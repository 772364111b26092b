//! What is asked of people, and what of them cannot be asked.

use std::{
    io::{self, ErrorKind, IsTerminal, stderr, stdin},
    path::Path,
};

use oubliette::vault::Passphrase;

use super::{environment, exit::CliError, output::to_stderr};

/// An error where `-` is given for a file: elsewhere it is for stdin, and here it would name a file.
pub(super) fn refuse_dash(option: &str, file: &Path) -> Result<(), CliError> {
    if file != Path::new("-") {
        return Ok(());
    }
    Err(CliError::usage(format!("{option} names a file, and cannot be stdin or stdout (`-`)"))
        .with_hint("a file of this name is ./-"))
}

/// Asks whether the event store may be changed for good.
pub(super) fn confirm(what: &str) -> Result<(), CliError> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(CliError::usage("this changes the event store for good: say --yes"));
    }
    to_stderr(&format!("{what} To go on, type yes:"));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(CliError::failed("not confirmed; nothing was changed")),
    }
}

/// The passphrase of the root slot: from the environment, or else asked for on the terminal,
/// without echo; a new one twice.
pub(super) fn passphrase(variable: &str, new: bool) -> Result<Passphrase, CliError> {
    let empty = || CliError::usage("the passphrase is empty");
    if let Some(text) = environment::secret(variable)? {
        return Passphrase::new(text).ok_or_else(empty);
    }
    refuse_unasked(variable)?;
    let prompt = match new {
        true => "New passphrase of the root slot: ",
        false => "Passphrase of the root slot: ",
    };
    let first = ask(prompt, variable)?;
    if new && first != ask("The same again: ", variable)? {
        return Err(CliError::usage("the two are not the same"));
    }
    first.ok_or_else(empty)
}

/// Asks on the terminal, which shows nothing of what is typed.
fn ask(prompt: &str, variable: &str) -> Result<Option<Passphrase>, CliError> {
    // Where it cannot be kept, nobody can be asked, which is told below.
    #[cfg(unix)]
    let _kept = super::terminal::keep();
    let answer = rpassword::prompt_password(prompt);
    #[cfg(unix)]
    if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
        super::terminal::interrupted();
    }
    let ended = |error: &io::Error| error.kind() == ErrorKind::UnexpectedEof;
    let typed = match answer {
        Err(error) if ended(&error) => {
            return Err(CliError::failed("the input ended where the passphrase was to be typed")
                .with_hint(format!("type it, and Enter behind it; or set {variable}")));
        }
        answer => answer?,
    };
    // What stands for any bytes that are not UTF-8: those of two passphrases would be one.
    let replaced = typed.contains(char::REPLACEMENT_CHARACTER);
    // From here on it is wiped.
    let typed = Passphrase::new(typed);
    if replaced {
        return Err(CliError::usage("what was typed is not UTF-8 text").with_hint(format!(
            "check which encoding the terminal has, or set {variable} instead of typing it"
        )));
    }
    Ok(typed)
}

/// An error where a passphrase is in no variable, and nobody can be asked for it.
pub(super) fn refuse_unasked(variable: &str) -> Result<(), CliError> {
    if environment::is_set(variable) || (stdin().is_terminal() && stderr().is_terminal()) {
        return Ok(());
    }
    Err(CliError::usage("the root slot needs a passphrase, and nobody can be asked for it")
        .with_hint(format!("set {variable}, or run it on a terminal")))
}
