//! What would be copied, and what the policy makes of it. Nothing is.

use std::collections::HashMap;

use futures::TryStreamExt;
use oubliette::{
    event::{NewEvent, StreamName},
    policy::Policy,
    store::{EventStore, NotKept, ReadAllOptions, not_kept},
};
use oubliette_folder::{OpenedStore, PolicyText};
use serde_json::json;

use crate::{
    exit::{CliError, Exit},
    migrate::{LeftOut, names_of},
    open::Globals,
    output::{Out, count, note, printable, stdout_style},
    policy::sample::cause,
    watch::Watch,
};

/// How many streams, and reasons, are named on a terminal.
const NAMED: usize = 20;

/// Why events would be refused.
struct Refusal {
    cause: String,
    /// The first one's words and stream.
    reason: String,
    stream: StreamName,
    count: u64,
}

pub(super) async fn run(
    globals: &Globals,
    from: &OpenedStore,
    out: &mut Out,
) -> Result<(), CliError> {
    let (policy, not_kept) = target(globals).await?;
    for what in not_kept.unwrap_or_default() {
        note(globals.json, &format!("the event store does not keep {what}"));
    }
    let (left_out, mut events, mut sealed_whole) = (LeftOut::default(), 0_u64, 0_u64);
    let (mut streams, mut without_rule) = (HashMap::new(), Vec::new());
    let mut refusals = Vec::<Refusal>::new();
    let mut watch = Watch::new(globals.json);
    let mut all = from.store.read_all(ReadAllOptions::default());
    while let Some(event) = all.try_next().await? {
        if left_out.takes(&event) {
            continue;
        }
        events += 1;
        if events % 1000 == 0 {
            watch.count(count(events, "event"));
        }
        let new = NewEvent::copy_of(&event);
        let has_rule = *streams.entry(event.stream.clone()).or_insert_with(|| {
            let mut sample = policy.sample();
            sample.add(&event.stream, &new);
            let has_rule = sample.without_rule() == 0;
            without_rule.extend((!has_rule).then(|| event.stream.clone()));
            has_rule
        });
        sealed_whole += u64::from(!has_rule);
        if let Err(refusal) = policy.explain(&event.stream, &new) {
            let cause = cause(&refusal);
            match refusals.iter_mut().find(|known| known.cause == cause) {
                Some(known) => known.count += 1,
                None => refusals.push(Refusal {
                    cause,
                    reason: refusal.to_string(),
                    stream: event.stream,
                    count: 1,
                }),
            }
        }
    }
    watch.finish();
    let refused: u64 = refusals.iter().map(|refusal| refusal.count).sum();
    if globals.json {
        let (bookkeeping, tombstones) = left_out.counts();
        let told = refusals.iter().map(|refusal| {
            json!({
                "reason": refusal.reason, "count": refusal.count, "first_stream": refusal.stream,
            })
        });
        out.json(&json!({
            "events": events, "streams": streams.len(),
            "left_out": { "bookkeeping": bookkeeping, "tombstones": tombstones },
            "without_rule": { "events": sealed_whole, "streams": without_rule },
            "refused": told.collect::<Vec<_>>(),
            "not_kept": not_kept.map(names_of),
        }))?;
    } else {
        let style = stdout_style();
        let streams = count(streams.len() as u64, "stream");
        let mut words = vec![format!("{} of {streams} to copy", count(events, "event"))];
        words.extend(left_out.told());
        out.line(&words.join(", "))?;
        if !without_rule.is_empty() {
            let names: Vec<_> = without_rule.iter().take(NAMED).map(|name| name.as_str()).collect();
            let more = if without_rule.len() > NAMED { ", …" } else { "" };
            out.line(&format!(
                "no rule of the policy matches {}, which would be sealed whole ({}): {}{more}",
                count(without_rule.len() as u64, "stream"),
                count(sealed_whole, "event"),
                printable(&names.join(", "))
            ))?;
        }
        for refusal in refusals.iter().take(NAMED) {
            out.line(&format!(
                "{} {} would be refused, the first in {}: {}",
                style.red("error:"),
                count(refusal.count, "event"),
                refusal.stream,
                printable(&refusal.reason)
            ))?;
        }
        out.line("nothing was copied: this was a dry run")?;
    }
    if refused > 0 { Err(CliError::Told(Exit::Failed)) } else { Ok(()) }
}

/// What the events would be sealed under, and what the target would not keep of them, where it is there to be asked.
async fn target(globals: &Globals) -> Result<(Policy, Option<&'static [NotKept]>), CliError> {
    match globals.open_existing().await {
        Ok(store) => return Ok((store.policy().clone(), Some(not_kept(&store)))),
        Err(CliError::Error { kind, .. }) if kind == "folder.not_found" => {}
        Err(error) => return Err(error),
    }
    if globals.store.as_ref().is_some_and(|place| place.folder().is_none()) {
        note(
            globals.json,
            "there is no data folder yet: whether the event store keeps times and revisions, is asked when it is made",
        );
    }
    let policy = match &globals.policy {
        Some(file) => PolicyText::load(file)?.policy().clone(),
        None => {
            note(
                globals.json,
                "there is no data folder yet, and no policy is named: all would be sealed whole",
            );
            Policy::sealed_by_default()
        }
    };
    // The embedded store, which is made where no other is named, keeps all.
    let is_embedded = globals.store.as_ref().is_none_or(|place| place.folder().is_some());
    Ok((policy, is_embedded.then_some(&[])))
}
