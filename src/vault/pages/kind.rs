//! Which database keeps a vault's pages.

use std::{fmt, path::Path, str::FromStr};

#[cfg(feature = "sqlite")]
use super::SqlitePages;
use super::{PageStore, SledPages};
use crate::vault::OpenVaultError;

/// The database that keeps a vault's sealed pages. What is in it is the same bytes in each.
///
/// ```
/// use oubliette::{vault::PageStoreKind, *};
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// let vault = Vault::create_with(&folder, root.as_path(), PageStoreKind::Sqlite)?;
/// drop(vault);
/// let vault = Vault::open(&folder, root.as_path())?; // it says itself which one it has
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PageStoreKind {
    /// sled: the default. Faster where many keys are made at once.
    #[default]
    Sled,
    /// SQLite. Needs the feature `sqlite`.
    Sqlite,
}

impl PageStoreKind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Sqlite];

    /// The subfolder of the vault's folder that it is in. Each has its own, so that pages can be
    /// moved from one to another, and one word in the vault's header decides which are in force.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Sled => "pages",
            Self::Sqlite => "pages.sqlite",
        }
    }

    /// The one whose files are in this folder.
    #[cfg(feature = "drill")]
    pub(crate) fn found_in(folder: &Path) -> Option<Self> {
        let has = |file: &str| folder.join(file).symlink_metadata().is_ok_and(|f| f.is_file());
        match (has("db") && has("conf"), has("pages.db")) {
            (true, _) => Some(Self::Sled),
            (_, true) => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// Opens the store in `folder`, or makes it. The caller holds the lock of the vault.
    pub(crate) fn open(self, folder: &Path) -> Result<Box<dyn PageStore>, OpenVaultError> {
        match self {
            Self::Sled => Ok(Box::new(SledPages::open(folder)?)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Ok(Box::new(SqlitePages::open(folder)?)),
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite => Err(OpenVaultError::NoPageStore(self.to_string())),
        }
    }
}

impl PageStoreKind {
    /// Opens a copy that is thrown away afterwards: nothing of it need be durable.
    pub(crate) fn open_copy(self, folder: &Path) -> Result<Box<dyn PageStore>, OpenVaultError> {
        match self {
            Self::Sled => Ok(Box::new(SledPages::open_copy(folder)?)),
            Self::Sqlite => self.open(folder),
        }
    }
}

impl fmt::Display for PageStoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sled => "sled",
            Self::Sqlite => "sqlite",
        })
    }
}

impl FromStr for PageStoreKind {
    type Err = OpenVaultError;

    fn from_str(text: &str) -> Result<Self, OpenVaultError> {
        let known = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        known.ok_or_else(|| OpenVaultError::NoPageStore(text.to_owned()))
    }
}
