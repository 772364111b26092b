//! The inventory of keys and fences.

use futures::TryStreamExt;
use serde::Serialize;

use crate::{
    TaskError,
    event::{Category, Day, ErasureId, Generation, KeyId, Layout, StreamName, Subject, Timestamp},
    layer::Oubliette,
    store::{EventStore, StoreError},
    vault::{Fence, InventoryEntry, KeyInfo, KeyState, VaultError},
};

/// Why an inventory could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The layer was opened without a vault.
    #[error("opened without a vault: there are no keys to list")]
    NoVault,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A drill has no folder of its own to copy to what it opens.
    #[error(
        "the temporary folder {folder} cannot be used; a copy of the vault is copied there before it is opened, so \
         say another with TMPDIR",
        folder = std::env::temp_dir().display()
    )]
    NoRoom(#[source] std::io::Error),
}

impl AuditError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of vault and
    /// store, and a [task](TaskError::is_temporary) that was cut off.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::NoVault | Self::NoRoom(_) => false,
        }
    }
}

/// One line of the inventory.
///
/// ```
/// use oubliette::{audit::{Row, Totals}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let mut totals = Totals::default();
/// for row in store.inventory()? {
///     let row = row?;
///     totals.add(&row);
///     if let Row::Key(key) = row {
///         println!("{} of {}: {:?}", key.stream, key.subject, key.state);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Row {
    /// A living data key.
    Key(KeyRow),
    /// A subject, or some generations of one, that is forgotten. The name is gone: what is left
    /// is a keyed pseudonym.
    Forgotten(ForgottenRow),
}

/// A key, without its secret.
///
/// ```
/// use oubliette::{audit::Row, vault::KeyState, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // The keys of one person: for the answer to their request of access.
/// let person = Subject::of(&user);
/// for row in store.inventory()? {
///     let Row::Key(key) = row? else { continue };
///     if key.subject == person || key.owners.contains(&person) {
///         println!("{}: {:?}, last used on {}", key.stream, key.state, key.last_use);
///         assert_eq!(key.state, KeyState::Active);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyRow {
    /// Its id, as in tokens.
    pub id: String,
    /// The stream whose events the key seals.
    pub stream: StreamName,
    /// The subject whose key it is.
    pub subject: Subject,
    /// Its category; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// The last day of the period of what it seals; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Day>,
    /// The generation of the subject's keys.
    pub generation: Generation,
    /// What it may be used for.
    pub state: KeyState,
    /// Since when it seals: a key is made when it is first needed. `None` as long as it may not be
    /// used but for the append that it was made for.
    pub activation: Option<Timestamp>,
    /// Since when another generation seals in its place, where that is known.
    pub deactivation: Option<Timestamp>,
    /// The day of its last use.
    pub last_use: String,
    /// How many payloads it sealed at most: no more than twice as many as it was asked to, and three. In rows it has the
    /// name that they always had.
    #[serde(rename = "sealed_about")]
    pub sealed_at_most: u64,
    /// The subjects that its own depends on.
    pub owners: Vec<Subject>,
    /// The layout of the stream when it was made.
    pub layout: Layout,
    /// The digest of the policy when it was made.
    pub policy: String,
    /// Whether the policy says that such a stream has an owner, and none is known: it leads to
    /// no person, and no forgetting will reach it.
    pub ownerless: bool,
}

/// What remains of a forgotten subject.
///
/// ```
/// use oubliette::{audit::Row, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// store.forget(&Subject::of(&user), "request 2026-117").await?;
/// for row in store.inventory()? {
///     let Row::Forgotten(row) = row? else { continue };
///     println!("{} forgotten by {}", row.pseudonym, row.erasures[0].erasure);
///     assert!(row.closed); // until `reopen`
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForgottenRow {
    /// The state of the keys of the generations below.
    pub state: KeyState,
    /// The keyed pseudonym, in hexadecimal digits. It is still a pseudonym of a person.
    pub pseudonym: String,
    /// The erasures, newest last, each with the generations that it ended (both inclusive).
    pub erasures: Vec<DeadSpan>,
    /// The ids of the keys of these generations that were spared, and still are: each is in the
    /// inventory, or is lost. Absent where none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<KeyId>,
    /// Whether new keys are refused: so, until `reopen`.
    pub closed: bool,
}

/// A span of generations that an erasure ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadSpan {
    /// The erasure that destroyed these generations.
    pub erasure: ErasureId,
    /// When it was decided to destroy them; it was done right after, or, where a crash came between,
    /// with the next opening.
    pub destruction: Timestamp,
    /// The first dead generation.
    pub from: Generation,
    /// The last generation, inclusive.
    pub to: Generation,
}

/// Events of which this vault cannot say that it wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Unsealed {
    /// Nothing shows it.
    pub unsealed: u64,
    /// A newer program wrote them, and only that one can say.
    pub newer: u64,
}

/// The inventory in numbers.
///
/// [`Row`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// How many keys live.
    pub keys: u64,
    /// Of these, those that still seal.
    pub active: u64,
    /// Forgotten subjects that are closed.
    pub forgotten: u64,
    /// How many payloads the living keys sealed at most.
    #[serde(rename = "sealed_about")]
    pub sealed_at_most: u64,
    /// Keys of streams that should lead to a person and lead to none.
    pub ownerless: u64,
    /// Events in the store of which nothing shows that this vault wrote them; `None`: not counted.
    pub unsealed: Option<u64>,
    /// Events in the store that a newer program wrote; `None`: not counted.
    pub newer: Option<u64>,
    /// The vault's epoch. Noted elsewhere, it finds a vault out that was rolled back.
    pub epoch: u64,
}

impl Totals {
    /// Counts a row.
    pub fn add(&mut self, row: &Row) {
        match row {
            Row::Key(key) => {
                self.keys += 1;
                self.active += u64::from(key.state == KeyState::Active);
                self.sealed_at_most += key.sealed_at_most;
                self.ownerless += u64::from(key.ownerless);
            }
            Row::Forgotten(forgotten) => self.forgotten += u64::from(forgotten.closed),
        }
    }
}

impl<S: EventStore> Oubliette<S> {
    /// Every key and every forgotten subject, one after the other, in constant memory. Blocks for
    /// page reads.
    ///
    /// # Errors
    /// [`AuditError::NoVault`]; each row may be an error of the vault.
    pub fn inventory(
        &self,
    ) -> Result<impl Iterator<Item = Result<Row, AuditError>> + Send + use<S>, AuditError> {
        let vault = self.vault().ok_or(AuditError::NoVault)?;
        let policy = self.policy().clone();
        Ok(vault.inventory().map(move |entry| match entry? {
            InventoryEntry::Key(key) => {
                let declares = policy.reading_plan(&key.stream).declares_owners;
                Ok(Row::Key(key_row(key, declares)))
            }
            InventoryEntry::Fence(fence) => Ok(Row::Forgotten(forgotten_row(fence))),
        }))
    }

    /// Counts the events that this vault cannot be shown to have written: those from
    /// before the layer, and forged ones; and those that a newer program wrote. It reads them all.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn count_unsealed(&self) -> Result<Unsealed, AuditError> {
        let vault = self.vault().ok_or(AuditError::NoVault)?;
        let mut events = self.specimens();
        let mut counted = Unsealed::default();
        while let Some(specimen) = events.try_next().await? {
            counted.unsealed += u64::from(specimen.is_unsealed(vault).await);
            counted.newer += u64::from(specimen.is_newer());
        }
        Ok(counted)
    }
}

fn key_row(key: KeyInfo, declares_owners: bool) -> KeyRow {
    let own = key.subject.as_str() == key.stream.as_str();
    KeyRow {
        id: key.id.to_string(),
        category: key.class.category,
        period: key.class.period,
        generation: key.generation,
        state: key.state,
        activation: (key.state != KeyState::PreActivation).then_some(key.created),
        deactivation: key.deactivated,
        last_use: key.last_use.to_string().chars().take(10).collect(),
        sealed_at_most: key.sealed_at_most,
        ownerless: declares_owners && own && key.owners.is_empty(),
        owners: key.owners,
        layout: key.layout,
        policy: key.policy.to_string(),
        stream: key.stream,
        subject: key.subject,
    }
}

fn forgotten_row(fence: Fence) -> ForgottenRow {
    let pseudonym = super::finding::hex(&fence.pseudonym);
    let span = |(from, to, erasure): (Generation, Generation, ErasureId)| DeadSpan {
        erasure,
        destruction: erasure.at(),
        from,
        to,
    };
    ForgottenRow {
        state: KeyState::Destroyed,
        pseudonym,
        erasures: fence.dead.into_iter().map(span).collect(),
        spared: fence.spared.into_iter().map(|(_, id)| id).collect(),
        closed: fence.closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, KeyId, PolicyDigest};

    #[test]
    fn a_row_tells_of_class_and_spared_keys_where_there_are_any() {
        let row = |class| {
            let at = Timestamp::from_micros(0);
            let key = KeyInfo {
                id: KeyId([7; 20]),
                stream: StreamName::new("user-1").unwrap(),
                subject: Subject::new("user-1").unwrap(),
                class,
                generation: Generation(1),
                state: KeyState::Active,
                created: at,
                deactivated: None,
                owners: vec![],
                last_use: at,
                sealed_at_most: 1,
                layout: Layout::Inline,
                policy: PolicyDigest([0; 8]),
            };
            serde_json::to_value(Row::Key(key_row(key, false))).unwrap()
        };
        let empty = row(Class::default());
        assert!(empty.get("category").is_none() && empty.get("period").is_none());
        let class = Class {
            category: Some("marketing".parse().unwrap()),
            period: Some("2026-12-31".parse().unwrap()),
        };
        let classed = row(class);
        assert_eq!(classed["category"], "marketing");
        assert_eq!(classed["period"], "2026-12-31");

        let row = |spared| {
            let dead = vec![(Generation(1), Generation(1), ErasureId::now())];
            let fence = Fence { pseudonym: [0; 16], dead, spared, closed: true };
            serde_json::to_value(Row::Forgotten(forgotten_row(fence))).unwrap()
        };
        assert!(row(vec![]).get("spared").is_none());
        let spared = row(vec![(Generation(1), KeyId([7; 20]))]);
        assert_eq!(spared["spared"][0], KeyId([7; 20]).to_string());
    }
}
