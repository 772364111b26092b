//! The story up to the day on which somebody asks to be forgotten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oubliette::{
    event::{Json, Payload, RecordedEvent},
    store::{Current, EventStoreExt, ExpectedRevision, ReadOptions, StoreError},
    vault::{
        OpenAs, Vault,
        internals::{InventoryEntry, Plumbing as _},
    },
};

use super::{
    Failure,
    bank::{
        ANNIKA, Account, BERTIL, CUSTOMERS, Customer, Euros, Movement, booked, move_money, name,
        register, transfer,
    },
    folder::{self, Bank, text},
    stage::Stage,
};

/// A copy of the vault from before the forgetting, and how many keys it held.
pub(super) struct Archive {
    pub(super) vault: PathBuf,
    pub(super) keys: usize,
}

pub(super) async fn accounts(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "accounts",
        "Two customers open accounts",
        "Three services, User, Bankaccount and Transactionledger, write events as they always \
         did; the layer between them and the store seals what no rule of the policy calls \
         public. (Here the services share one store and one vault. A vault for each, and a \
         cascade between them, is not built yet.)",
    )?;
    let store = &bank.oubliette;
    for customer in CUSTOMERS {
        register(store, customer).await?;
    }
    let exists = ExpectedRevision::StreamExists;
    let salary = format!("salary of {} {}", ANNIKA.first_name, ANNIKA.surname);
    for (customer, movement) in [
        (&ANNIKA, Movement::paid_in(240_000, &salary)),
        (&BERTIL, Movement::paid_in(180_000, "salary")),
        (&ANNIKA, Movement::paid_out(30_000, "cash, Altona")),
    ] {
        move_money(store, customer, exists, movement).await?;
    }
    transfer(store, (&ANNIKA, &BERTIL), exists, 65_000, "rent").await?;
    move_money(store, &ANNIKA, exists, Movement::paid_in(5_000, "refund")).await?;

    let events = bank.all().await?;
    let row = |service: &str, layout: &str, public: &str, stream: fn(&Customer) -> &'static str| {
        let streams = CUSTOMERS.map(stream);
        let count = |stream| {
            events.iter().filter(|event| event.stream.as_str() == stream).count().to_string()
        };
        let events = streams.map(count).join(" + ");
        vec![service.into(), layout.into(), public.into(), streams.join(", "), events]
    };
    stage.table(
        &["SERVICE", "LAYOUT", "PUBLIC", "STREAMS", "EVENTS"],
        vec![
            row("User", "split", "id, colour, plate's first 2", |at| at.user),
            row("Bankaccount", "inline", "owner, amount, currency", |at| at.account),
            row("Transactionledger", "inline", "account, amount, currency", |at| at.ledger),
        ],
    )?;
    stage.line(&format!("in the folder {} (removed at the end)", bank.place.display()))?;
    stage.fact("folder", bank.place.display().to_string());
    stage.fact("events", events.len());
    // Two registrations, two accounts, two ledgers, and each movement in account and ledger.
    stage.check("every event that was acknowledged is in the store", events.len() == 6 + 2 * 6)
}

pub(super) async fn raw(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "raw",
        "What the store really holds",
        "Read underneath the layer. What is public is in clear, so that other tools can query \
         it. The rest is a token: AES-256-GCM under the stream's own key, which is in the vault \
         and not here.",
    )?;
    for stream in ["user-public-456", "user-private-456", ANNIKA.account] {
        let options = ReadOptions { limit: Some(2), ..ReadOptions::default() };
        for event in bank.oubliette.store().events(&name(stream)?, options).await? {
            let shown = shortened(text(&event));
            stage.line(&format!("{stream}  {}", event.event_type))?;
            stage.line(&format!("    {shown}"))?;
        }
    }
    let mut searched = Vec::new();
    let mut hits = |text: &str| -> Result<usize, Failure> {
        let events = folder::grep(&bank.events, text)?;
        let vault = folder::grep(&bank.vault, text)?;
        stage.line(&format!("grep {text:<22}  events/: {events}   vault/: {vault}"))?;
        searched.push(serde_json::json!({"text": text, "events": events, "vault": vault}));
        Ok(events + vault)
    };
    let secret =
        [hits(ANNIKA.surname)?, hits(ANNIKA.first_name)?, hits(ANNIKA.plate)?, hits(ANNIKA.iban)?]
            .iter()
            .sum::<usize>();
    let public = hits(ANNIKA.colour)?;
    stage.fact("searched", searched);
    stage.check(
        "surname, first name, plate and IBAN are in no file of store or vault",
        secret == 0,
    )?;
    stage.check("the colour, which is public, is found, so the search works", public > 0)
}

/// The JSON of a stored event, with its tokens cut short.
fn shortened(json: &str) -> String {
    let mut shown = String::new();
    let mut rest = json;
    // Tokens are the only long strings in these events.
    while let Some((before, string)) = rest.split_once('"') {
        let Some((string, after)) = string.split_once('"') else { break };
        let cut = if string.len() > 40 {
            format!("{}…({} characters)", string.chars().take(12).collect::<String>(), string.len())
        } else {
            string.to_owned()
        };
        shown.push_str(&format!("{before}\"{cut}\""));
        rest = after;
    }
    shown.push_str(rest);
    shown
}

pub(super) async fn readable(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "read",
        "What the services read",
        "Through the layer the same events read whole. The services need not know that it is \
         there.",
    )?;
    let user = bank.read(ANNIKA.user).await?;
    for event in &user {
        stage.line(&format!("{}  {}", event.stream, event.event_type))?;
        stage.line(&format!("    {}", text(event)))?;
    }
    let written = ANNIKA.registered()?;
    let same = matches!(user.as_slice(), [event] if event.data == Some(Payload::Json(written)));
    stage.check("the user reads back exactly as she was written", same)?;
    let complete = |event: &RecordedEvent| event.shredded.is_empty() && event.withheld.is_empty();
    stage.check("so far nothing is shredded or withheld", bank.all().await?.iter().all(complete))
}

pub(super) async fn conflict(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "conflict",
        "Two withdrawals at the same revision",
        "An account must never go below zero. Two counters read the same revision, and both \
         could pay. The expected revision lets one win; the other has to read again and decide \
         again.",
    )?;
    let store = &bank.oubliette;
    let counter = |cents| Movement::paid_out(cents, "at the counter");
    let first = Account::load(store, &ANNIKA).await?;
    let second = Account::load(store, &ANNIKA).await?;
    let (revision, balance) = (first.revision.map_or(0, |revision| revision.0), first.state.cents);
    let wanted = 100_000;
    stage.line(&format!("both read revision {revision}: {}", Euros(balance)))?;
    stage.check(
        "alone, either withdrawal leaves the account above zero; together they do not",
        balance >= wanted && balance < 2 * wanted,
    )?;

    let paid = move_money(store, &ANNIKA, first.expected(), counter(wanted)).await?;
    stage.line(&format!("the first pays {} as revision {}", Euros(wanted), paid.revision))?;

    let late = move_money(store, &ANNIKA, second.expected(), counter(wanted)).await;
    let refused = late.err().and_then(|error| error.downcast::<StoreError>().ok());
    let conflict = matches!(
        refused.as_deref(),
        Some(StoreError::Conflict { actual: Some(Current::Revision(actual)), .. })
            if *actual == paid.revision
    );
    if let Some(error) = &refused {
        stage.sentence(&format!("the second is told: {error}"))?;
        stage.fact("conflict", error.to_string());
    }
    stage.check("the second got a conflict that tells the actual revision", conflict)?;

    let again = Account::load(store, &ANNIKA).await?;
    let left = again.state.cents;
    let told = Euros(left);
    stage.line(&format!("it reads again: {told}, not enough; the customer takes 200.00 EUR"))?;
    stage.check(
        "neither account nor ledger has anything of the refused withdrawal",
        left == balance - wanted && booked(store, &ANNIKA).await? == left,
    )?;
    let retried = move_money(store, &ANNIKA, again.expected(), counter(20_000)).await?;
    let rest = Account::load(store, &ANNIKA).await?.state;
    stage.line(&format!("and that is revision {}: {}", retried.revision, Euros(rest.cents)))?;
    stage.fact("balance_cents", rest.cents);
    stage.check("the account never went below zero", rest.lowest >= 0)
}

pub(super) async fn halves(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    stage.step(
        "split",
        "The public half of a user",
        "Layout `split` keeps a user's public and private halves in two streams. What refers to \
         user-456 can be followed to the public half by name, by readers who have no key.",
    )?;
    public_half(stage, bank).await
}

/// Follows an account to its owner's public half. Told twice: before and after the forgetting.
pub(super) async fn public_half(stage: &mut Stage, bank: &Bank) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Owner {
        owner: String,
    }
    #[derive(serde::Deserialize)]
    struct Public {
        id: String,
        colour: String,
    }
    let opened = bank.read(ANNIKA.account).await?;
    let opened = opened.first().map(text).unwrap_or_default();
    let Owner { owner } = Json::parse(opened)?.to()?;
    stage.line(&format!("{} belongs to {}", ANNIKA.account, owner))?;
    let half = owner.replacen("user-", "user-public-", 1);
    let public = bank.read(&half).await?;
    let public = public.first().map(text).unwrap_or_default();
    stage.line(&format!("{half}  {public}"))?;
    let read: Public = Json::parse(public)?.to()?;
    stage.fact("public_half", half);
    stage.check(
        "the reference leads to the public half, with id and colour",
        read.id == "456" && read.colour == ANNIKA.colour,
    )?;
    let silent = [ANNIKA.surname, ANNIKA.first_name, ANNIKA.plate]
        .iter()
        .all(|secret| !public.contains(secret));
    stage.check("and with nothing personal", silent)
}

pub(super) async fn archive(stage: &mut Stage, bank: &Bank) -> Result<Archive, Failure> {
    stage.step(
        "archive",
        "A nightly archive of the vault",
        "Somebody copies the vault's folder, and keeps the copy. With the root slot of today it \
         opens, so it is a good copy. (A copy of the root slot as well would keep every key: \
         that is why the slot is kept apart, where no archive catches it.)",
    )?;
    if let Some(vault) = bank.oubliette.vault() {
        vault.flush().await?;
    }
    let vault = bank.place.join("archive");
    folder::copy(&bank.vault, &vault)?;
    let keys = open_copy(bank, &vault)??;
    let (files, bytes) = folder::size(&vault)?;
    stage.line(&format!("copied {files} files, {} KiB; it holds {keys} keys", bytes / 1024))?;
    stage.fact("keys", keys);
    let living = bank.oubliette.inventory()?.filter(|row| row.is_ok()).count();
    stage.check("the copy opens, and has every key", keys > 0 && keys == living)?;
    Ok(Archive { vault, keys })
}

/// Opens a copy of a copy of the vault with today's root slot, and counts the keys in it. The
/// outer error is the demo's own; the inner one is the vault's answer.
pub(super) fn open_copy(
    bank: &Bank,
    copy: &Path,
) -> Result<Result<usize, oubliette::vault::OpenVaultError>, Failure> {
    // Opening writes; what is archived must stay as it is. The slot is copied because the bank
    // has it open.
    let trial = tempfile::Builder::new().prefix("trial-").tempdir_in(&bank.place)?;
    let (folder, root) = (trial.path().join("vault"), trial.path().join("root-slot"));
    folder::copy(copy, &folder)?;
    fs::copy(&bank.root, &root)?;
    // A copy, with a copy of the slot: nobody else has it.
    let opened = Vault::open_as(&folder, root.as_path(), OpenAs::TheOne);
    let keys = opened.and_then(|vault| {
        let entries: Vec<InventoryEntry> = vault.inventory().collect::<Result<_, _>>()?;
        Ok(entries.iter().filter(|entry| matches!(entry, InventoryEntry::Key(_))).count())
    });
    trial.close()?;
    Ok(keys)
}
