//! Restoring a data folder's vault: the events are there, the vault is gone.

use std::path::PathBuf;

use super::{
    Access, DataFolder, FolderError, Note, Parts, StorePlace,
    folder::blocking,
    making::make_folder,
    manifest::{Found, Noted},
    settings::usual_root,
    slot::{absolute_root, device, make_room},
};
use oubliette::{
    erasure::{Replayed, Unsuitable, replay, unsuitable},
    event::Announcement,
    store::sqlite::OpenMode,
    vault::{
        Vault,
        backup::{BackupError, Restored, VerifiedBackup},
        internals::is_free,
    },
};
use oubliette_files::own;

/// A folder whose vault was restored.
#[derive(Debug)]
#[non_exhaustive]
pub struct RestoredFolder {
    /// What was restored.
    pub restored: Restored,
    /// Where its root slot is.
    pub root: PathBuf,
    /// An earlier slot at another location, which this folder noted. It is still there, and opens copies of
    /// the vault's folder from before; or the folder that this one is a copy of works under it. Destroy
    /// it only where no folder uses it any more.
    pub left: Option<PathBuf>,
    /// What was applied again of the erasures that were given.
    pub replayed: Option<Replayed>,
    /// The folder, opened as always.
    pub parts: Parts,
}

impl DataFolder {
    /// Makes the vault of this folder from a backup, applies these erasures (as
    /// [`export`](oubliette::erasure::export) made them) before anyone can find it, and opens the
    /// folder: so that erasures that the events know of, and the backup does not, are applied
    /// before anything is read.
    ///
    /// The root slot is made again: where the caller says, or this user noted it, or, where neither
    /// does, in the user's state directory. The policy is the one that was adopted when the backup was
    /// made; where there is no `policy.toml`, it is written there.
    ///
    /// # Errors
    /// [`FolderError::NothingToRestoreTo`], [`BackupError::OtherVault`],
    /// [`BackupError::VaultThere`], [`BackupError::SlotThere`], [`BackupError::SlotInUse`],
    /// [`FolderError::ErasuresDoNotOpen`], [`FolderError::StatementDoesNotCount`],
    /// [`FolderError::NotText`], those of [`DataFolder::check`]. Then there is no vault. Where it is there, and
    /// opening it failed, [`FolderError::AfterRestoring`].
    pub async fn restore(
        &self,
        backup: VerifiedBackup,
        erasures: Vec<Announcement>,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<RestoredFolder, FolderError> {
        self.check()?;
        let nothing = || FolderError::NothingToRestoreTo(self.store_place());
        let (folder, noted) = match self.look() {
            Ok(Found::Ours(noted)) => (self.located(&noted), noted),
            // Of the folder only the events were saved; or nothing, and they are at a server.
            Err(FolderError::NotOurs(_) | FolderError::ManifestLost(_)) | Ok(Found::Nothing)
                if self.has_events()? =>
            {
                (self.clone(), Noted::nothing())
            }
            Ok(Found::Nothing | Found::Unfinished(_)) => return Err(nothing()),
            Err(error) => return Err(error),
        };
        if !folder.has_events()? {
            return Err(nothing());
        }
        if !is_free(&folder.vault())? {
            return Err(BackupError::VaultThere(folder.vault()).into());
        }
        let place = folder.events();
        let looked = match place {
            StorePlace::Address(_) => folder.look_at_store(&place).await?,
            StorePlace::Folder(_) => None,
        };
        let events = match looked {
            Some(looked) => looked,
            None => folder.open_events(&place, OpenMode::Existing).await?,
        };
        let (wanted, of_backup) = (events.vaults().await?, backup.vault().to_string());
        if wanted.is_empty() && matches!(folder.events(), StorePlace::Address(_)) {
            return Err(match events.is_empty().await? {
                true => nothing(),
                false => FolderError::StoreUnnoted { place: folder.events(), vault: of_backup },
            });
        }
        self.announced(&events.store).await?;
        drop(events);
        let wanted = match wanted.contains(&of_backup) {
            true => of_backup,
            false => wanted.into_iter().next().unwrap_or_default(),
        };
        backup.refuse_other_vault(&wanted)?;
        // Before the slot is touched: an older vault that was moved aside opens until then.
        let of_vault = |said: &Announcement| said.vault() == backup.vault().0;
        if !erasures.is_empty() && !erasures.iter().any(of_vault) {
            return Err(FolderError::ErasuresOfAnotherVault(erasures.len()));
        }
        match unsuitable(&backup, &erasures) {
            Unsuitable { unlearned: None, odd: 0, compromised: 0 } => {}
            Unsuitable { unlearned: Some(why), .. } => {
                return Err(FolderError::StatementDoesNotCount(why));
            }
            Unsuitable { odd: 0, compromised, .. } => {
                return Err(FolderError::ErasuresOfCompromisedKey(compromised));
            }
            Unsuitable { odd, .. } => return Err(FolderError::ErasuresDoNotOpen(odd)),
        }

        let noted_root = noted.root();
        // Where only the folder says that the slot is, none is made; one that is there must be ours.
        let known = noted.own_root().or_else(|| noted_root.clone().filter(|root| root.exists()));
        let root = match self.root.clone().or(known) {
            Some(root) => absolute_root(root)?,
            None => usual_root()?,
        };
        let (at, slot) = (folder.vault(), folder.slot(&root)?);
        self.refuse_within(&slot)?;
        // This may be a copy, and what was noted for it another folder's, which goes on under its own slot.
        let is_root = |slot: &PathBuf| own::is_same(slot, &root);
        let noted = if noted_root.as_ref().is_some_and(is_root) { noted } else { Noted::nothing() };
        // Before the slot is overwritten: what cannot be noted then would lead nowhere.
        let noted = noted.with(folder.settings(Some(wanted), &root)?);
        make_folder(&self.path)?;
        self.rehearse_memo(&noted)?;
        make_room(&root)?;
        let prepared = blocking(move || backup.prepare(&at, slot, progress)).await??;
        let replayed = match erasures.is_empty() {
            true => None,
            false => match apply(prepared.vault(), erasures).await {
                Ok(replayed) => Some(replayed),
                Err(error) => {
                    prepared.abandon();
                    return Err(error);
                }
            },
        };
        let adopted = match prepared.vault().adopted_policy() {
            Ok(adopted) => adopted,
            Err(error) => {
                prepared.abandon();
                return Err(error.into());
            }
        };
        // Before the vault takes its place: one whose slot is not found would be none.
        self.note(&noted)?;
        let restored = prepared.complete()?;
        let failed =
            |source| FolderError::AfterRestoring { root: root.clone(), source: Box::new(source) };
        // Where it cannot be written, opening says that it is absent.
        let written = self.write_absent_policy(&adopted).unwrap_or_default();
        let mut parts = self.open(Access::Existing, None).await.map_err(failed)?;
        parts.notes.extend(written.then(|| {
            Note::Text(format!(
                "{} was absent: it is written anew, as it was adopted when the backup was made",
                self.policy_path().display()
            ))
        }));
        let elsewhere = |slot: &PathBuf| {
            !own::is_same(slot, &root) && (device(slot).is_some() || slot.exists())
        };
        let left = noted_root.filter(elsewhere);
        Ok(RestoredFolder { restored, root, left, replayed, parts })
    }
}

async fn apply(vault: &Vault, erasures: Vec<Announcement>) -> Result<Replayed, FolderError> {
    let replayed = replay(vault, erasures).await?;
    match replayed.unverifiable.len() {
        0 => Ok(replayed),
        count => Err(FolderError::ErasuresDoNotOpen(count)),
    }
}
