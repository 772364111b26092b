//! The root slot as a whole: the slot itself, its mirrors, and what wraps the root in all of them.
//!
//! The slot itself comes first. It is written before its mirrors, so that none of them is ever
//! ahead of it unless it was put back; and it notes of each mirror the epoch of the one root that the
//! mirror is known to hold, so that whatever crashes, what may still hold an earlier root is
//! known by name.

mod change;
mod read;
#[cfg(feature = "backup")]
mod renew;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use zeroize::Zeroizing;

use super::{
    MirrorState, OpeningNumber, Root, RootSlot, SlotChange, SlotConfig, SlotLocation, SlotState,
    counter::{Asked, Counter},
    kek::WrappedBy,
    kek_secret::KekSecret,
    mirror::Mirror,
    pair::{Found, Pair},
    sector::{Bound, Noted, SECTOR_BYTES, encode},
    wrap::Seal,
};
use crate::{event::VaultId, vault::root::SlotError};

/// The slot.
pub(crate) struct Slot(Mutex<State>);

struct State {
    place: SlotLocation,
    /// `None`: the slot itself is missing, and made again from a mirror.
    own: Option<Own>,
    mirrors: Vec<Mirror>,
    /// What mirrors are to be on other devices than: the slot itself, and the vault's folder.
    others: Vec<PathBuf>,
    /// What the caller says of the counter.
    asked: Asked,
    phase: Phase,
    writes: Writes,
}

/// The two sectors of the slot itself.
struct Own {
    pair: Pair,
    /// The sector to keep for as long as the other is not on the medium.
    keep: usize,
    /// Whether what is in them is known to be on the medium.
    settled: bool,
    /// The age of what they held when they were last read or written.
    age: Option<(u64, OpeningNumber)>,
}

/// What is known of the root.
enum Phase {
    /// Nothing yet.
    Unread(Unread),
    /// What wraps it. There need not be a root yet: that of a new slot is still to be written.
    Known(Known),
}

/// A slot that was opened.
struct Unread {
    /// Reads the key-encryption key, once there is a root that it must open.
    secret: Box<dyn Fn() -> Result<KekSecret, SlotError> + Send>,
    /// Whose slot it must be.
    vault: Option<VaultId>,
}

/// A slot of which it is known what wraps its root.
struct Known {
    seal: Seal,
    binding: Binding,
    /// What was read, until something is written.
    root: Option<Root>,
    epoch: u64,
}

/// Whether the slot is bound to a counter.
enum Binding {
    /// The first write of a slot that is made, or made anew, binds it: to the counter that the caller names, or
    /// else to this one, which it was bound to before.
    Due(Option<Bound>),
    Done(Option<Counter>),
}

/// Whether it is written to.
enum Writes {
    Allowed,
    /// It was opened to be read.
    Refused,
    /// One failed: nothing is known about what is there.
    Failed,
}

impl Slot {
    /// Makes the slot and its mirrors; they hold no root until one is written.
    ///
    /// # Errors
    /// Those of the key-encryption key, of which nothing is left behind; [`SlotError::NotEmpty`];
    /// [`SlotError::NoFolder`]; [`SlotError::Mirror`].
    pub(crate) fn create(config: SlotConfig) -> Result<Self, SlotError> {
        let secret = KekSecret::read(&config.kek, config.passphrase.as_ref())?;
        let seal = Seal::new(&secret)?;
        let mut mirrors = new_mirrors(&config)?;
        let others = config.others();
        let pair = config.place.create()?;
        let made = mirrors.iter_mut().try_for_each(|mirror| mirror.make(None));
        let made = made.and_then(|()| config.counter.prepare());
        if let Err(error) = made {
            // What was made and not finished would be in the way of the next attempt, and be taken for somebody's.
            mirrors.iter().for_each(Mirror::unmake);
            config.place.unmake(pair);
            return Err(error);
        }
        let phase = Phase::Known(Known::new(seal, Binding::Due(None)));
        let own = Some(Own::made(pair));
        let state = State::new(config.place, own, config.counter, phase);
        Ok(Self::of(State { mirrors, others, ..state }))
    }

    /// Opens the slot of a vault. Nothing is made until a root is found and written.
    ///
    /// # Errors
    /// [`SlotError::Missing`] where there is no mirror either; [`SlotError::NoFolder`] where it would be made again;
    /// [`SlotError::InUse`]; [`SlotError::Permissions`].
    pub(crate) fn open(config: SlotConfig, vault: VaultId) -> Result<Self, SlotError> {
        // The slot may be lost, and a mirror that the caller names have its root: then it is made again, but only where
        // its folder is. A missing folder may be that of a medium that is away.
        let mirrors = given(&config.place, &config.mirrors)?;
        let own = match config.place.open() {
            Ok(pair) => Some(Own::found(pair)),
            Err(SlotError::Missing(_)) if !mirrors.is_empty() => {
                config.place.refuse_missing_folder()?;
                None
            }
            Err(error) => return Err(error),
        };
        let others = config.others();
        Ok(Self::of(State { mirrors, others, ..State::unread(config, own, vault) }))
    }

    /// Opens the slot of a vault to be read. Mirrors have no part in it. `hold`: while it is open, nobody
    /// writes to it.
    ///
    /// # Errors
    /// As of [`Slot::open`].
    pub(crate) fn open_to_read(
        config: SlotConfig,
        vault: VaultId,
        hold: bool,
    ) -> Result<Self, SlotError> {
        let own = Own::found(config.place.open_to_read(hold)?);
        let writes = Writes::Refused;
        Ok(Self::of(State { writes, ..State::unread(config, Some(own), vault) }))
    }

    fn of(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// A slot in a file, of whichever vault, wrapped by nothing.
    #[cfg(test)]
    pub(crate) fn in_file(path: &Path, create: bool) -> Result<Self, SlotError> {
        if create {
            return Self::create(path.into());
        }
        Ok(Self::over(super::file::SectorFile::open(path)?, KekSecret::None))
    }

    /// A slot over two sectors of any kind.
    #[cfg(test)]
    pub(crate) fn over(
        sectors: impl super::hardware::Sectors + 'static,
        secret: KekSecret,
    ) -> Self {
        let secret = Box::new(move || Ok(secret.clone()));
        let own = Own::found(Pair(Box::new(sectors)));
        let phase = Phase::Unread(Unread { secret, vault: None });
        let place = SlotLocation::File("in a test".into());
        Self::of(State::new(place, Some(own), Asked::default(), phase))
    }

    #[cfg(test)]
    pub(crate) fn with_mirrors(self, mirrors: &[PathBuf]) -> Self {
        if let Ok(mut state) = self.0.lock() {
            state.mirrors = given(&state.place, mirrors).unwrap_or_default();
        }
        self
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, SlotError> {
        self.0.lock().map_err(|_| SlotError::Poisoned)
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
        let known = state.known().ok();
        let epoch = known.map_or(0, |known| known.epoch);
        let mirror = |mirror: &Mirror| MirrorState {
            name: mirror.name.clone(),
            counter: false,
            may_hold: mirror.confirmed,
            stale: mirror.confirmed != Some(epoch),
            trouble: mirror.trouble.clone(),
            beside: mirror.beside(&state.others).map(Path::to_owned),
        };
        Ok(SlotState {
            place: state.place.to_string(),
            epoch,
            wrapped_by: known.map_or(WrappedBy::Nothing, |known| known.seal.wrapping.by()),
            mirrors: state.mirrors.iter().map(mirror).collect(),
            counter: known.and_then(Known::counter).map(|counter| counter.state(epoch)),
        })
    }
}

impl Own {
    /// Of a slot that is there: what can be read may be in the system's cache alone.
    fn found(pair: Pair) -> Self {
        Self { pair, keep: 0, settled: false, age: None }
    }

    fn made(pair: Pair) -> Self {
        Self { settled: true, ..Self::found(pair) }
    }
}

impl Known {
    fn new(seal: Seal, binding: Binding) -> Self {
        Self { seal, binding, root: None, epoch: 0 }
    }

    fn counter(&self) -> Option<&Counter> {
        match &self.binding {
            Binding::Done(counter) => counter.as_ref(),
            Binding::Due(_) => None,
        }
    }
}

impl State {
    fn new(place: SlotLocation, own: Option<Own>, asked: Asked, phase: Phase) -> Self {
        let (mirrors, others) = (Vec::new(), Vec::new());
        Self { place, own, mirrors, others, asked, phase, writes: Writes::Allowed }
    }

    fn unread(config: SlotConfig, own: Option<Own>, vault: VaultId) -> Self {
        let SlotConfig { place, kek, passphrase, counter, .. } = config;
        let secret = Box::new(move || KekSecret::read(&kek, passphrase.as_ref()));
        let phase = Phase::Unread(Unread { secret, vault: Some(vault) });
        Self::new(place, own, counter, phase)
    }

    fn known(&self) -> Result<&Known, SlotError> {
        match &self.phase {
            Phase::Known(known) => Ok(known),
            Phase::Unread(_) => Err(SlotError::Poisoned),
        }
    }

    fn known_mut(&mut self) -> Result<&mut Known, SlotError> {
        match &mut self.phase {
            Phase::Known(known) => Ok(known),
            Phase::Unread(_) => Err(SlotError::Poisoned),
        }
    }

    /// What is in the slot itself; nothing where it is missing.
    fn look(&self) -> Result<Found, SlotError> {
        self.own.as_ref().map_or_else(|| Ok(Found::default()), |own| own.pair.look())
    }

    /// Makes sure that what was read is on the medium.
    fn settle(&mut self) -> Result<(), SlotError> {
        self.refuse_unwritable()?;
        if let Some(own) = &mut self.own
            && !own.settled
        {
            own.pair.settle().inspect_err(|_| self.writes = Writes::Failed)?;
            own.settled = true;
        }
        Ok(())
    }

    fn refuse_unwritable(&self) -> Result<(), SlotError> {
        match self.writes {
            Writes::Allowed => Ok(()),
            Writes::Refused => Err(SlotError::ReadOnly),
            Writes::Failed => Err(SlotError::Poisoned),
        }
    }

    /// Where no lock reaches, between machines or containers that share a slot, somebody else may have
    /// opened it: theirs is the vault from then on, and a root that is written over theirs would
    /// destroy every key that they have. An older copy that was put back is written over.
    fn refuse_taken(&self) -> Result<(), SlotError> {
        let Some(Own { pair, age: Some((epoch, opening)), .. }) = &self.own else {
            return Ok(());
        };
        match pair.look()?.newest.first() {
            Some((_, record))
                if record.epoch > *epoch || record.opening.is_beside_or_after(*opening) =>
            {
                Err(SlotError::Taken(self.place.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, root: &Root) -> Result<(), SlotError> {
        self.refuse_unwritable()?;
        self.refuse_taken()?;
        #[cfg(test)]
        self.take_as_new()?;
        // Before anything is made or touched: the mirrors may be too many, the counter away.
        let Phase::Known(known) = &mut self.phase else { return Err(SlotError::Poisoned) };
        if let Binding::Due(earlier) = known.binding {
            known.binding = Binding::Done(self.asked.bind(earlier, root.epoch)?);
        }
        let bytes = self.encode(root)?;
        for mirror in &mut self.mirrors {
            mirror.make(Some(root.vault))?;
        }
        self.write_own(&bytes, root)?;
        // What was read is outdated: the earlier root is wiped from memory here.
        let known = self.known_mut()?;
        (known.root, known.epoch) = (None, root.epoch);

        // The slot notes of a mirror that it holds this root only after that was written to it. A crash in
        // between leaves one that is called stale and is not, and never the other way round.
        let before: Vec<Noted> = self.mirrors.iter().map(Mirror::note).collect();
        let copy = self.encode_for(root, SECTOR_BYTES)?;
        for mirror in &mut self.mirrors {
            mirror.write(&copy, root);
        }
        if self.mirrors.iter().map(Mirror::note).ne(before) {
            let bytes = self.encode(root)?;
            self.write_own(&bytes, root)?;
        }
        self.raise_counter(root)
    }

    /// After the slot, which it would refuse otherwise if a crash came in between.
    fn raise_counter(&mut self, root: &Root) -> Result<(), SlotError> {
        if let Binding::Done(Some(counter)) = &mut self.known_mut()?.binding {
            counter.raise(root.epoch);
        }
        Ok(())
    }

    /// Overwrites the slot itself, or makes it.
    fn write_own(&mut self, bytes: &[u8], root: &Root) -> Result<(), SlotError> {
        let mut write = || -> Result<(), SlotError> {
            let own = match &mut self.own {
                Some(own) => own,
                missing => missing.insert(Own::made(self.place.create()?)),
            };
            // What the other sector says may be in the cache alone. If the power failed during this write, neither
            // would be whole.
            if !own.settled {
                own.pair.settle()?;
            }
            own.pair.overwrite(bytes, own.keep)?;
            (own.settled, own.age) = (true, Some((root.epoch, root.opening)));
            Ok(())
        };
        // There is no second attempt: after a failed fsync the system may call the next one a success though nothing was
        // written (Rebello et al., Can Applications Recover from fsync Failures?, 2020).
        write().inspect_err(|_| self.writes = Writes::Failed)
    }

    fn encode(&self, root: &Root) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let length = self.own.as_ref().map_or_else(|| self.place.length(), |own| own.pair.length());
        self.encode_for(root, length)
    }

    fn encode_for(&self, root: &Root, length: usize) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let known = self.known()?;
        let mirrors: Vec<Noted> = self.mirrors.iter().map(Mirror::note).collect();
        let counter = known.counter().map(|counter| counter.bound);
        encode(root, &known.seal, &mirrors, counter, length)
    }

    /// Tests make a slot by writing to one that they opened: what is there is nobody's.
    #[cfg(test)]
    fn take_as_new(&mut self) -> Result<(), SlotError> {
        if let Phase::Unread(unread) = &self.phase {
            let seal = Seal::new(&(unread.secret)()?)?;
            self.phase = Phase::Known(Known::new(seal, Binding::Done(None)));
            if let Some(own) = &mut self.own {
                own.settled = true;
            }
        }
        Ok(())
    }
}

/// The mirrors that the caller names, each file once, by whichever names; without one that became the slot.
fn given(place: &SlotLocation, paths: &[PathBuf]) -> Result<Vec<Mirror>, SlotError> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for path in paths {
        let mirror = Mirror::given(path, place)?;
        if !place.is_named(&mirror.name) && !mirrors.iter().any(|known| known.is_file(path)) {
            mirrors.push(mirror);
        }
    }
    Ok(mirrors)
}

/// As [`given`], of a slot that is still to be made.
///
/// # Errors
/// [`SlotError::Mirror`].
pub(super) fn new_mirrors(config: &SlotConfig) -> Result<Vec<Mirror>, SlotError> {
    for path in &config.mirrors {
        refuse_slot(&config.place, &Mirror::given(path, &config.place)?)?;
    }
    let mirrors = given(&config.place, &config.mirrors)?;
    mirrors.iter().try_for_each(Mirror::refuse_used)?;
    Ok(mirrors)
}

/// An error where a mirror is the slot itself.
fn refuse_slot(place: &SlotLocation, mirror: &Mirror) -> Result<(), SlotError> {
    match place.is_file(&mirror.path) {
        true => Err(mirror.refused("it is the root slot itself; name another file")),
        false => Ok(()),
    }
}
