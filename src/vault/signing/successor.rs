//! A successor of the signing key: made in advance, kept elsewhere.
//!
//! Its file is text of at most 4096 bytes, UTF-8, and a byte-order mark before it is passed over. Lines that begin
//! with `#`, and those of nothing but white space, are for people. There is exactly one other line: the words
//! `OUBLIETTE-SUCCESSOR-1`, the vault's id (lower case, with hyphens) and the secret (the 32 bytes of an Ed25519
//! private key of RFC 8032, as base64url without padding), with spaces or tabs between them. The number is the
//! version. A reader looks at it first, and refuses a higher one as [`SuccessorError::Newer`]; whatever else is not
//! so is [`SuccessorError::NotASuccessor`].
//!
//! Nothing in it tells a changed secret from another: the vault does, which has pinned the public key.

#[cfg(test)]
mod vectors;

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    crypto::{RandomError, Secret, SigningKey, base64url},
    event::{SigningKeyId, VaultId, VerifyingKey},
    own::{self, Refused},
    without_mark,
};

/// How the one line of a successor's file begins. The number is the version.
const MARK: &str = "OUBLIETTE-SUCCESSOR-";
const VERSION: &str = "1";
/// More than any such file has.
const MOST_BYTES: usize = 4096;

/// A key that is to sign once the present one is stolen or lost. Its holder can take the vault's
/// place in the eyes of every backup, so it is kept apart from vault, root slot and backups.
///
/// ```
/// use oubliette::vault::{Successor, Vault};
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("successor.key");
/// let vault = Vault::in_memory()?;
/// let successor = Successor::generate(vault.id())?;
/// successor.save(&file)?; // on a medium that you take away
/// assert_eq!(Successor::load(&file)?.id(), successor.id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        "{0} is not the file of a successor, or was changed; take the one that was written when it was made"
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
    #[error("{0} cannot be read or written")]
    Io(String, #[source] io::Error),
    /// Others may read it, or it is no plain file of this user's.
    #[error("{} is not read: {why}", path.display())]
    UntrustedFile {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
}

impl Successor {
    /// A new one for a vault. It is nothing until it is pinned.
    ///
    /// # Errors
    /// [`RandomError`].
    pub fn generate(vault: VaultId) -> Result<Self, RandomError> {
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
        crate::durable::make(path, self.text().as_bytes())
            .map_err(|error| SuccessorError::Io(path.display().to_string(), error))
    }

    fn text(&self) -> Zeroizing<String> {
        let mut secret = Zeroizing::new(String::new());
        base64url::encode(self.key.secret().as_slice(), &mut secret);
        Zeroizing::new(format!(
            "# The successor of the signing key of vault {vault}.\n\
             # Public key: {public}\n\
             # Keep it offline, and apart from the vault, its root slot and its backups. Whoever has it can\n\
             # sign in the vault's name once it is used. `oubliette keys rotate --successor FILE` uses it.\n\
             {MARK}{VERSION} {vault} {secret}\n",
            vault = self.vault,
            public = self.public(),
            secret = secret.as_str(),
        ))
    }

    /// Reads a successor's file.
    ///
    /// # Errors
    /// [`SuccessorError`].
    pub fn load(path: &Path) -> Result<Self, SuccessorError> {
        let io = |error| SuccessorError::Io(path.display().to_string(), error);
        let refused = |refused| match refused {
            Refused::Io(error) => io(error),
            Refused::UntrustedFile { path, why } => SuccessorError::UntrustedFile { path, why },
        };
        let opened = own::open(path, OpenOptions::new().read(true)).map_err(refused)?;
        own::refuse_shared(&opened, path).map_err(refused)?;
        // With more room than is read, so that nothing is moved and left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MOST_BYTES));
        opened.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
        Self::read(&bytes, path)
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Self, SuccessorError> {
        let file = || path.display().to_string();
        let none = || SuccessorError::NotASuccessor(file());
        let text = std::str::from_utf8(without_mark(bytes)).map_err(|_| none())?;
        let mut lines =
            text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut words = lines.next().ok_or_else(none)?.split_ascii_whitespace();
        let version = words.next().and_then(|word| word.strip_prefix(MARK)).ok_or_else(none)?;
        if version != VERSION {
            // Without zeros in front: then any number but 1 is a higher one.
            let is_number = version.bytes().all(|b| b.is_ascii_digit());
            let newer = is_number && !version.is_empty() && !version.starts_with('0');
            let (file, version) = (file(), version.to_owned());
            return Err(if newer { SuccessorError::Newer { file, version } } else { none() });
        }
        let (of, secret) = match (words.next(), words.next(), words.next(), lines.next()) {
            (Some(of), Some(secret), None, None) if bytes.len() <= MOST_BYTES => (of, secret),
            _ => return Err(none()),
        };
        let vault = of.parse().map(VaultId).ok().filter(|vault| vault.to_string() == of);
        let secret = base64url::decode(secret).map(Zeroizing::new).ok_or_else(none)?;
        let secret = <&[u8; 32]>::try_from(secret.as_slice()).map_err(|_| none())?;
        let key = SigningKey::from_secret(&Secret::copy_of(secret));
        Ok(Self { vault: vault.ok_or_else(none)?, key })
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Successor({} of vault {})", self.id(), self.vault)
    }
}
