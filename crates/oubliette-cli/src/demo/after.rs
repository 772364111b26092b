//! The day on which somebody asks to be forgotten, and what is left then.

use std::time::Instant;

use oubliette::{
    audit::{Row, Totals},
    event::{Content, ErasureId, ErasureRef, EventId, Json, RecordedEvent, Subject},
    store::{EventStoreExt, ExpectedRevision},
    vault::OpenVaultError,
};
use serde_json::json;

use super::{
    Failure,
    bank::{
        ANNIKA, Account, BERTIL, Euros, Movement, books, event, is_forgotten, move_money, name,
        sums,
    },
    before::{self, Archive},
    folder::{Bank, Remembered, text},
    stage::Stage,
};

/// What the policy keeps of the plate: its first two characters.
const PLATE_RESIDUE: &str = "HH";
const REASON: &str = "Art. 17 GDPR: the customer asked";

pub(super) async fn plan(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "plan",
        "\"Please delete all my data\": the plan",
        "A dry run. It follows who depends on whom, user to account to ledger, and finds what \
         is sealed under the customer's key in somebody else's stream. Nothing changes yet.",
    )?;
    let plan = bank.oubliette.plan(&Subject::new(ANNIKA.user)?).await?;
    let mut rows = Vec::new();
    let mut streams: Vec<_> = plan.streams.iter().collect();
    streams.sort_by_key(|affected| (!affected.own, affected.depth));
    for affected in streams {
        let via = plan
            .subjects
            .iter()
            .find(|subject| subject.subject.as_str() == affected.stream.as_str())
            .and_then(|subject| subject.through.as_ref())
            .map_or("", |through| through.as_str());
        let via = match (affected.own, via) {
            (true, "") => "the request itself".to_owned(),
            (true, owner) => format!("owner {owner}"),
            (false, _) => "one person's part of it".to_owned(),
        };
        rows.push(vec![
            affected.stream.to_string(),
            affected.keys.len().to_string(),
            affected.depth.to_string(),
            via,
        ]);
    }
    stage.table(&["STREAM", "KEYS", "DEPTH", "VIA"], rows)?;
    stage.fact("plan", serde_json::to_value(&plan)?);
    let depth = |stream: &str| {
        plan.streams.iter().find(|at| at.stream.as_str() == stream).map(|at| (at.own, at.depth))
    };
    stage.check(
        "user, account and ledger go as a whole, at depth 0, 1 and 2",
        ANNIKA.streams().map(depth) == [Some((true, 0)), Some((true, 1)), Some((true, 2))],
    )?;
    stage.check(
        "of the other customer only the ledger is touched: it has an IBAN that is not his",
        BERTIL.streams().map(depth) == [None, None, Some((false, 0))],
    )?;
    let complete = |event: &RecordedEvent| event.shredded.is_empty();
    stage.check("and all is still readable", bank.all().await?.iter().all(complete))
}

pub(super) async fn forget(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "forget",
        "Forgetting",
        "All of these keys are destroyed in one batch, with one change of the root key; then \
         each stream gets a tombstone. No event is deleted or rewritten.",
    )?;
    let planned = bank.oubliette.plan(&Subject::new(ANNIKA.user)?).await?;
    let began = Instant::now();
    let erased = bank.oubliette.forget(&Subject::new(ANNIKA.user)?, REASON).await?;
    let took = began.elapsed();
    stage.line(&format!(
        "{} keys destroyed, {} tombstones set, in {:.1} ms",
        erased.keys,
        erased.streams,
        took.as_secs_f64() * 1000.0
    ))?;
    stage.line(&format!("erasure {}", erased.erasure))?;
    stage.fact("erased", serde_json::to_value(&erased)?);
    stage.fact("microseconds", u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    stage.check(
        "it did what was planned",
        !erased.already
            && erased.keys == planned.keys()
            && erased.streams == planned.streams.len() as u64,
    )?;
    let again = bank.oubliette.forget(&Subject::new(ANNIKA.user)?, REASON).await?;
    stage.check(
        "asked again, it says that it is done, and by which erasure",
        again.already && again.erasure == erased.erasure,
    )
}

pub(super) async fn shredded(
    stage: &mut Stage,
    bank: &Bank,
    before: &Remembered,
) -> Result<(), Failure> {
    stage.step(
        "shredded",
        "Reading again",
        "Through the layer, with the vault. Every event is still there. It says which of its \
         fields are shredded, when and by which erasure: a gap with a name, not a null.",
    )?;
    for stream in [ANNIKA.user, ANNIKA.account] {
        let events = bank.read(stream).await?;
        for event in events.iter().take(2).filter(|event| !event.is_tombstone()) {
            let lost = event.shredded.iter().flat_map(|shredded| &shredded.fields);
            let lost = lost.map(|field| if field == "*" { "all else" } else { field });
            let lost = lost.collect::<Vec<_>>().join(", ");
            stage.line(&format!("{stream}  {}", event.event_type))?;
            stage.line(&format!("    {}  shredded: {lost}", text(event)))?;
        }
    }

    let now = bank.all().await?;
    let found = |secret: &str| now.iter().any(|event| text(event).contains(secret));
    stage.check(
        "surname, first name, plate and IBAN can be read in no event",
        ![ANNIKA.surname, ANNIKA.first_name, ANNIKA.plate, ANNIKA.iban].into_iter().any(found),
    )?;
    let user = bank.read(ANNIKA.user).await?;
    let user = user.first().map(text).unwrap_or_default();
    stage.check(
        "the colour stays, and the first 2 characters of the plate, as the policy says",
        user.contains(&format!(r#""colour":"{}""#, ANNIKA.colour))
            && user.contains(&format!(r#""plate":"{PLATE_RESIDUE}""#)),
    )?;
    let ids = |events: &[RecordedEvent]| -> Vec<EventId> {
        events.iter().filter(|event| !event.is_tombstone()).map(|event| event.id).collect()
    };
    stage.fact("events", now.len());
    stage.check("no event is missing, and none has moved", ids(&now) == ids(&before.events))?;
    let hers = |event: &&RecordedEvent| {
        !event.is_tombstone() && ANNIKA.streams().contains(&event.stream.as_str())
    };
    // An event that was public from the start had nothing to lose.
    let lost = |event: &RecordedEvent| {
        matches!(event.content(), Content::Partial { .. } | Content::Shredded(_))
            || before.of(event.stream.as_str()).any(|old| old.id == event.id && is_public(old))
    };
    stage.check("each of her events says what is missing", now.iter().filter(hers).all(lost))
}

/// Whether all that an event says is on the policy's list: then it has no sealed part.
fn is_public(event: &RecordedEvent) -> bool {
    event.event_type.as_str() == "LedgerOpened"
}

pub(super) async fn tombstones(
    stage: &mut Stage,
    bank: &Bank,
    before: &Remembered,
) -> Result<(), Failure> {
    stage.step(
        "tombstones",
        "Tombstones in all three services",
        "An ordinary event that every projection receives. It names the customer in her own \
         stream only: in a shared one it would tell for ever who was a member.",
    )?;
    let mut rows = Vec::new();
    let mut told = Vec::new();
    let mut erasures: Vec<Option<ErasureId>> = Vec::new();
    let mut references: Vec<ErasureRef> = Vec::new();
    for event in bank.all().await? {
        if let Content::Tombstone(tombstone) = event.content() {
            let named = tombstone.subject.as_ref().map_or("nobody", |subject| subject.as_str());
            rows.push(vec![
                event.stream.to_string(),
                event.revision.to_string(),
                tombstone.reference.to_string(),
                tombstone.day.to_string(),
                tombstone.keys.len().to_string(),
                named.to_owned(),
            ]);
            told.push((event.stream.to_string(), named.to_owned(), event.revision));
            let record = bank.oubliette.erasure_of(tombstone.reference, &event.stream)?;
            erasures.push(record.map(|record| record.erasure));
            references.push(tombstone.reference);
        }
    }
    stage.table(&["STREAM", "REVISION", "REF", "DAY", "DEAD KEYS", "NAMES"], rows)?;
    stage.fact("streams", told.iter().map(|(stream, _, _)| stream.as_str()).collect::<Vec<_>>());
    let mut streams: Vec<&str> = told.iter().map(|(stream, _, _)| stream.as_str()).collect();
    streams.sort_unstable();
    stage.check(
        "one in each affected stream",
        streams == [ANNIKA.account, ANNIKA.ledger, BERTIL.ledger, ANNIKA.user],
    )?;
    references.sort_unstable();
    references.dedup();
    stage.check(
        "nothing in them says that they are of one erasure; with the vault an auditor can tell",
        references.len() == streams.len()
            && erasures.iter().all(|erasure| erasure.is_some() && erasure == &erasures[0]),
    )?;
    let last = |stream: &str| before.of(stream).map(|event| event.revision).max();
    stage.check(
        "each follows the last event of its stream",
        told.iter().all(|(stream, _, at)| last(stream).is_some_and(|last| *at > last)),
    )?;
    stage.check(
        "the customer is named in her own stream and nowhere else",
        told.iter().all(|(stream, named, _)| (stream == ANNIKA.user) == (named == ANNIKA.user)),
    )
}

pub(super) async fn public_half(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "public-half",
        "References to her still work",
        "The public half has lost nothing, so no reference is broken, and no reader has to \
         remove one.",
    )?;
    before::public_half(stage, bank).await
}

pub(super) async fn totals(
    stage: &mut Stage,
    bank: &Bank,
    before: &Remembered,
) -> Result<(), Failure> {
    stage.step(
        "totals",
        "The books still balance",
        "Amounts are public by policy. A fold over a forgotten account meets shredded texts \
         and a tombstone, and returns the same sum.",
    )?;
    let books = books(&bank.oubliette).await?;
    let mut rows = Vec::new();
    for (was, is) in before.books.iter().zip(&books) {
        let row = |name: &str, was, is, events: String| {
            vec![
                name.to_owned(),
                format!("{:>14}", Euros(was)),
                format!("{:>14}", Euros(is)),
                events,
            ]
        };
        let Account { clear, partly, dark, .. } = is.account;
        let events = format!("{clear} whole, {partly} in part, {dark} not at all");
        rows.push(row(is.customer.account, was.account.cents, is.account.cents, events));
        rows.push(row(is.customer.ledger, was.booked, is.booked, String::new()));
    }
    stage.table(&["FOLD OF", "        BEFORE", "         AFTER", "READABLE EVENTS"], rows)?;
    let (was, sums) = (sums(&before.books), sums(&books));
    let (accounts, ledgers): (Vec<i64>, Vec<i64>) = sums.iter().copied().unzip();
    stage.fact("accounts_cents", json!(accounts));
    stage.fact("ledgers_cents", json!(ledgers));
    stage.check("every total is what it was", sums == was)?;
    stage.check(
        "and each account agrees with its ledger",
        sums.iter().all(|(account, ledger)| account == ledger && *account > 0),
    )?;
    stage.check(
        "her account alone says that its holder is forgotten",
        books.iter().all(|line| line.account.forgotten == (line.customer.user == ANNIKA.user)),
    )
}

pub(super) async fn refused(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "refused",
        "She cannot come back by accident",
        "A retry, an import or a service that has not heard would need a key of hers, and gets \
         a permanent error. Only `reopen`, by name, admits a person again, under new keys.",
    )?;
    let late = Json::parse(r#"{"id":"456","street":"Lange Reihe 7"}"#)?;
    let late = vec![event("AddressChanged", late)?];
    let late = bank.oubliette.append_to(&name(ANNIKA.user)?, ExpectedRevision::Any, late).await;
    let late = late.err().map(Failure::from);
    let deposit = Movement::paid_in(100, "at the counter");
    let deposit = move_money(&bank.oubliette, &ANNIKA, ExpectedRevision::Any, deposit).await.err();
    for error in [&late, &deposit].into_iter().flatten() {
        stage.line(&format!("refused: {error}"))?;
    }
    let forgotten = |error: Option<Failure>| error.as_ref().is_some_and(is_forgotten);
    stage.check("an event about her is refused as forgotten", forgotten(late))?;
    stage.check("so is a deposit to her account", forgotten(deposit))
}

pub(super) async fn others(
    stage: &mut Stage,
    bank: &Bank,
    before: &Remembered,
) -> Result<(), Failure> {
    stage.step(
        "others",
        "Nobody else lost anything",
        "The other customer's keys are his own. His ledger has a transfer from her: her IBAN in \
         it was sealed under her key and is gone, the rest of the booking is there. In her ledger \
         it is the other way round.",
    )?;
    for stream in [BERTIL.user, BERTIL.account] {
        let same = bank.read(stream).await?.iter().eq(before.of(stream));
        stage.check(&format!("{stream} reads back equal, event by event"), same)?;
    }
    let mut changed = Vec::new();
    for event in bank.read(BERTIL.ledger).await? {
        let same = before.of(BERTIL.ledger).any(|old| *old == event);
        if !same && !event.is_tombstone() {
            stage.line(&format!("{}  {}", event.stream, event.event_type))?;
            stage.line(&format!("    {}", text(&event)))?;
            changed.push(event);
        }
    }
    let one = match changed.as_slice() {
        [event] => {
            let was = before.of(BERTIL.ledger).find(|old| old.id == event.id).map(text);
            let iban = format!(r#","iban":"{}""#, ANNIKA.iban);
            was.is_some_and(|was| was.replacen(&iban, "", 1) == text(event) && was != text(event))
        }
        _ => false,
    };
    stage.check(
        &format!("in {} one event changed, by that IBAN and nothing else", BERTIL.ledger),
        one,
    )?;
    let kept = bank.read(ANNIKA.ledger).await?;
    let kept: Vec<&str> = kept.iter().map(text).filter(|text| text.contains(BERTIL.iban)).collect();
    for text in &kept {
        stage.line(&format!("{}  {}", ANNIKA.ledger, text))?;
    }
    stage.check(
        &format!("his own IBAN, in her {}, is still there", ANNIKA.ledger),
        kept.len() == 1,
    )?;
    let had = Account::load(&bank.oubliette, &BERTIL).await?;
    let more = Movement::paid_in(4_200, "at the counter");
    move_money(&bank.oubliette, &BERTIL, had.expected(), more).await?;
    let has = Account::load(&bank.oubliette, &BERTIL).await?;
    stage.check("and he goes on banking", has.state.cents == had.state.cents + 4_200)
}

pub(super) fn inventory(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "inventory",
        "The inventory, for the auditor",
        "Every key there is, never the key itself; and of the forgotten a keyed pseudonym, so \
         that no backup or retry brings a key of theirs back unnoticed.",
    )?;
    let mut totals = Totals::default();
    let (mut rows, mut subjects) = (Vec::new(), Vec::new());
    for row in bank.oubliette.inventory()? {
        let row = row?;
        totals.add(&row);
        match row {
            Row::Key(key) => {
                rows.push(vec![
                    key.stream.to_string(),
                    key.subject.to_string(),
                    key.generation.to_string(),
                    format!("{:?}", key.state).to_lowercase(),
                    format!("about {}", key.sealed_about),
                    key.owners.iter().map(|owner| owner.as_str()).collect::<Vec<_>>().join(", "),
                ]);
                subjects.push(key.subject);
            }
            Row::Forgotten(forgotten) => {
                let erasure = forgotten.erasures.last().map(|span| span.destruction.to_string());
                let pseudonym: String = forgotten.pseudonym.chars().take(8).collect();
                let day: String = erasure.unwrap_or_default().chars().take(10).collect();
                rows.push(vec![
                    format!("pseudonym {pseudonym}…"),
                    String::new(),
                    String::new(),
                    "forgotten".to_owned(),
                    day,
                    String::new(),
                ]);
            }
            _ => {}
        }
    }
    stage.table(&["STREAM", "SUBJECT", "GEN", "STATE", "SEALED", "OWNERS"], rows)?;
    stage.fact("totals", serde_json::to_value(totals)?);
    stage.check(
        "no key of the user, the account or the ledger is left, in any stream",
        !subjects.iter().any(|subject| ANNIKA.streams().contains(&subject.as_str())),
    )?;
    stage.check("three are listed as forgotten, without a name", totals.forgotten == 3)
}

pub(super) async fn old_copy(
    stage: &mut Stage,
    bank: &Bank,
    archive: &Archive,
) -> Result<(), Failure> {
    stage.step(
        "old-copy",
        "Last night's archive is useless now",
        "Deleting a key from a database leaves it in old copies, and on the disk. Here the \
         vault's files are ciphertext under a root key that the forgetting overwrote in place.",
    )?;
    let opened = before::open_copy(bank, &archive.vault)?;
    let said = match &opened {
        Ok(keys) => format!("it opens, and has {keys} keys"),
        Err(error) => error.to_string(),
    };
    stage.sentence(&format!("before, with {} keys, it opened; now: {said}", archive.keys))?;
    stage.fact("answer", said);
    let rolled_back = matches!(opened, Err(OpenVaultError::RolledBack { .. }));
    stage.check("the old copy does not open under today's root", rolled_back)?;
    let today = before::open_copy(bank, &{
        if let Some(vault) = bank.oubliette.vault() {
            vault.flush().await?;
        }
        bank.vault.clone()
    })?;
    stage.check("a copy of today's vault opens, so copying is not the reason", today.is_ok())?;
    stage.fact("milliseconds_in_all", stage.elapsed_ms());
    Ok(())
}
