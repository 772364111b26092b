//! Checking a policy, trying it on an event, and making one the folder's.

pub(crate) mod sample;
mod trial;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oubliette::{
    audit::PolicyComparison,
    policy::{Policy, PolicyError},
    vault::VaultError,
};
use oubliette_folder::PolicyText;
use serde_json::json;

use sample::Sampled;

use super::{
    allowed::Touches,
    exit::{CliError, Exit},
    open::Globals,
    output::{self, Out, clean, note, stdout_style},
};

/// Check, try, adopt or show a policy
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a policy file, and what in it may identify people
    #[command(after_help = "\
Examples:
  oubliette policy check policy.toml
  oubliette policy check policy.toml --json | jq '.errors[].line'
  oubliette policy check policy.toml --sample events.ndjson
      (rows as `import` takes them, or `read-all --json` writes them)

With a sample it says what of the policy fits none of its events, a pointer that
is misspelled, say, and which events would be refused.

Exit code 1 where it has errors, or where an event would be refused; warnings
are no errors. Lines of the sample that are no rows are listed, too, and the
exit code is 2 then.")]
    Check {
        /// The policy, TOML
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Events to try it on, one JSON object a line
        #[arg(long, value_name = "FILE|-")]
        sample: Option<PathBuf>,
    },
    /// Make a policy the one that the folder works under
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
            PolicyCommand::Check { .. } => Touches::Nothing,
            PolicyCommand::Try(ref args) => args.touches(),
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
        PolicyCommand::Check { file, sample } => check(globals, &file, sample.as_deref(), out),
        PolicyCommand::Try(args) => trial::run(globals, args, out),
        PolicyCommand::Adopt { file } => adopt(globals, file.as_deref(), out).await,
        PolicyCommand::Show => show(globals, out).await,
    }
}

async fn adopt(globals: &Globals, file: Option<&Path>, out: &mut Out) -> Result<(), CliError> {
    let folder = globals.folder();
    let text = file.map_or_else(|| folder.policy_to_adopt(), PolicyText::load)?;
    let store = globals.open_to_adopt().await?;
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
        out.json(&json!({ "adopted": digest, "stored": compared }))?;
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
        out.json(&json!({ "digest": digest, "policy": adopted.text() }))?;
    } else {
        adopted.text().lines().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

fn check(
    globals: &Globals,
    file: &Path,
    sample: Option<&Path>,
    out: &mut Out,
) -> Result<(), CliError> {
    let name = file.display().to_string();
    let policy = match Policy::load(file) {
        Err(wrong) if globals.json => {
            let errors: Vec<_> = wrong.errors().iter().map(as_object).collect();
            let found = json!({ "file": name, "ok": false, "errors": errors, "warnings": [] });
            out.json(&found)?;
            return Err(wrong.into());
        }
        policy => policy?,
    };
    let digest = policy.digest().to_string();
    let sampled = sample.map(|sample| sample::try_on(&policy, sample)).transpose()?;
    let wrong = sampled.as_ref().and_then(Sampled::wrong);
    if globals.json {
        let warnings = policy.warnings().iter().map(|warning| {
            json!({ "line": warning.line, "column": warning.column, "message": warning.message })
        });
        let mut found = json!({
            "file": name, "ok": wrong.is_none(), "digest": digest,
            "errors": [], "warnings": warnings.collect::<Vec<_>>(),
        });
        if let Some(sampled) = &sampled {
            found["sample"] = sampled.as_json();
        }
        out.json(&found)?;
    } else {
        let style = stdout_style();
        for warning in policy.warnings() {
            out.line(&format!(
                "{} {}",
                style.yellow("warning:"),
                clean(&format!("{name}:{warning}"))
            ))?;
        }
        if let Some(sampled) = &sampled {
            sampled.as_text().iter().try_for_each(|line| out.line(line))?;
        }
        out.line(&match &wrong {
            None => format!("{} {name}, digest {digest}", style.green("good:")),
            Some(wrong) => {
                format!("{} {name}, digest {digest}: {wrong}", style.red("not good:"))
            }
        })?;
    }
    let Some(wrong) = wrong else { return Ok(()) };
    Err(match (sampled.is_some_and(|sampled| sampled.is_bad()), globals.json) {
        (true, true) => CliError::usage(wrong),
        (false, true) => CliError::failed(wrong),
        (true, false) => CliError::Told(Exit::Usage),
        (false, false) => CliError::Told(Exit::Failed),
    })
}

fn as_object(error: &PolicyError) -> serde_json::Value {
    // `NotYet` is `not-yet`.
    let mut kind = String::new();
    for letter in format!("{:?}", error.problem).chars() {
        if letter.is_uppercase() && !kind.is_empty() {
            kind.push('-');
        }
        kind.extend(letter.to_lowercase());
    }
    json!({
        "kind": kind, "line": error.line, "column": error.column, "message": error.message,
    })
}
