//! What a drill can find, how bad it is, and the remedy.

use std::fmt;

use serde::Serialize;

use crate::audit::{Finding, Location, Severity};

/// A kind of finding of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Leak {
    /// A value that is sealed, or that the caller named, is in clear.
    ClearText,
    /// A sealed part of somebody forgotten can be read.
    TokenOpens,
    /// A destroyed key can be read from a copy of the vault.
    DestroyedKey,
    /// A copy of the vault holds a key of which the vault knows nothing.
    StrangeKey,
    /// An earlier root of the vault.
    EarlierRoot,
    /// A root of the vault that is newer than the one in use.
    NewerRoot,
    /// A copy of the root in use, away from its slot.
    SlotCopy,
    /// What is left of a root of the vault.
    BrokenRoot,
    /// The vault's own slot.
    TodaysSlot,
    /// A root of another vault.
    OtherRoot,
    /// A copy of the vault's folder, from which nothing destroyed can be read.
    VaultCopy,
    /// The vault's own folder.
    TodaysVault,
    /// A folder of another vault.
    OtherVault,
    /// A folder that looks like a vault's and does not open.
    BrokenCopy,
    /// Sealed parts under keys of which the vault knows nothing.
    UnknownTokens,
    /// A backup of the vault that is not encrypted.
    ClearBackup,
    /// A backup of the vault that is encrypted, and holds keys that were destroyed since.
    SealedBackup,
    /// Something that is encrypted with age, and was not looked into.
    Encrypted,
    /// Something that was not looked into, or not to its end.
    NotLookedInto,
    /// A file or folder that cannot be read.
    Unreadable,
    /// There are more sealed values than were searched for.
    ValuesLeftOut,
}

impl Leak {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::ClearText
            | Self::TokenOpens
            | Self::DestroyedKey
            | Self::EarlierRoot
            | Self::NewerRoot
            | Self::ClearBackup
            | Self::SealedBackup => Severity::Error,
            Self::StrangeKey
            | Self::SlotCopy
            | Self::BrokenRoot
            | Self::BrokenCopy
            | Self::Encrypted
            | Self::NotLookedInto
            | Self::ValuesLeftOut
            | Self::Unreadable => Severity::Warning,
            Self::TodaysSlot
            | Self::OtherRoot
            | Self::VaultCopy
            | Self::TodaysVault
            | Self::OtherVault
            | Self::UnknownTokens => Severity::Notice,
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::ClearText => {
                "find out who wrote it, stop it, and remove the file or what is in it"
            }
            Self::TokenOpens | Self::DestroyedKey => {
                "destroy the root that opens it, wherever it lies: without it the copy is dead"
            }
            Self::StrangeKey => {
                "the vault was put back to an earlier state, or the copy is of another line of it: \
                 find out which, and destroy the copy"
            }
            Self::EarlierRoot => {
                "overwrite it in place and remove it: with it and a copy of the vault's folder of \
                 its time, everybody forgotten since can be read again"
            }
            Self::NewerRoot => {
                "the vault and its slot were put back to an earlier state: forget again who was \
                 forgotten since, then destroy this root"
            }
            Self::SlotCopy => {
                "nothing forgotten can be read with it today, but with the next erasure it becomes \
                 an earlier root: keep it where erasures reach it, or destroy it"
            }
            Self::BrokenRoot => "overwrite it: what is left of it may suffice to read old copies",
            Self::TodaysSlot | Self::TodaysVault => "none needed: it is where it should be",
            Self::OtherRoot | Self::OtherVault => {
                "not this vault's: drill with the vault that it belongs to"
            }
            Self::VaultCopy => {
                "none needed: it holds no destroyed key that today's root, or a root found here, opens"
            }
            Self::BrokenCopy => "nothing can be said about it: look what it is, or remove it",
            Self::UnknownTokens => {
                "sealed by another vault, or under keys made after this one was put back"
            }
            Self::ClearBackup => {
                "overwrite it in place and remove it: whoever has it reads everybody who was not yet \
                 forgotten when it was made"
            }
            Self::SealedBackup => {
                "whoever has it and an identity of a recipient reads those who were forgotten since: \
                 destroy it, at the latest on its day, and say so with `backup retire`"
            }
            Self::Encrypted => "decrypt it where it is safe to, and drill what comes out",
            Self::NotLookedInto => {
                "nothing can be said about it: unpack or decrypt it, and drill what comes out"
            }
            Self::Unreadable => "make it readable, and drill again: nothing can be said about it",
            Self::ValuesLeftOut => {
                "give the values that matter with --needles, or drill stream by stream"
            }
        }
    }

    pub(super) fn at(self, at: Location, what: impl Into<String>) -> Finding<Self> {
        let (severity, remedy) = (self.severity(), self.remedy());
        Finding { kind: self, severity, at, what: what.into(), remedy, signer: None }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClearText => "clear text",
            Self::TokenOpens => "token opens",
            Self::DestroyedKey => "destroyed key",
            Self::StrangeKey => "strange key",
            Self::EarlierRoot => "earlier root",
            Self::NewerRoot => "newer root",
            Self::SlotCopy => "copy of the slot",
            Self::BrokenRoot => "broken root",
            Self::TodaysSlot => "today's slot",
            Self::OtherRoot => "another vault's root",
            Self::VaultCopy => "copy of the vault",
            Self::TodaysVault => "today's vault",
            Self::OtherVault => "another vault",
            Self::BrokenCopy => "broken copy",
            Self::UnknownTokens => "unknown tokens",
            Self::ClearBackup => "backup in clear",
            Self::SealedBackup => "backup of the vault",
            Self::Encrypted => "encrypted",
            Self::NotLookedInto => "not looked into",
            Self::Unreadable => "unreadable",
            Self::ValuesLeftOut => "values left out",
        })
    }
}
