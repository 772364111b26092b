//! The forensic test: a random life of a vault under the layer, on real files, all of whose bytes
//! are kept; and then somebody who has them all, and the root slot of some moment.
//!
//! - [`archive`]: every version of every file, and every page.
//! - [`adversary`]: tries every 32 bytes that can be read as a key to everything that cannot.
//! - [`life`]: what is done with the vault.
//! - [`flat`]: the same adversary before stores that do not forget: the test of the test.
//! - [`device`]: the same search over the raw device of an ext4 file system.
//!
//! `OUBLIETTE_FORENSIC_ROUNDS` asks for more lives than the default.

mod adversary;
pub(super) mod archive;
#[cfg(target_os = "linux")]
pub(in crate::vault) mod device;
mod flat;
mod life;

use std::collections::{HashMap, HashSet};

use adversary::{Loot, Sealed, Trials, Window};
use archive::Archive;
use life::{Life, Store};

use super::long_runs;
use crate::{
    event::KeyId,
    vault::{
        MemoKind, Vault,
        tree::{Sabotage, Shape},
    },
};

/// What was true when an operation had ended.
struct Moment {
    /// All that the slot held.
    slot: Vec<u8>,
    living: HashSet<usize>,
    /// How many keys had been seen by then; who is not among the living is destroyed.
    seen: usize,
    /// Who was forgotten, and has not been reopened since; their names are not to be read either.
    forgotten: Vec<String>,
}

/// What the adversary is to find, or not to find.
#[derive(Default)]
struct Case {
    vault: [u8; 16],
    archive: Archive,
    keys: Vec<(KeyId, Window)>,
    moments: Vec<Moment>,
}

/// What the adversary came upon.
#[derive(Debug)]
#[allow(dead_code, reason = "is printed")]
struct Decision {
    /// Versions of pages, and how many of them somebody can open.
    pages: usize,
    opened: usize,
    /// Data keys, and how many of them are destroyed in the end.
    keys: usize,
    destroyed: usize,
    /// Of the raw archive.
    bytes: usize,
}

impl Case {
    fn wanted(&self) -> HashMap<Window, usize> {
        self.keys.iter().enumerate().map(|(index, (_, secret))| (*secret, index)).collect()
    }

    /// Lets the adversary try, with the slot of each moment and all bytes of all times, later
    /// ones, too. An error says what they read that they must not, or failed to read that they
    /// must, or else they would be too weak to mean something.
    fn judge(&self) -> Result<Decision, String> {
        let wanted = self.wanted();
        // Directly: a key that is in the files as it is.
        if let Some(key) = self.archive.raw(&wanted).into_iter().next() {
            return Err(format!("read: data key {key} stands in the files"));
        }
        let roots = self.archive.roots();
        let past = roots.iter().enumerate().map(|(at, key)| (*key, at));
        if let Some(root) = self.archive.raw(&past.collect()).into_iter().next() {
            return Err(format!("read: root key {root} stands in the files"));
        }
        let pages = self.archive.pages();
        let sealed: Vec<(usize, Sealed)> = pages
            .iter()
            .enumerate()
            .filter_map(|(at, (name, content))| {
                Some((at, Sealed::stored(&self.vault, name, content)?))
            })
            .collect();
        let (places, sealed): (Vec<usize>, Vec<Sealed>) = sealed.into_iter().unzip();
        let slots = self.moments.iter().map(|moment| moment.slot.clone());
        let beginnings: Vec<_> = slots.chain(roots.iter().map(|key| key.to_vec())).collect();
        let loot = Loot::gather(&sealed, &beginnings, &wanted, Trials::Every);
        for (at, moment) in self.moments.iter().enumerate() {
            let found = loot.found_from(at);
            if let Some(key) = moment.living.iter().find(|key| !found.contains(key)) {
                return Err(format!("lost: key {key} lives at moment {at} and was not found"));
            }
            let dead = |key: &&usize| **key < moment.seen && !moment.living.contains(key);
            if let Some(key) = found.iter().find(dead) {
                return Err(format!("read: key {key} is destroyed at moment {at} and was found"));
            }
            for text in loot.readable_from(at) {
                let named = |who: &&String| {
                    text.bytes.windows(who.len()).any(|window| window == who.as_bytes())
                };
                // Later bytes may name who came back later.
                let ever_after = |who: &&String| {
                    self.moments[at..].iter().all(|later| later.forgotten.contains(*who))
                };
                if let Some(who) = moment.forgotten.iter().filter(ever_after).find(named) {
                    return Err(format!("read: {who} is forgotten at moment {at} and was named"));
                }
            }
        }
        // Each page could be read once, so with all roots together the adversary must open all.
        let closed = (0..sealed.len()).find(|index| {
            !loot.opened.contains_key(index) && !self.archive.is_loose(&pages[places[*index]])
        });
        if let Some(index) = closed.filter(|_| !roots.is_empty()) {
            let name = &pages[places[index]].0;
            return Err(format!("lost: page {name:02x?} was opened with no root at all"));
        }
        let last = self.moments.last();
        Ok(Decision {
            pages: sealed.len(),
            opened: loot.opened.len(),
            keys: self.keys.len(),
            destroyed: self.keys.len() - last.map_or(0, |moment| moment.living.len()),
            bytes: self.archive.bytes(),
        })
    }
}

fn rounds(short: u64) -> u64 {
    long_runs("OUBLIETTE_FORENSIC_ROUNDS", short)
}

#[test]
fn no_destroyed_key_is_found_by_who_has_every_byte_ever_written() {
    let mut destroyed = 0;
    for seed in 0..rounds(1) {
        let life = Life::live(seed, 25, Store::Recorded(Sabotage::None));
        let decision = life.judge().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("seed {seed}: {decision:?}");
        destroyed += decision.destroyed;
    }
    assert!(destroyed > 0);
}

/// All that was ever in the vault's folder, and no root slot.
#[test]
fn the_folder_without_its_slot_opens_no_page_and_names_nobody() {
    let case = Life::live(0, 4, Store::Recorded(Sabotage::None));
    let pages = case.archive.pages();
    let sealed: Vec<Sealed> =
        pages.iter().filter_map(|(name, page)| Sealed::stored(&case.vault, name, page)).collect();
    let all: Vec<Vec<u8>> = pages.iter().map(|(_, page)| page.clone()).collect();
    let read = Loot::gather(&sealed, &all, &case.wanted(), Trials::Every);
    assert_eq!((read.opened.len(), read.keys.len()), (0, 0), "of {} pages", sealed.len());
    assert!((0..all.len()).all(|at| read.found_from(at).is_empty()));
    let named = |who: &str| {
        all.iter().any(|page| page.windows(who.len()).any(|found| found == who.as_bytes()))
    };
    assert!(!named("user-") && !named("account-"));
    // With the slot, the same pages say all of it.
    let slot = case.moments.last().unwrap().slot.clone();
    let loot = Loot::gather(&sealed, &[slot], &case.wanted(), Trials::Every);
    let texts = loot.readable_from(0);
    assert!(!loot.found_from(0).is_empty(), "too weak to mean something");
    assert!(texts.iter().any(|text| text.bytes.windows(5).any(|found| found == b"user-")));
}

#[test]
fn no_destroyed_key_is_found_in_a_vault_made_and_opened_as_by_its_users() {
    for seed in 0..rounds(1) {
        let life = Life::live(seed, 12, Store::Plain);
        let decision = life.judge().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("seed {seed}: {decision:?}");
        assert!(decision.destroyed > 0);
    }
}

/// The files are looked at often enough: every page that was handed to sled is in them.
#[test]
fn the_archive_of_files_misses_no_page() {
    let case = Life::live(7, 40, Store::Recorded(Sabotage::None));
    let mut pages = case.archive.pages();
    pages.retain(|page| !case.archive.is_loose(page) && page.0.len() == 16);
    let beginning = |content: &[u8]| Window::try_from(&content[..32]).unwrap();
    let wanted = pages.iter().enumerate().map(|(at, (_, content))| (beginning(content), at));
    let found = case.archive.raw(&wanted.collect());
    assert_eq!(found.len(), pages.len());
}

#[test]
fn the_adversary_notices_a_tree_that_keeps_keys() {
    for sabotage in [Sabotage::SplitKeepsKey, Sabotage::EraseKeepsLeafKey] {
        let caught = (0..10).any(|seed| {
            let decision = Life::live(seed, 15, Store::Recorded(sabotage)).judge();
            decision.is_err_and(|why| why.starts_with("read"))
        });
        assert!(caught, "{sabotage:?} was not noticed");
    }
}

/// Its bytes stay, under the key of a page in which it would have stood; and it names who was then
/// forgotten by another. Others are in progress, so that the two are not in one page.
#[test]
fn a_journal_that_a_crash_took_away_is_not_read_once_the_next_one_is_removed() {
    // Whichever write it is that fails: what it gives to the store, or the flush.
    for fails in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let (at, slot) = (folder.path().join("vault"), folder.path().join("root"));
        let archive = Archive::default();
        let shape = Shape { page_bytes: 400, ..Shape::default() };
        let open = |create| life::recorded(&at, &slot, create, shape, &archive);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let put = |vault: &Vault, id: u8, text: &[u8]| {
            runtime.block_on(vault.put_memo(MemoKind::Journal, [id; 16], text))
        };
        let vault = open(true);
        for others in 10..20 {
            put(&vault, others, &[others; 300]).unwrap();
        }
        archive.fail_after(fails, || {});
        put(&vault, 1, b"the name of somebody who is to be forgotten").unwrap_err();
        drop(vault);
        archive.mend();
        let vault = open(false);
        // Where sled has it all the same, the erasure goes on and ends by removing it.
        if vault.memos(MemoKind::Journal).unwrap().len() == 10 {
            put(&vault, 200, b"the second attempt").unwrap();
            runtime.block_on(vault.remove_memo(MemoKind::Journal, [200; 16])).unwrap();
        } else {
            runtime.block_on(vault.remove_memo(MemoKind::Journal, [1; 16])).unwrap();
        }
        assert_eq!(vault.memos(MemoKind::Journal).unwrap().len(), 10, "others are gone");
        let id = *vault.id().0.as_bytes();
        let pages = archive.pages();
        let sealed: Vec<Sealed> =
            pages.iter().filter_map(|(name, page)| Sealed::stored(&id, name, page)).collect();
        let today = archive.roots().last().unwrap().to_vec();
        let loot = Loot::gather(&sealed, &[today], &HashMap::new(), Trials::AfterIds);
        let read = |words: &[u8]| {
            let texts = loot.readable_from(0);
            texts.iter().any(|text| text.bytes.windows(words.len()).any(|found| found == words))
        };
        assert!(read(&[15; 300]), "the others' journals are not read: too weak to mean something");
        assert!(!read(b"the name of somebody"), "write {fails}: the journal is read");
    }
}
