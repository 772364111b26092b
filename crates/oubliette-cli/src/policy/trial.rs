//! Trying a policy on one event: what would stay in clear, whose the rest would be, and what would remain once they are
//! forgotten.

use std::path::PathBuf;

use clap::Args;
use oubliette::{
    event::{EventType, NewEvent, OwnerChange, StreamName, Subject},
    policy::{Explanation, Policy, SealedFor},
};
use oubliette_folder::PolicyText;

use crate::{
    allowed::Touches,
    append::json,
    exit::CliError,
    open::Globals,
    output::{Out, note, printable, stdout_style},
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

impl TryArgs {
    pub(super) fn touches(&self) -> Touches {
        if self.file.is_some() { Touches::Nothing } else { Touches::PolicyFile }
    }
}

pub(super) fn run(globals: &Globals, args: TryArgs, out: &mut Out) -> Result<(), CliError> {
    let policy = match &args.file {
        Some(file) => Some(PolicyText::load(file)?),
        None => globals.folder().policy_file()?,
    };
    if policy.is_none() {
        note(globals.json, "no policy is named, and none is in a data folder here: all is sealed");
    }
    let policy = policy.map_or_else(Policy::sealed_by_default, |text| text.policy().clone());
    let mut event = NewEvent::new(args.event_type, json("--data", &args.data)?);
    event.metadata = args.metadata.as_deref().map(|text| json("--metadata", text)).transpose()?;
    event.subject = args.subject;
    let explained = policy
        .explain(&args.stream, &event)
        .map_err(|refusal| CliError::failed(format!("the event would be refused: {refusal}")))?;
    let own = Subject::of(&args.stream);
    if globals.json {
        out.json(&as_json(&explained, &own))?;
    } else {
        as_text(&explained, &own).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

fn as_json(explained: &Explanation, stream: &Subject) -> serde_json::Value {
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
        "remains": remains(explained, stream).iter().map(|left| serde_json::json!({
            "forgotten": left.once, "clear": is_in_clear(explained), "sealed_for": left.sealed_for,
            "while_others_own": left.owned,
        })).collect::<Vec<_>>(),
    })
}

fn as_text(explained: &Explanation, stream: &Subject) -> Vec<String> {
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
    for (i, left) in remains(explained, stream).iter().enumerate() {
        let mut what = Vec::new();
        if is_in_clear(explained) {
            what.push("what is in clear".to_owned());
        }
        if !left.sealed_for.is_empty() {
            let others: Vec<&str> = left.sealed_for.iter().map(|who| who.as_str()).collect();
            what.push(format!("what is sealed for {}", others.join(", ")));
        }
        what.push("stream, type and time".to_owned());
        if let Some(own) = left.owned {
            what.push(format!("what is sealed for {own} only while other owners keep it"));
        }
        let head = if i == 0 { "remains     " } else { "            " };
        lines.push(format!("{head}once {} is forgotten: {}", left.once, what.join("; ")));
    }
    lines
}

fn is_in_clear(explained: &Explanation) -> bool {
    explained.data.is_some() || explained.metadata.is_some()
}

/// What of the event still opens once somebody is forgotten.
struct Remains<'a> {
    once: &'a Subject,
    /// Whose parts do.
    sealed_for: Vec<&'a Subject>,
    /// The stream's own part: it falls with its owners, of whom this event need not name all.
    owned: Option<&'a Subject>,
}

/// One for each who may be forgotten: those who have a part, and those whom the event names as owners.
fn remains<'a>(explained: &'a Explanation, stream: &Subject) -> Vec<Remains<'a>> {
    let with_part = explained.sealed.iter().map(|part| &part.subject);
    let owns = |change: &&OwnerChange| !matches!(change, OwnerChange::Remove(_));
    let owners: Vec<&Subject> =
        explained.owners.iter().filter(owns).map(OwnerChange::owner).collect();
    let mut all: Vec<&Subject> = with_part.clone().collect();
    all.extend(owners.iter().filter(|owner| !with_part.clone().any(|who| who == **owner)));
    let of = |once: &'a Subject| {
        let falls = |who: &&Subject| *who == stream && owners.contains(&once) && once != stream;
        let others = with_part.clone().filter(|who| *who != once);
        let (owned, sealed_for): (Vec<_>, Vec<_>) = others.partition(falls);
        Remains { once, sealed_for, owned: owned.first().copied() }
    };
    all.into_iter().map(of).collect()
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
