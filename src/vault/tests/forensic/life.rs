//! A random life: people come, open accounts, write, are forgotten and come back, while keys are
//! replaced and the process ends at any write.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use tokio::runtime::Runtime;

use super::{
    Case, Moment,
    archive::{Archive, Recording, files_of},
};
use crate::{
    event::{EventType, Json, NewEvent},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, MemoryStore},
    vault::{
        InventoryEntry, KeyLookup, OpenAs, OpenVaultError, PageStoreKind, Vault,
        pages::SledPages,
        root::{RootSlot, Slot},
        shared::Limits,
        tests::{Chance, stream, subject},
        tree::{Sabotage, Shape, Tree},
    },
};

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id"]

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner", "/newOwner", "/amount"]
owner  = [ { event = "Opened", add = "{/owner}" }, { event = "Given", replace = "{/newOwner}" } ]

[[stream]]
match     = "room-{id}"
layout    = "inline"
subject   = "user-{/author}"
otherwise = "stream"
"#;

/// How the vault stands on its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// As everybody has it.
    Plain,
    /// Of small pages, over parts that keep what is written and fail when told.
    Recorded(Sabotage),
}

pub(super) struct Life {
    chance: Chance,
    /// How many people there are.
    people: u64,
    store: Store,
    work: tempfile::TempDir,
    /// Counts the processes that ended: each goes on in a copy of what the last one left.
    lives: u64,
    runtime: Runtime,
    events: MemoryStore,
    bank: Option<Oubliette<MemoryStore>>,
    forgotten: BTreeSet<u64>,
    /// How often a write was cut off.
    faults: u64,
    case: Case,
}

impl Life {
    /// Lives it, and says what there is to find.
    pub(super) fn live(seed: u64, steps: u64, store: Store) -> Case {
        let mut life = Self::begin(seed, store);
        for _ in 0..steps {
            life.step();
            life.look();
        }
        life.end()
    }

    fn begin(seed: u64, store: Store) -> Self {
        let mut life = Self {
            chance: Chance(seed),
            // Enough for a tree of more than one page.
            people: if store == Store::Plain { 100 } else { 12 },
            store,
            work: tempfile::tempdir().unwrap(),
            lives: 0,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap(),
            events: MemoryStore::new(),
            bank: None,
            forgotten: BTreeSet::new(),
            faults: 0,
            case: Case::default(),
        };
        life.open(true);
        for who in 0..life.people {
            life.append(&name(who), "Came", &format!(r#"{{"id":{who},"name":"N"}}"#));
        }
        life.look();
        life
    }

    fn end(mut self) -> Case {
        // Closing writes, too.
        self.bank = None;
        self.case.archive.take_files(&self.folder());
        self.case
    }

    fn folder(&self) -> PathBuf {
        self.work.path().join(format!("vault-{}", self.lives))
    }

    fn slot(&self) -> PathBuf {
        self.work.path().join(format!("root-{}", self.lives))
    }

    fn open(&mut self, create: bool) {
        let (folder, slot) = (self.folder(), self.slot());
        let vault = match self.store {
            Store::Plain if create => Vault::create(&folder, &slot).unwrap(),
            // It may be a copy, with a copy of the slot.
            Store::Plain => Vault::open_as(&folder, &slot, OpenAs::TheOne).unwrap(),
            Store::Recorded(sabotage) => {
                // A few keys, or children, in a page.
                let shape = Shape {
                    page_bytes: 400,
                    leaf_bytes: 400,
                    cache_bytes: 4096,
                    batch_pages: 6,
                    sabotage,
                };
                recorded(&folder, &slot, create, shape, &self.case.archive)
            }
        };
        self.case.vault = *vault.id().0.as_bytes();
        let opening = Oubliette::open(self.events.clone(), vault, Policy::parse(POLICY).unwrap());
        self.bank = Some(self.runtime.block_on(opening).unwrap());
    }

    fn step(&mut self) {
        self.case.archive.begin();
        match self.chance.below(16) {
            0 => self.reopen(),
            1 => self.crash(),
            2 | 3 if self.store != Store::Plain => {
                // Some write of what comes next is the last.
                let after = self.chance.below(8);
                self.fail_after(after);
                self.act();
                if self.case.archive.mend() {
                    self.faults += 1;
                    self.go_on_in_the_copy();
                }
            }
            _ => self.act(),
        }
    }

    /// What people do.
    fn act(&mut self) {
        let (who, room) = (self.chance.below(self.people), self.chance.below(4));
        let (whom, account) = (subject(&name(who)), format!("account-{}", self.chance.below(6)));
        let bank = self.bank.clone().unwrap();
        match self.chance.below(22) {
            0..=2 => self.append(&name(who), "Came", &format!(r#"{{"id":{who},"name":"N"}}"#)),
            3..=4 => {
                let data = format!(r#"{{"owner":"{}","memo":"M"}}"#, name(who));
                self.append(&account, "Opened", &data);
            }
            5 => {
                let data = format!(r#"{{"newOwner":"{}","memo":"M"}}"#, name(who));
                self.append(&account, "Given", &data);
            }
            6 => self.append(&account, "Paid", r#"{"amount":1,"memo":"M"}"#),
            7..=10 => {
                let author = name(who).replace("user-", "");
                let data = format!(r#"{{"author":"{author}","text":"T"}}"#);
                self.append(&format!("room-{room}"), "Said", &data);
            }
            11..=15 => {
                if self.runtime.block_on(bank.forget(&whom, "asked")).is_ok() {
                    self.forgotten.insert(who);
                }
            }
            16..=18 => {
                let _ = self.runtime.block_on(bank.reopen(&whom));
                self.forgotten.remove(&who);
            }
            19 => {
                let _ = self.runtime.block_on(bank.rotate_root());
            }
            20 => {
                let _ = self.runtime.block_on(bank.rotate(&whom));
            }
            _ => self.back_up(),
        }
    }

    /// The adversary gets the file, too; the identity that opens it they do not have.
    #[cfg(feature = "backup")]
    fn back_up(&self) {
        use crate::{event::Timestamp, vault::backup::Recipients};
        let folder = self.work.path().join("backups");
        fs::create_dir_all(&folder).unwrap();
        let mut recipients = Recipients::default();
        let identity = age::x25519::Identity::generate();
        recipients.add(&identity.to_public().to_string()).unwrap();
        let file = folder.join(self.case.moments.len().to_string());
        let vault = self.bank.as_ref().unwrap().vault().unwrap();
        let tomorrow = Timestamp::from_micros(Timestamp::now().as_micros() + 86_400_000_000);
        let _ = self.runtime.block_on(vault.back_up(&file, &recipients, tomorrow, |_| {}));
        self.case.archive.take_files(&folder);
    }

    #[cfg(not(feature = "backup"))]
    fn back_up(&self) {}

    /// Is refused where somebody is forgotten, and fails where the fault comes.
    fn append(&self, to: &str, kind: &str, data: &str) {
        let event = NewEvent::new(EventType::new(kind).unwrap(), Json::parse(data).unwrap());
        let (bank, to) = (self.bank.as_ref().unwrap(), stream(to));
        let appending = bank.append_to(&to, ExpectedRevision::Any, vec![event]);
        let _ = self.runtime.block_on(appending);
    }
}

impl Life {
    fn fail_after(&mut self, writes: u64) {
        let (from, to) = ((self.folder(), self.slot()), self.next_places());
        self.case.archive.fail_after(writes, move || {
            copy(&from.0, &to.0);
            fs::copy(&from.1, &to.1).unwrap();
        });
    }

    /// The vault is closed and opened.
    fn reopen(&mut self) {
        self.bank = None;
        self.case.archive.take_files(&self.folder());
        self.open(false);
    }

    /// The process ends between two operations.
    fn crash(&mut self) {
        let to = self.next_places();
        copy(&self.folder(), &to.0);
        fs::copy(self.slot(), &to.1).unwrap();
        self.go_on_in_the_copy();
    }

    fn next_places(&mut self) -> (PathBuf, PathBuf) {
        self.lives += 1;
        let places = (self.folder(), self.slot());
        self.lives -= 1;
        places
    }

    /// What was in memory is lost, or at least not written where it goes on.
    fn go_on_in_the_copy(&mut self) {
        self.bank.as_ref().unwrap().vault().unwrap().shared().disk.poison();
        self.bank = None;
        self.case.archive.take_files(&self.folder());
        self.lives += 1;
        self.case.archive.begin();
        self.open(false);
    }

    /// Takes what there is to be had, and notes what is true now.
    fn look(&mut self) {
        let (case, folder) =
            (&mut self.case, self.work.path().join(format!("vault-{}", self.lives)));
        case.archive.take_files(&folder);
        if self.store == Store::Plain {
            for (name, content) in pages_in(&folder, self.work.path()) {
                case.archive.take_page(name, content);
            }
        }
        let vault = self.bank.as_ref().unwrap().vault().unwrap();
        let known: HashMap<_, _> =
            case.keys.iter().enumerate().map(|(index, (id, _))| (*id, index)).collect();
        let mut living = HashSet::new();
        for entry in vault.inventory() {
            let InventoryEntry::Key(info) = entry.unwrap() else { continue };
            let index = known.get(&info.id).copied().unwrap_or_else(|| {
                let KeyLookup::Live { key, .. } = vault.opening_key(info.id).unwrap() else {
                    panic!("a key of the inventory is dead");
                };
                case.keys.push((info.id, *key.secret()));
                case.keys.len() - 1
            });
            living.insert(index);
        }
        let slot = fs::read(self.work.path().join(format!("root-{}", self.lives))).unwrap();
        // A claim that was cut off before it counted may have left a name among the bytes.
        let forgotten = self.forgotten.iter().filter(|_| self.faults == 0);
        let forgotten = forgotten.map(|who| name(*who)).collect();
        case.moments.push(Moment { slot, living, seen: case.keys.len(), forgotten });
    }
}

/// A name that stands nowhere by chance.
fn name(who: u64) -> String {
    format!("user-{who:02}-somebody")
}

/// A vault over parts that keep in the archive what is written.
pub(super) fn recorded(
    folder: &Path,
    slot: &Path,
    create: bool,
    shape: Shape,
    archive: &Archive,
) -> Vault {
    let inner = SledPages::open(&folder.join("pages")).unwrap();
    let pages = Box::new(Recording { inner, archive: archive.clone() });
    let slot = Box::new(Recording { inner: real_slot(slot, create), archive: archive.clone() });
    let tree = match create {
        true => Tree::create(pages, slot, shape).map_err(OpenVaultError::from),
        false => Tree::open(pages, slot, shape),
    };
    Vault::over(tree.unwrap().into(), Limits::default()).unwrap()
}

fn real_slot(at: &Path, create: bool) -> Box<dyn RootSlot> {
    Box::new(Slot::in_file(at, create).unwrap())
}

/// What sled finds in a copy of a vault's folder as it is there, of a vault that is open, too.
pub(super) fn pages_in(folder: &Path, work: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let aside = tempfile::tempdir_in(work).unwrap();
    copy(folder, aside.path());
    let pages = PageStoreKind::Sled.open(&aside.path().join("pages")).unwrap();
    let mut names = Vec::new();
    pages.names(&mut |name| names.push(name.to_vec())).unwrap();
    let page = |name: Vec<u8>| (pages.get(&name).unwrap().unwrap(), name);
    names.into_iter().map(page).map(|(content, name)| (name, content)).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files_of(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // A file that sled has removed meanwhile is not there any more.
        if path.exists() {
            fs::copy(&path, to).unwrap();
        }
    }
}
