//! Whom a backup is sealed to, and who opens it.

use std::{fmt, fs, path::Path, str::FromStr};

use age::x25519;
use zeroize::Zeroizing;

use super::BackupError;
use crate::without_mark;

/// How a secret identity begins, so that one in the wrong place is not repeated in a message.
const SECRET: &str = "AGE-SECRET-KEY-";

/// Age recipients: public keys, to each of whom a backup is sealed.
///
/// ```no_run
/// use std::path::Path;
/// use oubliette::{event::Timestamp, vault::{Vault, backup::Recipients}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vault = Vault::open(Path::new("/srv/bank/vault"), Path::new("/var/lib/bank/vault.root"))?;
/// let mut recipients = Recipients::default();
/// recipients.add_file(Path::new("recipients.txt"))?; // age1…, one a line
/// let until = Timestamp::from_micros(Timestamp::now().as_micros() + 90 * 86_400_000_000);
/// vault.back_up(Path::new("vault-2026-05.age"), &recipients, until, |_| {}).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Recipients(pub(super) Vec<x25519::Recipient>);

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

impl Recipients {
    /// Adds one, as it is written: `age1…`. One that is there already is passed over.
    ///
    /// # Errors
    /// [`BackupError::NotARecipient`], [`BackupError::IdentityForRecipient`].
    pub fn add(&mut self, recipient: &str) -> Result<(), BackupError> {
        // Only what looks like a recipient is repeated: it might be a secret in the wrong place.
        let what = if recipient.starts_with("age1") { recipient } else { "what was given" };
        self.parse(recipient, what.to_owned())
    }

    /// Adds those in a file: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`BackupError::Io`], and as [`Recipients::add`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), BackupError> {
        let bytes = Zeroizing::new(fs::read(path).map_err(BackupError::io(path))?);
        let none = || BackupError::NotARecipient { what: path.display().to_string() };
        let text = std::str::from_utf8(without_mark(&bytes)).map_err(|_| none())?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                self.parse(line, format!("line {} of {}", number + 1, path.display()))?;
            }
        }
        Ok(())
    }

    fn parse(&mut self, text: &str, what: String) -> Result<(), BackupError> {
        if text.to_ascii_uppercase().starts_with(SECRET) {
            return Err(BackupError::IdentityForRecipient(what));
        }
        let recipient =
            x25519::Recipient::from_str(text).map_err(|_| BackupError::NotARecipient { what })?;
        // A backup would be sealed to it twice, and counted so.
        if !self.texts().contains(&recipient.to_string()) {
            self.0.push(recipient);
        }
        Ok(())
    }

    /// As they are written.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// Age identities: the secret halves.
///
/// [`VerifiedBackup`](super::VerifiedBackup) has an example.
pub struct Identities(pub(super) Vec<x25519::Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Those in a file as `age-keygen` writes it.
    ///
    /// # Errors
    /// [`BackupError::NotAnIdentity`], [`BackupError::Io`].
    pub fn from_file(path: &Path) -> Result<Self, BackupError> {
        let bytes = Zeroizing::new(fs::read(path).map_err(BackupError::io(path))?);
        let none = || BackupError::NotAnIdentity(path.into());
        let text = std::str::from_utf8(without_mark(&bytes)).map_err(|_| none())?;
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let identities = lines.map(|line| x25519::Identity::from_str(line).map_err(|_| none()));
        let identities = identities.collect::<Result<Vec<_>, _>>()?;
        if identities.is_empty() { Err(none()) } else { Ok(Self(identities)) }
    }
}
