//! Making a backup.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BackupError, Recipients,
    file::{Draft, Failure, Sealer, draft_path, refuse_existing, refuse_within_a_vault},
    format::{Header, Writer},
};
use crate::{
    event::Timestamp,
    runtime,
    vault::{
        Backup, BackupId, MemoKind, Vault, VaultError,
        commit::committer::Job,
        records::{delta::Delta, places},
        shared::Shared,
        tree::{MAX_PLACE_BYTES, Place},
    },
};

/// So few changes are left to the committer, whose time is everybody's.
const FEW_CHANGES: usize = 1024;
/// So many times what changed meanwhile is written, before it is the committer's turn anyway.
const MOST_ROUNDS: usize = 16;
/// After how many places the disk is asked how it fares, and progress is told.
const PLACES_PER_LOOK: u64 = 1024;

impl Vault {
    /// Writes a copy of this vault, as it is at one moment, to a new file that each of the
    /// recipients can open with `age`, and notes it in the catalogue. Others go on appending and
    /// forgetting meanwhile. `progress` is told now and then how many places are written, the last
    /// time just before the end.
    ///
    /// Dropping the future changes nothing: the backup runs to its end.
    ///
    /// # Errors
    /// [`BackupError`]. Then there is no file, and no entry in the catalogue; where the draft
    /// could not be removed, the entry stays, as incomplete.
    pub async fn back_up(
        &self,
        file: &Path,
        recipients: &Recipients,
        expires: Timestamp,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Backup, BackupError> {
        let (vault, file, recipients) = (self.clone(), file.to_owned(), recipients.clone());
        let run = async move { back_up(&vault, file, recipients, expires, progress).await };
        runtime::spawn(run)?.await?
    }
}

async fn back_up(
    vault: &Vault,
    file: PathBuf,
    recipients: Recipients,
    expires: Timestamp,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<Backup, BackupError> {
    if recipients.0.is_empty() {
        return Err(BackupError::NoRecipients);
    }
    refuse_existing(&file)?;
    refuse_within_a_vault(&file)?;
    let _one_at_a_time = vault.back_up_alone().await;
    let created = Timestamp::now();
    if expires <= created {
        return Err(BackupError::ExpiresInThePast(expires));
    }
    let backup = BackupId(created.new_uuid());
    let tree = vault.shared().disk.tree();
    let header = Header {
        vault: vault.id(),
        backup,
        created,
        expires,
        epoch: tree.epoch()?,
        identity: tree.identity().clone(),
    };
    let mut entry = Backup {
        backup,
        created,
        expires,
        epoch: header.epoch,
        era: vault.shared().naming.eras.current()?,
        recipients: recipients.texts(),
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        keys: None,
        retired: None,
    };
    // Still empty: a folder that does not take it is found out before anything is noted.
    let draft = Draft::create(&file, backup)?;
    note(vault, &entry).await?;
    let written = write(vault, draft, &recipients, header, progress).await;
    // Also after a failure: of a draft there may be enough to read an era's secret in. After a crash the
    // next opening sees to it.
    let ended = vault.ask(Job::EndEra).await;
    match written {
        Ok(keys) => {
            ended?;
            entry.keys = Some(keys);
            note(vault, &entry).await?;
            Ok(entry)
        }
        Err(error) => {
            // Noted is noted, as long as anything of the file may be there.
            let not_placed =
                matches!(error, BackupError::Exists(_)) || refuse_existing(&file).is_ok();
            if Draft::remove(&draft_path(&file, backup)) && not_placed {
                let removed = vault.remove_memo(MemoKind::Backup, *backup.0.as_bytes()).await;
                if let Err(error) = removed {
                    tracing::warn!(error = %crate::words::chain(&error), %backup, "a failed backup stays in the catalogue");
                }
            }
            Err(error)
        }
    }
}

async fn note(vault: &Vault, entry: &Backup) -> Result<(), VaultError> {
    vault.put_memo(MemoKind::Backup, *entry.backup.0.as_bytes(), &entry.to_memo()?).await
}

/// Writes the file, and returns how many keys the walk met.
async fn write(
    vault: &Vault,
    draft: Draft,
    recipients: &Recipients,
    header: Header,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<u64, BackupError> {
    let (sink, failure) = draft.sink()?;
    let sealer = Sealer::new(recipients, sink)?;
    vault.ask(Job::OpenTap).await?;
    let tap = OpenTap(Arc::clone(vault.shared()));
    let walk = move || {
        let mut writing = Writing::begin(sealer, failure, draft, &header)?;
        let walked = writing.walk(&tap.0, &progress)?;
        writing.catch_up(&tap.0)?;
        progress(walked);
        Ok::<_, BackupError>((writing, tap))
    };
    let (writing, tap) = runtime::spawn_blocking(walk)?.await??;
    let last = vault.ask(Job::CloseTap).await?;
    drop(tap);
    let end = move || writing.end(&last);
    runtime::spawn_blocking(end)?.await?
}

/// Closes the tap when dropped: nothing else may, once the backup is broken off.
struct OpenTap(Arc<Shared>);

impl Drop for OpenTap {
    fn drop(&mut self) {
        self.0.disk.tap.close();
    }
}

struct Writing {
    writer: Writer<Sealer>,
    failure: Failure,
    draft: Draft,
    keys: u64,
}

impl Writing {
    fn begin(
        sealer: Sealer,
        failure: Failure,
        draft: Draft,
        header: &Header,
    ) -> Result<Self, BackupError> {
        let writer = Writer::begin(sealer, header).map_err(BackupError::io(draft.place()))?;
        Ok(Self { writer, failure, draft, keys: 0 })
    }

    fn walk(&mut self, shared: &Shared, progress: &impl Fn(u64)) -> Result<u64, BackupError> {
        let mut walked = 0;
        let everything = Place::new()..vec![u8::MAX; MAX_PLACE_BYTES + 1];
        for found in shared.disk.walk(everything) {
            let (place, value) = found?;
            if places::is_never_copied(&place) {
                continue;
            }
            walked += 1;
            self.keys += u64::from(places::is_key(&place));
            self.writer.walked(&place, &value).map_err(BackupError::io(self.draft.place()))?;
            if walked % PLACES_PER_LOOK == 0 {
                self.failure.check(self.draft.place())?;
                progress(walked);
            }
        }
        self.writer.end_of_walk().map_err(BackupError::io(self.draft.place()))?;
        Ok(walked)
    }

    /// Writes what changed meanwhile, and meanwhile, until it is little.
    fn catch_up(&mut self, shared: &Shared) -> Result<(), BackupError> {
        for _ in 0..MOST_ROUNDS {
            let changed = shared.disk.tap.take();
            let few = changed.len() <= FEW_CHANGES;
            Delta::each(&shared.disk, changed, &mut |delta| self.change(&delta))?;
            self.failure.check(self.draft.place())?;
            if few {
                break;
            }
        }
        Ok(())
    }

    fn change(&mut self, delta: &Delta) -> Result<(), BackupError> {
        self.writer.change(delta).map_err(BackupError::io(self.draft.place()))
    }

    fn end(mut self, last: &[Delta]) -> Result<u64, BackupError> {
        last.iter().try_for_each(|delta| self.change(delta))?;
        let Self { writer, failure, draft, keys } = self;
        let io = BackupError::io(draft.place());
        writer.end().and_then(Sealer::finish).map_err(io)?;
        failure.check(draft.place())?;
        draft.put_in_place()?;
        Ok(keys)
    }
}
