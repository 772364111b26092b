//! Every write, flush and sector of every operation of the vault fails once: what was acknowledged
//! is there, what was destroyed is not, and until it is reopened the vault says nothing more,
//! from memory neither.

use std::collections::BTreeMap;

use super::*;
use crate::{
    event::{EventId, OwnerChange},
    vault::{
        AdmissionRequest, MemoKind,
        tree::{
            Sabotage, Shape,
            tests::disk::{Crash, Disk},
        },
    },
};

const SHAPE: Shape = Shape {
    page_bytes: 400,
    leaf_bytes: 400,
    cache_bytes: 1 << 20,
    batch_pages: 6,
    sabotage: Sabotage::None,
};

/// What callers were told.
#[derive(Default)]
struct Told {
    /// Of each key its secret and its subject.
    made: BTreeMap<KeyId, ([u8; 32], String)>,
    /// Who is destroyed, and who perhaps.
    dead: Vec<String>,
    dying: Vec<String>,
    /// Memos that are there, and one that perhaps is.
    memos: Vec<[u8; 16]>,
}

impl Told {
    async fn key(&mut self, vault: &Vault, of: &str, whose: &str) -> Result<(), VaultError> {
        let made = key(vault, of, whose).await?;
        self.made.insert(made.id(), (*made.secret(), whose.to_owned()));
        // It is warm now, and known.
        live(vault.opening_key(made.id()));
        Ok(())
    }

    async fn destroy(&mut self, vault: &Vault, who: &[&str]) -> Result<(), VaultError> {
        self.dying = who.iter().map(|who| (*who).to_owned()).collect();
        let losses = who.iter().map(|who| Loss { subject: subject(who), dead: Dead::All });
        let destruction = Destruction::new(ErasureId::now(), losses.collect());
        vault.destroy(&destruction, b"a memo").await?;
        self.dead.append(&mut self.dying);
        Ok(())
    }

    /// Some of everything that a vault does.
    async fn work(&mut self, vault: &Vault) -> Result<(), VaultError> {
        for n in 0..4 {
            self.key(vault, "room", &format!("user-{n}")).await?;
        }
        self.key(vault, "user-1", "user-1").await?;
        claims::owned(vault, "account", OwnerChange::Add(subject("user-1")), true).await?;
        self.key(vault, "account", "account").await?;
        vault.put_memo(MemoKind::Journal, [1; 16], &[7; 9000]).await?;
        self.memos.push([1; 16]);
        self.destroy(vault, &["user-1"]).await?;
        self.memos.clear();
        vault.remove_memo(MemoKind::Journal, [1; 16]).await?;
        for n in 4..9 {
            self.key(vault, "room", &format!("user-{n}")).await?;
        }
        self.destroy(vault, &["user-2", "user-3", "user-4"]).await?;
        vault.reopen(&subject("user-1")).await?;
        self.key(vault, "user-1", "user-9").await?;
        vault.flush().await
    }

    /// After everything was reopened.
    fn check(&self, vault: &Vault) {
        let mut fates = BTreeMap::new();
        for (id, (secret, whose)) in &self.made {
            match vault.opening_key(*id).unwrap() {
                KeyLookup::Live { key, .. } => {
                    assert!(!self.dead.contains(whose), "{whose} came back");
                    assert_eq!(key.secret(), secret);
                    fates.insert(whose, true);
                }
                KeyLookup::Shredded { .. } => {
                    assert!(self.dead.contains(whose) || self.dying.contains(whose), "{whose}");
                    fates.insert(whose, false);
                }
            }
        }
        // Whoever was to be forgotten together is, or nobody of them.
        let dying = || self.dying.iter().filter_map(|who| fates.get(who));
        assert!(dying().all(|lives| *lives) || dying().all(|lives| !*lives));
        let memos: Vec<_> = vault.memos(MemoKind::Journal).unwrap();
        assert!(self.memos.iter().all(|id| memos.iter().any(|(found, _)| found == id)));
        assert!(memos.iter().all(|(_, memo)| memo.as_slice() == [7; 9000]));
    }
}

fn over_disk(disk: &Disk) -> Vault {
    let tree = if disk.steps() == 0 {
        disk.create(SHAPE).map_err(OpenVaultError::from)
    } else {
        disk.open(SHAPE)
    };
    Vault::over(tree.unwrap().into(), Limits::default()).unwrap()
}

/// Everything that can be asked of a vault, none of which it answers.
async fn all_refused(vault: &Vault, told: &Told) {
    let poisoned = |what: &str, error: Option<VaultError>| {
        assert!(matches!(error, Some(VaultError::Poisoned)), "{what}: {error:?}");
    };
    for (id, (_, whose)) in &told.made {
        poisoned("opening_key", vault.opening_key(*id).err());
        poisoned("sealing_key", key(vault, "room", whose).await.err());
        let who = subject(whose);
        let opening = AdmissionRequest { shared: vec![who.clone()], exclusive: vec![] };
        poisoned("admit", vault.admit(opening).await.err());
        poisoned("state", vault.subject_state(&who).err());
        poisoned("keys_of", vault.keys_of(&who).err());
        poisoned("dependents", vault.dependents(&who).err());
        poisoned("settle", vault.settle(&who, &[EventId::random()], true).await.err());
        poisoned("reopen", vault.reopen(&who).await.err());
    }
    let claim = claims::claim("account", EventId::random(), OwnerChange::Add(subject("user-5")));
    poisoned("claim", vault.claim(&[claim]).await.err());
    poisoned("new key", key(vault, "new", "new").await.err());
    poisoned("destroy", destroy(vault, ErasureId::now(), "user-5", Dead::All).await.err());
    poisoned("put_memo", vault.put_memo(MemoKind::Journal, [2; 16], b"memo").await.err());
    poisoned("remove_memo", vault.remove_memo(MemoKind::Journal, [1; 16]).await.err());
    poisoned("memos", vault.memos(MemoKind::Journal).err());
    poisoned("inventory", vault.inventory().next().unwrap().err());
    poisoned("flush", vault.flush().await.err());
}

#[tokio::test]
async fn every_fault_poisons_the_vault_until_it_is_opened_anew_and_loses_nothing() {
    let mut faults = 0;
    // Places are keyed hashes, so that one run takes a step more than another: until none of that
    // number is reached.
    'steps: for step in 1.. {
        let mut ways = 1;
        let mut way = 0;
        while way < ways {
            let disk = Disk::default();
            let vault = over_disk(&disk);
            let created = disk.steps();
            // What comes after it would go well: nothing but the vault itself keeps it from that.
            disk.fail_once_after(step, way);
            let mut told = Told::default();
            let failed = told.work(&vault).await;
            if !disk.crashed() {
                break 'steps;
            }
            ways = disk.ways()[(created + step) as usize - 1];
            way += 1;
            faults += 1;
            assert!(failed.is_err(), "step {step} failed and nobody was told");
            let steps = disk.steps();
            all_refused(&vault, &told).await;
            drop(vault);
            assert_eq!(disk.steps(), steps, "it was written to after a failure");
            for crash in [Crash::Process, Crash::Power] {
                for disk in disk.after(crash) {
                    told.check(&over_disk(&disk));
                }
            }
        }
    }
    assert!(faults > 60, "only {faults} faults");
}
