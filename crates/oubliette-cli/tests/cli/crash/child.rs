//! The process that is killed: a few threads that append for many people and forget some, and
//! say what was acknowledged.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use oubliette::{
    event::{EventId, Json},
    layer::Oubliette,
    store::{EventStoreExt, ExpectedRevision, StoreError},
};
use oubliette_folder::{Access, AnyStore, DataFolder};

use super::servers::Servers;
use crate::common::{BANK, event, json, stream, subject};

pub(crate) const FOLDER: &str = "OUBLIETTE_TEST_KILLED_IN";
pub(crate) const FIRST_USER: &str = "OUBLIETTE_TEST_FIRST_USER";
/// The file that holds the address of the event store.
pub(crate) const STORE: &str = "store";
const THREADS: u32 = 4;

/// One line of what the child says.
pub(crate) enum Said {
    Appended {
        id: EventId,
        stream: String,
        secret: String,
    },
    Forgetting(String),
    Forgotten(String),
    /// Of a guest, who comes again and again: the stay, and the event of it or, with none, that
    /// its end was begun or is done.
    Guest {
        who: String,
        stay: u32,
        what: Guest,
    },
}

/// What is said of a guest.
pub(crate) enum Guest {
    Came(EventId),
    Leaving,
    Left,
}

impl Said {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        // A line that ends with its full stop was written whole.
        let words: Vec<&str> = line.strip_suffix(" .")?.split(' ').collect();
        match words[..] {
            ["appended", id, stream, secret] => Some(Self::Appended {
                id: id.parse().ok()?,
                stream: stream.to_owned(),
                secret: secret.to_owned(),
            }),
            ["forgetting", who] => Some(Self::Forgetting(who.to_owned())),
            ["forgotten", who] => Some(Self::Forgotten(who.to_owned())),
            ["guest", who, stay, what] => Some(Self::Guest {
                who: who.to_owned(),
                stay: stay.parse().ok()?,
                what: match what {
                    "leaving" => Guest::Leaving,
                    "left" => Guest::Left,
                    id => Guest::Came(id.parse().ok()?),
                },
            }),
            _ => None,
        }
    }
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line} .").unwrap();
    out.flush().unwrap();
}

/// With the events at a server, if a file says where.
pub(crate) fn data_folder(folder: &Path) -> DataFolder {
    std::fs::create_dir_all(folder.join("slot")).unwrap();
    let store = std::fs::read_to_string(folder.join(STORE)).ok();
    DataFolder::at(folder.join("data"))
        .with_root(Some(folder.join("slot/root")))
        .with_settings(Some(folder.join("settings")))
        .with_store(store.map(|address| address.parse().unwrap()))
        .with_stores(Arc::new(Servers))
}

/// Makes the folder, with the bank's policy.
pub(crate) async fn create(folder: &Path) {
    let policy = folder.join("bank.toml");
    let text = format!("public_metadata = [\"/author\"]\n{BANK}");
    std::fs::write(&policy, text).unwrap();
    let folder = data_folder(folder);
    let parts = folder.open(Access::Create, Some(&policy)).await.unwrap();
    folder.adopt(parts.oubliette.vault().unwrap(), &parts.given.unwrap()).await.unwrap();
}

/// Who wrote a message: in clear in its metadata, for the test alone.
pub(crate) fn author_of(metadata: Option<&Json>) -> Option<String> {
    let text = metadata?.as_str().split_once(r#""author":""#)?.1;
    Some(text.split_once('"')?.0.to_owned())
}

pub(crate) fn work(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(data_folder(folder).open(Access::Existing, None)).unwrap();
    say("\nopen");
    let bank = opened.oubliette;
    let first: u32 = std::env::var(FIRST_USER).unwrap().parse().unwrap();
    let next = AtomicU32::new(first);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let user = next.fetch_add(1, Ordering::SeqCst);
                    runtime.block_on(live(&bank, user));
                }
            });
        }
    });
}

/// A person's life: registers, opens an account, writes into a room, gives the account away now
/// and then, and is forgotten now and then. Dependents of who is forgotten follow.
async fn live(bank: &Oubliette<AnyStore>, n: u32) {
    let user = format!("user-{n}");
    let account = format!("bankaccount-{n}");
    let room = format!("room-{}", n % 3);
    let data = format!(r#"{{"id":{n},"surname":"s{n}x"}}"#);
    append(bank, &user, "UserRegistered", &data, &format!("s{n}x")).await;
    let data = format!(r#"{{"owner":"{user}","memo":"m{n}x"}}"#);
    append(bank, &account, "AccountOpened", &data, &format!("m{n}x")).await;
    for text in 0..n % 4 {
        let data = format!(r#"{{"author":{n},"text":"t{n}x{text}"}}"#);
        append(bank, &room, "Said", &data, &format!("t{n}x{text}")).await;
    }
    let data = format!(r#"{{"amount":1,"memo":"d{n}x"}}"#);
    append(bank, &account, "Deposited", &data, &format!("d{n}x")).await;
    if n.is_multiple_of(3) {
        // Nobody else knows the next owner, so that it is certain whether they are forgotten.
        let heir = format!("user-{}", 1_000_000 + n);
        let data = format!(r#"{{"newOwner":"{heir}","memo":"n{n}x"}}"#);
        append(bank, &account, "AccountTransferred", &data, &format!("n{n}x")).await;
        let data = format!(r#"{{"amount":2,"memo":"e{n}x"}}"#);
        append(bank, &account, "Deposited", &data, &format!("e{n}x")).await;
        if n.is_multiple_of(6) {
            forget(bank, &heir).await;
        }
    }
    if n.is_multiple_of(2) {
        forget(bank, &user).await;
    } else {
        visit(bank, n).await;
    }
}

/// Comes, is forgotten, is admitted again, and comes once more, while all the others live.
async fn visit(bank: &Oubliette<AnyStore>, n: u32) {
    let guest = format!("guest-{n}");
    for stay in 0..3 {
        let new = event("Came", r#"{"name":"somebody"}"#);
        let id = new.id;
        bank.append_to(&stream(&guest), ExpectedRevision::Any, vec![new]).await.unwrap();
        say(&format!("guest {guest} {stay} {id}"));
        if stay < 2 {
            say(&format!("guest {guest} {stay} leaving"));
            bank.forget(&subject(&guest), "they left").await.unwrap();
            say(&format!("guest {guest} {stay} left"));
            bank.reopen(&subject(&guest)).await.unwrap();
        }
    }
}

pub(crate) async fn append(
    bank: &Oubliette<AnyStore>,
    to: &str,
    kind: &str,
    data: &str,
    secret: &str,
) {
    let mut new = event(kind, data);
    if to.starts_with("room-") {
        let author = data.split_once(':').unwrap().1.split_once(',').unwrap().0;
        new = new.with_metadata(json(&format!(r#"{{"author":"user-{author}"}}"#)));
    }
    let id = new.id;
    match bank.append_to(&stream(to), ExpectedRevision::Any, vec![new]).await {
        Ok(_) => say(&format!("appended {id} {to} {secret}")),
        // The account of somebody who was forgotten by then.
        Err(StoreError::Forgotten { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn forget(bank: &Oubliette<AnyStore>, who: &str) {
    say(&format!("forgetting {who}"));
    bank.forget(&subject(who), "the person asked").await.unwrap();
    say(&format!("forgotten {who}"));
}
