//! The root slot as a whole: the slot itself, its mirrors, and what wraps the root in all of them.
//!
//! The slot itself comes first. It is written before its mirrors, so that none of them is ever
//! ahead of it unless it was put back; and it notes of each mirror the epoch of the one root that the
//! mirror is known to hold, so that whatever crashes, what may still hold an earlier root is
//! known by name.

mod change;

use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use super::{
    MirrorState, OpeningNumber, Root, RootSlot, SlotChange, SlotConfig, SlotState, WrappedBy,
    counter::{Asked, Bound, Counter},
    kek::{Kek, KekSecret, Passphrase},
    location::Location,
    mirror::Mirror,
    sector::{Noted, Record, encode},
    slot::Pair,
    wrap::Seal,
};
use crate::{event::VaultId, vault::root::SlotError};

/// The slot.
pub(crate) struct Slot(Mutex<State>);

/// What a slot holds that a restoration would overwrite.
#[cfg(feature = "backup")]
pub(crate) struct Holds {
    /// The newest epoch in it, its mirrors and its counter.
    pub(crate) epoch: u64,
    /// Where a root of the vault is whole, and the page that it opens.
    pub(crate) roots: Vec<(String, [u8; 16])>,
    /// The counter that the caller names, where it is there, and no root: it bears witness of a slot that is
    /// lost, or elsewhere.
    pub(crate) counter: Option<String>,
}

struct State {
    place: Location,
    /// `None`: it is missing, and made again from a mirror.
    primary: Option<Pair>,
    mirrors: Vec<Mirror>,
    counter: Option<Counter>,
    asked: Asked,
    /// A slot that is made, or made again, is bound by the first write; to the counter that it was
    /// bound to before, if the caller names none.
    bind: Option<Option<Bound>>,
    /// Where the key-encryption key comes from, until a root is found.
    kek: Option<Source>,
    seal: Option<Seal>,
    /// Whose slot it must be.
    vault: Option<VaultId>,
    /// What `read` found, until something is written.
    chosen: Option<Root>,
    /// The sector to keep for as long as the other is not on the medium.
    keep: usize,
    /// Whether what is in the two sectors is known to be on the medium.
    settled: bool,
    /// A write failed: nothing is known about what is there.
    failed: bool,
    epoch: u64,
    /// The age of what the slot held when it was last read or written.
    holds: Option<(u64, OpeningNumber)>,
    /// It is not written to.
    read_only: bool,
}

enum Source {
    Config(Kek, Option<Passphrase>),
    #[cfg(test)]
    Secret(KekSecret),
}

impl Slot {
    /// Makes the slot and its mirrors; they hold no root until one is written.
    ///
    /// # Errors
    /// Those of the key-encryption key, of which nothing is left behind; [`SlotError::NotEmpty`];
    /// [`SlotError::Mirror`].
    pub(super) fn create(config: SlotConfig) -> Result<Self, SlotError> {
        let secret = KekSecret::read(&config.kek, config.passphrase.as_ref())?;
        let seal = Seal::new(&secret)?;
        let mut mirrors = given(&config.mirrors)?;
        let primary = config.place.create()?;
        let made = mirrors.iter_mut().try_for_each(|mirror| mirror.make(None));
        let made = made.and_then(|()| config.counter.prepare());
        if let Err(error) = made {
            mirrors.iter().for_each(Mirror::unmake);
            config.place.unmake(primary);
            return Err(error);
        }
        let mut state = State::of(Location::Config(config.place), Some(primary));
        (state.mirrors, state.seal, state.settled) = (mirrors, Some(seal), true);
        (state.asked, state.bind) = (config.counter, Some(None));
        Ok(Self(Mutex::new(state)))
    }

    /// Opens the slot of a vault. Nothing is made until a root is found and written.
    ///
    /// # Errors
    /// [`SlotError::Missing`] where there is no mirror either; [`SlotError::InUse`];
    /// [`SlotError::Permissions`].
    pub(super) fn open(config: SlotConfig, vault: VaultId) -> Result<Self, SlotError> {
        let mirrors = given(&config.mirrors)?;
        let primary = match config.place.open() {
            Ok(pair) => Some(pair),
            Err(SlotError::Missing(_)) if !mirrors.is_empty() => None,
            Err(error) => return Err(error),
        };
        let mut state = State::of(Location::Config(config.place), primary);
        state.mirrors = mirrors;
        state.vault = Some(vault);
        state.asked = config.counter;
        state.kek = Some(Source::Config(config.kek, config.passphrase));
        Ok(Self(Mutex::new(state)))
    }

    /// Opens the slot of a vault to be read.
    ///
    /// # Errors
    /// As of [`Slot::open`].
    pub(super) fn open_to_read(
        config: SlotConfig,
        vault: VaultId,
        hold: bool,
    ) -> Result<Self, SlotError> {
        let primary = config.place.open_to_read(hold)?;
        let mut state = State::of(Location::Config(config.place), Some(primary));
        (state.vault, state.read_only) = (Some(vault), true);
        state.asked = config.counter;
        state.kek = Some(Source::Config(config.kek, config.passphrase));
        Ok(Self(Mutex::new(state)))
    }

    /// The slot for a vault that is restored, and what is in it or its mirrors. What is
    /// there is overwritten by the first write: of this vault, or never written. Its root is not
    /// needed, so that neither is what wrapped it.
    ///
    /// # Errors
    /// [`SlotError::OfAnotherVault`], [`SlotError::Damaged`],
    /// [`SlotError::NewerFormat`], [`SlotError::NewerMirror`]; [`SlotError::BehindCounter`] where its counter tells of a newer
    /// root than is left, [`SlotError::Counter`]; those of the key-encryption key, and of opening a
    /// slot.
    #[cfg(feature = "backup")]
    pub(super) fn renew(config: SlotConfig, vault: VaultId) -> Result<(Self, Holds), SlotError> {
        let mirrors = given(&config.mirrors)?;
        let primary = match config.place.open() {
            Ok(pair) => Some(pair),
            Err(SlotError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let secret = KekSecret::read(&config.kek, config.passphrase.as_ref())?;
        let mut state = State::of(Location::Config(config.place), primary);
        (state.mirrors, state.vault) = (mirrors, Some(vault));
        state.seal = Some(Seal::new(&secret)?);
        (state.asked, state.bind) = (config.counter, Some(None));
        let mut roots = Vec::new();
        if let Some(found) = state.primary.as_ref().map(Pair::look).transpose()? {
            match found.newest.first() {
                Some((_, record)) if record.vault != vault => {
                    return Err(SlotError::OfAnotherVault {
                        slot: record.vault.to_string(),
                        vault: vault.to_string(),
                    });
                }
                None if !found.blank && !found.ours => {
                    return Err(SlotError::NotASlot(state.place.to_string()));
                }
                None if !found.blank => {
                    let why = "neither of its two sectors is whole";
                    return Err(SlotError::Damaged(why.into()));
                }
                Some((index, record)) => {
                    (state.keep, state.epoch) = (*index, record.epoch);
                    roots.push((state.place.to_string(), record.page()));
                }
                None => {}
            }
            state.note_mirrors(found.newest.first().map(|(_, record)| &record.mirrors));
            state.bind = Some(found.newest.first().and_then(|(_, record)| record.counter));
        }
        for mirror in &mut state.mirrors {
            let found = mirror.look(state.vault)?;
            roots.extend(found.first().map(|(_, record)| (mirror.name.clone(), record.page())));
        }
        let of_mirrors = state.newest_mirror()?;
        let of_mirrors = of_mirrors.first().map(|(_, record)| (record.epoch, record.counter));
        if let (Some(None), Some((_, counter))) = (state.bind, of_mirrors) {
            state.bind = Some(counter);
        }
        let mut epoch = state.epoch.max(of_mirrors.map_or(0, |(epoch, _)| epoch));
        // What it alone knows of erasures must not be written over.
        if let Some(bound) = state.bind.flatten() {
            let told = Counter::noted(bound, &state.asked, epoch)?.tells();
            epoch = epoch.max(told.unwrap_or_default());
        }
        let counter = if roots.is_empty() { state.asked.found() } else { None };
        Ok((Self(Mutex::new(state)), Holds { epoch, roots, counter }))
    }

    /// A slot in a file, of whichever vault, wrapped by nothing.
    #[cfg(test)]
    pub(crate) fn in_file(path: &std::path::Path, create: bool) -> Result<Self, SlotError> {
        if create {
            return Self::create(path.into());
        }
        Ok(Self::over(super::file::SectorFile::open(path)?, KekSecret::None))
    }

    /// A slot over two sectors of any kind.
    #[cfg(test)]
    pub(crate) fn over(sectors: impl super::Sectors + 'static, secret: KekSecret) -> Self {
        let mut state = State::of(Location::Test, Some(Pair(Box::new(sectors))));
        state.kek = Some(Source::Secret(secret));
        Self(Mutex::new(state))
    }

    #[cfg(test)]
    pub(crate) fn with_mirrors(self, mirrors: &[PathBuf]) -> Self {
        if let Ok(mut state) = self.0.lock() {
            state.mirrors = given(mirrors).unwrap_or_default();
        }
        self
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, SlotError> {
        self.0.lock().map_err(|_| SlotError::Poisoned)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl RootSlot for Slot {
    fn read(&self) -> Result<Root, SlotError> {
        self.lock()?.read()
    }

    fn settle(&self) -> Result<(), SlotError> {
        self.lock()?.settle()
    }

    fn write(&self, root: &Root) -> Result<(), SlotError> {
        self.lock()?.write(root)
    }

    fn change(&self, root: &Root, change: SlotChange) -> Result<(), SlotError> {
        self.lock()?.change(root, change)
    }

    fn state(&self) -> Result<SlotState, SlotError> {
        let state = self.lock()?;
        Ok(SlotState {
            place: state.place.to_string(),
            epoch: state.epoch,
            wrapped_by: state.seal.as_ref().map_or(WrappedBy::Nothing, |seal| seal.wrapping.by()),
            mirrors: state.mirrors.iter().map(|mirror| state.tell(mirror)).collect(),
            counter: state.counter.as_ref().map(|counter| counter.state(state.epoch)),
        })
    }
}

impl State {
    fn of(place: Location, primary: Option<Pair>) -> Self {
        Self {
            place,
            primary,
            mirrors: Vec::new(),
            counter: None,
            asked: Asked::default(),
            bind: None,
            kek: None,
            seal: None,
            vault: None,
            chosen: None,
            keep: 0,
            settled: false,
            failed: false,
            epoch: 0,
            holds: None,
            read_only: false,
        }
    }

    fn tell(&self, mirror: &Mirror) -> MirrorState {
        MirrorState {
            name: mirror.name.clone(),
            counter: false,
            may_hold: mirror.confirmed,
            stale: mirror.confirmed != Some(self.epoch),
            trouble: mirror.trouble.clone(),
        }
    }

    fn read(&mut self) -> Result<Root, SlotError> {
        if let Some(root) = &self.chosen {
            return Ok(root.clone());
        }
        let (own, ours) = match &self.primary {
            Some(pair) => {
                let found = pair.look()?;
                (found.newest, found.ours || found.blank)
            }
            None => (Vec::new(), true),
        };
        if self.kek.is_none() {
            return self.read_again(&own);
        }
        if let (Some(vault), Some((_, record))) = (self.vault, own.first())
            && record.vault != vault
        {
            return Err(SlotError::OfAnotherVault {
                slot: record.vault.to_string(),
                vault: vault.to_string(),
            });
        }
        let mut copy = Vec::new();
        if !self.read_only {
            self.note_mirrors(own.first().map(|(_, record)| &record.mirrors));
            copy = self.newest_mirror()?;
        }
        let age_of = |records: &[(usize, Box<Record>)]| records.first().map(|(_, r)| r.age());
        // The slot itself decides, unless a mirror is newer: then it is an old copy, or damaged.
        let from_copy = age_of(&copy) > age_of(&own);
        self.holds = age_of(&own);
        self.keep = own.first().map_or(0, |(index, _)| *index);
        let records = if from_copy { copy } else { own };
        if records.is_empty() {
            return Err(match &self.primary {
                Some(_) if !ours => SlotError::NotASlot(self.place.to_string()),
                Some(_) => SlotError::Damaged("neither of its two sectors is whole".into()),
                None => SlotError::Missing(self.place.to_string()),
            });
        }
        let (index, root, seal) = self.unwrap(&records)?;
        let bound = records.iter().find(|(at, _)| *at == index).and_then(|(_, r)| r.counter);
        if let Some(bound) = bound {
            self.counter = Some(Counter::noted(bound, &self.asked, root.epoch)?);
        } else {
            self.asked.warn_unbound();
        }
        if from_copy {
            self.note_mirrors(records.first().map(|(_, record)| &record.mirrors));
            tracing::warn!(
                slot = %self.place, epoch = root.epoch,
                "the root slot is missing, damaged or older than its mirror, whose root is taken; if it is \
                 on a device that is not there, what it holds must be destroyed"
            );
        } else {
            self.keep = index;
        }
        self.epoch = root.epoch;
        (self.seal, self.kek, self.chosen) = (Some(seal), None, Some(root.clone()));
        Ok(root)
    }

    /// What is in the slot now, after it was written.
    fn read_again(&self, own: &[(usize, Box<Record>)]) -> Result<Root, SlotError> {
        let seal = self.seal.as_ref().ok_or(SlotError::Poisoned)?;
        let (_, record) = own
            .first()
            .ok_or_else(|| SlotError::Damaged("neither of its two sectors is whole".into()))?;
        let mut roots = own.iter().filter_map(|(_, record)| record.root(seal));
        roots.next().ok_or(SlotError::WrongKek(record.wrapping.by()))
    }

    /// The first of these that opens.
    fn unwrap(&self, records: &[(usize, Box<Record>)]) -> Result<(usize, Root, Seal), SlotError> {
        let read;
        let secret = match &self.kek {
            Some(Source::Config(kek, passphrase)) => {
                read = KekSecret::read(kek, passphrase.as_ref())?;
                Some(&read)
            }
            #[cfg(test)]
            Some(Source::Secret(secret)) => Some(secret),
            None => None,
        };
        let secret = secret.ok_or(SlotError::Poisoned)?;
        let mut tried: Vec<Seal> = Vec::new();
        let mut error = None;
        for (index, record) in records {
            let at = match tried.iter().position(|seal| seal.wrapping == record.wrapping) {
                Some(at) => at,
                None => match Seal::of(&record.wrapping, secret) {
                    Ok(seal) => {
                        tried.push(seal);
                        tried.len() - 1
                    }
                    Err(why) => {
                        error.get_or_insert(why);
                        continue;
                    }
                },
            };
            if let Some(root) = record.root(&tried[at]) {
                return Ok((*index, root, tried.swap_remove(at)));
            }
            error.get_or_insert(SlotError::WrongKek(record.wrapping.by()));
        }
        Err(error.unwrap_or(SlotError::Poisoned))
    }

    /// Adds the mirrors that the slot notes to those that the caller named.
    fn note_mirrors(&mut self, noted: Option<&Vec<Noted>>) {
        for noted in noted.into_iter().flatten() {
            let mut mirror = Mirror::noted(noted);
            match self.mirrors.iter_mut().find(|known| known.name == noted.name) {
                Some(given) => {
                    mirror.trouble = given.trouble.take();
                    *given = mirror;
                }
                None => self.mirrors.push(mirror),
            }
        }
    }

    /// The newest records among all mirrors.
    ///
    /// # Errors
    /// As of [`Mirror::look`].
    fn newest_mirror(&mut self) -> Result<Vec<(usize, Box<Record>)>, SlotError> {
        let mut newest: Vec<(usize, Box<Record>)> = Vec::new();
        for mirror in &mut self.mirrors {
            let found = mirror.look(self.vault)?;
            let best = newest.first().map(|(_, record)| record.age());
            if found.first().is_some_and(|(_, record)| best.is_none_or(|b| b < record.age())) {
                newest = found;
            }
        }
        Ok(newest)
    }

    /// Makes sure that what was read is on the medium.
    fn settle(&mut self) -> Result<(), SlotError> {
        self.refuse_unwritable()?;
        match &self.primary {
            Some(pair) if !self.settled => pair.settle().inspect_err(|_| self.failed = true)?,
            _ => {}
        }
        self.settled = true;
        Ok(())
    }

    fn refuse_unwritable(&self) -> Result<(), SlotError> {
        match (self.read_only, self.failed) {
            (true, _) => Err(SlotError::ReadOnly),
            (_, true) => Err(SlotError::Poisoned),
            _ => Ok(()),
        }
    }

    /// Where no lock reaches, between machines or containers that share a slot, somebody else may have
    /// opened it: theirs is the vault from then on, and a root that is written over theirs would
    /// destroy every key that they have. An older copy that was put back is written over.
    fn refuse_taken(&self) -> Result<(), SlotError> {
        let (Some(pair), Some((epoch, opening))) = (&self.primary, self.holds) else {
            return Ok(());
        };
        match pair.look()?.newest.first() {
            Some((_, record))
                if record.epoch > epoch || record.opening.is_beside_or_after(opening) =>
            {
                Err(SlotError::Taken(self.place.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, root: &Root) -> Result<(), SlotError> {
        self.refuse_unwritable()?;
        self.refuse_taken()?;
        if self.seal.is_none() {
            // Nothing was read: what is there belongs to no vault.
            self.seal = Some(self.new_seal()?);
            self.settled = true;
        }
        // Before anything is made or touched: the mirrors may be too many, the counter away.
        if let Some(earlier) = self.bind {
            self.counter = self.asked.bind(earlier, root.epoch)?;
            self.bind = None;
        }
        let bytes = self.encode(root)?;
        for mirror in &mut self.mirrors {
            mirror.make(Some(root.vault))?;
        }
        self.write_primary(&bytes).inspect_err(|_| self.failed = true)?;
        // The earlier root is wiped from memory here.
        (self.chosen, self.settled, self.epoch) = (None, true, root.epoch);
        self.holds = Some((root.epoch, root.opening));

        let before: Vec<Noted> = self.mirrors.iter().map(Mirror::note).collect();
        let copy = self.encode_for(root, super::sector::SECTOR_BYTES)?;
        for mirror in &mut self.mirrors {
            mirror.write(&copy, root);
        }
        if self.mirrors.iter().map(Mirror::note).ne(before) {
            let bytes = self.encode(root)?;
            self.write_primary(&bytes).inspect_err(|_| self.failed = true)?;
        }
        self.raise_counter(root);
        Ok(())
    }

    /// After the slot, which it would refuse otherwise if a crash came in between.
    fn raise_counter(&mut self, root: &Root) {
        if let Some(counter) = &mut self.counter {
            counter.raise(root.epoch);
        }
    }

    fn new_seal(&self) -> Result<Seal, SlotError> {
        match &self.kek {
            Some(Source::Config(kek, passphrase)) => {
                Seal::new(&KekSecret::read(kek, passphrase.as_ref())?)
            }
            #[cfg(test)]
            Some(Source::Secret(secret)) => Seal::new(secret),
            None => Err(SlotError::Poisoned),
        }
    }

    fn write_primary(&mut self, bytes: &[u8]) -> Result<(), SlotError> {
        if self.primary.is_none() {
            self.primary = Some(self.place.create()?);
            self.settled = true;
        }
        let Some(pair) = &self.primary else { return Err(SlotError::Poisoned) };
        if !self.settled {
            pair.settle()?;
        }
        pair.overwrite(bytes, self.keep)
    }

    fn encode(&self, root: &Root) -> Result<zeroize::Zeroizing<Vec<u8>>, SlotError> {
        let length = match &self.primary {
            Some(pair) => pair.length(),
            None => self.place.length(),
        };
        self.encode_for(root, length)
    }

    fn encode_for(
        &self,
        root: &Root,
        length: usize,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, SlotError> {
        let seal = self.seal.as_ref().ok_or(SlotError::Poisoned)?;
        let mirrors: Vec<Noted> = self.mirrors.iter().map(Mirror::note).collect();
        let counter = self.counter.as_ref().map(|counter| counter.bound);
        encode(root, seal, &mirrors, counter, length)
    }
}

fn given(paths: &[PathBuf]) -> Result<Vec<Mirror>, SlotError> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for path in paths {
        let mirror = Mirror::given(path)?;
        if mirrors.iter().all(|known| known.name != mirror.name) {
            mirrors.push(mirror);
        }
    }
    Ok(mirrors)
}
