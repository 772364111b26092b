//! What shells and `man` want to know of the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{
    exit::CliError,
    output::{Out, count},
};

/// Print what a shell needs to complete commands and options
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette completions bash > ~/.bash_completion
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

fn command() -> clap::Command {
    crate::Args::command()
}

pub(super) fn completions(args: &CompletionsArgs, out: &mut Out) -> Result<(), CliError> {
    // Into memory first: the generator does not tell that nobody reads it.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "oubliette", &mut script);
    Ok(std::io::Write::write_all(out, &script)?)
}

pub(super) fn man(args: &ManArgs, json: bool, out: &mut Out) -> Result<(), CliError> {
    let Some(folder) = &args.out else {
        return Ok(Man::new(command()).render(out)?);
    };
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command(), folder)?;
    let pages = std::fs::read_dir(folder)?.filter_map(Result::ok).filter(|page| {
        let name = page.file_name();
        name.to_str().is_some_and(|name| name.starts_with("oubliette") && name.ends_with(".1"))
    });
    let (pages, folder) = (pages.count() as u64, folder.display().to_string());
    let did = format!("{} in {folder}", count(pages, "page"));
    out.did(&did);
    if json {
        out.json(&serde_json::json!({ "folder": folder, "pages": pages }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}
