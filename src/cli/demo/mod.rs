//! The bank that forgets a customer, told on the terminal.

use super::exit::CliError;

/// Tells the story.
pub(super) async fn run(_json: bool) -> Result<(), CliError> {
    Err(CliError::failed("the demo is not there yet"))
}
