//! Anyone who finds a backup cannot sign.

use super::*;
use crate::vault::{KeyOrigin, Vouched, places};

#[tokio::test]
async fn the_secret_that_signs_is_in_no_backup() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "a", "a").await.unwrap();
    let secrets = vault.notes(NoteKind::SigningSecret).unwrap();
    let [(_, secret)] = secrets.as_slice() else { panic!("one key, one secret") };
    // Also where it is written while the backup is made.
    let (within, changed) = (vault.clone(), secret.clone());
    let progress = move |_| {
        let place = places::note(NoteKind::SigningSecret, &[7; 16]);
        let changes = within.core().disk.set_whole(&place, &changed).unwrap();
        within.core().disk.put(changes).unwrap();
    };
    let path = place.path("copy.age");
    vault.back_up(&path, &place.recipients(), in_days(1), progress).await.unwrap();
    assert_eq!(vault.notes(NoteKind::SigningSecret).unwrap().len(), 2);
    let opened = place.open("copy.age");
    let public = vault.signing_keys().unwrap()[0].public.to_string();
    let holds = |needle: &[u8]| opened.windows(needle.len()).any(|window| window == needle);
    assert!(holds(public.as_bytes()));
    assert!(!holds(secret.as_slice()));
}

#[tokio::test]
async fn a_restored_vault_signs_with_a_key_of_its_own_and_knows_the_earlier_ones() {
    let place = Place::new();
    let vault = place.vault();
    let message = b"said before".to_vec();
    let (before, signature) = vault.sign(|_| message.clone()).unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    let backup = place.read("copy.age").unwrap();
    assert_eq!(backup.vouches(before, &message, &signature), Vouched::Ours);
    assert_eq!(backup.vouches(before, b"another", &signature), Vouched::Forged);
    place.restore("copy.age").unwrap();

    let again = place.restored();
    let keys = again.signing_keys().unwrap();
    let origins: Vec<_> = keys.iter().map(|key| key.origin).collect();
    assert_eq!(origins, [KeyOrigin::Created, KeyOrigin::Restored]);
    assert_eq!(again.vouches(before, &message, &signature).unwrap(), Vouched::Ours);
    let (now, signature) = again.sign(|_| message.clone()).unwrap();
    assert_eq!(now, keys[1].key);
    assert_ne!(now, before);
    assert_eq!(again.vouches(now, &message, &signature).unwrap(), Vouched::Ours);
    // The vault that was not lost knows nothing of it: what a finder of the backup signs is not its word.
    assert_eq!(vault.vouches(now, &message, &signature).unwrap(), Vouched::UnknownKey);
    drop(again);
    assert_eq!(place.restored().signing_keys().unwrap(), keys, "opened again, it stays so");
}

/// The key that seals announcements stands in every backup. Before they were signed, this sufficed
/// to have anybody forgotten.
#[tokio::test]
async fn whoever_finds_a_backup_has_nobody_forgotten() {
    use crate::{
        event::{EventType, Json, NewEvent},
        layer::Oubliette,
        policy::Policy,
        store::{Append, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    };
    let place = Place::new();
    let store = MemoryStore::new();
    let nothing_public = || Policy::parse("").unwrap();
    let bank = Oubliette::open(store.clone(), place.vault(), nothing_public()).await.unwrap();
    let name = stream("user-1");
    let registered =
        NewEvent::new(EventType::new("A").unwrap(), Json::parse(r#"{"a":1}"#).unwrap());
    bank.append_to(&name, ExpectedRevision::Any, vec![registered]).await.unwrap();
    place.back_up(bank.vault().unwrap(), "copy.age").await.unwrap();
    let vault = bank.vault().unwrap().clone();

    // The finder restores it, and forgets her over a store of their own.
    place.restore("copy.age").unwrap();
    let theirs =
        Oubliette::open(MemoryStore::new(), place.restored(), nothing_public()).await.unwrap();
    theirs.forget(&subject("user-1"), "out of malice").await.unwrap();
    let erasures = crate::event::StreamName::new(crate::event::ERASURES).unwrap();
    let announced = theirs.store().events(&erasures, ReadOptions::default()).await.unwrap();
    let [announced] = announced.as_slice() else { panic!("one announcement") };
    let planted = NewEvent::new(announced.event_type.clone(), announced.data.clone().unwrap());
    let append =
        Append::new(erasures.clone(), ExpectedRevision::Any, vec![planted.with_id(announced.id)]);
    crate::store::EventStore::append(&store, vec![append]).await.unwrap();

    drop(bank);
    let bank = Oubliette::open(store, vault, nothing_public()).await.unwrap();
    assert_eq!(bank.witnessed().replayed, []);
    assert_eq!(bank.witnessed().unverifiable, [announced.id]);
    let read = bank.events(&name, ReadOptions::default()).await.unwrap();
    assert!(read[0].data.is_some() && read[0].shredded.is_empty());
    // Nor by a file of announcements.
    let exported = crate::erasure::export(theirs.vault().unwrap());
    let exported: Vec<_> = exported.map(Result::unwrap).collect();
    let replayed = bank.replay(exported).await.unwrap();
    assert_eq!((replayed.erasures.len(), replayed.unverifiable.len()), (0, 1));
}
