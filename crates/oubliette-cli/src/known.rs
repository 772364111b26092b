//! What the program makes of the libraries' errors: how the command ends, of which kind the error is, and what
//! to do about it (`hints`).
//!
//! A kind is stable. It is the family and the variant in lower case, `vault.forgotten`, of the innermost error
//! that says more than that something beneath failed.

use std::{error::Error, fmt::Debug};

use oubliette::{
    TaskError,
    audit::AuditError,
    crypto::RandomError,
    erasure::{
        BadMemo, ErasureError, ErasureRefusal, KeyChangeError, OperatorError, PendingError,
        UnclearError, UnfitReason,
    },
    event::{JsonError, NameError},
    layer::{CodecError, OwnersError, RotateError},
    policy::PolicyErrors,
    store::{StoreError, sqlite::OpenError},
    vault::{OpenVaultError, SlotError, SuccessorError, VaultError, backup::BackupError},
    words::chain,
};
use oubliette_folder::{FolderError, Note};

use super::{exit::Exit, hints::hint, stores};

/// What is told of an error beside its text.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: Exit,
    pub(crate) kind: String,
    pub(crate) hint: Option<&'static str>,
}

/// An error of the libraries.
pub(crate) trait Known: Error + Send + Sync + 'static {
    fn told(&self) -> Told;
}

/// What is told of this variant of the family.
pub(super) fn told(family: &str, variant: &impl Debug, exit: Exit) -> Told {
    let kind = kind(family, variant);
    Told { exit, hint: hint(&kind), kind }
}

/// What is told of something that somebody should know, though it is no error.
pub(super) fn noted(note: &Note) -> String {
    match note {
        Note::Text(text) => text.clone(),
        Note::Error(error) => match error.told().hint {
            Some(hint) => format!("{}; {hint}", chain(error)),
            None => chain(error),
        },
        _ => format!("{note:?}"),
    }
}

/// As what `Debug` begins with: the name of the variant.
pub(super) fn kind(family: &str, variant: &impl Debug) -> String {
    let mut kind = format!("{family}.");
    for letter in format!("{variant:?}").chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !kind.ends_with('.') {
            kind.push('_');
        }
        kind.push(letter.to_ascii_lowercase());
    }
    kind
}

impl Known for TaskError {
    fn told(&self) -> Told {
        told("task", self, Exit::Failed)
    }
}

impl Known for RandomError {
    fn told(&self) -> Told {
        told("vault", &format_args!("Random"), Exit::Failed)
    }
}

impl Known for SlotError {
    fn told(&self) -> Told {
        match self {
            Self::Task(error) => error.told(),
            Self::InUse(_) => told("slot", self, Exit::VaultInUse),
            _ => told("slot", self, Exit::Failed),
        }
    }
}

impl Known for VaultError {
    fn told(&self) -> Told {
        match self {
            Self::Slot(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::Forgotten { .. } => told("vault", self, Exit::Forgotten),
            _ => told("vault", self, Exit::Failed),
        }
    }
}

impl Known for OpenVaultError {
    fn told(&self) -> Told {
        match self {
            Self::Slot(error) => error.told(),
            Self::Vault(error) => error.told(),
            Self::InUse(_) => told("open_vault", self, Exit::VaultInUse),
            _ => told("open_vault", self, Exit::Failed),
        }
    }
}

impl Known for StoreError {
    fn told(&self) -> Told {
        let exit = match self {
            Self::Task(error) => return error.told(),
            Self::Vault(error) => match error.downcast_ref::<VaultError>() {
                Some(error) => return error.told(),
                None => Exit::Failed,
            },
            Self::Conflict { .. } => Exit::Conflict,
            Self::Forgotten { .. } => Exit::Forgotten,
            Self::ForeignPosition(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        let mut told = told("store", self, exit);
        // Some say so themselves.
        if self.is_temporary() && !chain(self).contains("try again") {
            told.hint = Some("try again");
        }
        told
    }
}

impl Known for CodecError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::NoVault => told("codec", self, Exit::Usage),
            _ => told("codec", self, Exit::Failed),
        }
    }
}

impl Known for ErasureError {
    fn told(&self) -> Told {
        match self {
            Self::Refused(error) => error.told(),
            Self::Pending(error) => error.told(),
            Self::Unclear(error) => error.told(),
            Self::Operator(error) => error.told(),
            Self::BadMemo(error) => error.told(),
            Self::Vault(error) => error.told(),
            Self::Store(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::NotReplayed { source, .. } => {
                Told { hint: source.told().hint, ..told("erasure", self, Exit::Failed) }
            }
            _ => told("erasure", self, Exit::Failed),
        }
    }
}

impl Known for ErasureRefusal {
    fn told(&self) -> Told {
        match self {
            Self::UnfitReason(error) => error.told(),
            Self::NoVault => told("erasure", self, Exit::Usage),
            _ => told("erasure", self, Exit::Failed),
        }
    }
}

impl Known for PendingError {
    fn told(&self) -> Told {
        told("pending", self, Exit::Failed)
    }
}

impl Known for UnclearError {
    fn told(&self) -> Told {
        told("unclear", self, Exit::Failed)
    }
}

impl Known for OperatorError {
    fn told(&self) -> Told {
        match self {
            Self::Unclear(error) => error.told(),
            Self::BadMemo(error) => error.told(),
            Self::Vault(error) => error.told(),
            Self::UnfitName => told("operator", self, Exit::Usage),
            _ => told("operator", self, Exit::Failed),
        }
    }
}

impl Known for BadMemo {
    fn told(&self) -> Told {
        told("bad_memo", self, Exit::Failed)
    }
}

impl Known for KeyChangeError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            _ => told("key_change", self, Exit::Usage),
        }
    }
}

impl Known for UnfitReason {
    fn told(&self) -> Told {
        told("reason", self, Exit::Usage)
    }
}

impl Known for SuccessorError {
    fn told(&self) -> Told {
        told("successor", self, Exit::Failed)
    }
}

impl Known for AuditError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::Store(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::NoVault => told("audit", self, Exit::Usage),
            _ => told("audit", self, Exit::Failed),
        }
    }
}

impl Known for OwnersError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::Store(error) => error.told(),
            _ => told("owners", self, Exit::Usage),
        }
    }
}

impl Known for RotateError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::Store(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::NoVault => told("rotate", self, Exit::Usage),
            _ => told("rotate", self, Exit::Failed),
        }
    }
}

impl Known for BackupError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::OpenVault(error) => error.told(),
            Self::Task(error) => error.told(),
            Self::NoRecipients
            | Self::WithinVault(_)
            | Self::NotARecipient { .. }
            | Self::IdentityForRecipient(_)
            | Self::ExpiresInThePast(_) => told("backup", self, Exit::Usage),
            _ => told("backup", self, Exit::Failed),
        }
    }
}

impl Known for OpenError {
    fn told(&self) -> Told {
        told("open_store", self, Exit::Failed)
    }
}

impl Known for PolicyErrors {
    fn told(&self) -> Told {
        told("policy", &format_args!("Invalid"), Exit::Failed)
    }
}

impl Known for NameError {
    fn told(&self) -> Told {
        told("name", &format_args!("Invalid"), Exit::Usage)
    }
}

impl Known for JsonError {
    fn told(&self) -> Told {
        told("json", &format_args!("Invalid"), Exit::Usage)
    }
}

impl Known for FolderError {
    fn told(&self) -> Told {
        match self {
            Self::Vault(error) => error.told(),
            Self::OpenVault(error) => error.told(),
            Self::Slot(error) => error.told(),
            Self::Store(error) => error.told(),
            Self::Open(error) => error.told(),
            Self::Erasure(error) => error.told(),
            Self::KeyChange(error) => error.told(),
            Self::Backup(error) => error.told(),
            Self::Policy(error) => error.told(),
            Self::Task(error) => error.told(),
            // What is to be done is what the rest of it says.
            Self::AfterRestoring { source, .. } | Self::AfterKeyChange { source, .. } => {
                Told { hint: source.told().hint, ..told("folder", self, Exit::Failed) }
            }
            Self::OpenStore { temporary, source, .. } => {
                let mut said =
                    stores::told_of(source).unwrap_or_else(|| told("folder", self, Exit::Failed));
                if *temporary && !chain(self).contains("try again") {
                    said.hint = Some("try again");
                }
                said
            }
            Self::Contradiction { .. } => told("folder", self, Exit::Usage),
            _ => told("folder", self, Exit::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_to_try_again_has_no_hint_that_says_so_too() {
        let hint = |why: &str| StoreError::backend(true, why).told().hint;
        assert_eq!(hint("the database is busy: try again"), None);
        assert_eq!(hint("the connection was lost"), Some("try again"));
    }
}
