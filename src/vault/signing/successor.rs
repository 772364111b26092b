//! A successor of the signing key: made in advance, kept elsewhere.
//!
//! Its file is text of at most 4096 bytes. Lines that begin with `#` and empty ones are for people. The first
//! other line is `OUBLIETTE-SUCCESSOR-1`, the vault's id and the secret (32 bytes as base64url), with blanks between.
//! The number is the version; a higher one is refused as [`SuccessorError::Newer`].

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{
    crypto::{Secret, SigningKey, base64url},
    event::{SigningKeyId, VerifyingKey},
    own::{self, Refused},
    vault::{VaultError, VaultId},
    without_mark,
};

/// How the one line of a successor's file begins. The number is the version.
const MARK: &str = "OUBLIETTE-SUCCESSOR-";
const VERSION: &str = "1";
/// More than any such file has.
const MOST_BYTES: usize = 4096;

/// A key that is to sign once the present one is stolen or lost. Whoever has it can take the vault's
/// place in the eyes of every backup, so it is kept apart from vault, root slot and backups.
pub struct Successor {
    vault: VaultId,
    key: SigningKey,
}

/// A file is not the successor that is wanted. No message holds anything of the secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessorError {
    /// It is something else.
    #[error(
        "{0} is not the file of a successor, or was changed; take the one that `oubliette keys successor` \
         wrote"
    )]
    NotASuccessor(String),
    /// A newer program wrote it.
    #[error(
        "{file} is a successor's file of version {version}, and this program knows 1; it was written by a \
         newer program, use that one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        version: String,
    },
    /// It could not be read or written.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// Others may read it, or it is no plain file of this user's.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Successor {
    /// A new one for a vault. It is nothing until it is pinned.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn generate(vault: VaultId) -> Result<Self, VaultError> {
        Ok(Self { vault, key: SigningKey::generate()? })
    }

    /// The vault that it was made for.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Its id as a signing key.
    pub fn id(&self) -> SigningKeyId {
        self.public().id()
    }

    /// Its public key.
    pub fn public(&self) -> VerifyingKey {
        self.key.public()
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Writes it to a new file that its owner alone may read, durably.
    ///
    /// # Errors
    /// [`SuccessorError::Io`], also where there is something already.
    pub fn save(&self, path: &Path) -> Result<(), SuccessorError> {
        let mut secret = Zeroizing::new(String::new());
        base64url::encode(self.key.secret().as_slice(), &mut secret);
        let text = Zeroizing::new(format!(
            "# The successor of the signing key of vault {vault}.\n\
             # Public key: {public}\n\
             # Keep it offline, and apart from the vault, its root slot and its backups. Whoever has it can\n\
             # sign in the vault's name once it is used. `oubliette keys rotate --successor FILE` uses it.\n\
             {MARK}{VERSION} {vault} {secret}\n",
            vault = self.vault,
            public = self.public(),
            secret = secret.as_str(),
        ));
        crate::durable::make(path, text.as_bytes())
            .map_err(|error| SuccessorError::Io(path.display().to_string(), error))
    }

    /// Reads a successor's file.
    ///
    /// # Errors
    /// [`SuccessorError`].
    pub fn load(path: &Path) -> Result<Self, SuccessorError> {
        let file = path.display().to_string();
        let io = |error| SuccessorError::Io(path.display().to_string(), error);
        let mut opened =
            own::open(path, OpenOptions::new().read(true)).map_err(|refused| match refused {
                Refused::Io(error) => io(error),
                refused => VaultError::from(refused).into(),
            })?;
        own::refuse_shared(&opened, path).map_err(VaultError::from)?;
        let mut bytes = Zeroizing::new(vec![0; MOST_BYTES]);
        let read = opened.read(&mut bytes).map_err(io)?;
        bytes.truncate(read);
        let text = std::str::from_utf8(without_mark(&bytes)).ok();
        let mut lines = text.into_iter().flat_map(str::lines);
        let line = lines.find(|line| !line.starts_with('#') && !line.trim().is_empty());
        let none = || SuccessorError::NotASuccessor(path.display().to_string());
        let mut words = line.ok_or_else(none)?.split_ascii_whitespace();
        let version = words.next().and_then(|word| word.strip_prefix(MARK)).ok_or_else(none)?;
        if version != VERSION {
            // Without zeros in front: then any number but 1 is a higher one.
            let is_number = version.bytes().all(|b| b.is_ascii_digit());
            let newer = is_number && !version.is_empty() && !version.starts_with('0');
            let version = version.to_owned();
            return Err(if newer { SuccessorError::Newer { file, version } } else { none() });
        }
        let of = words.next().and_then(|word| word.parse().ok()).map(VaultId).ok_or_else(none)?;
        let secret = words.next().and_then(base64url::decode).map(Zeroizing::new);
        let secret = secret.ok_or_else(none)?;
        let secret = <&[u8; 32]>::try_from(secret.as_slice()).map_err(|_| none())?;
        Ok(Self { vault: of, key: SigningKey::from_secret(&Secret::copy_of(secret)) })
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Successor({} of vault {})", self.id(), self.vault)
    }
}
