//! What the library logs, and what somebody set for it.

use tracing_subscriber::EnvFilter;

use super::{
    environment,
    output::{self, note, printable},
};

const VARIABLE: &str = "OUBLIETTE_LOG";
/// What the witness says, which event does not open, and what a server does not promise, is told with the command's own
/// words.
const QUIET: &str = "warn,oubliette::erasure::witness=error,oubliette::layer::error=off,\
    oubliette_postgres::store=error,oubliette_postgres::table=error,\
    oubliette_jetstream::open=error,oubliette_kafka::store=error,oubliette_kafka::index=error";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// From here on what the library logs goes to stderr: lines for people, objects for programs.
pub(super) fn begin(json: bool) {
    let filter = match environment::text(VARIABLE) {
        Some(said) => of(&said).unwrap_or_else(|word| {
            let word = printable(&word);
            note(
                json,
                &format!(
                    "{VARIABLE}: `{word}` is not understood, and nothing of it counts; a level is one of {}, and \
                     oubliette::erasure=debug gives one to a part of the library",
                    LEVELS.join(", ")
                ),
            );
            EnvFilter::new(QUIET)
        }),
        None => EnvFilter::new(QUIET),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!json && output::stderr_style().is_on())
        .without_time()
        .with_target(false);
    // Nobody else has set one in this process.
    let _ = match json {
        true => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        false => subscriber.try_init(),
    };
}

/// What is to be logged.
///
/// # Errors
/// What is not understood. A word that is no level would be taken for the name of a part, of which nothing is ever
/// logged: a level that is misspelled is the likelier reading.
fn of(said: &str) -> Result<EnvFilter, String> {
    // What is in brackets, a span and its fields, has its own commas.
    if !said.contains(['[', '{']) {
        for word in said.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let is_level = LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))
                || matches!(word.as_bytes(), [b'0'..=b'5']);
            if !(is_level || word.contains(['=', ':']) || word.starts_with("oubliette")) {
                return Err(word.to_owned());
            }
        }
    }
    EnvFilter::try_new(said).map_err(|_| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_misspelled_is_told() {
        for good in ["", "info", "DEBUG", "warn,oubliette=off", "oubliette", "3", "info,[a]=off"] {
            assert!(of(good).is_ok(), "{good}");
        }
        for (bad, word) in [("quatsch", "quatsch"), ("warn,infoo", "infoo"), ("a=loud", "a=loud")] {
            assert_eq!(of(bad).err().as_deref(), Some(word));
        }
    }
}
