//! What the finder of an old backup can read of what comes after it.

use super::*;
use crate::{
    audit::verify::{Defect, VerifyOptions},
    erasure::{
        ErasureError, UnclearError, accept_gaps, announced, believe, export, pass_over, replay,
    },
    event::{ErasureId, EventType, Json, KeyId, NewEvent, Withheld, WithheldReason},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadAllOptions,
        ReadOptions,
    },
    vault::{Dead, Decision, Destruction, Loss, OpenAs, tests::folder::copy_folder},
};

/// What the finder of this backup has: its places' secret and its eras.
fn knows(backup: &VerifiedBackup, id: KeyId) -> bool {
    backup.eras().with(id.era(), |_| ()).unwrap().is_some()
}

fn decision(vault: &Vault, whose: &str) -> Decision {
    let losses = vec![Loss { subject: subject(whose), dead: Dead::All }];
    vault.decision(&Destruction::new(ErasureId::now(), losses), b"").unwrap()
}

pub(super) async fn bank(
    store: &MemoryStore,
    vault: Vault,
) -> Result<Oubliette<MemoryStore>, ErasureError> {
    Oubliette::open(store.clone(), vault, Policy::sealed_by_default()).await
}

/// A store in which something of these is sealed, by the vault of the place.
pub(super) async fn lived_in(
    place: &Place,
    people: &[&str],
) -> (MemoryStore, Oubliette<MemoryStore>) {
    let store = MemoryStore::new();
    let bank = bank(&store, place.vault()).await.unwrap();
    for who in people {
        let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[1]").unwrap());
        bank.append_to(&stream(who), ExpectedRevision::Any, vec![moved]).await.unwrap();
    }
    (store, bank)
}

pub(super) async fn is_read(bank: &Oubliette<MemoryStore>, who: &str) -> bool {
    bank.events(&stream(who), ReadOptions::default()).await.unwrap()[0].data.is_some()
}

fn is_a_strangers<T: std::fmt::Debug>(opened: Result<T, ErasureError>, erasure: ErasureId) {
    match opened {
        Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => {
            let erasures = doubts.iter().map(|doubt| doubt.erasure);
            assert_eq!(erasures.collect::<Vec<_>>(), [Some(erasure)]);
        }
        other => panic!("{other:?}"),
    }
}

/// Who says that the erasure of user-1 is dealt with has dealt with it.
async fn dealt_with(store: &MemoryStore, vault: Vault, erasure: ErasureId) {
    pass_over(&vault, &announced(store).await.unwrap(), erasure.0).await.unwrap();
    // Nothing waits for anybody, and nothing is missed where it was told from a list alone.
    let all = store.read_all(ReadAllOptions::default());
    let mut events: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(all).await.unwrap();
    events.retain(|event| !event.is_announcement());
    let silent = MemoryStore::new();
    silent.restore(events).await.unwrap();
    for store in [&silent, store] {
        // What it saw while it was closed is missed.
        if let Err(ErasureError::Unclear(UnclearError::WitnessGap(_))) =
            bank(store, vault.clone()).await
        {
            accept_gaps(&vault, "ticket 1").await.unwrap();
        }
        let bank = bank(store, vault.clone()).await.unwrap();
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        for defect in [Defect::ErasurePending, Defect::AnnouncementMissing] {
            assert!(!report.found.contains_key(&defect), "{:?}", report.found);
        }
    }
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

    let said = decision(&vault, "user-1");
    let sealed = vault.seal_decision(&said, b"about").unwrap();
    for opened in [
        vault.open_decision(said.erasure, b"about", &sealed).unwrap(),
        found_old.open_decision(said.erasure, b"about", &sealed).unwrap(),
        found_new.open_decision(said.erasure, b"about", &sealed).unwrap(),
    ] {
        assert_eq!(opened.as_ref(), Some(&said));
    }
    assert_eq!(found_old.open_decision(said.erasure, b"other", &sealed).unwrap(), None);

    vault.retire_backup(old.backup).await.unwrap();
    let sealed = vault.seal_decision(&said, b"about").unwrap();
    assert_eq!(found_old.open_decision(said.erasure, b"about", &sealed).unwrap(), None);
    assert_eq!(
        found_new.open_decision(said.erasure, b"about", &sealed).unwrap().as_ref(),
        Some(&said)
    );
    // A wrap of one era that is called another's, a count that lies, a byte that is cut.
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = vault.open_decision(said.erasure, b"about", &changed).unwrap();
        // The other reader's wrap is its own affair; either suffices.
        let spare = (2..2 + 2 * crate::vault::records::announced::WRAP_BYTES).contains(&at);
        assert_eq!(opened.as_ref(), spare.then_some(&said), "{at}");
        assert_eq!(
            vault.open_decision(said.erasure, b"about", &sealed[..at]).unwrap(),
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
    let memo = serde_json::to_vec(&cut_off).unwrap();
    vault.put_memo(MemoKind::Backup, *cut_off.backup.0.as_bytes(), &memo).await.unwrap();
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
            Err(ErasureError::Unclear(UnclearError::TooOld(doubts))) => {
                assert_eq!((doubts.len(), doubts[0].erasure), (1, Some(erased.erasure)));
            }
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
    let again = |name: &str| doubt::restored(&place, name);
    let first = bank(&store, again("first")).await.unwrap();
    let erased = first.forget(&subject("user-1"), "ticket 1").await.unwrap();
    drop(first);

    let second = again("second");
    is_a_strangers(bank(&store, second.clone()).await, erased.erasure);
    let said = announced(&store).await.unwrap();
    believe(&second, &said, erased.erasure.0).await.unwrap();
    let second = bank(&store, second).await.unwrap();
    assert_eq!(second.witnessed().replayed, [erased.erasure]);
    assert!(!is_read(&second, "user-1").await && is_read(&second, "user-2").await);
    // And what that restoration wrote is no forgery any more, but no word of this vault's either: it sets its own.
    let report = second.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!(report.found.into_keys().collect::<Vec<_>>(), [Defect::UncountedTombstone]);
    let events = second.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert!(events.iter().any(|event| event.tombstone.is_some()));
    drop(second);

    // Who knows that it is a forgery passes over it.
    let third = again("third");
    // The second restoration announced what it believed, under its own key.
    let said = announced(&store).await.unwrap();
    for event in [said[0].id(), said[1].id()] {
        pass_over(&third, &said, event.0).await.unwrap();
    }
    assert!(is_read(&bank(&store, third).await.unwrap(), "user-1").await);
}

/// Each of them announced the erasure and set tombstones, under a key of its own. The tombstones of the one whose word
/// nobody needed to believe were an error for ever.
#[tokio::test]
async fn tombstones_of_other_restorations_are_no_error_once_the_vault_knows_the_erasure() {
    let place = Place::new();
    let (store, lost) = lived_in(&place, &["user-1", "user-2"]).await;
    place.back_up(lost.vault().unwrap(), "copy.age").await.unwrap();
    drop(lost);
    let again = |name: &str| doubt::restored(&place, name);
    let first = bank(&store, again("first")).await.unwrap();
    let erased = first.forget(&subject("user-1"), "ticket 1").await.unwrap().erasure;
    let second = again("second");
    believe(&second, &announced(&store).await.unwrap(), erased.0).await.unwrap();
    let second = bank(&store, second).await.unwrap();

    // The third believes the second, and nothing that the first said.
    let third = again("third");
    let said = announced(&store).await.unwrap();
    believe(&third, &said, said.last().unwrap().id().0).await.unwrap();
    let third = bank(&store, third).await.unwrap();
    // And the second learns of what the third set, behind its own.
    let kinds = async |bank: &Oubliette<MemoryStore>| {
        bank.verify(VerifyOptions::default(), |_| {}).await.unwrap().found
    };
    for bank in [&second, &third] {
        assert_eq!(kinds(bank).await, [(Defect::UncountedTombstone, 2)].into());
    }
    // The first did not ask anybody: the others' announcements say what it knows.
    assert_eq!(kinds(&first).await, [(Defect::UncountedTombstone, 2)].into());
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
    believe(&image, &announced(&store).await.unwrap(), erased.erasure.0).await.unwrap();
    let after = bank(&store, image.clone()).await.unwrap();
    assert_eq!(after.witnessed().replayed, [erased.erasure]);
    assert!(!is_read(&after, "user-1").await && is_read(&after, "user-2").await);

    // The word was for that, and is used up: under the same id somebody announces another's erasure.
    let losses = vec![Loss { subject: subject("user-2"), dead: Dead::All }];
    let forged = Destruction::new(erased.erasure, losses);
    let thief = restored.vault().unwrap();
    thief.destroy(&forged, b"").await.unwrap();
    let said: Vec<_> = export(thief).map(Result::unwrap).collect();
    assert!(!said.is_empty());
    is_a_strangers(replay(&image, said).await, erased.erasure);
    assert!(is_read(&after, "user-2").await);
}

/// What was forgotten since a backup was made the backup has, until the store says so.
#[tokio::test]
async fn whom_a_backup_brings_back_the_stores_announcements_forget_again() {
    let place = Place::new();
    let (store, lost) = lived_in(&place, &["user-1", "user-2"]).await;
    place.back_up(lost.vault().unwrap(), "copy.age").await.unwrap();
    let erasure = lost.forget(&subject("user-1"), "ticket 1").await.unwrap().erasure;
    drop(lost);
    place.restore("copy.age").unwrap();
    let vault = place.restored();
    live(vault.opening_key(vault.keys_of(&subject("user-1")).unwrap()[0].id));
    let back = bank(&store, vault).await.unwrap();
    assert_eq!(back.witnessed().replayed, [erasure]);
    assert!(!is_read(&back, "user-1").await && is_read(&back, "user-2").await);
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

/// Purging removes the half, whose key this vault never heard of: nobody lost it.
#[tokio::test]
async fn a_purged_event_that_is_newer_than_the_backup_says_that_and_not_that_a_half_is_missing() {
    use crate::{
        event::RecordedEvent,
        store::{Purge, Removed, StoreError, Unreadable},
    };
    let policy = "[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\npublic = ['/id']";
    let (place, store) = (Place::new(), MemoryStore::new());
    let over = |vault| async {
        let policy = Policy::parse(policy).unwrap();
        Oubliette::open(store.clone(), vault, policy).await.unwrap()
    };
    let bank = over(place.vault()).await;
    let write = async |stream: &str| {
        let data = Json::parse(r#"{"id":1,"name":"Annika"}"#).unwrap();
        let event = NewEvent::new(EventType::new("A").unwrap(), data);
        bank.append_to(&super::stream(stream), ExpectedRevision::Any, vec![event]).await.unwrap();
    };
    write("user-1").await;
    place.back_up(bank.vault().unwrap(), "copy.age").await.unwrap();
    // Only what comes behind these is of another era.
    for name in ["user-1", "user-2", "user-3"] {
        write(name).await;
    }
    for name in ["user-private-1", "user-private-3"] {
        for half in store.events(&stream(name), Default::default()).await.unwrap() {
            let RecordedEvent { stream, revision, id, .. } = half;
            assert_eq!(store.remove(vec![Removed { stream, revision, id }]).await.unwrap(), [true]);
        }
    }
    drop(bank);
    place.restore("copy.age").unwrap();
    let bank = over(place.restored()).await;
    for (name, is_newer) in [("user-1", false), ("user-2", true), ("user-3", true)] {
        let read = bank.events(&stream(name), Default::default()).await.unwrap_err();
        let StoreError::Unreadable { unreadable, .. } = read else { panic!("{read}") };
        let expected = if is_newer { Unreadable::UnknownEra } else { Unreadable::HalfMissing };
        assert_eq!(unreadable, expected, "{name}");
    }
}

/// A vault and its slot that were put back, as a machine's image is, while the events went on. The next era had the
/// number of one that the events knew already.
#[tokio::test]
async fn a_vault_that_is_put_back_without_a_restoration_takes_nobodys_era() {
    let place = Place::new();
    let store = MemoryStore::new();
    let policy =
        || Policy::parse("[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/town\"]\n").unwrap();
    let append = async |over: &Oubliette<MemoryStore>, data: &str| {
        let event = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse(data).unwrap());
        over.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event]).await.unwrap();
    };
    let over = Oubliette::open(store.clone(), place.vault(), policy()).await.unwrap();
    append(&over, r#"{"name":"Ada"}"#).await;
    drop(over);
    let image = |from: &str, to: &str| {
        copy_folder(&place.path(from), &place.path(to));
        std::fs::copy(place.path("root"), place.path(&format!("{to}.root"))).unwrap();
    };
    image("vault", "image");
    let went_on = Vault::open(&place.path("vault"), &place.path("root")).unwrap();
    let first = went_on.shared().naming.eras.current().unwrap();
    place.back_up(&went_on, "lost.age").await.unwrap();
    let over = Oubliette::open(store.clone(), went_on, policy()).await.unwrap();
    append(&over, r#"{"town":"Bonn"}"#).await;
    append(&over, r#"{"name":"Ada","town":"Bonn"}"#).await;
    drop(over);

    let back =
        Vault::open_as(&place.path("image"), &place.path("image.root"), OpenAs::TheOne).unwrap();
    // What it announces must open when the same image is put back once more.
    assert_eq!(back.shared().naming.eras.current().unwrap(), first);
    place.back_up(&back, "copy.age").await.unwrap();
    let over = Oubliette::open(store.clone(), back, policy()).await.unwrap();
    append(&over, r#"{"town":"Köln"}"#).await;
    let events = over.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert!(events.iter().all(|event| event.data.is_some() && event.withheld.is_empty()));
    assert_eq!((events.len(), over.unsealed(), over.unvouched()), (4, 0, 1));
    let report = over.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!(report.found.keys().copied().collect::<Vec<_>>(), [Defect::UnknownEra]);
}

/// What was appended after a backup, under a key that it has: it read well until its person was forgotten, and ended
/// all reading from then on.
#[tokio::test]
async fn an_event_that_is_newer_than_the_vault_ends_no_reading_once_its_key_is_destroyed() {
    let place = Place::new();
    let (store, over) = lived_in(&place, &["user-1", "user-2"]).await;
    place.back_up(over.vault().unwrap(), "copy.age").await.unwrap();
    for who in ["user-1", "user-1", "user-2"] {
        let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("[2]").unwrap());
        over.append_to(&stream(who), ExpectedRevision::Any, vec![moved]).await.unwrap();
    }
    drop(over);
    place.restore("copy.age").unwrap();
    let over = bank(&store, place.restored()).await.unwrap();
    let events = over.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert!(events.iter().all(|event| event.data.is_some() && event.withheld.is_empty()));

    let plan = over.plan(&subject("user-1")).await.unwrap();
    let told: Vec<_> =
        plan.unvouched.iter().map(|told| (told.stream.as_str(), told.events)).collect();
    assert_eq!((told, plan.unsealed), (vec![("user-1", 2)], vec![]));
    over.forget(&subject("user-1"), "ticket 1").await.unwrap();
    let events = over.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    let why: Vec<_> = events.iter().map(|event| (event.shredded.len(), &event.withheld)).collect();
    let unvouched = vec![Withheld { why: WithheldReason::Unvouched, fields: vec!["*".to_owned()] }];
    assert_eq!(why[..3], [(1, &vec![]), (0, &unvouched), (0, &unvouched)]);
    assert!(events[1].data.is_none() && events[3].tombstone.is_some());
    assert_eq!((over.unvouched(), over.unsealed()), (2, 0));
    let report = over.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    // Those of user-1, and the one of user-2, whose key lives.
    assert_eq!(report.found, [(Defect::UnknownEra, 3)].into());
    use futures::TryStreamExt;
    let all: Vec<_> = over.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
    assert!(all.len() >= 6);
}

/// Whoever found a backup knows the secrets of its eras for ever, and with the store to write makes tags. No later era
/// can be claimed, and no key of one can be in an event with such a tag.
#[tokio::test]
async fn whoever_finds_a_backup_can_tag_events_of_its_eras_and_of_no_other() {
    use crate::{
        crypto::{EventTag, Token},
        event::KEY_ID_BYTES,
        layer::{
            EventRef,
            document::{Document, parse},
        },
        store::{StoreError, Unreadable},
    };
    let place = Place::new();
    let (_, over) = lived_in(&place, &["user-1", "user-2"]).await;
    let vault = over.vault().unwrap().clone();
    let found = place.back_up(&vault, "found.age").await.unwrap();
    let kind = EventType::new("Moved").unwrap();
    let moved = NewEvent::new(kind.clone(), Json::parse("[2]").unwrap());
    over.append_to(&stream("user-3"), ExpectedRevision::Any, vec![moved]).await.unwrap();
    let of = async |who: &str| {
        over.events(&stream(who), ReadOptions::default()).await.unwrap()[0].keys[0]
    };
    let (old, new) = (of("user-1").await, of("user-3").await);
    assert_eq!(old.era(), found.era);
    for who in ["user-1", "user-3"] {
        over.forget(&subject(who), "ticket 1").await.unwrap();
    }
    // With the secret of the backup's era, which the vault has as well.
    let forged = |key: Option<KeyId>, holes: bool| {
        let id = crate::event::EventId::random();
        let at = stream("user-2");
        let event = EventRef { stream: &at, id, event_type: &kind };
        let tag =
            |label: fn(&crate::vault::records::eras::EraKeys) -> &hmac::Hmac<sha2::Sha256>,
             over: &[u8],
             tokens: &[Token]| {
                let bytes = *vault.id().0.as_bytes();
                let eras = &vault.shared().naming.eras;
                eras.with(found.era, |keys| {
                    EventTag::new(label(keys), &bytes, found.era, over, tokens)
                })
                .unwrap()
                .unwrap()
            };
        let token = key.map(|key| {
            let mut bytes = vec![1, 1];
            bytes.extend_from_slice(&key.0);
            bytes.resize(2 + KEY_ID_BYTES + 12 + 17 + 16, 7);
            Token::from_bytes(bytes).unwrap()
        });
        let data = match &token {
            Some(token) => format!("{{\"$sealed\":[\"{token}\"]}}"),
            None if holes => "{}".to_owned(),
            None => "\"I owe you 1000\"".to_owned(),
        };
        let mut memos = serde_json::json!({ "mac": "" });
        if holes {
            memos["holes"] = serde_json::json!({ "withheld": [["*"]], "bare": true });
            let said = crate::event::Holes {
                shredded: vec![],
                withheld: vec![vec!["*".to_owned()]],
                bare: true,
                not_wanted: false,
            };
            let said = said.tagged_bytes(&at, id, &kind);
            memos["holes"]["mac"] = tag(|keys| &keys.holes, &said, &[]).to_string().into();
        }
        let written = |memos: &serde_json::Value| {
            let metadata = Json::parse(&serde_json::json!({ "$oubliette": memos }).to_string());
            (Json::parse(&data).unwrap(), metadata.unwrap())
        };
        memos["mac"] = "A".repeat(38).into();
        let (body, metadata) = written(&memos);
        let Document::Stored(stored) = parse(&body.into(), Some(&metadata)).unwrap() else {
            panic!()
        };
        let associated = stored.associated(&event.context());
        let tokens: Vec<Token> = token.into_iter().collect();
        memos["mac"] = tag(|keys| &keys.tags, &associated, &tokens).to_string().into();
        let (body, metadata) = written(&memos);
        NewEvent::new(kind.clone(), body).with_id(id).with_metadata(metadata)
    };
    let read = async |event: NewEvent| {
        let store = MemoryStore::new();
        let append = Append::new(stream("user-2"), ExpectedRevision::Any, vec![event]);
        store.append(vec![append]).await.unwrap();
        let over = Oubliette::unresumed(store, vault.clone(), Policy::sealed_by_default());
        let read = over.events(&stream("user-2"), ReadOptions::default()).await;
        (read, over.unsealed())
    };
    let is =
        |read: Result<Vec<crate::event::RecordedEvent>, StoreError>, wanted: Unreadable| match read
        {
            Err(StoreError::Unreadable { unreadable, .. }) => assert_eq!(unreadable, wanted),
            other => panic!("{other:?}"),
        };
    // The dead key of the backup's time over whatever was there: so is what is in clear, and a hole.
    let (shredded, _) = read(forged(Some(old), false)).await;
    assert_eq!(shredded.unwrap()[0].shredded.len(), 1);
    let (clear, unsealed) = read(forged(None, false)).await;
    assert!(clear.unwrap()[0].data.is_some() && unsealed == 0);
    let (hole, _) = read(forged(None, true)).await;
    assert_eq!(hole.unwrap()[0].withheld[0].why, WithheldReason::NotCopied);
    // Of a key that is newer they know as much, from the store: but no event of the era has it.
    is(read(forged(Some(new), false)).await.0, Unreadable::Tampered);
}

/// Whom an event named as owner after the backup, nobody knew: forgetting the other owner took what was theirs.
#[tokio::test]
async fn who_became_an_owner_after_the_backup_is_asked_for_and_found_again() {
    let place = Place::new();
    let store = MemoryStore::new();
    let policy = || {
        Policy::parse(
            "[[stream]]\nmatch = \"account-{id}\"\nowner = [ { event = \"Opened\", add = \"{/owner}\" } ]\n",
        )
        .unwrap()
    };
    let own = async |over: &Oubliette<MemoryStore>, who: &str| {
        let stated = Json::parse(&format!("{{\"owner\":\"{who}\"}}")).unwrap();
        let event = NewEvent::new(EventType::new("Opened").unwrap(), stated);
        over.append_to(&stream("account-1"), ExpectedRevision::Any, vec![event]).await.unwrap();
    };
    let over = Oubliette::open(store.clone(), place.vault(), policy()).await.unwrap();
    own(&over, "user-1").await;
    assert!(!over.plan(&subject("user-1")).await.unwrap().owners_unknown);
    place.back_up(over.vault().unwrap(), "copy.age").await.unwrap();
    own(&over, "user-2").await;
    drop(over);

    place.restore("copy.age").unwrap();
    let over = Oubliette::open(store, place.restored(), policy()).await.unwrap();
    let plan = over.plan(&subject("user-1")).await.unwrap();
    assert!(plan.owners_unknown && plan.kept.is_empty());
    let rebuilt = over.rebuild_owners(false).await.unwrap();
    assert_eq!((rebuilt.mended, rebuilt.left), (1, vec![]));
    let plan = over.plan(&subject("user-1")).await.unwrap();
    let kept: Vec<_> = plan.kept.iter().map(|kept| kept.subject.as_str()).collect();
    assert_eq!((kept, plan.owners_unknown), (vec!["account-1"], false));
}

#[tokio::test]
async fn a_vault_that_learns_that_it_was_put_back_knows_no_more_that_it_has_all_owners() {
    let vault = Vault::in_memory().unwrap();
    key(&vault, "user-1", "user-1").await.unwrap();
    let looked = |vault: &Vault| vault.memo(MemoKind::Owners, [0; 16]).unwrap().is_some();
    vault.put_memo(MemoKind::Owners, [0; 16], &[7; 8]).await.unwrap();
    let said = decision(&vault, "user-1");
    vault.replay(vec![said]).await.unwrap();
    assert!(!looked(&vault));

    let place = Place::new();
    let vault = place.vault();
    vault.put_memo(MemoKind::Owners, [0; 16], &[7; 8]).await.unwrap();
    drop(vault);
    let open = |how| Vault::open_as(&place.path("vault"), &place.path("root"), how).unwrap();
    assert!(looked(&open(OpenAs::Known)));
    assert!(!looked(&open(OpenAs::TheOne)));
}
