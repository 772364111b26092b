//! Random histories with keys that erasures spare: rotated, backed up, restored, rolled back, replayed
//! and opened again. A few lines say what each key must read as in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    event::{ErasureId, Generation, KeyId},
    vault::{
        Dead, Decision, Destruction, InventoryEntry, KeyLookup, Loss,
        tests::{
            classes::{class, key_of_class},
            long_runs,
            spared::lose,
        },
        tree::Tree,
    },
};

#[derive(Debug, Clone)]
enum Step {
    Key {
        of: u8,
        whose: u8,
    },
    KeyOfClass {
        of: u8,
        whose: u8,
        class: u8,
    },
    /// Of their keys, those are spared whose bit is set.
    Forget {
        whose: u8,
        spared: u8,
    },
    ForgetSpan {
        whose: u8,
        from: u32,
        to: u32,
        spared: u8,
    },
    ForgetBoth {
        spared: u8,
    },
    Again {
        which: usize,
    },
    Reopen {
        whose: u8,
    },
    Rotate {
        whose: u8,
    },
    Lose {
        which: usize,
    },
    Replay {
        exported: bool,
    },
    Restart {
        crash: bool,
    },
    BackUp,
    /// To a backup, or to an image of the whole vault.
    GoBack {
        which: usize,
        exported: bool,
    },
    TakeImage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let whose = || 0..2_u8;
    let step = prop_oneof![
        8 => (0..3_u8, whose()).prop_map(|(of, whose)| Step::Key { of, whose }),
        3 => (0..2_u8, whose(), 0..3_u8)
            .prop_map(|(of, whose, class)| Step::KeyOfClass { of, whose, class }),
        3 => (whose(), any::<u8>()).prop_map(|(whose, spared)| Step::Forget { whose, spared }),
        2 => (whose(), 0..3_u32, 0..6_u32, any::<u8>())
            .prop_map(|(whose, from, to, spared)| Step::ForgetSpan { whose, from, to, spared }),
        1 => any::<u8>().prop_map(|spared| Step::ForgetBoth { spared }),
        1 => any::<usize>().prop_map(|which| Step::Again { which }),
        4 => whose().prop_map(|whose| Step::Reopen { whose }),
        2 => whose().prop_map(|whose| Step::Rotate { whose }),
        2 => any::<usize>().prop_map(|which| Step::Lose { which }),
        1 => any::<bool>().prop_map(|exported| Step::Replay { exported }),
        1 => any::<bool>().prop_map(|crash| Step::Restart { crash }),
        1 => Just(Step::BackUp),
        2 => Just(Step::TakeImage),
        3 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, exported)| Step::GoBack { which, exported }),
    ];
    proptest::collection::vec(step, 1..50)
}

#[derive(Debug, Clone)]
struct Key {
    whose: u8,
    generation: u32,
    killer: Option<ErasureId>,
    /// Whether an erasure spared it.
    spared: bool,
    lost: bool,
}

/// A moment that one can go back to.
struct Before {
    /// `None`: a backup in a file.
    image: Option<Arc<Tree>>,
    /// The keys that were there.
    there: BTreeSet<KeyId>,
}

struct World {
    place: Place,
    tree: Arc<Tree>,
    /// `None` while it is being opened.
    vault: Option<Vault>,
    keys: BTreeMap<KeyId, Key>,
    before: Vec<Before>,
    told: Vec<(Destruction, Vec<u8>)>,
    /// Whether the vault was put back and learned from an export alone.
    by_export: bool,
    files: usize,
}

fn name(whose: u8) -> String {
    format!("user-{whose}")
}

/// Those that a vault does not know: no others are applied.
fn unknown(vault: &Vault, mut told: Vec<Decision>) -> Vec<Decision> {
    told.retain(|decision| {
        let id = decision.erasure.0.into_bytes();
        vault.memo(MemoKind::Erasure, id).unwrap().is_none() || !vault.covers(decision).unwrap()
    });
    told
}

impl World {
    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn note_key(&mut self, id: KeyId, whose: u8) {
        let generation = self.vault().key_info(id).unwrap().unwrap().generation.0;
        let fresh = Key { whose, generation, killer: None, spared: false, lost: false };
        let known = self.keys.entry(id).or_insert(fresh);
        assert!(known.killer.is_none() && !known.lost && known.generation == generation);
    }

    async fn forget(&mut self, losses: Vec<(u8, Dead)>, mask: u8) {
        let erasure = ErasureId::now();
        let hit = |key: &Key| {
            losses.iter().any(|(whose, dead)| match dead {
                _ if *whose != key.whose => false,
                Dead::All => true,
                Dead::Spans(spans) => {
                    spans.iter().any(|(a, b)| (a.0..=b.0).contains(&key.generation))
                }
            })
        };
        let theirs = self.keys.iter().filter(|(_, key)| key.killer.is_none());
        let theirs = theirs.filter(|(_, key)| losses.iter().any(|(whose, _)| *whose == key.whose));
        let spared = theirs.enumerate().filter(|(at, _)| mask >> (at % 8) & 1 == 1);
        let spared: BTreeSet<KeyId> = spared.map(|(_, (id, _))| *id).collect();
        for (id, key) in self.keys.iter_mut().filter(|(_, key)| hit(key)) {
            match spared.contains(id) {
                true => key.spared = true,
                false => key.killer = key.killer.or(Some(erasure)),
            }
        }
        let losses = losses.into_iter().map(|(whose, dead)| {
            let subject = subject(&name(whose));
            Loss { subject, dead }
        });
        let destruction = Destruction { spared, ..Destruction::new(erasure, losses.collect()) };
        let decision = self.vault().decision(&destruction, b"a memo").unwrap();
        let sealed = self.vault().seal_decision(&decision, b"said").unwrap();
        self.vault().destroy(&destruction, b"").await.unwrap();
        self.told.push((destruction, sealed));
    }

    /// All that was ever said, as announced or as exported of the fences.
    fn decisions(&self, exported: bool, opener: &Vault) -> Vec<Decision> {
        if exported {
            return self.vault().decisions().flat_map(Result::unwrap).collect();
        }
        let open = |(destruction, sealed): &(Destruction, Vec<u8>)| {
            opener.open_decision(destruction.erasure, b"said", sealed).unwrap().unwrap()
        };
        self.told.iter().map(open).collect()
    }

    fn there(&self) -> BTreeSet<KeyId> {
        let there = |key: &Key| key.killer.is_none() && !key.lost;
        self.keys.iter().filter(|(_, key)| there(key)).map(|(id, _)| *id).collect()
    }

    async fn go_back(&mut self, which: usize, exported: bool) {
        let Some(at) = which.checked_rem(self.before.len()) else { return };
        self.before.truncate(at + 1);
        let mut told = if exported { self.decisions(true, self.vault()) } else { Vec::new() };
        let Before { image, there } = &self.before[at];
        let tree = match image {
            Some(image) => Arc::new(image.twin()),
            None => {
                self.files += 1;
                let backup = self.place.read(&format!("{at}.age")).unwrap();
                let at = |what: &str| self.place.path(&format!("{what} {}", self.files));
                backup.restore(&at("vault"), &at("root"), |_| {}).unwrap();
                // On the disk it is slow; from here on it is in memory.
                let restored = Vault::open(&at("vault"), &at("root")).unwrap();
                Arc::new(restored.shared().disk.tree().twin())
            }
        };
        let vault = over(&tree);
        if !exported {
            told = self.decisions(false, &vault);
        }
        vault.replay(unknown(&vault, told)).await.unwrap();
        for (id, key) in &mut self.keys {
            key.lost = !there.contains(id);
        }
        // What was neither spared nor destroyed went with what was made since, unless one can go back
        // further to where it was.
        let before = &self.before;
        self.keys.retain(|id, key| {
            !key.lost
                || key.spared
                || key.killer.is_some()
                || before.iter().any(|before| before.there.contains(id))
        });
        (self.vault, self.tree) = (Some(vault), tree);
        self.by_export = exported;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Key { of, whose } => {
                match key(self.vault(), &format!("stream-{of}"), &name(whose)).await {
                    Ok(made) => self.note_key(made.id(), whose),
                    Err(VaultError::Forgotten { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::KeyOfClass { of, whose, class: number } => {
                let class = match number {
                    0 => class("marketing", ""),
                    1 => class("", "2026-12-31"),
                    _ => class("health", "2026-12-31"),
                };
                let state = self.vault().subject_state(&subject(&name(whose))).unwrap();
                if let Some(current) = state.current {
                    let of = format!("stream-{of}");
                    let id = key_of_class(self.vault(), &of, &name(whose), &class, current.0);
                    self.note_key(id, whose);
                }
            }
            Step::Forget { whose, spared } => self.forget(vec![(whose, Dead::All)], spared).await,
            Step::ForgetSpan { whose, from, to, spared } => {
                self.forget(vec![(whose, spans(&[(from, to)]))], spared).await;
            }
            Step::ForgetBoth { spared } => {
                self.forget(vec![(0, Dead::All), (1, Dead::All)], spared).await;
            }
            Step::Again { which } => {
                // Only where the vault remembers it.
                let vault = self.vault();
                let remembered = |(told, sealed): &&(Destruction, Vec<u8>)| {
                    let opened = vault.open_decision(told.erasure, b"said", sealed).unwrap();
                    opened.is_some_and(|decision| vault.tells_of(&decision).unwrap())
                };
                let mut told = self.told.iter().filter(remembered).map(|(told, _)| told);
                let many = told.clone().count();
                if let Some(again) = which.checked_rem(many).and_then(|at| told.nth(at)) {
                    let again = again.clone();
                    let done = self.vault().destroy(&again, b"").await.unwrap();
                    assert_eq!(done.keys, 0, "done already");
                }
            }
            Step::Reopen { whose } => {
                self.vault().reopen(&subject(&name(whose))).await.unwrap();
            }
            Step::Rotate { whose } => match self.vault().rotate(&subject(&name(whose))).await {
                Ok(_) | Err(VaultError::Forgotten { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Lose { which } => {
                let there = self.there();
                if let Some(at) = which.checked_rem(there.len()) {
                    let id = *there.iter().nth(at).unwrap();
                    lose(self.vault(), id);
                    self.keys.get_mut(&id).unwrap().lost = true;
                }
            }
            Step::Replay { exported } => {
                let vault = self.vault();
                let mut told = self.decisions(exported, vault);
                // One that found nothing of somebody is in no export, so that a vault which learned from one does not
                // know it, or knows it of the others alone. What is announced is applied before anything is made, and
                // not, as here, behind what was: there it would take what is newer.
                if self.by_export {
                    told.retain(|decision| vault.tells_of(decision).unwrap());
                }
                let unknown = unknown(vault, told);
                assert_eq!(self.vault().replay(unknown).await.unwrap().keys, 0);
            }
            Step::Restart { crash: crashed } => {
                let vault = self.vault.take().unwrap();
                if crashed {
                    crash(vault);
                } else {
                    drop(vault);
                }
                self.vault = Some(over(&self.tree));
            }
            Step::BackUp => {
                let file = format!("{}.age", self.before.len());
                // One of a later time that was given up may be there.
                let _ = std::fs::remove_file(self.place.path(&file));
                self.place.back_up(self.vault(), &file).await.unwrap();
                self.before.push(Before { image: None, there: self.there() });
            }
            Step::TakeImage => {
                self.vault().flush().await.unwrap();
                let image = Some(Arc::new(self.tree.twin()));
                self.before.push(Before { image, there: self.there() });
            }
            Step::GoBack { which, exported } => self.go_back(which, exported).await,
        }
        self.check();
    }

    fn check(&self) {
        let vault = self.vault();
        for (id, key) in &self.keys {
            let state = vault.opening_key(*id);
            let hint = vault.shared().naming.hint(*id).unwrap();
            let whose = vault.pseudonym(&subject(&name(key.whose)));
            let readable = hint.is_some_and(|hint| {
                whose.starts_with(&hint.subject) && hint.generation.0 == key.generation
            });
            match (state, key.killer, key.lost) {
                // Made under an era of which what was put back has no secret, or another one.
                (Err(VaultError::KeyMissing(_)), _, _) if !readable => {}
                (Ok(KeyLookup::Shredded { erasure }), Some(killer), _) if erasure == killer => {}
                (Ok(KeyLookup::Live { .. }), None, false) => {}
                (Err(VaultError::KeyMissing(_)), None, true) => {}
                (state, ..) => panic!("{id}: {key:?} reads as {state:?}"),
            }
        }
        let listed = vault.inventory().filter_map(|entry| match entry.unwrap() {
            InventoryEntry::Key(info) => Some(info.id),
            InventoryEntry::Fence(_) => None,
        });
        assert_eq!(listed.collect::<BTreeSet<_>>(), self.there(), "no other key, and none less");
        for whose in 0..2 {
            let fence = vault.subject_state(&subject(&name(whose))).unwrap().fence;
            for (generation, id) in fence.into_iter().flat_map(|fence| fence.spared) {
                let theirs = self.keys.get(&id);
                assert!(theirs.is_some_and(|key| Generation(key.generation) == generation
                    && key.killer.is_none()
                    && key.spared));
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let tree = Arc::new(Tree::in_memory().unwrap());
    let mut world = World {
        place: Place::new(),
        vault: Some(over(&tree)),
        tree,
        keys: BTreeMap::new(),
        before: Vec::new(),
        told: Vec::new(),
        by_export: false,
        files: 0,
    };
    for step in steps {
        world.take(step).await;
    }
    let lost = |key: &Key| key.spared && key.lost && key.killer.is_none();
    let lost = world.keys.iter().filter(|(_, key)| lost(key));
    let mut lost: Vec<_> = lost.map(|(id, _)| format!("spared {id}: missing")).collect();
    let mut troubles = verify::troubles(world.vault());
    lost.sort();
    troubles.sort();
    assert_eq!(troubles, lost, "what is spared and lost is told, and nothing else is wrong");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: long_runs("OUBLIETTE_MODEL_CASES", 16) as u32, ..ProptestConfig::default() })]

    #[test]
    fn spared_keys_open_lost_ones_are_missing_dead_ones_shredded_and_nobody_else_is_touched(
        steps in steps()
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
            .block_on(run(steps));
    }
}
