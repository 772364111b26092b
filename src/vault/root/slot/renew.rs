//! The slot for a vault that is restored.

use super::{Binding, Counter, KekSecret, Known, Own, Phase, Seal, Slot, SlotConfig, State, given};
use crate::{event::VaultId, vault::root::SlotError};

/// What a slot holds that a restoration would overwrite.
pub(crate) struct Holds {
    /// The newest epoch in it, its mirrors and its counter.
    pub(crate) epoch: u64,
    /// Where a root of the vault is whole, and the page that it opens.
    pub(crate) roots: Vec<(String, [u8; 16])>,
    /// The counter that the caller names, where it is there, and no root: it bears witness of a slot that is
    /// lost, or elsewhere.
    pub(crate) counter: Option<String>,
}

impl Slot {
    /// The slot for a vault that is restored, and what is in it or its mirrors. What is
    /// there is overwritten by the first write: of this vault, or never written. Its root is not
    /// needed, so that neither is what wrapped it.
    ///
    /// # Errors
    /// [`SlotError::OfAnotherVault`], [`SlotError::Damaged`], [`SlotError::NoFolder`],
    /// [`SlotError::NewerFormat`], [`SlotError::NewerMirror`]; [`SlotError::BehindCounter`] where its counter tells of a newer
    /// root than is left, [`SlotError::Counter`]; those of the key-encryption key, and of opening a
    /// slot.
    pub(crate) fn renew(config: SlotConfig, vault: VaultId) -> Result<(Self, Holds), SlotError> {
        let mirrors = given(&config.place, &config.mirrors)?;
        let mut own = match config.place.open() {
            Ok(pair) => Some(Own::found(pair)),
            Err(SlotError::Missing(_)) => {
                config.place.refuse_missing_folder()?;
                None
            }
            Err(error) => return Err(error),
        };
        let others = config.others();
        let secret = KekSecret::read(&config.kek, config.passphrase.as_ref())?;
        let mut known = Known::new(Seal::new(&secret)?, Binding::Due(None));
        let (mut roots, mut earlier, place) = (Vec::new(), None, config.place);
        let mut noted = Vec::new();
        if let Some(own) = &mut own {
            let found = own.pair.look()?;
            found.refuse_other(Some(vault))?;
            match found.newest.first() {
                None if found.blank => {}
                None => return Err(found.trouble(&place)),
                Some((index, record)) => {
                    (own.keep, known.epoch, earlier) = (*index, record.epoch, record.counter);
                    roots.push((place.to_string(), record.page()));
                }
            }
            noted = found.newest;
        }
        let mut epoch = known.epoch;
        let phase = Phase::Known(known);
        let mut state = State { mirrors, others, ..State::new(place, own, config.counter, phase) };
        state.note_mirrors(&noted);
        for mirror in &mut state.mirrors {
            let found = mirror.look(Some(vault))?;
            roots.extend(found.first().map(|(_, record)| (mirror.name.clone(), record.page())));
        }
        if let Some((_, record)) = state.newest_mirror(Some(vault))?.first() {
            (epoch, earlier) = (epoch.max(record.epoch), earlier.or(record.counter));
        }
        // What it knows of erasures that nobody else knows must not be written over.
        if let Some(bound) = earlier {
            let told = Counter::noted(bound, &state.asked, epoch)?.tells();
            epoch = epoch.max(told.unwrap_or_default());
        }
        state.known_mut()?.binding = Binding::Due(earlier);
        let counter = if roots.is_empty() { state.asked.found() } else { None };
        Ok((Self::of(state), Holds { epoch, roots, counter }))
    }
}
