//! Checking a policy, trying it on an event, and making one the folder's.

mod trial;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oubliette::{audit::PolicyComparison, policy::Policy, vault::VaultError};
use oubliette_folder::PolicyText;

use super::{
    allowed::Touches,
    exit::CliError,
    open::Globals,
    output::{self, Out, note, stdout_style},
};

/// Work with policies
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a policy file: errors with file and line, and what may identify people
    #[command(after_help = "\
Examples:
  oubliette policy check policy.toml
  oubliette policy check policy.toml --json

Exit code 1 where it has errors; warnings are no errors.")]
    Check {
        /// The policy, TOML
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make a policy the one that the folder works under, from the next event on
    #[command(after_help = "\
Examples:
  oubliette policy adopt
      (after policy.toml in the data folder was edited)
  oubliette policy adopt policy.toml
      (and copy it into the data folder)

The vault keeps the adopted policy, sealed, because whoever may write into the
data folder could change policy.toml. If that says something else than what was
adopted, nothing is appended until somebody adopts it or puts it back. Reading
goes on. An absent policy.toml is not adopted: `policy show` prints what counts.")]
    Adopt {
        /// The policy, TOML; the folder's policy.toml without it
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    Try(trial::TryArgs),
    /// Print the policy that the folder works under
    #[command(after_help = "\
Example:
  oubliette policy show > policy.toml")]
    Show,
}

impl PolicyArgs {
    pub(super) fn touches(&self) -> Touches {
        match self.command {
            PolicyCommand::Check { .. } | PolicyCommand::Try(_) => Touches::Nothing,
            PolicyCommand::Show => Touches::Vault,
            PolicyCommand::Adopt { .. } => Touches::Changes,
        }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: PolicyArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    match args.command {
        PolicyCommand::Check { file } => check(globals, &file, out),
        PolicyCommand::Try(args) => trial::run(globals, args, out),
        PolicyCommand::Adopt { file } => adopt(globals, file.as_deref(), out).await,
        PolicyCommand::Show => show(globals, out).await,
    }
}

async fn adopt(globals: &Globals, file: Option<&Path>, out: &mut Out) -> Result<(), CliError> {
    let folder = globals.folder();
    let text = file.map_or_else(|| folder.policy_to_adopt(), PolicyText::load)?;
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or(VaultError::Unsupported("opened without a vault"))?;
    let former = folder.adopt(vault, &text).await?;
    let mut gone = former.policy().owner_rules().to_vec();
    gone.retain(|rule| !text.policy().owner_rules().contains(rule));
    let compared = store.compare_policy(text.policy()).await.map_err(|error| {
        CliError::from(error)
            .with_hint("the policy is adopted; what is stored could not be compared with it")
    })?;
    for warning in text.policy().warnings() {
        note(globals.json, &format!("policy: {warning}"));
    }
    for rule in gone {
        let rule = output::printable(&rule);
        note(
            globals.json,
            &format!(
                "policy: this owner rule no longer counts: {rule}. Later events get no owner by it, and \
                 forgetting the owner misses them"
            ),
        );
    }
    let digest = text.policy().digest().to_string();
    let did = format!("the folder works under this policy now, digest {digest}");
    out.did(&did);
    if globals.json {
        out.json(&serde_json::json!({ "adopted": digest, "stored": compared }))?;
    } else {
        out.line(&did)?;
        otherwise(&compared).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

/// What is to be said of the events that are there: the policy changes none of them.
fn otherwise(compared: &PolicyComparison) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |events: u64, what: &str| {
        lines.extend((events > 0).then(|| format!("{}: {what}", output::count(events, "event"))));
    };
    say(
        compared.owners_not_noted,
        "stored before, and state owners who are not noted; `owners rebuild` notes them",
    );
    say(
        compared.other_subject,
        "sealed for somebody else than this policy names; forgetting whom it names does not reach them \
         (`verify` names each)",
    );
    say(compared.newer, "by a newer program, and not compared; use that one");
    say(compared.in_clear, "in clear, though this policy would seal them; they stay so");
    lines
}

async fn show(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or(VaultError::Unsupported("opened without a vault"))?;
    let adopted = globals.folder().adopted(vault)?;
    if globals.json {
        let digest = adopted.policy().digest().to_string();
        out.json(&serde_json::json!({ "digest": digest, "policy": adopted.text() }))?;
    } else {
        adopted.text().lines().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

fn check(globals: &Globals, file: &Path, out: &mut Out) -> Result<(), CliError> {
    let policy = Policy::load(file)?;
    let warnings: Vec<String> = policy.warnings().iter().map(ToString::to_string).collect();
    let digest = policy.digest().to_string();
    if globals.json {
        out.json(&serde_json::json!({
            "file": file.display().to_string(), "ok": true, "digest": digest, "warnings": warnings,
        }))?;
        return Ok(());
    }
    let style = stdout_style();
    for warning in &warnings {
        out.line(&format!("{} {}:{warning}", style.yellow("warning:"), file.display()))?;
    }
    out.line(&format!("{} {}, digest {digest}", style.green("good:"), file.display()))?;
    Ok(())
}
