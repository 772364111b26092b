//! A counter as a witness: a number in a TPM that is raised with every root and can
//! never be lowered, not by restoring the image of a machine either. A slot file that was put back
//! together with the vault is behind it.
//!
//! The slot notes which counter it is and what it read at some epoch. From then on it tells, of
//! itself, which epoch the vault has reached.

#[cfg(feature = "tpm")]
use super::tpm::TpmIndex;
use super::{MirrorState, hardware::Monotonic, sector::Bound};
use crate::vault::root::SlotError;

impl Bound {
    fn name(self) -> String {
        format!("tpm:{:#010x}", self.index)
    }

    /// As noted before the counter is raised: no image of an earlier binding is then at its height.
    fn to_be_raised(self) -> Self {
        Self { epoch: self.epoch.saturating_sub(1), ..self }
    }

    /// The epoch that a counter tells which reads this.
    fn tells(self, reads: u64) -> Result<u64, String> {
        let raised = reads.checked_sub(self.base).ok_or_else(|| {
            format!("it reads {reads}, and read {} before: it is another TPM's", self.base)
        })?;
        Ok(self.epoch.saturating_add(raised))
    }
}

/// What the caller says of the counter.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// Which one to bind a new slot to; of a slot that is there, how to reach it.
    #[cfg(feature = "tpm")]
    pub(super) at: Option<TpmIndex>,
    /// Whether to go on whatever it says.
    pub(super) past: bool,
}

impl Asked {
    #[cfg(feature = "tpm")]
    fn device(&self, index: u32) -> Result<Box<dyn Monotonic>, String> {
        match &self.at {
            Some(at) if at.first() == index => Ok(Box::new(at.clone())),
            _ => Ok(Box::new(TpmIndex::new(index).map_err(|error| error.to_string())?)),
        }
    }

    #[cfg(not(feature = "tpm"))]
    fn device(&self, _: u32) -> Result<Box<dyn Monotonic>, String> {
        Err("this program was built without the feature `tpm`".to_owned())
    }

    /// Makes sure that the counter that a new slot is to be bound to is there.
    pub(super) fn prepare(&self) -> Result<(), SlotError> {
        #[cfg(feature = "tpm")]
        if let Some(at) = &self.at {
            at.make_counter().map_err(|why| unusable(&at.to_string(), why))?;
        }
        Ok(())
    }

    /// The counter that the caller knows of, where it is there.
    #[cfg(feature = "backup")]
    pub(super) fn found(&self) -> Option<String> {
        #[cfg(feature = "tpm")]
        if let Some(at) = self.at.as_ref().filter(|at| Monotonic::read(*at).is_ok()) {
            return Some(at.to_string());
        }
        None
    }

    /// Warns where the slot notes no counter, and the caller knows of one.
    pub(super) fn warn_unbound(&self) {
        #[cfg(feature = "tpm")]
        if let Some(at) = &self.at {
            tracing::warn!(
                counter = %at,
                "the root slot is not bound to its counter: it is older than the binding, or was changed; bind it anew"
            );
        }
    }

    /// Removes the counter that the caller knows of, where the slot notes none any more.
    pub(super) fn remove(&self) -> Result<(), SlotError> {
        #[cfg(feature = "tpm")]
        if let Some(at) = &self.at {
            return at.remove_counter().map_err(|why| unusable(&at.to_string(), why));
        }
        Ok(())
    }

    /// Binds a slot that is made, or made again: to the counter that the caller named, or else to the
    /// one that it was bound to before.
    pub(super) fn bind(
        &self,
        earlier: Option<Bound>,
        epoch: u64,
    ) -> Result<Option<Counter>, SlotError> {
        match self.wanted(earlier, epoch) {
            Some(Err(error)) if self.past => {
                tracing::warn!(%error, "the restored vault is bound to no counter");
                Ok(None)
            }
            wanted => wanted.transpose(),
        }
    }

    fn wanted(&self, earlier: Option<Bound>, epoch: u64) -> Option<Result<Counter, SlotError>> {
        #[cfg(feature = "tpm")]
        if let Some(at) = &self.at {
            // An earlier one may be lost.
            let earlier = earlier.filter(|earlier| !self.past || earlier.index == at.first());
            return Some(Counter::bind(at, earlier, epoch));
        }
        let earlier = earlier?;
        let bound = self.device(earlier.index).and_then(|device| {
            let bound = Bound { base: device.read()?, epoch, ..earlier };
            Ok(Counter::of(bound.to_be_raised(), Ok(device)))
        });
        Some(bound.map_err(|why| unusable(&earlier.name(), why)))
    }
}

/// The counter of a slot.
pub(super) struct Counter {
    pub(super) bound: Bound,
    /// Or why this program has no way to it.
    device: Result<Box<dyn Monotonic>, String>,
    /// The epoch that it was last seen to tell.
    tells: Option<u64>,
    /// Whether it told of an epoch that the vault had not reached. It stays ahead until it is bound
    /// again: where the two met, an image from before the rollback would look like the newest.
    ahead: bool,
    /// Why it could not be read or raised the last time.
    trouble: Option<String>,
}

impl Counter {
    pub(super) fn of(bound: Bound, device: Result<Box<dyn Monotonic>, String>) -> Self {
        Self { bound, device, tells: None, ahead: false, trouble: None }
    }

    /// Binds to this counter, which is made where it is not there.
    ///
    /// # Errors
    /// [`SlotError::Counter`]; [`SlotError::Unsupported`] where the slot is bound to another one, which
    /// would not count from now on, and call every image that notes it the newest.
    #[cfg(feature = "tpm")]
    pub(super) fn bind(
        at: &TpmIndex,
        earlier: Option<Bound>,
        epoch: u64,
    ) -> Result<Self, SlotError> {
        if earlier.is_some_and(|earlier| earlier.index != at.first()) {
            return Err(SlotError::Unsupported(
                "the root slot is bound to another counter; release that first",
            ));
        }
        // The slot's own is raised when the slot is written: if a crash left it so before, it would be
        // ahead.
        let later = earlier.is_some() && epoch > 0;
        let made = if later { Ok(()) } else { at.make_counter() };
        let base = made.and_then(|()| Monotonic::read(at));
        let base = base.map_err(|why| unusable(&at.to_string(), why))?;
        let bound = Bound { index: at.first(), base, epoch };
        let bound = if later { bound.to_be_raised() } else { bound };
        Ok(Self::of(bound, Ok(Box::new(at.clone()))))
    }

    /// The counter that a slot notes, and whether it confirms that the slot holds the newest root.
    ///
    /// # Errors
    /// [`SlotError::BehindCounter`], [`SlotError::Counter`]; none, where the caller goes on
    /// whatever it says.
    pub(super) fn noted(bound: Bound, asked: &Asked, epoch: u64) -> Result<Self, SlotError> {
        let mut counter = Self::of(bound, asked.device(bound.index));
        counter.look();
        match (&counter.trouble, counter.tells) {
            _ if asked.past => {}
            (Some(why), _) => return Err(unusable(&bound.name(), why.clone())),
            (None, Some(expected)) if expected > epoch => {
                let counter = bound.name();
                return Err(SlotError::BehindCounter { counter, found: epoch, expected });
            }
            (None, _) => {}
        }
        counter.ahead = counter.tells.is_some_and(|tells| tells > epoch);
        Ok(counter)
    }

    /// The epoch that it was last seen to tell.
    #[cfg(feature = "backup")]
    pub(super) fn tells(&self) -> Option<u64> {
        self.tells
    }

    fn device(&self) -> Result<&dyn Monotonic, String> {
        self.device.as_deref().map_err(Clone::clone)
    }

    fn look(&mut self) {
        match self.device().and_then(|device| self.bound.tells(device.read()?)) {
            Ok(tells) => (self.tells, self.trouble) = (Some(tells), None),
            Err(why) => (self.tells, self.trouble) = (None, Some(why)),
        }
    }

    /// Raises it until it tells this epoch, or, if it was ahead, a later one. Whether it does, it
    /// remembers.
    pub(super) fn raise(&mut self, epoch: u64) {
        if self.tells == Some(epoch) && self.trouble.is_none() {
            return;
        }
        self.look();
        self.ahead |= self.tells.is_some_and(|tells| tells > epoch);
        let least = epoch + u64::from(self.ahead);
        while self.trouble.is_none() && self.tells.is_some_and(|tells| tells < least) {
            let before = self.tells;
            match self.device().and_then(|device| device.raise()) {
                Ok(()) => self.look(),
                Err(why) => self.trouble = Some(why),
            }
            if self.trouble.is_none() && self.tells <= before {
                self.trouble = Some("it was raised, and reads no more than before".to_owned());
            }
        }
        if self.trouble.is_none() && self.ahead {
            let why = "it is ahead: the vault was rolled back; bind it anew";
            self.trouble = Some(why.to_owned());
        }
        if let Some(why) = &self.trouble {
            let counter = self.bound.name();
            tracing::warn!(%counter, %why, "the counter of the root slot does not tell its epoch");
        }
    }

    /// Destroys it.
    ///
    /// # Errors
    /// [`SlotError::Counter`].
    pub(super) fn remove(&self) -> Result<(), SlotError> {
        let removed = self.device().and_then(|device| device.remove());
        removed.map_err(|why| unusable(&self.bound.name(), why))
    }

    pub(super) fn state(&self, epoch: u64) -> MirrorState {
        MirrorState {
            beside: None,
            name: self.bound.name(),
            counter: true,
            // Ahead, it is no witness.
            may_hold: self.tells.filter(|tells| *tells <= epoch),
            stale: self.trouble.is_some() || self.tells != Some(epoch),
            trouble: self.trouble.clone(),
        }
    }
}

fn unusable(counter: &str, why: String) -> SlotError {
    SlotError::Counter { counter: counter.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    };

    use super::*;

    /// What it reads, and how often it can be raised. Once it reads 200, it stays there.
    #[derive(Clone, Default)]
    struct Fake(Arc<(AtomicU64, AtomicU64)>);

    impl Monotonic for Fake {
        fn read(&self) -> Result<u64, String> {
            Ok(self.0.0.load(SeqCst))
        }

        fn raise(&self) -> Result<(), String> {
            let left = self.0.1.load(SeqCst).checked_sub(1).ok_or("worn out")?;
            self.0.1.store(left, SeqCst);
            self.0.0.store((self.0.0.load(SeqCst) + 1).min(200), SeqCst);
            Ok(())
        }

        fn remove(&self) -> Result<(), String> {
            Ok(())
        }
    }

    fn counter(reads: u64, left: u64) -> (Counter, Fake) {
        let fake = Fake(Arc::new((reads.into(), left.into())));
        let bound = Bound { index: 0x0150_0020, base: 100, epoch: 7 };
        (Counter::of(bound, Ok(Box::new(fake.clone()))), fake)
    }

    #[test]
    fn it_is_raised_by_as_much_as_it_is_behind() {
        let (mut counter, fake) = counter(101, 3);
        counter.raise(10);
        assert_eq!((fake.read(), fake.0.1.load(SeqCst)), (Ok(103), 1));
        let state = counter.state(10);
        assert_eq!((state.stale, state.may_hold, state.trouble), (false, Some(10), None));
        // Not twice for the same root.
        counter.raise(10);
        assert_eq!(fake.read(), Ok(103));
        // It gives way in the middle.
        counter.raise(12);
        let state = counter.state(12);
        assert_eq!((state.stale, state.may_hold), (true, Some(11)));
        assert_eq!(state.trouble.as_deref(), Some("worn out"));
        fake.0.1.store(1, SeqCst);
        counter.raise(12);
        assert!(!counter.state(12).stale);
    }

    #[test]
    fn one_that_stands_still_is_told() {
        let (mut counter, fake) = counter(199, 9);
        counter.raise(110);
        let state = counter.state(110);
        assert!(state.stale && state.trouble.unwrap().contains("no more than before"));
        assert_eq!(fake.0.1.load(SeqCst), 7);
    }

    #[test]
    fn one_that_is_ahead_or_anothers_is_left_as_it_is() {
        for (reads, word) in [(105, "ahead"), (99, "another TPM's")] {
            let (mut counter, fake) = counter(reads, 9);
            counter.raise(10);
            let state = counter.state(10);
            assert!(state.stale && state.trouble.unwrap().contains(word), "{reads}");
            // Nothing is known to be done.
            assert_eq!(state.may_hold, None);
            assert_eq!(fake.read(), Ok(reads));
        }
    }

    #[test]
    fn one_that_was_ahead_stays_ahead() {
        let (mut counter, fake) = counter(105, 9);
        counter.raise(10);
        for epoch in [11, 12, 13] {
            counter.raise(epoch);
            assert!(counter.state(epoch).stale, "{epoch}");
        }
        // It told epoch 12; an image of epoch 12 or 13 is not the newest any more.
        assert_eq!(fake.read(), Ok(107));
    }
}
