//! What the finder of an old backup can read of what comes after it.

use super::*;
use crate::{
    audit::verify::VerifyOptions,
    erasure::{ErasureError, believe, export, pass_over, replay},
    event::{ErasureId, EventType, Json, KeyId, NewEvent},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    vault::{Dead, Destruction, Doomed, Verdict},
};

/// What the finder of this backup has: its places' secret and its eras.
fn knows(backup: &VerifiedBackup, id: KeyId) -> bool {
    backup.eras().with(id.era(), |_| ()).unwrap().is_some()
}

fn verdict(vault: &Vault, whose: &str) -> Verdict {
    let doomed = vec![Doomed { subject: subject(whose), dead: Dead::All }];
    vault.verdict(&Destruction::new(ErasureId::now(), doomed), b"").unwrap()
}

async fn bank(store: &MemoryStore, vault: Vault) -> Result<Oubliette<MemoryStore>, ErasureError> {
    Oubliette::open(store.clone(), vault, Policy::sealed_by_default()).await
}

/// A store in which something of these is sealed, by the vault of the place.
async fn lived_in(place: &Place, people: &[&str]) -> (MemoryStore, Oubliette<MemoryStore>) {
    let store = MemoryStore::new();
    let bank = bank(&store, place.vault()).await.unwrap();
    for who in people {
        let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[1]").unwrap());
        bank.append_to(&stream(who), ExpectedRevision::Any, vec![moved]).await.unwrap();
    }
    (store, bank)
}

async fn is_read(bank: &Oubliette<MemoryStore>, who: &str) -> bool {
    bank.events(&stream(who), ReadOptions::default()).await.unwrap()[0].data.is_some()
}

fn is_a_strangers<T: std::fmt::Debug>(opened: Result<T, ErasureError>, erasure: ErasureId) {
    match opened {
        Err(ErasureError::UnknownSigner(erasures)) => assert_eq!(erasures, [erasure]),
        other => panic!("{other:?}"),
    }
}

/// Who says that the erasure of user-1 is dealt with has dealt with it.
async fn dealt_with(store: &MemoryStore, vault: Vault, erasure: ErasureId) {
    pass_over(&vault, erasure).await.unwrap();
    let bank = bank(store, vault).await.unwrap();
    bank.forget(&subject("user-1"), "ticket 1, again").await.unwrap();
    assert!(!is_read(&bank, "user-1").await);
}

#[tokio::test]
async fn ids_made_after_a_backup_are_noise_to_whoever_finds_it() {
    let place = Place::new();
    let vault = place.vault();
    let before = key(&vault, "user-1", "user-1").await.unwrap().id();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    assert_eq!(made.era, before.era());
    let after = key(&vault, "user-2", "user-2").await.unwrap().id();
    assert_ne!(after.era(), before.era());
    let found = place.read("copy.age").unwrap();
    assert!(knows(&found, before) && !knows(&found, after));
    // Under the secrets that it has, the same subject's id says nothing: it is of another era.
    let second = place.back_up(&vault, "second.age").await.unwrap();
    assert_eq!(second.era, after.era());
    assert!(knows(&place.read("second.age").unwrap(), after));
    drop(vault);

    // All eras stay known to the vault itself.
    let vault = Vault::open(&place.path("vault"), &place.path("root")).unwrap();
    live(vault.opening_key(before));
    live(vault.opening_key(after));
    let erasure = forget(&vault, "user-1").await;
    assert_eq!(shredded(vault.opening_key(before)), erasure);
    assert_ne!(key(&vault, "user-3", "user-3").await.unwrap().id().era(), after.era());
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
        vault.open_verdict(said.erasure, b"about", &sealed).unwrap(),
        found_old.open_verdict(said.erasure, b"about", &sealed).unwrap(),
        found_new.open_verdict(said.erasure, b"about", &sealed).unwrap(),
    ] {
        assert_eq!(opened.as_ref(), Some(&said));
    }
    assert_eq!(found_old.open_verdict(said.erasure, b"other", &sealed).unwrap(), None);

    vault.retire_backup(old.backup).await.unwrap();
    let sealed = vault.seal_verdict(&said, b"about").unwrap();
    assert_eq!(found_old.open_verdict(said.erasure, b"about", &sealed).unwrap(), None);
    assert_eq!(
        found_new.open_verdict(said.erasure, b"about", &sealed).unwrap().as_ref(),
        Some(&said)
    );
    // A wrap of one era that is called another's, a count that lies, a byte that is cut.
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = vault.open_verdict(said.erasure, b"about", &changed).unwrap();
        // The other reader's wrap is its own affair; either suffices.
        let spare = (2..2 + 2 * crate::vault::verdict::WRAP_BYTES).contains(&at);
        assert_eq!(opened.as_ref(), spare.then_some(&said), "{at}");
        assert_eq!(
            vault.open_verdict(said.erasure, b"about", &sealed[..at]).unwrap(),
            None,
            "{at}"
        );
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
    assert_ne!(made.era(), lost.era());
    // Forgetting does not turn a missing key into a shredded one by guessing.
    forget(&again, "user-1").await;
    assert!(matches!(again.opening_key(lost), Err(VaultError::KeyMissing(_))));
}

/// By a crash between the end of its file and the end of its era, say. What was made after the next
/// opening could be read with it for ever.
#[tokio::test]
async fn the_era_of_a_backup_that_was_cut_off_ends_with_the_next_opening() {
    let place = Place::new();
    let vault = place.vault();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    let during = key(&vault, "user-1", "user-1").await.unwrap().id();
    assert_ne!(during.era(), made.era);
    let cut_off = Backup { era: during.era(), keys: None, ..made };
    let note = serde_json::to_vec(&cut_off).unwrap();
    vault.put_note(NoteKind::Backup, *cut_off.backup.0.as_bytes(), &note).await.unwrap();
    drop(vault);
    let open = || Vault::open(&place.path("vault"), &place.path("root")).unwrap();
    let after = key(&open(), "user-2", "user-2").await.unwrap().id();
    assert_ne!(after.era(), during.era());
    // Once, and not with every opening.
    let later = key(&open(), "user-3", "user-3").await.unwrap().id();
    assert_eq!(later.era(), after.era());
}

/// A backup that was retired, and is restored all the same: what was announced since is sealed for
/// later eras, and would have been passed over as somebody's forgery.
#[tokio::test]
async fn a_vault_put_back_further_than_its_announcements_reach_serves_nothing() {
    let place = Place::new();
    let (store, first) = lived_in(&place, &["user-1"]).await;
    let vault = first.vault().unwrap().clone();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    vault.retire_backup(made.backup).await.unwrap();
    let erased = first.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop((first, vault));

    place.restore("copy.age").unwrap();
    // Each time, not only the first.
    for _ in 0..2 {
        match bank(&store, place.restored()).await {
            Err(ErasureError::TooOld(erasures)) => assert_eq!(erasures, [erased.erasure]),
            other => panic!("{other:?}"),
        }
    }
    dealt_with(&store, place.restored(), erased.erasure).await;
    drop(place.restored());
}

/// The same backup restored twice, and somebody forgotten in between: the key that signed that is in
/// no backup, and the announcement was passed over as a forgery.
#[tokio::test]
async fn who_was_forgotten_between_two_restorations_of_one_backup_is_not_served() {
    let place = Place::new();
    let (store, first) = lived_in(&place, &["user-1"]).await;
    place.back_up(first.vault().unwrap(), "copy.age").await.unwrap();
    drop(first);

    place.restore("copy.age").unwrap();
    let again = bank(&store, place.restored()).await.unwrap();
    let erased = again.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop(again);
    std::fs::remove_dir_all(place.path("restored")).unwrap();
    place.restore("copy.age").unwrap();
    for _ in 0..2 {
        is_a_strangers(bank(&store, place.restored()).await, erased.erasure);
    }
    dealt_with(&store, place.restored(), erased.erasure).await;
}

/// The first restoration forgot somebody and was lost. What it announced under a key of its own was a
/// stranger's word to the second, which read who was forgotten.
#[tokio::test]
async fn whom_an_earlier_restoration_forgot_is_not_read_by_the_next() {
    let place = Place::new();
    let (store, lost) = lived_in(&place, &["user-1", "user-2"]).await;
    place.back_up(lost.vault().unwrap(), "copy.age").await.unwrap();
    drop(lost);
    let again = |name: &str| {
        let (folder, slot) = (place.path(name), place.path(&format!("{name}.root")));
        place.read("copy.age").unwrap().restore(&folder, &slot, |_| {}).unwrap();
        Vault::open(&folder, &slot).unwrap()
    };
    let first = bank(&store, again("first")).await.unwrap();
    let erased = first.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop(first);

    let second = again("second");
    is_a_strangers(bank(&store, second.clone()).await, erased.erasure);
    believe(&second, erased.erasure).await.unwrap();
    let second = bank(&store, second).await.unwrap();
    assert_eq!(second.witnessed().replayed, [erased.erasure]);
    assert!(!is_read(&second, "user-1").await && is_read(&second, "user-2").await);
    // And what that restoration wrote is no forgery any more.
    let report = second.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!(report.found, Default::default());
    let events = second.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert!(events[1].tombstone.is_some());
    drop(second);

    // Who knows that it is a forgery passes over it.
    let third = again("third");
    pass_over(&third, erased.erasure).await.unwrap();
    assert!(is_read(&bank(&store, third).await.unwrap(), "user-1").await);
}

/// The restored vault signs with a key of which the image knows nothing; what it says opens all the same.
#[tokio::test]
async fn an_image_from_before_a_restoration_serves_nobody_whom_that_forgot() {
    let place = Place::new();
    let (store, lost) = lived_in(&place, &["user-1", "user-2"]).await;
    place.back_up(lost.vault().unwrap(), "copy.age").await.unwrap();
    let image = lost.vault().unwrap().clone();
    drop(lost);
    place.restore("copy.age").unwrap();
    let restored = bank(&store, place.restored()).await.unwrap();
    let erased = restored.forget(&subject("user-1"), "ticket 1").await.unwrap();

    is_a_strangers(bank(&store, image.clone()).await, erased.erasure);
    believe(&image, erased.erasure).await.unwrap();
    let after = bank(&store, image.clone()).await.unwrap();
    assert_eq!(after.witnessed().replayed, [erased.erasure]);
    assert!(!is_read(&after, "user-1").await && is_read(&after, "user-2").await);

    // The word was for that, and is used up: under the same id somebody announces another's erasure.
    let doomed = vec![Doomed { subject: subject("user-2"), dead: Dead::All }];
    let forged = Destruction::new(erased.erasure, doomed);
    let thief = restored.vault().unwrap();
    thief.destroy(&forged, b"").await.unwrap();
    let announced: Vec<_> = export(thief).map(Result::unwrap).collect();
    assert!(!announced.is_empty());
    let _ = replay(&image, announced).await;
    assert!(is_read(&after, "user-2").await);
}

/// Nobody can say whose it was, but that it is newer than the vault, the id of its key and its tag do.
#[tokio::test]
async fn an_event_under_a_key_that_is_newer_than_the_backup_says_so() {
    use crate::store::{StoreError, Unreadable};
    let place = Place::new();
    let store = MemoryStore::new();
    let over = bank(&store, place.vault()).await.unwrap();
    let write = async |over: &Oubliette<MemoryStore>, stream: &str| {
        let event = NewEvent::new(EventType::new("A").unwrap(), Json::parse("[1]").unwrap());
        over.append_to(&super::stream(stream), ExpectedRevision::Any, vec![event]).await.unwrap();
    };
    write(&over, "user-1").await;
    place.back_up(over.vault().unwrap(), "copy.age").await.unwrap();
    // Under the key of a known era, though the tag is newer.
    write(&over, "user-1").await;
    write(&over, "user-2").await;
    drop(over);
    place.restore("copy.age").unwrap();
    let over = bank(&store, place.restored()).await.unwrap();
    let read = async |over: &Oubliette<MemoryStore>, stream: &str| {
        over.events(&super::stream(stream), ReadOptions::default()).await
    };
    assert_eq!(read(&over, "user-1").await.unwrap().len(), 2);
    let newer = read(&over, "user-2").await.unwrap_err();
    assert!(
        matches!(newer, StoreError::Unreadable { unreadable: Unreadable::UnknownEra, .. }),
        "{newer}"
    );
    assert!(newer.to_string().contains("newer than this vault"), "{newer}");
}
