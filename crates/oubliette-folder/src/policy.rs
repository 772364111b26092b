//! The policy that a folder works under.
//!
//! What counts is the text that the vault keeps, sealed: anyone who may write into the folder could
//! otherwise have personal data stored in clear. `policy.toml` is where people read and edit it. An
//! edited one counts once somebody adopts it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{DataFolder, FolderError};
use oubliette::{
    policy::{Policy, PolicyErrors},
    vault::Vault,
};
use oubliette_files::durable;

/// A policy, and the text that it was read from.
#[derive(Debug, Clone)]
pub struct PolicyText {
    text: String,
    policy: Policy,
}

impl PolicyText {
    /// Reads and checks a policy file.
    ///
    /// # Errors
    /// [`FolderError::Policy`].
    pub fn load(path: &Path) -> Result<Self, FolderError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| PolicyErrors::unreadable(path, &error))?;
        Self::parse(text, &path.display().to_string())
    }

    fn parse(text: String, origin: &str) -> Result<Self, FolderError> {
        let policy = Policy::parse_as(&text, origin)?;
        Ok(Self { text, policy })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// What a folder worked under before it adopted another policy.
#[derive(Debug)]
pub struct FormerPolicy {
    /// What stood in `policy.toml`, if it was there.
    file: Option<Vec<u8>>,
    adopted: PolicyText,
}

impl FormerPolicy {
    /// The policy that the folder worked under.
    pub fn policy(&self) -> &Policy {
        self.adopted.policy()
    }
}

impl DataFolder {
    /// What is in the folder's `policy.toml` now; `None`: there is none.
    ///
    /// # Errors
    /// [`FolderError::Policy`].
    pub fn policy_file(&self) -> Result<Option<PolicyText>, FolderError> {
        let path = self.policy_path();
        match PolicyText::load(&path) {
            Err(_) if is_absent(&path) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The policy in `policy.toml`, to be adopted. An absent file is no empty policy: it may have been lost,
    /// and adopting an empty policy takes the text of the former one from the vault.
    ///
    /// # Errors
    /// [`FolderError::PolicyAbsent`], [`FolderError::Policy`].
    pub fn policy_to_adopt(&self) -> Result<PolicyText, FolderError> {
        self.policy_file()?.ok_or_else(|| self.policy_absent())
    }

    /// Writes the adopted policy into `policy.toml`, where there is no such file: that of a vault that was
    /// restored, for no backup has the file. Returns whether it did.
    pub(super) fn write_absent_policy(&self, adopted: &str) -> io::Result<bool> {
        let path = self.policy_path();
        if adopted.is_empty() || !is_absent(&path) {
            return Ok(false);
        }
        durable::replace(&path, adopted.as_bytes()).map(|()| true)
    }

    fn policy_absent(&self) -> FolderError {
        FolderError::PolicyAbsent { path: self.path.clone(), file: self.policy_path() }
    }

    /// The policy that the folder works under.
    ///
    /// # Errors
    /// [`FolderError::Vault`]; [`FolderError::Policy`] where this program does not understand it.
    pub fn adopted(&self, vault: &Vault) -> Result<PolicyText, FolderError> {
        PolicyText::parse(vault.adopted_policy()?, "the adopted policy")
    }

    /// Makes a policy the one that the folder works under, and writes it into `policy.toml`. Returns
    /// what it worked under before, for [`DataFolder::put_back`].
    ///
    /// Adopt a policy before the first event is stored under it. In a folder that does not know it
    /// later events would be sealed without the owners that it names, and forgetting would miss them.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Vault`].
    pub async fn adopt(
        &self,
        vault: &Vault,
        policy: &PolicyText,
    ) -> Result<FormerPolicy, FolderError> {
        let path = self.policy_path();
        let former = FormerPolicy { file: self.policy_bytes()?, adopted: self.adopted(vault)? };
        let text = policy.text.as_bytes();
        if former.file.as_deref() != Some(text) {
            durable::replace(&path, text).map_err(|source| FolderError::Io { path, source })?;
        }
        // A crash before this leaves a changed file, which is told.
        vault.adopt_policy(&policy.text).await?;
        Ok(former)
    }

    /// Makes the former policy the folder's again, when nothing was stored under the one that was
    /// adopted.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Vault`].
    pub async fn put_back(&self, vault: &Vault, former: FormerPolicy) -> Result<(), FolderError> {
        let path = self.policy_path();
        let put_back = match &former.file {
            file if *file == self.policy_bytes()? => Ok(()),
            Some(file) => durable::replace(&path, file),
            None => durable::remove(&path),
        };
        put_back.map_err(|source| FolderError::Io { path, source })?;
        Ok(vault.adopt_policy(&former.adopted.text).await?)
    }

    fn policy_bytes(&self) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.policy_path();
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.map_err(|source| FolderError::Io { path, source })?)),
        }
    }

    /// The adopted policy, and what is wrong where the file says something else.
    pub(super) fn settled_policy(
        &self,
        vault: &Vault,
    ) -> Result<(Policy, Option<FolderError>), FolderError> {
        let adopted = self.adopted(vault)?.policy;
        let changed = match self.policy_file() {
            Ok(Some(file)) if file.policy.digest() == adopted.digest() => None,
            Ok(None) if Policy::sealed_by_default().digest() == adopted.digest() => None,
            Ok(None) => Some(self.policy_absent()),
            Ok(Some(_)) => Some(FolderError::PolicyChanged {
                path: self.path.clone(),
                file: self.policy_path(),
            }),
            Err(error) => Some(error),
        };
        Ok((adopted, changed))
    }

    pub(super) fn policy_path(&self) -> PathBuf {
        self.path.join("policy.toml")
    }
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word may be the one that says what is to be sealed, or kept.
    #[test]
    fn a_policy_with_a_word_of_a_newer_program_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let (data, vault) = (DataFolder::at(place.path()), Vault::in_memory().unwrap());
        let known = "[[stream]]\nmatch = \"user-{id}\"\n";
        let adopt = |text: &str| futures::executor::block_on(vault.adopt_policy(text)).unwrap();
        adopt(known);
        data.adopted(&vault).unwrap();
        for newer in ["retain = \"10 years\"\n", "[[hold]]\nname = \"case\"\n"] {
            let text = [known, newer].concat();
            adopt(&text);
            for refused in [data.adopted(&vault).map(drop), data.settled_policy(&vault).map(drop)] {
                assert!(matches!(refused, Err(FolderError::Policy { .. })), "{refused:?}");
            }
            assert_eq!(vault.adopted_policy().unwrap(), text);
        }
    }
}
