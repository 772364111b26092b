//! What whoever finds an old backup can read of what comes after it.

use super::*;
use crate::{
    event::{ErasureId, KeyId},
    vault::{Dead, Destruction, Doomed, Verdict, eras::Era},
};

fn era(id: KeyId) -> Era {
    Era(u16::from_be_bytes([id.0[0], id.0[1]]))
}

/// What the finder of this backup has: its places' secret and its eras.
fn knows(backup: &VerifiedBackup, id: KeyId) -> bool {
    backup.eras().with(era(id), |_| ()).unwrap().is_some()
}

fn verdict(vault: &Vault, whose: &str) -> Verdict {
    let doomed = vec![Doomed { subject: subject(whose), dead: Dead::All }];
    vault.verdict(&Destruction { erasure: ErasureId::now(), doomed }, b"").unwrap()
}

#[tokio::test]
async fn ids_made_after_a_backup_are_noise_to_whoever_finds_it() {
    let place = Place::new();
    let vault = place.vault();
    let before = key(&vault, "user-1", "user-1").await.unwrap().id();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    assert_eq!(made.era, era(before));
    let after = key(&vault, "user-2", "user-2").await.unwrap().id();
    assert!(era(after) > era(before));
    let found = place.read("copy.age").unwrap();
    assert!(knows(&found, before) && !knows(&found, after));
    // Under the secrets that it has, the same subject's id says nothing: it is of another era.
    let second = place.back_up(&vault, "second.age").await.unwrap();
    assert_eq!(second.era, era(after));
    assert!(knows(&place.read("second.age").unwrap(), after));
    drop(vault);

    // All eras stay known to the vault itself.
    let vault = Vault::open(&place.path("vault"), &place.path("root")).unwrap();
    live(vault.opening_key(before));
    live(vault.opening_key(after));
    let erasure = forget(&vault, "user-1").await;
    assert_eq!(shredded(vault.opening_key(before)), erasure);
    assert!(era(key(&vault, "user-3", "user-3").await.unwrap().id()) > era(after));
}

#[tokio::test]
async fn an_announcement_opens_for_the_backups_that_are_outstanding_and_for_no_other() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "user-1", "user-1").await.unwrap();
    let old = place.back_up(&vault, "old.age").await.unwrap();
    place.back_up(&vault, "new.age").await.unwrap();
    let (found_old, found_new) = (place.read("old.age").unwrap(), place.read("new.age").unwrap());

    let said = verdict(&vault, "user-1");
    let sealed = vault.seal_verdict(&said, b"about").unwrap();
    for opened in [
        vault.open_verdict(said.erasure, b"about", &sealed),
        found_old.open_verdict(said.erasure, b"about", &sealed),
        found_new.open_verdict(said.erasure, b"about", &sealed),
    ] {
        assert_eq!(opened.as_ref(), Some(&said));
    }
    assert_eq!(found_old.open_verdict(said.erasure, b"other", &sealed), None);

    vault.retire_backup(old.backup).await.unwrap();
    let sealed = vault.seal_verdict(&said, b"about").unwrap();
    assert_eq!(found_old.open_verdict(said.erasure, b"about", &sealed), None);
    assert_eq!(found_new.open_verdict(said.erasure, b"about", &sealed).as_ref(), Some(&said));
    // A wrap of one era that is called another's, a count that lies, a byte that is cut.
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = vault.open_verdict(said.erasure, b"about", &changed);
        // The other reader's wrap is its own affair.
        assert!(opened.is_none() || opened.as_ref() == Some(&said), "{at}");
        assert_eq!(vault.open_verdict(said.erasure, b"about", &sealed[..at]), None, "{at}");
    }
}

#[tokio::test]
async fn a_restored_vault_takes_no_id_of_the_lost_one_for_its_own() {
    let place = Place::new();
    let vault = place.vault();
    let before = key(&vault, "user-1", "user-1").await.unwrap().id();
    place.back_up(&vault, "copy.age").await.unwrap();
    let lost = key(&vault, "room-1", "user-1").await.unwrap().id();
    place.restore("copy.age").unwrap();
    let again = place.restored();
    live(again.opening_key(before));
    let missing = again.opening_key(lost);
    assert!(matches!(missing, Err(VaultError::KeyMissing(id)) if id == lost), "{missing:?}");
    let made = key(&again, "room-1", "user-1").await.unwrap().id();
    assert!(era(made) > era(lost), "{made} {lost}");
    // Forgetting does not turn a missing key into a shredded one by guessing.
    forget(&again, "user-1").await;
    assert!(matches!(again.opening_key(lost), Err(VaultError::KeyMissing(_))));
}

/// A backup that was retired, and is restored all the same: what was announced since is sealed for
/// later eras, and would have been passed over as somebody's forgery.
#[tokio::test]
async fn a_vault_put_back_further_than_its_announcements_reach_serves_nothing() {
    use crate::{
        erasure::{ErasureError, pass_over},
        event::{EventType, Json, NewEvent},
        layer::Oubliette,
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    };
    let place = Place::new();
    let store = MemoryStore::new();
    let policy = Policy::sealed_by_default;
    let bank = Oubliette::open(store.clone(), place.vault(), policy()).await.unwrap();
    let name = stream("user-1");
    let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[1]").unwrap());
    bank.append_to(&name, ExpectedRevision::Any, vec![moved]).await.unwrap();
    let vault = bank.vault().unwrap().clone();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    vault.retire_backup(made.backup).await.unwrap();
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop((bank, vault));

    place.restore("copy.age").unwrap();
    // Each time, not only the first.
    for _ in 0..2 {
        let opened = Oubliette::open(store.clone(), place.restored(), policy()).await;
        match opened {
            Err(ErasureError::TooOld(erasures)) => assert_eq!(erasures, [erased.erasure]),
            other => panic!("{other:?}"),
        }
    }
    // Who says that it is dealt with has dealt with it.
    let vault = place.restored();
    pass_over(&vault, erased.erasure).await.unwrap();
    let bank = Oubliette::open(store, vault, policy()).await.unwrap();
    bank.forget(&subject("user-1"), "ticket 1, again").await.unwrap();
    let events = bank.events(&name, ReadOptions::default()).await.unwrap();
    assert_eq!(events[0].data, None);
    drop(bank);
    drop(place.restored());
}

/// The same backup restored twice, and somebody forgotten in between: the key that signed that is in
/// no backup, and the announcement was passed over as a forgery.
#[tokio::test]
async fn who_was_forgotten_between_two_restorations_of_one_backup_is_not_served() {
    use crate::{
        erasure::{ErasureError, pass_over},
        event::{EventType, Json, NewEvent},
        layer::Oubliette,
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    };
    let place = Place::new();
    let store = MemoryStore::new();
    let policy = Policy::sealed_by_default;
    let bank = Oubliette::open(store.clone(), place.vault(), policy()).await.unwrap();
    let name = stream("user-1");
    let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[1]").unwrap());
    bank.append_to(&name, ExpectedRevision::Any, vec![moved]).await.unwrap();
    place.back_up(&bank.vault().unwrap().clone(), "copy.age").await.unwrap();
    drop(bank);

    place.restore("copy.age").unwrap();
    let bank = Oubliette::open(store.clone(), place.restored(), policy()).await.unwrap();
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop(bank);
    std::fs::remove_dir_all(place.path("restored")).unwrap();
    place.restore("copy.age").unwrap();
    for _ in 0..2 {
        match Oubliette::open(store.clone(), place.restored(), policy()).await {
            Err(ErasureError::UnknownSigner(erasures)) => assert_eq!(erasures, [erased.erasure]),
            other => panic!("{other:?}"),
        }
    }
    let vault = place.restored();
    pass_over(&vault, erased.erasure).await.unwrap();
    let bank = Oubliette::open(store, vault, policy()).await.unwrap();
    bank.forget(&subject("user-1"), "ticket 1, again").await.unwrap();
    let events = bank.events(&name, ReadOptions::default()).await.unwrap();
    assert_eq!(events[0].data, None);
}

/// The first restoration forgot somebody and was lost. What it announced under a key of its own was a
/// stranger's word to the second, which read who was forgotten.
#[tokio::test]
async fn whom_an_earlier_restoration_forgot_is_not_read_by_the_next() {
    use crate::{
        erasure::{ErasureError, believe, pass_over},
        event::{EventType, Json, NewEvent},
        layer::Oubliette,
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    };
    let place = Place::new();
    let store = MemoryStore::new();
    let policy = Policy::sealed_by_default;
    let bank = Oubliette::open(store.clone(), place.vault(), policy()).await.unwrap();
    for who in ["user-1", "user-2"] {
        let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[1]").unwrap());
        bank.append_to(&stream(who), ExpectedRevision::Any, vec![moved]).await.unwrap();
    }
    place.back_up(bank.vault().unwrap(), "copy.age").await.unwrap();
    drop(bank);
    let again = |name: &str| {
        let (folder, slot) = (place.path(name), place.path(&format!("{name}.root")));
        place.read("copy.age").unwrap().restore(&folder, &slot, |_| {}).unwrap();
        Vault::open(&folder, &slot).unwrap()
    };
    let first = Oubliette::open(store.clone(), again("first"), policy()).await.unwrap();
    let erased = first.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop(first);

    let second = again("second");
    let opened = Oubliette::open(store.clone(), second.clone(), policy()).await;
    match opened {
        Err(ErasureError::UnknownSigner(erasures)) => assert_eq!(erasures, [erased.erasure]),
        other => panic!("{other:?}"),
    }
    believe(&second, erased.erasure).await.unwrap();
    let bank = Oubliette::open(store.clone(), second, policy()).await.unwrap();
    assert_eq!(bank.witnessed().replayed, [erased.erasure]);
    let events = bank.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert_eq!(events[0].data, None);
    assert!(
        bank.events(&stream("user-2"), ReadOptions::default()).await.unwrap()[0].data.is_some()
    );
    drop(bank);

    // Who knows that it is a forgery passes over it.
    let third = again("third");
    pass_over(&third, erased.erasure).await.unwrap();
    let bank = Oubliette::open(store, third, policy()).await.unwrap();
    assert!(
        bank.events(&stream("user-1"), ReadOptions::default()).await.unwrap()[0].data.is_some()
    );
}

#[test]
fn a_vault_that_parts_from_another_takes_a_number_apart_and_overwrites_none() {
    for last in [0, 1, 1000] {
        let next = crate::vault::eras::apart(Era(last)).unwrap().unwrap();
        assert!((last + 2..last + 2 + 1024).contains(&next.0), "{next}");
    }
    assert_eq!(crate::vault::eras::apart(Era(u16::MAX)).unwrap(), None);
    assert_eq!(crate::vault::eras::apart(Era(u16::MAX - 1)).unwrap(), None);
}
