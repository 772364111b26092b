//! Appending one event.

use std::io::Read;

use clap::Args;
use oubliette::{
    event::{EventId, EventType, Json, MAX_PAYLOAD_BYTES, NewEvent, Revision, StreamName, Subject},
    store::{EventStoreExt, ExpectedRevision},
};

use super::{
    adoption::is_the_stores,
    exit::CliError,
    open::Globals,
    output::{Out, stdout_style},
};

/// Append one event to a stream
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette append user-456 UserRegistered --data '{\"name\":\"Erika\"}'
  oubliette append account-1 MoneyWithdrawn --expect 5 --data '{\"amount\":20}'
      (exit code 3, and nothing written, unless revision 5 is the stream's last)
  generate-event | oubliette append user-456 UserMoved --data -
  oubliette append repository-1 StarAdded --subject user-7
      (where the policy lets events of the stream name their subject)
  oubliette append user-456 UserMoved --id 6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11
      (the same id again is a retry: it is answered as done, and nothing is
      written twice)

With --policy the event is appended under that policy, which the folder adopts
with it. If the event is refused, the folder keeps the policy that it had.")]
pub(super) struct AppendArgs {
    /// The stream
    stream: StreamName,
    /// The event's type
    #[arg(value_name = "TYPE")]
    event_type: EventType,
    /// The payload, JSON; `-` reads it from stdin
    #[arg(long, value_name = "JSON|-", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// What the stream must be like: any, none (no events yet), exists, or its last revision
    #[arg(long, value_name = "any|none|exists|N", default_value = "any", value_parser = expected)]
    expect: ExpectedRevision,
    /// Whose event it is; the policy must agree, or let events of the stream say so
    #[arg(long)]
    subject: Option<Subject>,
    /// The event's id, a UUID; a new random one without it
    #[arg(long, value_name = "UUID")]
    id: Option<EventId>,
    /// What is known about the event, a JSON object; sealed like the payload
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
}

fn expected(text: &str) -> Result<ExpectedRevision, String> {
    match text {
        "any" => Ok(ExpectedRevision::Any),
        "none" => Ok(ExpectedRevision::NoStream),
        "exists" => Ok(ExpectedRevision::StreamExists),
        _ => text
            .parse()
            .map(|revision| ExpectedRevision::Exact(Revision(revision)))
            .map_err(|_| "say any, none, exists, or a revision such as 5".to_owned()),
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: AppendArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    // Before a folder is made: a mistake leaves nothing behind.
    let data = if args.data == "-" { from_stdin()? } else { args.data };
    let data = json("--data", &data)?;
    let mut event = NewEvent::new(args.event_type, data);
    event.id = args.id.unwrap_or(event.id);
    event.metadata = args.metadata.as_deref().map(|text| json("--metadata", text)).transpose()?;
    if event.metadata.as_ref().is_some_and(|metadata| !metadata.as_str().starts_with('{')) {
        return Err(CliError::usage("--metadata is not a JSON object"));
    }
    event.subject = args.subject;
    let (id, stream) = (event.id, args.stream);

    let (store, mut adoption) = globals.open_or_create().await?;
    adoption.begin(&store).await?;
    let appended = store.append_to(&stream, args.expect, vec![event]).await;
    if appended.as_ref().is_err_and(|error| !is_the_stores(error)) {
        adoption.put_back(&store).await?;
    }
    let appended = appended?;
    let did = if appended.already { "already there:" } else { "appended to" };
    let did = format!(
        "{did} {} at revision {}, position {}, id {id}",
        stdout_style().strong(stream.as_str()),
        appended.revision,
        appended.position
    );
    out.did(&did);
    if globals.json {
        out.json(&serde_json::json!({
            "stream": stream, "revision": appended.revision, "position": appended.position,
            "id": id, "already": appended.already,
        }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

pub(super) fn json(option: &str, text: &str) -> Result<Json, CliError> {
    Json::parse(text).map_err(|error| {
        CliError::usage(format!("{option} is refused: {error}"))
            .with_hint("a string needs its quotes: --data '\"text\"'")
    })
}

fn from_stdin() -> Result<String, CliError> {
    // One byte more than is accepted, so that the store can say that it is too much.
    let most = MAX_PAYLOAD_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == most {
        return Err(CliError::usage(format!(
            "--data is refused: more than {MAX_PAYLOAD_BYTES} bytes on stdin"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CliError::usage(format!("--data is refused: not UTF-8, at byte {at} of stdin"))
    })
}
