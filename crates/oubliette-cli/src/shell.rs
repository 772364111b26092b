//! What shells and `man` want to know of the command line.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{
    allowed::Touches,
    exit::CliError,
    output::{Out, count},
};

/// Print what a shell needs to complete commands and options
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette completions bash \\
      > ~/.local/share/bash-completion/completions/oubliette
  oubliette completions zsh > ~/.zfunc/_oubliette
  oubliette completions fish > ~/.config/fish/completions/oubliette.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette man | man -l -
  oubliette man --out /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// As `--version` tells it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl ManArgs {
    pub(super) fn touches(&self) -> Touches {
        if self.out.is_some() { Touches::Nothing } else { Touches::Text }
    }
}

fn command() -> clap::Command {
    crate::Args::command()
}

/// A command with what people are offered. Completions list what is hidden as well, and clap lets nothing be taken
/// out: so it is put together anew.
fn offered(command: &clap::Command) -> clap::Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let below = command.get_subcommands().filter(|below| !below.is_hide_set()).map(offered);
    clap::Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        // Or what is required becomes a part of the names of the commands below.
        .args_conflicts_with_subcommands(command.is_args_conflicts_with_subcommands_set())
        .subcommand_negates_reqs(command.is_subcommand_negates_reqs_set())
        .args(arguments)
        .subcommands(below)
}

pub(super) fn completions(args: &CompletionsArgs, out: &mut Out) -> Result<(), CliError> {
    // Into memory first: the generator does not tell that nobody reads it.
    let mut script = Vec::new();
    let mut offered = offered(&command()).version(VERSION);
    clap_complete::generate(args.shell, &mut offered, "oubliette", &mut script);
    Ok(io::Write::write_all(out, &script)?)
}

pub(super) fn man(args: &ManArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let Some(folder) = &args.out else {
        return Ok(Man::new(command()).render(out)?);
    };
    std::fs::create_dir_all(folder)?;
    let mut all = command().disable_help_subcommand(true);
    all.build();
    let (pages, folder) = (write_pages(&all, folder)?, folder.display().to_string());
    let did = format!("{} in {folder}", count(pages, "page"));
    out.did(&did);
    if json {
        out.json(&serde_json::json!({ "folder": folder, "pages": pages }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

/// Writes the page of a command and those of the commands below it, and returns how many.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<u64> {
    // It is built already, so that its version does not make an option of it, which commands below have not.
    let page = Man::new(command.clone().version(VERSION));
    page.source(format!("oubliette {VERSION}")).generate_to(folder)?;
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    Ok(1 + below.map(|below| write_pages(below, folder)).sum::<io::Result<u64>>()?)
}
