//! What `verify` and `drill` find: where, how bad it is, and what to do about it.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::event::{
    ErasureId, EventId, Position, RecordedEvent, Revision, SigningKeyId, StreamName, Subject,
};

/// How bad a finding is.
///
/// [`Finding`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing need be done.
    Notice,
    /// Something is missing or left over, and somebody should see to it.
    Warning,
    /// A promise is broken: something is lost, or something forgotten is not.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something that was found. It holds nothing of a payload or a key.
///
/// ```
/// use oubliette::{audit::{Severity, verify::{VerifyOptions, VerifyProgress}}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let tell = |progress| {
///     if let VerifyProgress::Found(finding) = progress {
///         println!("{}: {} ({}), {}", finding.severity, finding.kind, finding.what, finding.remedy);
///     }
/// };
/// let report = store.verify(VerifyOptions::default(), tell).await?;
/// assert_eq!(report.count(Severity::Error), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding<K> {
    /// What kind of thing.
    #[serde(rename = "finding")]
    pub kind: K,
    /// How bad it is.
    pub severity: Severity,
    /// Where it was found.
    #[serde(rename = "where")]
    pub at: Location,
    /// What exactly is wrong, in words.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The signing key that what was found names, where that is what it is about. Another may have signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<SigningKeyId>,
}

impl<K> Finding<K> {
    /// Where it knows more than what is to be done about most of its kind.
    pub(super) fn remedied(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    pub(super) fn by(self, signer: impl Into<Option<SigningKeyId>>) -> Self {
        Self { signer: signer.into(), ..self }
    }
}

/// Declares the kinds of finding of an audit: each once, with how bad it is, its name for people, and the remedy.
macro_rules! kinds {
    (
        $(#[$about:meta])* $kinds:ident
        $($(#[$doc:meta])* $kind:ident: $severity:ident, $name:literal, $remedy:expr;)*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum $kinds {
            $($(#[$doc])* $kind,)*
        }

        impl $kinds {
            /// How bad it is.
            pub fn severity(self) -> $crate::audit::Severity {
                match self {
                    $(Self::$kind => $crate::audit::Severity::$severity,)*
                }
            }

            /// What to do about it. A finding may know more: then it has a remedy of its own.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$kind => $remedy,)*
                }
            }

            pub(super) fn at(
                self,
                at: $crate::audit::Location,
                what: impl Into<String>,
            ) -> $crate::audit::Finding<Self> {
                let (severity, remedy) = (self.severity(), self.remedy());
                $crate::audit::Finding { kind: self, severity, at, what: what.into(), remedy, signer: None }
            }
        }

        impl std::fmt::Display for $kinds {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$kind => $name,)*
                })
            }
        }
    };
}
pub(super) use kinds;

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Location {
    /// In the vault as a whole.
    Vault,
    /// In a page of the vault.
    Page {
        /// Its id, in hexadecimal digits.
        page: String,
        /// What is beneath it, in words; empty where that is not known.
        beneath: String,
    },
    /// At a value in the vault, in words.
    Record(String),
    /// At a data key.
    Key {
        /// Its id, as in tokens.
        id: String,
        /// Its stream, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<StreamName>,
    },
    /// At a subject of the vault.
    Subject(Subject),
    /// At a subject of whom only the keyed pseudonym is known.
    Pseudonym(String),
    /// At the record of an erasure.
    Erasure(ErasureId),
    /// At an event of the store.
    Event {
        /// The event's stream.
        stream: StreamName,
        /// The event's revision.
        revision: Revision,
        /// The event's position.
        position: Position,
        /// The event's id.
        id: EventId,
    },
    /// At a place in the store, of whose event nothing else can be told.
    Position(Position),
    /// In a file that was searched.
    File {
        /// Its path, as it was reached.
        path: PathBuf,
        /// What it is packed in there, from the outside; empty: nothing.
        #[serde(skip_serializing_if = "String::is_empty")]
        inside: String,
        /// The byte, of what was unpacked if it is packed, where one can be named.
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    },
}

impl Location {
    pub(super) fn of(event: &RecordedEvent) -> Self {
        let RecordedEvent { stream, revision, position, id, .. } = event;
        let (stream, revision) = (stream.clone(), *revision);
        Self::Event { stream, revision, position: *position, id: *id }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault => f.write_str("the vault"),
            Self::Page { page, beneath } if beneath.is_empty() => write!(f, "page {page}"),
            Self::Page { page, beneath } => write!(f, "page {page}: {beneath}"),
            Self::Record(text) => f.write_str(text),
            Self::Key { id, stream: Some(stream) } => write!(f, "key {id} of {stream}"),
            Self::Key { id, stream: None } => write!(f, "key {id}"),
            Self::Subject(subject) => write!(f, "{subject}"),
            Self::Pseudonym(pseudonym) => write!(f, "pseudonym {pseudonym}"),
            Self::Erasure(erasure) => write!(f, "erasure {erasure}"),
            Self::Event { stream, revision, position, .. } => {
                write!(f, "{stream} revision {revision} (position {position})")
            }
            Self::Position(position) => write!(f, "position {position} of the event store"),
            Self::File { path, inside, offset } => {
                write!(f, "{}", path.display())?;
                if !inside.is_empty() {
                    write!(f, ", in {inside}")?;
                }
                offset.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
            }
        }
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
