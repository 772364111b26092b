//! The global options, and the data folder that they lead to.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use oubliette::{
    erasure::{KeyChange, Witnessed},
    event::Announcement,
    layer::Oubliette,
    store::Purge,
    vault::{Kek, OpenAs, OpenVaultError},
};
use oubliette_folder::{
    Access, AnyStore, DataFolder, FolderError, Note, Parts, PolicyText, StorePlace,
};
use uuid::Uuid;

use super::{
    adoption::Adoption,
    asking::passphrase,
    clock::span,
    exit::CliError,
    forget::tell_completed,
    kek::KekParser,
    known::{self, Known},
    output::{self, agree, note},
    root::{tell_of_medium, tell_of_mirrors},
    stores::{PlaceParser, stores, warning},
};

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// The data folder: events, vault and policy
    #[arg(long, global = true, value_name = "FOLDER")]
    #[arg(default_value = "./oubliette-data")]
    pub(super) dir: PathBuf,
    /// One JSON value a line on stdout, nothing else there
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Wait so long, such as 30s, for a vault that is in use
    ///
    /// A vault has one process at a time. Without this a command that finds it in use ends at once, with exit
    /// code 5.
    #[arg(long, global = true, value_name = "SPAN", value_parser = patience)]
    pub(super) wait: Option<Duration>,
    /// The policy to work under, for this command
    ///
    /// `append`, `import`, `vault create` and `vault attach` also adopt it for the folder: the first two before
    /// the first event is stored under it, and if all is refused, the folder keeps its own.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Read without the vault: only what is public is shown
    #[arg(long, global = true)]
    pub(super) no_vault: bool,
    /// Change nothing, not even in a copy or on a read-only disk
    ///
    /// Beside the events SQLite may leave two files, events.db-shm and events.db-wal, without content.
    #[arg(long, global = true)]
    pub(super) read_only: bool,
    /// The vault's folder, if not `vault/` in the data folder
    ///
    /// It is noted for you, outside of the data folder, so that later commands find it without the option.
    #[arg(long, global = true, value_name = "FOLDER", hide_short_help = true)]
    pub(super) vault: Option<PathBuf>,
    /// The event store, if not `events/` in the data folder
    ///
    /// A folder, as PATH or sqlite:PATH, or a PostgreSQL database, as postgres://USER@HOST:PORT/DATABASE. There it is
    /// in the schema `oubliette`, unless ?schema=NAME is added: one for each data folder. Where the program was built
    /// with them: nats://HOST:PORT/STREAM, of JetStream, and kafka://HOST:PORT/TOPIC. OUBLIETTE_STORE_PASSWORD
    /// holds the password. As with --vault, it is noted for you, without a password, and later commands find it without
    /// the option.
    #[arg(long, global = true, value_name = "STORE", value_parser = PlaceParser)]
    #[arg(hide_short_help = true)]
    pub(super) store: Option<StorePlace>,
    /// The vault's root slot: a file, tpm:INDEX or pkcs11:URI
    ///
    /// Keep it apart from the data folder, and make no copy of it. Its folder must be there.
    #[arg(long, global = true, value_name = "LOCATION")]
    #[arg(hide_short_help = true)]
    pub(super) root: Option<PathBuf>,
    /// A mirror: a second slot, on another device; may be repeated
    ///
    /// Its folder must be there: mount its medium first. It is noted for you, outside of the folder.
    #[arg(long = "mirror", global = true, value_name = "FILE", hide_short_help = true)]
    pub(super) mirrors: Vec<PathBuf>,
    /// What wraps the root key in its slot
    ///
    /// One of none, passphrase, file:PATH, env:VAR and command:CMD. It is noted for you, outside of the folder;
    /// `oubliette root kek` changes it.
    #[arg(long, global = true, value_name = "KEK")]
    #[arg(value_parser = KekParser, hide_short_help = true)]
    pub(super) kek: Option<Kek>,
    /// Refuse a vault that was rolled back to before this epoch
    ///
    /// `forget` and `erasures` print the epoch: note it elsewhere.
    #[arg(long, global = true, value_name = "N")]
    #[arg(hide_short_help = true)]
    pub(super) expect_epoch: Option<u64>,
    /// Open the vault whatever the counter of its root slot says
    ///
    /// For where an old state was restored on purpose, or the counter is lost. See `oubliette root counter`.
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) past_counter: bool,
    /// Say that an announced erasure is dealt with, or forged
    ///
    /// For one that the vault cannot open any more, because it was put back too far, once everybody whom it took
    /// is forgotten again by name; or for an announcement that is a forgery. ID is the erasure's, or that of one
    /// of the events that announce it. Once is enough.
    #[arg(long = "past-erasure", global = true, value_name = "ID", hide_short_help = true)]
    pub(super) past_erasures: Vec<Uuid>,
    /// Say who accepts that announcements are missing
    ///
    /// They are missing in the event store, which keeps everything closed. WHO is a person, a role or a ticket,
    /// and is kept. It is of what this command finds missing, and once is enough; where nothing is missing, the
    /// command fails.
    #[arg(long, global = true, value_name = "WHO", hide_short_help = true)]
    pub(super) past_gap: Option<String>,
    /// Apply an erasure on a stranger's word
    ///
    /// For one that an earlier restoration of this vault's backup announced, under a key that this vault does not
    /// know, or that only a compromised key announced. ID is the erasure's, or that of one of the events that
    /// announce it. Once is enough.
    #[arg(long = "believe-erasure", global = true, value_name = "ID", hide_short_help = true)]
    pub(super) believed_erasures: Vec<Uuid>,
    /// Open this folder as the only one of its root slot
    ///
    /// For one that was restored, or is a copy: you make sure that no other folder is used with that slot. Once is
    /// enough.
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) this_is_the_one: bool,
}

/// Between two attempts at a vault that is in use.
const BETWEEN: Duration = Duration::from_millis(100);

/// How long to wait at most: a day, so that nobody waits for ever by mistake.
fn patience(text: &str) -> Result<Duration, String> {
    let day = Duration::from_secs(24 * 60 * 60);
    let wait = span(text).map_err(|_| "no span such as 30s, 5min or 1h".to_owned())?;
    let wait = Duration::try_from(wait).map_err(|_| "give seconds, minutes or hours".to_owned())?;
    if wait > day { Err("at most a day, 24h".to_owned()) } else { Ok(wait) }
}

/// What `purge` can remove from an event store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purges {
    /// All that is dead.
    All,
    /// Private halves alone.
    Halves,
    /// Nothing.
    Nothing,
}

/// What the command line works on.
pub(super) type Store = Oubliette<AnyStore>;

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

    /// Opens the folder for a command that changes what the store holds, with the store beneath.
    ///
    /// # Errors
    /// As of [`Globals::open_existing`]; where the store's adapter cannot.
    pub(super) async fn open_to_change(&self) -> Result<(Store, Arc<dyn Purge>), CliError> {
        let mut parts = self.when_free(&self.unlocked()?, Access::Existing).await?;
        let is_policy =
            |told: &Note| matches!(told, Note::Error(FolderError::PolicyChanged { .. }));
        if let Some(at) = parts.notes.iter().position(is_policy)
            && let Note::Error(error) = parts.notes.swap_remove(at)
        {
            // As for an append: by which policy it is sealed, is for good.
            return Err(error.into());
        }
        let changing = parts.changing.take();
        let store = self.told_with_completed(parts)?;
        let changing = changing.ok_or_else(|| {
            CliError::failed("this event store takes events, and changes none that it has")
        })?;
        Ok((store, changing))
    }

    /// As [`Globals::open_existing`], and what `purge` can remove there.
    pub(super) async fn open_with_purges(&self) -> Result<(Store, Purges), CliError> {
        let parts = self.when_free(&self.unlocked()?, Access::Existing).await?;
        let purges = match &parts.changing {
            Some(store) if store.as_rewrite().is_some() => Purges::All,
            Some(_) => Purges::Halves,
            // It was opened to be read: what it could do is not known.
            None if self.read_only => Purges::All,
            None => Purges::Nothing,
        };
        Ok((self.told_with_completed(parts)?, purges))
    }

    /// As [`Globals::open_existing`], with announcements that the user may name beside those of the store.
    pub(super) async fn open_with_list(
        &self,
        listed: Vec<Announcement>,
    ) -> Result<Store, CliError> {
        let folder = self.unlocked()?.with_list(listed);
        self.told(self.when_free(&folder, Access::Existing).await?)
    }

    /// Opens the folder for the command that adopts a policy: that `policy.toml` is not what was adopted is why it
    /// was called.
    pub(super) async fn open_to_adopt(&self) -> Result<Store, CliError> {
        let mut parts = self.when_free(&self.unlocked()?, Access::Existing).await?;
        parts.notes.retain(|told| !matches!(told, Note::Error(FolderError::PolicyChanged { .. })));
        self.told_with_completed(parts)
    }

    /// Opens the folder for a command that looks whether it is whole.
    pub(super) async fn open_to_audit(&self) -> Result<Store, CliError> {
        self.open(Access::Audit).await
    }

    /// Opens the folder for a command that lists the vault's own records: also where nothing is served, because
    /// announcements are missing, say. To decide what to do then, people need just these.
    pub(super) async fn open_to_list(&self) -> Result<Store, CliError> {
        let parts = self.when_free(&self.unlocked()?, Access::Audit).await?;
        if let Some(closed) = &parts.closed {
            let hint = closed.told().hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            let text = format!(
                "this is what the vault knows by itself; nothing is served: {closed}{hint}"
            );
            note(self.json, &text);
        }
        self.told(parts)
    }

    /// Opens a folder, and waits for it as long as was said.
    async fn when_free(&self, folder: &DataFolder, access: Access) -> Result<Parts, FolderError> {
        self.patiently(async || folder.open(access, self.policy.as_deref()).await).await
    }

    /// Tries again, for as long as was said, where another process has the vault open.
    pub(super) async fn patiently<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let until = self.wait.map(|wait| Instant::now() + wait);
        loop {
            match attempt().await {
                Err(FolderError::OpenVault(OpenVaultError::InUse(_)))
                    if until.is_some_and(|until| Instant::now() < until) =>
                {
                    tokio::time::sleep(BETWEEN).await;
                }
                tried => return tried,
            }
        }
    }

    /// Opens the folder for reading, with the vault or, where the user said so, without.
    pub(super) async fn open_to_read(&self) -> Result<Store, CliError> {
        if self.no_vault {
            let folder = self.folder();
            let parts = folder.open(Access::WithoutVault, self.policy.as_deref()).await?;
            parts.notes.iter().for_each(|told| note(self.json, &known::noted(told)));
            return Ok(parts.oubliette);
        }
        if self.wait.is_none() {
            return self.open_existing().await;
        }
        tokio::select! {
            biased;
            opened = self.open_existing() => opened,
            () = output::nobody_reads() => Err(CliError::Pipe),
        }
    }

    /// Opens the folder and changes the signing keys, before anything is done that an earlier key says.
    pub(super) async fn open_with_key_change(&self, change: KeyChange) -> Result<Store, CliError> {
        let folder = self.unlocked()?.with_key_change(Some(change));
        self.told(self.when_free(&folder, Access::Existing).await?)
    }

    /// As [`Globals::told`], and what was completed for somebody who did not live to hear of it.
    fn told_with_completed(&self, parts: Parts) -> Result<Store, CliError> {
        let store = self.told(parts)?;
        store.completed().iter().for_each(|erased| tell_completed(self.json, erased));
        Ok(store)
    }

    fn told(&self, parts: Parts) -> Result<Store, CliError> {
        parts.notes.iter().for_each(|told| note(self.json, &known::noted(told)));
        self.tell_of_witness(&parts.oubliette.witnessed());
        Ok(parts.oubliette)
    }

    /// Tells of a folder that was made, or attached, by name.
    pub(super) fn made(&self, parts: Parts) -> Result<Store, CliError> {
        if let Some(root) = &parts.created_root {
            self.tell_of_root(root, &parts.oubliette)?;
        }
        for warning in parts.oubliette.policy().warnings() {
            note(self.json, &format!("policy: {warning}"));
        }
        self.told(parts)
    }

    /// Says that others see the password that stands on the command line.
    pub(super) fn tell_of_password(&self) {
        let told = self.store.as_ref().and_then(|store| warning("--store", store));
        told.iter().for_each(|text| note(self.json, text));
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
            .with_stores(stores())
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
        let parts = self.when_free(&self.unlocked()?, access).await?;
        if let Some(root) = &parts.created_root {
            self.tell_of_root(root, &parts.oubliette)?;
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

    fn tell_of_root(&self, root: &Path, store: &Store) -> Result<(), CliError> {
        if self.root.is_some() {
            tell_of_medium(self.json, root);
        }
        if let Some(vault) = store.vault() {
            tell_of_mirrors(self.json, vault, |_| true)?;
        }
        if self.json {
            let told = serde_json::json!({
                "note": "a new data folder; `oubliette backup` makes a backup of its vault, make no copy of the slot",
                "folder": self.dir.display().to_string(), "root": root.display().to_string(),
            });
            output::to_stderr(&told.to_string());
            return Ok(());
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
        Ok(())
    }
}
