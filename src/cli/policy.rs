//! Checking a policy.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use oubliette::policy::Policy;

use super::{
    exit::CliError,
    open::Globals,
    output::{Out, stdout_style},
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
}

pub(super) fn run(globals: &Globals, args: &PolicyArgs, out: &mut Out) -> Result<(), CliError> {
    let PolicyCommand::Check { file } = &args.command;
    let policy = Policy::load(file)?;
    let warnings: Vec<String> = policy.warnings().iter().map(ToString::to_string).collect();
    let digest = policy.digest().to_string();
    if globals.json {
        out.json(&serde_json::json!({
            "file": file, "ok": true, "digest": digest, "warnings": warnings,
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
