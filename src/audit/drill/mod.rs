//! Whether anyone who is forgotten can still be read from dumps, copies, backups and log files.
//!
//! Call `Oubliette::drill` with the files and folders that [`DrillOptions`] names; it returns a [`DrillReport`]. It looks
//! for what would bring somebody back, as somebody who found the files would: copies of the root slot, at any offset of
//! any file; copies of the vault's folder, read under today's root and under every root that turned up; sealed parts that
//! open under a key found there; and values that are sealed in the store and in clear here. [`Leak`] lists what it finds.
//!
//! What is searched may come from somebody hostile, and the process that searches has the vault. So
//! it runs no engine over it: it reads bytes, follows no link and opens nothing that is no regular
//! file, uses no name in an archive as a path, and writes nothing but its own temporary files.
//!
//! Memory does not grow with the size of what is searched. It holds the values (at most
//! [`MOST_VALUES`]), the roots and the destroyed keys that are found, and 16 bytes for each page
//! of one copy of the vault at a time.

// - `walk` finds files, `window` slides over bytes;
// - `stream` searches a stream of bytes, and the streams that come out of it, and shows in `sink`;
// - `packed` and `encoded` take apart what is packed and what is written in letters, `rows` the
//   databases of SQLite, `backup` what a vault's backup holds, once decrypted;
// - `marks` recognises roots, tokens, and whatever else has a beginning of its own;
// - `needles` gathers the values that must not be there in clear, and finds them; `text`
//   brings text into the form in which it is compared; `ignored` are words that name no one;
// - `copies` reads copies of the vault, which `reader` opens in a process without rights;
// - `run` does it all in order, `held` tells what a file held; `state` is what both have at hand.

mod backup;
mod copies;
mod encoded;
mod held;
mod ignored;
mod kind;
mod marks;
mod needles;
mod packed;
mod reader;
mod rows;
mod run;
mod sink;
mod state;
mod stream;
mod text;
mod walk;
mod window;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use tokio::sync::mpsc;

pub use kind::Leak;
pub use needles::{MOST_VALUES, SHORTEST_GIVEN, SHORTEST_VALUE};
pub use reader::{CopyReader, READER, read_copy};

use super::{AuditError, Finding, Severity};
use crate::{layer::Oubliette, runtime, store::EventStore};
use needles::Needles;

/// What to drill, and what is known of where things belong.
///
/// [`DrillReport`] has an example.
#[derive(Debug, Clone, Default)]
pub struct DrillOptions {
    /// Files and folders to look into.
    pub paths: Vec<PathBuf>,
    /// Values that must not be found besides those that the events hold: of the forgotten, whom
    /// only the caller can still name.
    pub needles: Vec<String>,
    /// A file that is passed over: the one that the needles come from.
    pub needles_file: Option<PathBuf>,
    /// Words that are not searched for, besides those of a list that comes with the program.
    pub ignore: Vec<String>,
    /// Who opens copies of the vault.
    pub reader: CopyReader,
    /// How many bytes may come out of one file for each that it has, before the rest of it is told
    /// as not looked into; `None`: [`MOST_UNPACKED`].
    pub unpack: Option<u64>,
    /// Where the vault's slot is, and its mirrors: what is found there is in its place.
    pub slots: Vec<PathBuf>,
    /// Where the vault's folder is: likewise.
    pub vault: Option<PathBuf>,
}

/// What is told while it goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum DrillProgress {
    /// A finding, as soon as it is made.
    Found(Finding<Leak>),
    /// So many events have been read for the values that they hold.
    Values {
        /// How many events were read so far.
        read: u64,
    },
    /// So much has been searched.
    Searched {
        /// How many bytes were searched so far.
        bytes: u64,
        /// Bytes in all, as far as is known.
        of: u64,
        /// Which pass, from 1; a second one follows where destroyed keys were found.
        pass: u64,
    },
}

/// What was searched, and what was found, in numbers.
///
/// ```
/// use oubliette::{audit::drill::DrillOptions, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let backups = tempfile::tempdir()?;
/// let options = DrillOptions { paths: vec![backups.path().into()], ..DrillOptions::default() };
/// let report = store.drill(options, |progress| println!("{progress:?}")).await?;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DrillReport {
    /// How many files were searched.
    pub files: u64,
    /// How many bytes were searched.
    pub bytes: u64,
    /// Bytes that came out of what was packed or encoded.
    pub unpacked: u64,
    /// Links to what is searched itself, pipes and sockets, which hold nothing of their own.
    pub passed_over: u64,
    /// Copies of the vault's folder.
    pub copies: u64,
    /// Roots of this vault.
    pub roots: u64,
    /// Sealed parts whose keys live.
    pub live: u64,
    /// Sealed parts whose keys are destroyed.
    pub shredded: u64,
    /// Sealed parts of whose keys nothing is known.
    pub unknown: u64,
    /// Values that were searched for.
    pub values: u64,
    /// Values that were not, because they are in public fields or names as well.
    pub public_values: u64,
    /// Values that were not, because they are words that anyone may use.
    pub ignored_values: u64,
    /// Sealed values that were not, because they are short; equal ones count again.
    pub short_values: u64,
    /// Sealed values that were not, because there were too many; equal ones count again.
    pub values_left_out: u64,
    /// How many findings there were of each kind.
    pub found: BTreeMap<Leak, u64>,
}

impl DrillReport {
    /// How many findings there were of a severity.
    pub fn count(&self, severity: Severity) -> u64 {
        let of = self.found.iter().filter(|(kind, _)| kind.severity() == severity);
        of.map(|(_, count)| count).sum()
    }

    /// Whether nothing was found that brings somebody back or that nothing can be said about:
    /// notices do not count.
    pub fn is_clean(&self) -> bool {
        self.found.keys().all(|kind| kind.severity() == Severity::Notice)
    }
}

/// How many bytes may come out of what is packed in a file, for each byte that the file has; one
/// of less than a MiB counts as one of a MiB. Deflate alone gives 1,032 at most.
pub const MOST_UNPACKED: u64 = 256;

/// How much news waits to be told.
const AHEAD: usize = 256;

impl<S: EventStore> Oubliette<S> {
    /// Searches files and folders for anything that brings somebody forgotten back, and tells of
    /// every finding as it is made. No finding holds a value or a key.
    ///
    /// The events are read twice before, for the values that are sealed in them.
    ///
    /// # Errors
    /// [`AuditError::NoVault`]; errors of the vault and the store. A file that cannot be read is
    /// no error, it is told.
    pub async fn drill(
        &self,
        options: DrillOptions,
        mut tell: impl FnMut(DrillProgress) + Send,
    ) -> Result<DrillReport, AuditError> {
        let vault = self.vault().ok_or(AuditError::NoVault)?.clone();
        let needles =
            Needles::gather(self, &vault, &options.needles, &options.ignore, &mut tell).await?;
        let (sender, mut news) = mpsc::channel(AHEAD);
        let run = move || {
            run::run(&vault, &options, &needles, &mut |news| drop(sender.blocking_send(news)))
        };
        let running = runtime::spawn_blocking(run)?;
        while let Some(news) = news.recv().await {
            tell(news);
        }
        running.await?
    }
}
