//! Judging everything that the vault holds: its pages, and what its records say of each other.

use std::collections::HashSet;

use crate::{
    event::{ErasureId, EventId, Generation, KeyId, StreamName, Subject},
    vault::{
        Tenure, Vault, VaultError,
        records::{
            disk::stem,
            entries::{KeyEntry, SubjectRecord},
            fence::FenceRecord,
            memos,
            places::{self, Hash},
        },
        shared::Shared,
        tree::{Flaw, Place, Seen, Walked},
    },
};

/// Random nonces allow 2³² seals under one key (NIST SP 800-38D, section 8.3).
const MOST_SEALS: u64 = 1 << 32;

/// Something that is not as it should be in a vault.
pub(crate) enum Trouble {
    /// With its pages.
    Flaw(Flaw),
    /// A value does not have its form, or is where none should be.
    Value {
        /// Where, in words.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// A key.
    Key {
        /// Its id.
        id: KeyId,
        /// Its stream.
        stream: StreamName,
        /// What is wrong.
        why: KeyTrouble,
    },
    /// A key that an erasure spared is not there.
    SparedMissing(KeyId),
    /// A subject names an owner, and is not among that owner's dependents.
    EdgeMissing {
        /// Who depends.
        subject: Subject,
        /// On whom.
        owner: Subject,
    },
    /// A subject is among somebody's dependents, and does not name them.
    EdgeStale {
        /// The subject.
        subject: Subject,
        /// The pseudonym of who is said to be its owner.
        owner: Hash,
    },
    /// A subject names an owner who is forgotten.
    ForgottenNamed {
        /// Who names.
        subject: Subject,
    },
    /// An unsettled claim.
    Unsettled {
        /// Whose owners it changes.
        subject: Subject,
        /// The event that states it.
        event: EventId,
        /// Whether only the caller of a codec can settle it.
        by_caller: bool,
    },
    /// A record or a fence contradicts itself.
    Contradiction {
        /// The pseudonym of the subject.
        pseudonym: Hash,
        /// What is wrong.
        why: &'static str,
    },
}

/// What is wrong with a key.
pub(crate) enum KeyTrouble {
    /// It is of a generation that an erasure killed.
    Dead(ErasureId),
    /// Its id or its place is not that of its stream, subject and generation.
    Misplaced,
    /// Another key has the same id.
    Twice,
    /// It sealed, or may have sealed, more than a key may.
    Worn(u64),
    /// Its generation was never begun.
    NeverBegun(Generation),
}

/// What was looked at, in numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    pub(crate) walked: Walked,
    pub(crate) keys: u64,
    pub(crate) subjects: u64,
    pub(crate) owners: u64,
    pub(crate) fences: u64,
    /// What could not be compared, because the other side is beneath a damaged page.
    pub(crate) unchecked: u64,
    /// Every erasure that a fence names.
    pub(crate) erasures: HashSet<ErasureId>,
}

impl Vault {
    /// Looks at everything that is stored, page by page, and tells of all that is not as it should
    /// be; `at` learns how far it has come, from 0 to 1. Nothing is written meanwhile, but readers
    /// go on. Blocks. With `repair`, pages that belong to nothing are removed.
    pub(crate) fn judge(
        &self,
        repair: bool,
        tell: &mut dyn FnMut(Trouble),
        at: &mut dyn FnMut(f64),
    ) -> Result<Judged, VaultError> {
        let shared = self.shared();
        let fences = places::all_fences();
        let fences = shared.disk.tree().range(&fences.start, &fences.end, 1);
        let mut judge = Judge {
            shared,
            tell,
            at,
            judged: Judged::default(),
            subject: None,
            last: Place::new(),
            ids: Vec::new(),
            no_fences: fences.is_ok_and(|found| found.is_empty()),
        };
        // In the order of places: a subject's record, then its keys and dependents, so that what belongs together is
        // compared as it comes, and no list of subjects or keys is kept.
        let walked = shared.disk.tree().verify(repair, &mut |seen| match seen {
            Seen::Value(place, value) => judge.value(place, value),
            Seen::Flaw(flaw) => (judge.tell)(Trouble::Flaw(flaw)),
        })?;
        Ok(Judged { walked, ..judge.judged })
    }
}

/// The subject whose places are being walked over.
struct Current {
    hash: Hash,
    /// The highest generation that its record says was begun; `None`: it has no record.
    highest: Option<Generation>,
    /// Its fence, once it was looked up.
    fence: Option<FenceRecord>,
}

struct Judge<'a> {
    shared: &'a Shared,
    tell: &'a mut dyn FnMut(Trouble),
    at: &'a mut dyn FnMut(f64),
    judged: Judged,
    subject: Option<Current>,
    /// The place before this one.
    last: Place,
    /// The ids of the keys whose places begin as this one's id says: only they could be alike.
    ids: Vec<([u8; 18], KeyId)>,
    /// Whether no one was ever forgotten, so that no fence need be looked for.
    no_fences: bool,
}

impl Judge<'_> {
    fn value(&mut self, place: &[u8], value: &[u8]) {
        match places::kind_of(place) {
            places::Kind::Record => self.in_parts(place, Self::record),
            places::Kind::Key => self.key(place, value),
            places::Kind::Dependent => self.dependent(place, value),
            places::Kind::Fence => self.in_parts(place, Self::fence),
            places::Kind::Note => {
                self.in_parts(place, |_, _| {});
                if let Err(error) = memos::refuse_newer(place, value) {
                    self.odd_value(place, crate::words::chain(&error));
                }
            }
            places::Kind::Odd => {
                self.odd_value(place, "there should be nothing".to_owned());
            }
        }
        self.last.clear();
        self.last.extend_from_slice(place);
    }

    fn odd_value(&mut self, place: &[u8], why: String) {
        (self.tell)(Trouble::Value { at: places::in_words(place), why });
    }

    /// Of a value in several parts: looks at it once, and whether the parts follow each other.
    fn in_parts(&mut self, place: &[u8], look: fn(&mut Self, &Hash)) {
        let part = |place: &[u8]| place.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match part(place) {
            Some(0) => look(self, &places::hash_of(place).unwrap_or_default()),
            Some(number)
                if stem(&self.last) == stem(place)
                    && part(&self.last).and_then(|last| last.checked_add(1)) == Some(number) => {}
            _ => self.odd_value(place, "the part before it is missing".to_owned()),
        }
    }

    /// What was read besides; a failure there is damage that the walk itself tells of.
    fn beside<T>(&mut self, read: Result<T, VaultError>) -> Option<T> {
        if read.is_err() {
            self.judged.unchecked += 1;
        }
        read.ok()
    }

    fn of(&mut self, hash: &Hash) -> &mut Current {
        if self.subject.as_ref().is_none_or(|current| current.hash != *hash) {
            self.judged.subjects += 1;
            if self.judged.subjects.is_multiple_of(256) {
                let ahead = u16::from_be_bytes([hash[0], hash[1]]);
                (self.at)(f64::from(ahead) / 65_536.0);
            }
            self.subject = None;
        }
        self.subject.get_or_insert(Current { hash: *hash, highest: None, fence: None })
    }

    fn record(&mut self, hash: &Hash) {
        let record = match self.shared.own_record(hash) {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                return self.odd_value(&places::record(hash), crate::words::chain(&error));
            }
        };
        self.of(hash).highest = Some(record.highest);
        let ascending = record.tenures.windows(2).all(|pair| pair[0].from < pair[1].from);
        let begun = record.tenures.iter().all(|tenure| tenure.from <= record.highest);
        if !ascending || !begun || record.current > record.highest {
            let why = "its generations do not follow each other";
            (self.tell)(Trouble::Contradiction { pseudonym: *hash, why });
        }
        self.owners(hash, &record);
    }

    fn owners(&mut self, hash: &Hash, record: &SubjectRecord) {
        let mut named: Vec<&Subject> = record.noted_with().collect();
        named.sort_unstable();
        named.dedup();
        let mut claims: Vec<EventId> =
            record.tenures.iter().flat_map(Tenure::open_claims).collect();
        claims.sort_unstable();
        claims.dedup();
        if named.is_empty() && claims.is_empty() {
            return;
        }
        let Some(subject) = self.name_of(hash, &named) else { return };
        for event in claims {
            let memo = self.shared.caller_claim(event);
            let by_caller = self.beside(memo).is_some_and(|memo| memo.is_some());
            (self.tell)(Trouble::Unsettled { subject: subject.clone(), event, by_caller });
        }
        for owner in named {
            self.judged.owners += 1;
            let whose = self.shared.naming.subject(owner);
            let noted = self.shared.disk.tree().get(&places::dependent(&whose, hash));
            if let Some(None) = self.beside(noted) {
                let (subject, owner) = (subject.clone(), owner.clone());
                (self.tell)(Trouble::EdgeMissing { subject, owner });
            }
            if self.is_gone(&whose) {
                (self.tell)(Trouble::ForgottenNamed { subject: subject.clone() });
            }
        }
    }

    /// A record does not say whose it is: its keys do, and so do the lists of its owners.
    fn name_of(&mut self, hash: &Hash, owners: &[&Subject]) -> Option<Subject> {
        for owner in owners {
            let place = places::dependent(&self.shared.naming.subject(owner), hash);
            let name = self.shared.disk.tree().get(&place);
            if let Some(Some(name)) = self.beside(name)
                && let Some(name) = std::str::from_utf8(&name).ok()
                && let Ok(subject) = Subject::new(name)
            {
                return Some(subject);
            }
        }
        let keys = places::keys(hash);
        let key = self.shared.disk.tree().range(&keys.start, &keys.end, 1);
        let first = self.beside(key).and_then(|mut found| found.pop());
        let entry = first.and_then(|(_, value)| KeyEntry::decode(&value).ok());
        if entry.is_none() {
            let why = "it names owners who do not know of it, and nobody knows its name";
            (self.tell)(Trouble::Contradiction { pseudonym: *hash, why });
        }
        entry.map(|entry| entry.subject)
    }

    /// Whether a subject is forgotten and nothing is left of it: then its name should be gone.
    fn is_gone(&mut self, hash: &Hash) -> bool {
        if self.no_fences {
            return false;
        }
        let fence = self.shared.disk.fence(hash);
        if !self.beside(fence).is_some_and(|fence| fence.closed) {
            return false;
        }
        let range = places::subject_range(hash);
        let left = self.shared.disk.tree().range(&range.start, &range.end, 1);
        self.beside(left).is_some_and(|left| left.is_empty())
    }

    fn key(&mut self, place: &[u8], value: &[u8]) {
        self.judged.keys += 1;
        let entry = match KeyEntry::decode(value) {
            Ok(entry) => entry,
            Err(error) => return self.odd_value(place, crate::words::chain(&error)),
        };
        let shared = self.shared;
        let hash = places::hash_of(place).unwrap_or_default();
        let mut troubles = Vec::new();
        if shared.naming.place_of(&entry) != place || !shared.naming.leads_to(entry.id, place) {
            troubles.push(KeyTrouble::Misplaced);
        }
        // An id tells the vault how its key's place begins (see `naming`). So keys with the same id are neighbours in the
        // walk, and those whose places begin otherwise can be let go of.
        let mut prefix = [0; 18];
        prefix[..16].copy_from_slice(&hash);
        prefix[16..].copy_from_slice(place.get(18..20).unwrap_or(&[0; 2]));
        self.ids.retain(|(other, _)| *other == prefix);
        if self.ids.iter().any(|(_, other)| *other == entry.id) {
            troubles.push(KeyTrouble::Twice);
        }
        self.ids.push((prefix, entry.id));
        if entry.reserved > MOST_SEALS {
            troubles.push(KeyTrouble::Worn(entry.reserved));
        }
        if let Some(fence) = self.fence_of(&hash) {
            if let Some(erasure) = fence.killer(entry.generation, entry.id) {
                troubles.push(KeyTrouble::Dead(erasure));
            }
            // Most subjects have no record, because the default holds. Then the fence says which generation would be next.
            let highest = self.of(&hash).highest;
            if entry.generation > highest.unwrap_or_else(|| fence.next_generation()) {
                troubles.push(KeyTrouble::NeverBegun(entry.generation));
            }
        }
        for why in troubles {
            let (id, stream) = (entry.id, entry.stream.clone());
            (self.tell)(Trouble::Key { id, stream, why });
        }
    }

    /// The fence of the subject whose keys are being walked over, looked up once.
    fn fence_of(&mut self, hash: &Hash) -> Option<FenceRecord> {
        if self.of(hash).fence.is_none() {
            let fence = if self.no_fences {
                FenceRecord::default()
            } else {
                let fence = self.shared.disk.fence(hash);
                self.beside(fence)?
            };
            self.of(hash).fence = Some(fence);
        }
        self.of(hash).fence.clone()
    }

    fn dependent(&mut self, place: &[u8], value: &[u8]) {
        let owner = places::hash_of(place).unwrap_or_default();
        self.of(&owner);
        let name = std::str::from_utf8(value).ok().and_then(|name| Subject::new(name).ok());
        let Some(subject) = name else {
            return self.odd_value(place, "it is not a subject's name".to_owned());
        };
        let hash = self.shared.naming.subject(&subject);
        if places::dependent(&owner, &hash) != place {
            return self.odd_value(place, "it is the name of another subject".to_owned());
        }
        // An edge is noted at both ends: a list of dependents for the cascade, a record of owners for the rest. One that
        // only the list knows takes nobody along by mistake, since the cascade reads the record as well.
        let record = self.shared.own_record(&hash);
        let Some(record) = self.beside(record) else { return };
        let names = |record: &SubjectRecord| {
            record.noted_with().any(|named| self.shared.naming.subject(named) == owner)
        };
        if !record.as_ref().is_some_and(names) {
            (self.tell)(Trouble::EdgeStale { subject, owner });
        }
    }

    fn fence(&mut self, hash: &Hash) {
        self.judged.fences += 1;
        let fence = match self.shared.disk.fence(hash) {
            Ok(fence) => fence,
            Err(error) => return self.odd_value(&places::fence(hash), crate::words::chain(&error)),
        };
        let apart = fence.dead.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if !apart || fence.dead.iter().any(|(from, to, _)| from > to) {
            let why = "the dead generations of its fence do not follow each other";
            (self.tell)(Trouble::Contradiction { pseudonym: *hash, why });
        }
        if fence.closed && fence.dead.is_empty() {
            let why = "its fence is closed, and no generation is dead";
            (self.tell)(Trouble::Contradiction { pseudonym: *hash, why });
        }
        if fence.spared.keys().any(|(generation, _)| !fence.is_dead(*generation)) {
            let why = "its fence spares a key of a generation that is not dead";
            (self.tell)(Trouble::Contradiction { pseudonym: *hash, why });
        }
        // What an erasure spared is all that opens the events that had to stay.
        for (_, id) in fence.left() {
            let found = self.shared.find(id);
            if let Some(None) = self.beside(found) {
                (self.tell)(Trouble::SparedMissing(id));
            }
        }
        self.judged.erasures.extend(fence.spared.values().flatten());
        self.judged.erasures.extend(fence.dead.iter().map(|&(_, _, erasure)| erasure));
    }
}
