//! How a command ends: exit codes, and errors as people and programs get them.

use std::{error::Error, io, process::ExitCode};

use oubliette::{
    audit::AuditError,
    erasure::ErasureError,
    event::{JsonError, NameError},
    layer::{CodecError, OwnersError, RotateError},
    policy::PolicyErrors,
    store::{StoreError, sqlite::OpenError},
    vault::{SuccessorError, VaultError, backup::BackupError},
};
use oubliette_folder::FolderError;
use serde_json::json;

use super::output;

/// How a command ended, as its process tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It did not.
    Failed = 1,
    /// It was asked for something that makes no sense.
    Usage = 2,
    /// A stream was not at the expected revision.
    Conflict = 3,
    /// A key of a forgotten subject was needed.
    Forgotten = 4,
    /// Another process has the vault open.
    VaultInUse = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Nobody reads our output any more: `oubliette read-all | head`. Not worth a word.
    Pipe,
    /// All has been said already; only the exit code is left.
    Told(Exit),
    /// An error to be told.
    Error {
        /// The exit code.
        exit: Exit,
        /// What happened.
        error: Box<dyn Error + Send + Sync>,
        /// What to do about it, where the error itself does not say so.
        hint: Option<String>,
    },
}

impl CliError {
    /// A failure of any kind.
    pub(crate) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Error { exit: Exit::Failed, error: error.into(), hint: None }
    }

    /// Wrong usage.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Error { exit: Exit::Usage, error: error.into(), hint: None }
    }

    /// The same error, with a word on what to do.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Error { exit, error, hint: None } => {
                Self::Error { exit, error, hint: Some(hint.into()) }
            }
            other => other,
        }
    }

    /// Tells the error on stderr and says how the process is to end.
    pub(super) fn tell(&self, json: bool) -> Exit {
        let (exit, error, hint) = match self {
            Self::Pipe => return Exit::Done,
            Self::Told(exit) => return *exit,
            Self::Error { exit, error, hint } => (*exit, error, hint),
        };
        let (message, causes) = chain(error.as_ref());
        if json {
            let mut object = json!({"error": message, "exit": exit as u8});
            if !causes.is_empty() {
                object["causes"] = json!(causes);
            }
            if let Some(hint) = hint {
                object["hint"] = json!(hint);
            }
            output::to_stderr(&object.to_string());
            return exit;
        }
        output::to_stderr(&format!("{} {message}", output::stderr_style().error("error:")));
        for cause in causes {
            output::to_stderr(&format!("  because: {cause}"));
        }
        if let Some(hint) = hint {
            output::to_stderr(&format!("{} {hint}", output::stderr_style().hint("hint:")));
        }
        exit
    }
}

/// An error's message, and those of its sources that it does not repeat itself.
pub(super) fn chain(error: &(dyn Error + 'static)) -> (String, Vec<String>) {
    let message = error.to_string();
    let mut causes = Vec::new();
    let mut last = message.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !last.contains(&text) {
            causes.push(text.clone());
            last = text;
        }
        source = cause.source();
    }
    (message, causes)
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Pipe } else { Self::failed(error) }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (exit, hint) = match &error {
            StoreError::Conflict { .. } => {
                (Exit::Conflict, Some("read the stream again, decide again, append again"))
            }
            StoreError::Forgotten { .. } => (Exit::Forgotten, None),
            StoreError::ForeignPosition(_) => (Exit::Usage, None),
            _ if error.is_temporary() => (Exit::Failed, Some("try again")),
            _ => (Exit::Failed, None),
        };
        Self::Error { exit, error: error.into(), hint: hint.map(str::to_owned) }
    }
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        let exit = match &error {
            VaultError::InUse(_) => Exit::VaultInUse,
            VaultError::Forgotten { .. } => Exit::Forgotten,
            _ => Exit::Failed,
        };
        Self::Error { exit, error: error.into(), hint: None }
    }
}

impl From<FolderError> for CliError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Vault(error) => error.into(),
            FolderError::Store(error) => error.into(),
            FolderError::Erasure(error) => error.into(),
            FolderError::Backup(error) => error.into(),
            error @ FolderError::Contradiction { .. } => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Vault(error) => error.into(),
            BackupError::NoRecipients
            | BackupError::WithinVault(_)
            | BackupError::NotARecipient { .. }
            | BackupError::IdentityForRecipient(_)
            | BackupError::ExpiresInThePast(_) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<ErasureError> for CliError {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Vault(error) => error.into(),
            ErasureError::Store(error) => error.into(),
            ErasureError::NoVault
            | ErasureError::UnfitReason(_)
            | ErasureError::UnfitName
            | ErasureError::KeyChange(_) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<SuccessorError> for CliError {
    fn from(error: SuccessorError) -> Self {
        match error {
            SuccessorError::Vault(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

impl From<AuditError> for CliError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Vault(error) => error.into(),
            AuditError::Store(error) => error.into(),
            AuditError::NoVault => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<OwnersError> for CliError {
    fn from(error: OwnersError) -> Self {
        match error {
            OwnersError::Vault(error) => error.into(),
            OwnersError::Store(error) => error.into(),
            other => Self::usage(other),
        }
    }
}

impl From<RotateError> for CliError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Vault(error) => error.into(),
            RotateError::Store(error) => error.into(),
            RotateError::NoVault => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<PolicyErrors> for CliError {
    fn from(error: PolicyErrors) -> Self {
        Self::failed(error)
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        Self::failed(error)
    }
}

impl From<CodecError> for CliError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Vault(error) => error.into(),
            CodecError::NoVault => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        Self::usage(error)
    }
}

impl From<JsonError> for CliError {
    fn from(error: JsonError) -> Self {
        Self::usage(error)
    }
}
