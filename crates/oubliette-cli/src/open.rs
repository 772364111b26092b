//! The global options, and the data folder that they lead to.

use std::{
    io::{IsTerminal, stderr, stdin},
    path::{Path, PathBuf},
};

use clap::Args;
use oubliette::{
    erasure::{KeyChange, Witnessed},
    event::Announcement,
    layer::Oubliette,
    store::{Refusal, SqliteStore, StoreError},
    vault::{Kek, OpenAs, Passphrase},
};
use oubliette_folder::{Access, DataFolder, FormerPolicy, Parts, PolicyText};
use uuid::Uuid;

use super::{
    exit::CliError,
    forget::tell_completed,
    kek::KekParser,
    known,
    output::{self, agree, note},
};

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// The data folder: events, vault and policy
    #[arg(long, global = true, value_name = "FOLDER", env = "OUBLIETTE_DIR")]
    #[arg(default_value = "./oubliette-data", hide_env_values = true)]
    pub(super) dir: PathBuf,
    /// The vault's folder, where it is not `vault/` in the data folder
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) vault: Option<PathBuf>,
    /// The vault's root slot: a file, tpm:INDEX or pkcs11:URI; keep it apart from the data folder, and back the vault up with `backup`
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "OUBLIETTE_ROOT",
        hide_env_values = true
    )]
    pub(super) root: Option<PathBuf>,
    /// A further copy of the root slot, on another device; may be given more than once. It is noted
    /// for you, outside of the folder
    #[arg(long = "mirror", global = true, value_name = "FILE")]
    pub(super) mirrors: Vec<PathBuf>,
    /// What wraps the root key in its slot: none, passphrase, file:PATH, env:VAR or command:CMD; it is
    /// noted for you, outside of the folder. `oubliette root kek` changes it
    #[arg(long, global = true, value_name = "KEK", env = "OUBLIETTE_KEK", hide_env_values = true, value_parser = KekParser)]
    pub(super) kek: Option<Kek>,
    /// The event store's folder, where it is not `events/` in the data folder
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) store: Option<PathBuf>,
    /// Refuse a vault that was rolled back to before this epoch; `forget` and `erasures` print it
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "OUBLIETTE_EXPECT_EPOCH",
        hide_env_values = true
    )]
    pub(super) expect_epoch: Option<u64>,
    /// Open the vault whatever the counter of its root slot says: an old state was restored on
    /// purpose, or the counter is lost. See `oubliette root counter`
    #[arg(long, global = true)]
    pub(super) past_counter: bool,
    /// Say that an erasure is dealt with which the vault announced and cannot open any more, because
    /// it was put back too far: everybody whom it took is forgotten again by name; or that an
    /// announcement is a forgery. ID is the erasure's, or that of one of the events that announce it.
    /// Once is enough
    #[arg(long = "past-erasure", global = true, value_name = "ID")]
    pub(super) past_erasures: Vec<Uuid>,
    /// Say who accepts that announcements are missing in the event store, which keeps everything closed: a
    /// person, a role or a ticket, which is kept. It is of what this command finds missing, and once is
    /// enough; where nothing is missing, the command fails
    #[arg(long, global = true, value_name = "WHO")]
    pub(super) past_gap: Option<String>,
    /// Apply an erasure that an earlier restoration of this vault's backup announced, under a key that
    /// this one does not know, or that only a compromised key announced. ID is the erasure's, or that of
    /// one of the events that announce it. Once is enough
    #[arg(long = "believe-erasure", global = true, value_name = "ID")]
    pub(super) believed_erasures: Vec<Uuid>,
    /// Open this folder as the only one of its root slot, though it was restored or is a copy: you
    /// make sure that no other folder is used with that slot. Once is enough
    #[arg(long, global = true)]
    pub(super) this_is_the_one: bool,
    /// Look into the folder and change nothing, whatever it is: a copy, or on a disk that is read-only.
    /// Beside the events SQLite may leave two files, events.db-shm and events.db-wal, without content
    #[arg(long, global = true)]
    pub(super) read_only: bool,
    /// The policy to work under, for this command. `append` and `import` also adopt it for the folder
    /// before the first event is stored under it; if all is refused, the folder keeps its own
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Read without the vault: what is public is shown, the rest is withheld
    #[arg(long, global = true)]
    pub(super) no_vault: bool,
    /// One JSON value a line on stdout, nothing else there
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What the command line works on.
pub(super) type Store = Oubliette<SqliteStore>;

impl Globals {
    /// Opens the folder for a command that writes events, and makes it where there is none. The
    /// adoption of the policy that was given is to [begin](Adoption::begin) before the first event.
    pub(super) async fn open_or_create(&self) -> Result<(Store, Adoption), CliError> {
        let (store, given) = self.open_with(Access::Create).await?;
        Ok((store, Adoption::of(self.folder(), given)))
    }

    /// Opens the folder for a command that needs its vault.
    pub(super) async fn open_existing(&self) -> Result<Store, CliError> {
        self.open(Access::Existing).await
    }

    /// As [`Globals::open_existing`], with announcements that the user may name beside those of the store.
    pub(super) async fn open_with_list(
        &self,
        listed: Vec<Announcement>,
    ) -> Result<Store, CliError> {
        let folder = self.unlocked()?.with_list(listed);
        self.told(folder.open(Access::Existing, self.policy.as_deref()).await?)
    }

    /// Opens the folder for a command that looks whether it is whole.
    pub(super) async fn open_to_audit(&self) -> Result<Store, CliError> {
        self.open(Access::Audit).await
    }

    /// Opens the folder for reading, with the vault or, where the user said so, without.
    pub(super) async fn open_to_read(&self) -> Result<Store, CliError> {
        if self.no_vault {
            let folder = self.folder();
            let parts = folder.open(Access::WithoutVault, self.policy.as_deref()).await?;
            parts.notes.iter().for_each(|told| note(self.json, &known::noted(told)));
            return Ok(parts.oubliette);
        }
        self.open_existing().await
    }

    /// Opens the folder and changes the signing keys, before anything is done that an earlier key says.
    pub(super) async fn open_with_key_change(&self, change: KeyChange) -> Result<Store, CliError> {
        let folder = self.unlocked()?.with_key_change(Some(change));
        self.told(folder.open(Access::Existing, self.policy.as_deref()).await?)
    }

    fn told(&self, parts: Parts) -> Result<Store, CliError> {
        parts.notes.iter().for_each(|told| note(self.json, &known::noted(told)));
        self.tell_of_witness(&parts.oubliette.witnessed());
        Ok(parts.oubliette)
    }

    /// Where the root slot and the vault's folder are.
    pub(super) fn places(&self) -> (Option<PathBuf>, PathBuf) {
        self.folder().places()
    }

    pub(super) fn folder(&self) -> DataFolder {
        DataFolder::at(&self.dir)
            .with_root(self.root.clone())
            .with_mirrors(self.mirrors.clone())
            .with_kek(self.kek.clone())
            .with_vault(self.vault.clone())
            .with_store(self.store.clone())
            .with_expected_epoch(self.expect_epoch)
            .past_counter(self.past_counter)
            .past_gap(self.past_gap.clone())
            .past_erasures(self.past_erasures.clone())
            .believed_erasures(self.believed_erasures.clone())
            .open_as(match (self.read_only, self.this_is_the_one) {
                (true, _) => OpenAs::ReadOnly,
                (_, true) => OpenAs::TheOne,
                _ => OpenAs::Known,
            })
    }

    /// The folder, with the passphrase of its root slot, if it has one.
    pub(super) fn unlocked(&self) -> Result<DataFolder, CliError> {
        let folder = self.folder();
        if folder.kek()? != Kek::Passphrase {
            return Ok(folder);
        }
        let new = !self.dir.join("oubliette.json").exists();
        Ok(folder.with_passphrase(Some(passphrase("OUBLIETTE_PASSPHRASE", new)?)))
    }

    async fn open(&self, access: Access) -> Result<Store, CliError> {
        Ok(self.open_with(access).await?.0)
    }

    async fn open_with(&self, access: Access) -> Result<(Store, Option<PolicyText>), CliError> {
        let parts = self.unlocked()?.open(access, self.policy.as_deref()).await?;
        if let Some(root) = &parts.created_root {
            self.tell_of_root(root);
        }
        parts.notes.iter().for_each(|told| note(self.json, &known::noted(told)));
        self.tell_of_witness(&parts.oubliette.witnessed());
        parts.oubliette.completed().iter().for_each(|erased| tell_completed(self.json, erased));
        if access == Access::Create && self.policy.is_some() {
            for warning in parts.oubliette.policy().warnings() {
                note(self.json, &format!("policy: {warning}"));
            }
        }
        Ok((parts.oubliette, parts.given))
    }

    /// What the event store knew, and the vault did not.
    pub(super) fn tell_of_witness(&self, witnessed: &Witnessed) {
        let ids = |ids: &[String]| ids.join(", ");
        let replayed: Vec<_> = witnessed.replayed.iter().map(ToString::to_string).collect();
        let unverifiable: Vec<_> = witnessed.unverifiable.iter().map(ToString::to_string).collect();
        if !replayed.is_empty() {
            let text = format!(
                "the vault was rolled back, or restored: {} announced since applied again ({})",
                output::count(replayed.len() as u64, "erasure"),
                ids(&replayed)
            );
            if self.json {
                let told = serde_json::json!({ "note": text, "replayed": replayed });
                output::to_stderr(&told.to_string());
            } else {
                note(false, &text);
            }
        }
        if !unverifiable.is_empty() {
            note(
                self.json,
                &format!(
                    "{} in oubliette-announcements {} to be this vault's, and {} not signed by it or \
                     {} not open: forged, changed, or a newer program's; not counted ({})",
                    output::count(unverifiable.len() as u64, "event"),
                    agree(unverifiable.len() as u64, "claims", "claim"),
                    agree(unverifiable.len() as u64, "is", "are"),
                    agree(unverifiable.len() as u64, "does", "do"),
                    ids(&unverifiable)
                ),
            );
        }
        let odd: Vec<_> = witnessed.odd.iter().map(ToString::to_string).collect();
        if !odd.is_empty() {
            note(
                self.json,
                &format!(
                    "{} in oubliette-announcements {}: changed, or written by somebody else ({})",
                    output::count(odd.len() as u64, "event"),
                    agree(odd.len() as u64, "is no announcement", "are no announcements"),
                    ids(&odd)
                ),
            );
        }
        for key in &witnessed.keys {
            let text = format!(
                "the vault was put back to before a change of its signing keys: it learned of key {key}"
            );
            note(self.json, &text);
        }
        for key in &witnessed.distrusted {
            let text = format!(
                "the vault learned that its signing key {key} is compromised: what only that key says \
                 does not count"
            );
            note(self.json, &text);
        }
        let compromised: Vec<_> = witnessed.compromised.iter().map(ToString::to_string).collect();
        if !compromised.is_empty() {
            let text = format!(
                "{} in oubliette-announcements, of erasures, by a compromised signing key alone: not \
                 counted ({})",
                output::count(compromised.len() as u64, "announcement"),
                ids(&compromised)
            );
            note(self.json, &text);
        }
        for refused in &witnessed.refused {
            let text = format!(
                "a statement about signing keys does not count (event {}): {}",
                refused.event, refused.why
            );
            note(self.json, &text);
        }
        if !witnessed.forked.is_empty() {
            let forked: Vec<_> = witnessed.forked.iter().map(ToString::to_string).collect();
            let text = format!(
                "two copies of this vault were at work at once, and announced without knowing of each other ({} in \
                 oubliette-announcements: {}). All of it is applied here, but keys that the other made are unknown: find \
                 out which of them goes on, and stop the other",
                output::count(forked.len() as u64, "event"),
                ids(&forked)
            );
            note(self.json, &text);
        }
        if witnessed.gap {
            note(
                self.json,
                "announcements that this vault knew are in another place or order in the event store, or missing, \
                 which was accepted: the store was moved or put back, or they were removed; `oubliette verify` \
                 tells of what is missing",
            );
        }
    }

    fn tell_of_root(&self, root: &Path) {
        if self.json {
            let told = serde_json::json!({
                "note": "a new data folder; `oubliette backup` makes a backup of its vault, make no copy of the slot",
                "folder": self.dir.display().to_string(), "root": root.display().to_string(),
            });
            return output::to_stderr(&told.to_string());
        }
        note(
            false,
            &format!(
                "made the data folder {}\n      \
                 its root slot is {}\n      \
                 Without the slot nothing can be read again: `oubliette backup` makes a backup of the\n      \
                 vault that needs none. A copy of the slot opens nothing once somebody was forgotten,\n      \
                 and with an old copy of the folder it brings back who was: make none.",
                self.dir.display(),
                root.display()
            ),
        );
    }
}

/// A policy that was given with events. The folder adopts it before the first of them is stored: a
/// process that is killed in between leaves no event under a policy that the folder does not know.
/// If all are refused, the folder gets back what it had.
pub(super) struct Adoption {
    folder: DataFolder,
    stage: Stage,
}

enum Stage {
    /// The folder still works under its own.
    Given(PolicyText),
    /// It is the folder's; whether anything is stored under it is not known yet.
    Begun(PolicyText, FormerPolicy),
    /// It is the folder's for good, or none was given.
    Over,
}

impl Adoption {
    fn of(folder: DataFolder, given: Option<PolicyText>) -> Self {
        Self { folder, stage: given.map_or(Stage::Over, Stage::Given) }
    }

    /// To be called before events are handed to the store.
    pub(super) async fn begin(&mut self, store: &Store) -> Result<(), CliError> {
        if let (Stage::Given(given), Some(vault)) = (&self.stage, store.vault()) {
            let former = self.folder.adopt(vault, given).await?;
            self.stage = Stage::Begun(given.clone(), former);
        }
        Ok(())
    }

    /// Some of the events are stored, or nobody knows.
    pub(super) fn keep(&mut self) {
        self.stage = Stage::Over;
    }

    /// All of the events were refused.
    pub(super) async fn put_back(&mut self, store: &Store) -> Result<(), CliError> {
        match (std::mem::replace(&mut self.stage, Stage::Over), store.vault()) {
            (Stage::Begun(given, former), Some(vault)) => {
                self.folder.put_back(vault, former).await?;
                self.stage = Stage::Given(given);
            }
            (stage, _) => self.stage = stage,
        }
        Ok(())
    }
}

/// Whether an error is about the store or the vault, and not about what was to be appended: whether
/// it is stored is then not known.
pub(super) fn is_the_stores(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Backend { .. }
            | StoreError::Damaged { .. }
            | StoreError::Vault(_)
            | StoreError::Unsupported(_)
            | StoreError::Refused { refusal: Refusal::NoVault, .. }
    )
}

/// An error where `-` is given for a file: elsewhere it is for stdin, and here it would name a file.
pub(super) fn refuse_dash(option: &str, file: &Path) -> Result<(), CliError> {
    if file != Path::new("-") {
        return Ok(());
    }
    Err(CliError::usage(format!("{option} names a file, and cannot be stdin or stdout (`-`)"))
        .with_hint("a file of this name is ./-"))
}

/// The passphrase of the root slot: from the environment, or else asked for on the terminal,
/// without echo; a new one twice.
pub(super) fn passphrase(variable: &str, new: bool) -> Result<Passphrase, CliError> {
    let empty = || CliError::usage("the passphrase is empty");
    if let Ok(text) = std::env::var(variable) {
        return Passphrase::new(text).ok_or_else(empty);
    }
    refuse_unasked(variable)?;
    let ask = |prompt: &str| -> Result<_, CliError> {
        Ok(Passphrase::new(rpassword::prompt_password(prompt)?))
    };
    let first = ask(if new {
        "New passphrase of the root slot: "
    } else {
        "Passphrase of the root slot: "
    })?;
    if new && first != ask("The same again: ")? {
        return Err(CliError::usage("the two are not the same"));
    }
    first.ok_or_else(empty)
}

/// An error where a passphrase is in no variable, and nobody can be asked for it.
pub(super) fn refuse_unasked(variable: &str) -> Result<(), CliError> {
    if std::env::var_os(variable).is_some() || (stdin().is_terminal() && stderr().is_terminal()) {
        return Ok(());
    }
    Err(CliError::usage("the root slot needs a passphrase, and nobody can be asked for it")
        .with_hint(format!("set {variable}, or run it on a terminal")))
}
