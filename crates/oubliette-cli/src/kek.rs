//! The argument that says where a key-encryption key comes from.

use std::ffi::OsStr;

use clap::{Arg, Command, Error, builder::TypedValueParser, error::ErrorKind};
use oubliette::vault::{Kek, KekError};

/// Parses a [`Kek`]. A plain parser's error would quote what it was given, and that may be the key
/// itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct KekParser;

impl TypedValueParser for KekParser {
    type Value = Kek;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<Kek, Error> {
        let parsed = text.to_str().ok_or(KekError).and_then(str::parse);
        parsed.map_err(|error| {
            let name = arg.map_or_else(|| "KEK".to_owned(), ToString::to_string);
            command.clone().error(ErrorKind::ValueValidation, format!("{name}: {error}"))
        })
    }
}
