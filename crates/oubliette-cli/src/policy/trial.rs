//! Trying a policy on one event: what would stay in clear, and who would take the rest with them.

use std::path::PathBuf;

use clap::Args;
use oubliette::{
    event::{EventType, NewEvent, OwnerChange, StreamName, Subject},
    policy::{Explanation, Policy, SealedFor},
};
use oubliette_folder::PolicyText;

use crate::{
    append::json,
    exit::CliError,
    open::Globals,
    output::{Out, printable, stdout_style},
};

/// Show what the policy would make of an event; store nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette policy try --stream user-456 --type UserRegistered \\
      --data '{\"surname\":\"Ringelnatz\"}'
      (by the policy.toml of the data folder, adopted or not)
  oubliette policy try draft.toml --stream account-1 --type AccountOpened \\
      --data '{\"owner\":\"user-456\"}'

Exit code 1 where the policy would refuse the event. Who is forgotten is not
looked up: no vault is asked.")]
pub(super) struct TryArgs {
    /// The policy, TOML; the folder's policy.toml without it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The stream that the event would be appended to
    #[arg(long)]
    stream: StreamName,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: EventType,
    /// The payload, JSON
    #[arg(long, value_name = "JSON", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// The metadata, a JSON object
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Whose event it is, where the event says so
    #[arg(long)]
    subject: Option<Subject>,
}

pub(super) fn run(globals: &Globals, args: TryArgs, out: &mut Out) -> Result<(), CliError> {
    let policy = match &args.file {
        Some(file) => Some(PolicyText::load(file)?),
        None => globals.folder().policy_file()?,
    };
    let policy = policy.map_or_else(Policy::sealed_by_default, |text| text.policy().clone());
    let mut event = NewEvent::new(args.event_type, json("--data", &args.data)?);
    event.metadata = args.metadata.as_deref().map(|text| json("--metadata", text)).transpose()?;
    event.subject = args.subject;
    let explained = policy
        .explain(&args.stream, &event)
        .map_err(|refusal| CliError::failed(format!("the event would be refused: {refusal}")))?;
    if globals.json {
        out.json(&as_json(&explained))?;
    } else {
        as_text(&explained).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

fn as_json(explained: &Explanation) -> serde_json::Value {
    let sealed = |part: &SealedFor| {
        serde_json::json!({
            "subject": part.subject, "fields": part.fields, "metadata": part.metadata,
        })
    };
    let owner = |change: &OwnerChange| {
        let (what, whom) = in_words(change);
        serde_json::json!({ what: whom })
    };
    serde_json::json!({
        "layout": explained.layout,
        "streams": explained.streams,
        "clear": explained.data.as_ref().and_then(|data| data.as_json()),
        "clear_metadata": explained.metadata,
        "sealed": explained.sealed.iter().map(sealed).collect::<Vec<_>>(),
        "owners": explained.owners.iter().map(owner).collect::<Vec<_>>(),
    })
}

fn as_text(explained: &Explanation) -> Vec<String> {
    let style = stdout_style();
    let streams: Vec<&str> = explained.streams.iter().map(StreamName::as_str).collect();
    let mut lines = vec![format!("stored in   {} ({})", streams.join(", "), explained.layout)];
    let clear = |json: &dyn ToString| style.strong(&printable(&json.to_string()));
    let data = match &explained.data {
        None => "nothing".to_owned(),
        Some(data) => {
            data.as_json().map_or_else(|| "all of it".to_owned(), |json| clear(&json.as_str()))
        }
    };
    lines.push(format!("in clear    {data}"));
    if let Some(metadata) = &explained.metadata {
        lines.push(format!("            metadata {}", clear(&metadata.as_str())));
    }
    if explained.sealed.is_empty() {
        lines.push("sealed      nothing: all of it stays when somebody is forgotten".to_owned());
    }
    for (i, part) in explained.sealed.iter().enumerate() {
        let mut fields: Vec<&str> = part.fields.iter().map(String::as_str).collect();
        // How the layer names the rest means little to people.
        for rest in fields.iter_mut().filter(|field| **field == "*") {
            *rest = if part.fields.len() == 1 && explained.data.is_none() {
                "the payload"
            } else {
                "the rest"
            };
        }
        if part.metadata {
            fields.push("metadata");
        }
        let head = if i == 0 { "sealed      " } else { "            " };
        let line =
            format!("{head}{}, under the key of {}", printable(&fields.join(", ")), part.subject);
        lines.push(line);
    }
    for change in &explained.owners {
        let (what, whom) = in_words(change);
        lines.push(format!("owner       {what} {whom}"));
    }
    lines
}

fn in_words(change: &OwnerChange) -> (&'static str, &Subject) {
    let what = match change {
        OwnerChange::Add(_) => "add",
        OwnerChange::Remove(_) => "remove",
        OwnerChange::Replace(_) => "replace",
        _ => "change",
    };
    (what, change.owner())
}
