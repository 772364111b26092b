//! `oubliette demo`: a bank of three services forgets a customer, told on the terminal.
//!
//! It runs the library as a service would: a data folder with the embedded event store and the
//! vault, in a temporary place. Whatever it claims it checks, so that it can fail: `stage` prints
//! and checks, `before` and `after` tell the story up to the forgetting and from there on, and `folder` has the
//! bank's data folder. The bank itself and its policy are those of the example `bank`.

mod after;
mod bank;
mod before;
mod folder;
mod stage;
#[cfg(test)]
mod tests;

use std::{error::Error, io, path::Path};

use folder::Bank;
use stage::Stage;

use super::exit::CliError;

/// Whatever ends the demo early: the library's errors, or a claim that is not so.
type Failure = Box<dyn Error + Send + Sync>;

const POLICY: &str = include_str!("policy.toml");

/// Runs the demo on standard output: for people, or, with `json`, one object for each step.
///
/// # Errors
/// The first error of the library, or the first claim that turns out not to be so.
pub(super) async fn run(json: bool) -> Result<(), CliError> {
    perform(json).await.map_err(|failure| match failure.downcast::<io::Error>() {
        // Among these is an audience that left.
        Ok(error) => (*error).into(),
        Err(failure) => CliError::failed(failure),
    })
}

async fn perform(json: bool) -> Result<(), Failure> {
    let mut stage = Stage::on_stdout(json);
    let place = tempfile::Builder::new().prefix("oubliette-demo-").tempdir()?;
    let path = place.path().to_owned();
    let told = tell(&mut stage, &path, POLICY).await;
    // Also where the story broke off: a folder with keys in it is not left behind.
    let removed = place.close();
    told?;
    removed?;
    curtain(&mut stage, &path)
}

/// The whole story, in an empty folder.
async fn tell(stage: &mut Stage, place: &Path, policy: &str) -> Result<(), Failure> {
    stage.title(
        "Oubliette: a bank forgets a customer",
        "Real events in the embedded store, real keys in the vault. Every line with a check mark \
         was just verified; if one were not true, the demo would fail.",
    )?;
    let bank = Bank::open(place, policy).await?;
    before::accounts(stage, &bank).await?;
    before::raw(stage, &bank).await?;
    before::readable(stage, &bank).await?;
    before::conflict(stage, &bank).await?;
    before::halves(stage, &bank).await?;
    let archive = before::archive(stage, &bank).await?;
    let remembered = bank.remember().await?;
    after::plan(stage, &bank).await?;
    after::forget(stage, &bank).await?;
    after::shredded(stage, &bank, &remembered).await?;
    after::tombstones(stage, &bank, &remembered).await?;
    after::public_half(stage, &bank).await?;
    after::totals(stage, &bank, &remembered).await?;
    after::refused(stage, &bank).await?;
    after::others(stage, &bank, &remembered).await?;
    after::inventory(stage, &bank)?;
    after::old_copy(stage, &bank, &archive).await
}

fn curtain(stage: &mut Stage, path: &Path) -> Result<(), Failure> {
    stage.step(
        "end",
        "The end",
        "To work on data of your own: `oubliette import`, `read`, `plan`, `forget`, `inventory`; \
         `--help` shows how.",
    )?;
    stage.fact("folder", path.display().to_string());
    stage.check("the demo's folder, events, vault and root slot, is removed", !path.exists())?;
    stage.finish()
}
