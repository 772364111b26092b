//! The vault of the vectors of `docs/format.md`: a real one, with exactly the eras, the keys and the fences that a
//! file of vectors states. So whatever is read with it takes the program's own path.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    MemoKind, Vault,
    records::{
        disk::{Disk, parts},
        entries::KeyEntry,
        eras::{EraKeys, Eras},
        fence::FenceRecord,
        memos,
        naming::Naming,
        places,
    },
    shared::Limits,
    tree::{Change, Tree},
};
use crate::{
    crypto::Secret,
    event::{
        Class, Era, ErasureId, Generation, KeyId, Layout, PolicyDigest, StreamName, Subject,
        Timestamp, VaultId,
    },
};

/// What is in the vault of some vectors, and nothing else.
pub(crate) struct VectorVault<'a> {
    pub(crate) id: Uuid,
    pub(crate) identity: [u8; 32],
    /// In the order in which they began, with their secrets.
    pub(crate) eras: Vec<(Era, [u8; 32])>,
    /// Those that live.
    pub(crate) keys: Vec<&'a VectorKey>,
    /// Those that an erasure destroyed.
    pub(crate) dead: Vec<(&'a VectorKey, ErasureId)>,
    /// Those that an erasure of their generation spared, and that the vault has lost since.
    pub(crate) lost: Vec<(&'a VectorKey, ErasureId)>,
}

/// A data key.
#[derive(Clone)]
pub(crate) struct VectorKey {
    pub(crate) id: KeyId,
    pub(crate) secret: [u8; 32],
    pub(crate) stream: StreamName,
    pub(crate) subject: Subject,
    pub(crate) generation: Generation,
}

impl VectorKey {
    /// The key of a stream and subject, with the id that a vault of this identity gives it in this era.
    pub(crate) fn new(
        identity: &[u8; 32],
        (era, of_era): (Era, [u8; 32]),
        (stream, subject, generation): (&str, &str, u32),
        (secret, salt): ([u8; 32], [u8; 3]),
    ) -> Self {
        let era = EraKeys::new(era, 1, &Secret::copy_of(&of_era));
        let naming = Naming::new(&Secret::copy_of(identity), Eras::over(vec![era]));
        let (stream, subject) = (stream.parse().unwrap(), subject.parse().unwrap());
        let generation = Generation(generation);
        let hash = naming.subject(&subject);
        let place = naming.key(&hash, &stream, &Class::default(), generation);
        Self { id: naming.mint_as_vector(&place, salt), secret, stream, subject, generation }
    }

    fn entry(&self) -> KeyEntry {
        KeyEntry {
            id: self.id,
            secret: Secret::copy_of(&self.secret),
            stream: self.stream.clone(),
            subject: self.subject.clone(),
            class: Class::default(),
            generation: self.generation,
            created: Timestamp::from_micros(0),
            last_day: 0,
            reserved: 64,
            layout: Layout::Inline,
            policy: PolicyDigest([0; 8]),
        }
    }
}

impl VectorVault<'_> {
    /// The vault itself.
    pub(crate) fn open(&self) -> Vault {
        let identity = Secret::copy_of(&self.identity);
        let tree = Arc::new(Tree::as_vector(VaultId(self.id), identity).unwrap());
        let naming = Naming::new(tree.identity(), Eras::over(Vec::new()));
        let disk = Disk::new(Arc::clone(&tree));
        for (at, (era, secret)) in self.eras.iter().enumerate() {
            let mut id = [0; 16];
            id[4..12].copy_from_slice(&(at as u64 + 1).to_be_bytes());
            id[12..].copy_from_slice(&era.0);
            let memo = memos::stored(secret);
            disk.put(parts(&places::memo(MemoKind::Era, &id), &memo).unwrap()).unwrap();
        }
        let keys = self.keys.iter().map(|key| {
            let entry = key.entry();
            (naming.place_of(&entry), Some(entry.encode()))
        });
        disk.put(keys.collect::<Vec<Change>>()).unwrap();
        let mut fences: BTreeMap<&Subject, FenceRecord> = BTreeMap::new();
        for (key, erasure) in self.dead.iter().chain(&self.lost) {
            let fence = fences.entry(&key.subject).or_default();
            let span = (key.generation, key.generation, *erasure);
            if !fence.dead.contains(&span) {
                fence.dead.push(span);
                fence.dead.sort_unstable_by_key(|(from, ..)| *from);
            }
        }
        for (key, _) in &self.lost {
            let fence = fences.entry(&key.subject).or_default();
            fence.spared.insert((key.generation, key.id), None);
        }
        for (subject, fence) in fences {
            let stem = places::fence(&naming.subject(subject));
            disk.put(disk.set_whole(&stem, &fence.encode()).unwrap()).unwrap();
        }
        drop(disk);
        Vault::over(tree, Limits::default()).unwrap()
    }
}
