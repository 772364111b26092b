//! The global options, and the data folder that they lead to.

use std::path::{Path, PathBuf};

use clap::Args;
use oubliette::{
    erasure::Witnessed,
    layer::Oubliette,
    service::{Access, DataFolder},
    store::SqliteStore,
};

use super::{
    exit::CliError,
    output::{self, note},
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
    /// The vault's root slot; back it up apart from the data folder, never together with it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OUBLIETTE_ROOT",
        hide_env_values = true
    )]
    pub(super) root: Option<PathBuf>,
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
    /// The policy to work under; `import` and `append` make it the folder's own
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
    /// Opens the folder for a command that writes events, and makes it where there is none.
    pub(super) async fn open_or_create(&self) -> Result<Store, CliError> {
        self.open(Access::Create).await
    }

    /// Opens the folder for a command that needs its vault.
    pub(super) async fn open_existing(&self) -> Result<Store, CliError> {
        self.open(Access::Existing).await
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
            return Ok(parts.oubliette);
        }
        self.open_existing().await
    }

    /// Where the root slot and the vault's folder are.
    pub(super) fn places(&self) -> (Option<PathBuf>, PathBuf) {
        self.folder().places()
    }

    pub(super) fn folder(&self) -> DataFolder {
        DataFolder::at(&self.dir)
            .with_root(self.root.clone())
            .with_vault(self.vault.clone())
            .with_store(self.store.clone())
            .with_expected_epoch(self.expect_epoch)
    }

    /// An error where the user said not to open the vault.
    pub(super) fn refuse_no_vault(&self) -> Result<(), CliError> {
        if self.no_vault {
            return Err(CliError::usage(
                "this command needs the vault, --no-vault says not to open it",
            )
            .with_hint("--no-vault is for read, read-all and subscribe"));
        }
        Ok(())
    }

    async fn open(&self, access: Access) -> Result<Store, CliError> {
        self.refuse_no_vault()?;
        let parts = self.folder().open(access, self.policy.as_deref()).await?;
        if let Some(root) = &parts.created_root {
            self.tell_of_root(root);
        }
        self.tell_of_witness(&parts.oubliette.witnessed());
        if access == Access::Create && self.policy.is_some() {
            for warning in parts.oubliette.policy().warnings() {
                note(self.json, &format!("policy: {warning}"));
            }
        }
        Ok(parts.oubliette)
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
                    "{} in oubliette-erasures claims to be this vault's and does not open: \
                     forged, changed, or a newer program's; not counted ({})",
                    output::count(unverifiable.len() as u64, "event"),
                    ids(&unverifiable)
                ),
            );
        }
        if witnessed.gap {
            note(
                self.json,
                "announcements of erasures are missing in the event store: it was rolled back, or \
                 they were removed; it cannot tell of a rollback of the vault to before then",
            );
        }
    }

    fn tell_of_root(&self, root: &Path) {
        if self.json {
            let told = serde_json::json!({
                "note": "a new data folder; back up its root slot, apart from the folder",
                "folder": self.dir, "root": root,
            });
            return output::to_stderr(&told.to_string());
        }
        note(
            false,
            &format!(
                "made the data folder {}\n      \
                 its root slot is {}\n      \
                 Back the root slot up, apart from the folder and never together with it: without\n      \
                 it nothing can be read again, and with an old copy of both, what was forgotten can.",
                self.dir.display(),
                root.display()
            ),
        );
    }
}
