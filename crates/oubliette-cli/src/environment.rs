//! What environment variables say. An empty one says nothing, as if it were not set.
//!
//! Clap would read those of options itself, but it also refuses one that an option overrides, and names the option.

use std::{
    collections::BTreeSet,
    env::{self, VarError},
    ffi::OsString,
    fmt::Display,
    str::FromStr,
};

use super::{exit::CliError, open::Globals};

impl Globals {
    /// Takes from the environment what no option said.
    ///
    /// # Errors
    /// Wrong usage, by the name of the variable.
    pub(super) fn take_environment(&mut self, said: &BTreeSet<String>) -> Result<(), CliError> {
        let unsaid = |option: &str, variable| match said.contains(option) {
            true => None,
            false => value(variable).map(|value| (variable, value)),
        };
        if let Some((_, dir)) = unsaid("dir", "OUBLIETTE_DIR") {
            self.dir = dir.into();
        }
        if let Some((_, root)) = unsaid("root", "OUBLIETTE_ROOT") {
            self.root = Some(root.into());
        }
        let (kek, epoch) = ("OUBLIETTE_KEK", "OUBLIETTE_EXPECT_EPOCH");
        self.kek = unsaid("kek", kek).map(parsed).transpose()?.or(self.kek.take());
        let epoch = unsaid("expect-epoch", epoch).map(parsed).transpose()?;
        self.expect_epoch = epoch.or(self.expect_epoch);
        Ok(())
    }
}

/// What a variable says.
fn value(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// Whether a variable says anything.
pub(super) fn is_set(variable: &str) -> bool {
    value(variable).is_some()
}

/// What a variable says, of one that says nothing unless it is text.
pub(super) fn text(variable: &str) -> Option<String> {
    value(variable)?.into_string().ok()
}

/// A secret that a variable holds.
///
/// # Errors
/// Wrong usage, by the name of the variable.
pub(super) fn secret(variable: &str) -> Result<Option<String>, CliError> {
    match env::var(variable) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(CliError::usage(format!("{variable} is not UTF-8 text")))
        }
    }
}

/// The value is not repeated: it may be a key that was put into the wrong variable.
fn parsed<T: FromStr<Err: Display>>((variable, value): (&str, OsString)) -> Result<T, CliError> {
    let text = value
        .into_string()
        .map_err(|_| CliError::usage(format!("{variable} is not UTF-8 text")))?;
    text.parse().map_err(|error| CliError::usage(format!("{variable}: {error}")))
}
