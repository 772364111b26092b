//! A vault that is put back learns of changes of its signing key from the event store; and what a thief
//! of the key can do.

use std::sync::{Arc, atomic::Ordering};

use oubliette::{
    audit::{
        Finding, Location,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    erasure::{Compromised, ErasureError, KeyChange, KeyChangeError, change_key, export, replay},
    event::{Announcement, AnnouncementKind, RecordedEvent, SigningKeyId, Timestamp},
    layer::Oubliette,
    vault::{KeyOrigin, Successor, Unlearned, Vault, internals::Plumbing as _},
};

use super::{
    FIRST_IS_FORGOTTEN,
    machine::{Announcements, Machine},
    shapes, two_people,
};
use crate::common::*;

fn rotation(successor: Option<&Arc<Successor>>, compromised: bool) -> KeyChange {
    KeyChange::Rotate {
        successor: successor.cloned(),
        compromised: compromised.then(|| stolen(&[])),
        without_successor: false,
    }
}

/// Somebody else has these as well, since now.
fn stolen(keys: &[SigningKeyId]) -> Compromised {
    Compromised { since: Timestamp::now(), keys: keys.to_vec() }
}

fn origins(vault: &Vault) -> Vec<KeyOrigin> {
    vault.signing_keys().unwrap().iter().map(|info| info.origin).collect()
}

fn signs(vault: &Vault) -> SigningKeyId {
    vault.signing_keys().unwrap().last().unwrap().key
}

async fn findings(bank: &Oubliette<Announcements>) -> Vec<Finding<Defect>> {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    bank.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

async fn found(bank: &Oubliette<Announcements>) -> Vec<Defect> {
    findings(bank).await.into_iter().map(|finding| finding.kind).collect()
}

/// As a service does it: the key changes, and the store is told.
async fn rotate(bank: &Oubliette<Announcements>, change: &KeyChange) -> SigningKeyId {
    let key = change_key(bank.vault().unwrap(), change).await.unwrap();
    bank.resume().await.unwrap();
    key
}

#[tokio::test]
async fn a_vault_put_back_learns_of_changes_of_the_key_and_of_what_the_new_one_says() {
    for pinned in [false, true] {
        let machine = Machine::new();
        two_people(&machine.open().await).await;
        let successor = if pinned { Some(machine.pin().await) } else { None };
        let before = machine.image();
        let (bank, mut learned) = (machine.open().await, Vec::new());
        let first = signs(bank.vault().unwrap());
        learned.push(rotate(&bank, &rotation(successor.as_ref(), false)).await);
        // And once more, by the key that has no successor.
        learned.push(rotate(&bank, &rotation(None, false)).await);
        let erased = bank.forget(&subject("user-1"), "asked").await.unwrap().erasure;
        // Whose vault goes on goes on with its log.
        assert_eq!(bank.vault().unwrap().log().unwrap(), first);
        assert!(machine.announcements().await.iter().all(|said| said.log() == Some(first)));
        drop(bank);
        assert_eq!(machine.open().await.witnessed(), Default::default(), "not news to itself");

        machine.restore(&before);
        let bank = machine.open().await;
        let told = bank.witnessed();
        assert_eq!((&told.keys, &told.replayed), (&learned, &vec![erased]));
        assert!(!told.gap && told.unverifiable.is_empty() && told.refused.is_empty(), "{told:?}");
        assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
        // Whose secret is not here signs no more: the vault has a key of its own, and the next log.
        let vault = bank.vault().unwrap();
        let second = if pinned { KeyOrigin::Successor } else { KeyOrigin::Rotated };
        let wanted = [KeyOrigin::Created, second, KeyOrigin::Rotated, KeyOrigin::Restored];
        assert_eq!(origins(vault), wanted);
        let log = vault.log().unwrap();
        assert_eq!(log, signs(vault));
        let keys = vault.signing_keys().unwrap();
        assert_eq!((keys[0].key, keys[0].until.is_some()), (first, true));
        assert!(keys[..3].iter().all(|info| info.compromised.is_none()));
        bank.forget(&subject("user-2"), "asked").await.unwrap();
        assert_eq!(machine.announcements().await.last().unwrap().log(), Some(log));
        assert_eq!(machine.announcements().await[0].log(), Some(first));
        assert_eq!(found(&bank).await, []);
        drop(bank);
        assert_eq!(machine.open().await.witnessed(), Default::default());
    }
}

/// What the vault had made for itself stayed the last key, behind the one that took its place: nothing led to that
/// one any more, and the vault did not open again.
#[tokio::test]
async fn a_vault_put_back_twice_learns_of_the_change_of_a_key_that_it_had_made_for_itself() {
    for pinned in [false, true] {
        let machine = Machine::new();
        two_people(&machine.open().await).await;
        let before = machine.image();
        rotate(&machine.open().await, &rotation(None, false)).await;
        machine.restore(&before);
        let made = signs(machine.open().await.vault().unwrap());
        let successor = if pinned { Some(machine.pin().await) } else { None };
        let before = machine.image();
        let learned = rotate(&machine.open().await, &rotation(successor.as_ref(), false)).await;
        let erased = machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();

        machine.restore(&before);
        let bank = machine.open().await;
        let told = bank.witnessed();
        assert_eq!((&told.keys, &told.replayed), (&vec![learned], &vec![erased.erasure]));
        let vault = bank.vault().unwrap();
        let next = if pinned { KeyOrigin::Successor } else { KeyOrigin::Rotated };
        let wanted = [KeyOrigin::Created, KeyOrigin::Rotated, KeyOrigin::Restored, next];
        assert_eq!(origins(vault), [&wanted[..], &[KeyOrigin::Restored]].concat());
        assert!(![made, learned].contains(&signs(vault)), "what was replaced signs no more");
        assert_eq!(found(&bank).await, []);
        drop(bank);
        let bank = machine.open().await;
        assert_eq!(bank.witnessed(), Default::default());
        bank.forget(&subject("user-2"), "asked").await.unwrap();
    }
}

/// Someone took an image of the machine, with folder and slot: they have the key that signs.
#[tokio::test]
async fn what_only_a_stolen_key_says_does_not_count_once_the_successor_took_over() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let successor = machine.pin().await;
    let backup = machine.image();
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&machine.image());
    let malice = thief.open().await.forget(&subject("user-2"), "malice").await.unwrap().erasure;

    // Before what the thief announced is applied.
    let change = rotation(Some(&successor), true);
    assert_eq!(change_key(&machine.vault(), &change).await.unwrap(), successor.id());
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, []);
    assert_eq!(bank.witnessed().compromised.len(), 1);
    // What the vault knows it has said again; no tombstone of the stolen key says anything.
    assert_eq!(shapes(&bank).await, "pft pft cf cf");
    let told = found(&bank).await;
    let count = |ill| told.iter().filter(|told| **told == ill).count();
    assert_eq!(
        (count(Defect::CompromisedWord), count(Defect::UncountedTombstone), told.len()),
        (3, 2, 5)
    );
    drop(bank);

    // A vault from before learns it, and of the erasure by the new key.
    for image in [&backup, &machine.image()] {
        machine.restore(image);
        let bank = machine.open().await;
        assert_eq!(shapes(&bank).await, "pft pft cf cf");
        let mut told = found(&bank).await;
        told.retain(|ill| *ill != Defect::UncountedTombstone);
        assert_eq!(told, [Defect::CompromisedWord; 3]);
        let vault = bank.vault().unwrap();
        let stolen = vault.signing_keys().unwrap()[0].clone();
        assert!(stolen.compromised.is_some() && stolen.until.is_some());
        // What the thief signs from now on, and what they sign back-dated, is the same.
        drop(bank);
    }
    machine.restore(&backup);
    let told = machine.open().await.witnessed();
    assert_eq!((told.replayed.len(), told.compromised.len()), (1, 1), "{told:?}");

    // Each names the key, the event and the erasure, and what applies it.
    let bank = machine.open().await;
    let stolen = bank.vault().unwrap().signing_keys().unwrap()[0].key;
    let findings = findings(&bank).await;
    let words = findings.iter().filter(|finding| finding.kind == Defect::CompromisedWord);
    for finding in words {
        let Location::Event { id, .. } = &finding.at else { panic!("{finding:?}") };
        assert_eq!(finding.signer, Some(stolen));
        for word in [stolen.to_string(), id.to_string(), malice.to_string()] {
            assert!(finding.what.contains(&word), "{word}: {finding:?}");
        }
        assert!(finding.remedy.contains("--believe-erasure"), "{finding:?}");
    }
    drop(bank);

    // Unless the operator says that it was no thief.
    machine.believe(malice.0).await.unwrap();
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [malice]);
    assert_eq!(shapes(&bank).await, "pft pft pft pft");
    assert!(found(&bank).await.iter().all(|ill| *ill == Defect::UncountedTombstone));
}

#[tokio::test]
async fn a_thief_of_the_key_cannot_change_it_where_a_successor_is_pinned() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let successor = machine.pin().await;
    let backup = machine.image();
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&backup);
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: true };
    let theirs = rotate(&thief.open().await, &change).await;

    // A restored vault does not take it.
    machine.restore(&backup);
    let bank = machine.open().await;
    let [refused] = bank.witnessed().refused[..] else { panic!("{:?}", bank.witnessed()) };
    let (key, successor_id) = (signs(bank.vault().unwrap()), successor.id());
    assert_eq!(refused.why, Unlearned::NotTheSuccessor { key, successor: successor_id });
    assert!(bank.vault().unwrap().signing_keys().unwrap().iter().all(|info| info.key != theirs));
    assert_eq!(found(&bank).await, [Defect::RefusedStatement]);
    drop(bank);
    // And once the successor has spoken it is the stolen key's word.
    change_key(&machine.vault(), &rotation(Some(&successor), true)).await.unwrap();
    drop(machine.open().await);
    machine.restore(&backup);
    let bank = machine.open().await;
    let [refused] = bank.witnessed().refused[..] else { panic!("{:?}", bank.witnessed()) };
    assert_eq!(refused.why, Unlearned::Compromised { key });
    assert_eq!(bank.witnessed().keys, [successor.id()]);
    let [said] = &findings(&bank).await[..] else { panic!() };
    assert_eq!((said.kind, said.signer), (Defect::CompromisedWord, Some(key)));
    assert!(said.what.contains(&refused.event.to_string()), "{said:?}");
    assert!(!said.remedy.contains("-erasure"), "nothing applies a statement: {said:?}");
    // What the thief's key says next is nobody's.
    thief.open().await.forget(&subject("user-2"), "malice").await.unwrap();
    drop(bank);
    let error = machine.try_open().await.unwrap_err();
    assert!(matches!(error, ErasureError::UnknownSigner(_)), "it was put back: {error}");
}

/// The key was replaced as it is every year, and only later it turned out that somebody has it.
#[tokio::test]
async fn what_only_an_earlier_key_says_does_not_count_once_it_is_distrusted() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let backup = machine.image();
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&machine.image());
    // Open before the key is changed, it does not know that it is.
    let theirs = thief.open().await;
    let bank = machine.open().await;
    let first = signs(bank.vault().unwrap());
    let second = rotate(&bank, &rotation(None, false)).await;
    drop(bank);
    let before = machine.image();
    let malice = theirs.forget(&subject("user-2"), "malice").await.unwrap().erasure;
    drop(theirs);

    // Before what the thief announced is applied.
    let change = KeyChange::Distrust(stolen(&[first]));
    assert_eq!(change_key(&machine.vault(), &change).await.unwrap(), second);
    let bank = machine.open().await;
    let told = bank.witnessed();
    assert_eq!((told.replayed.len(), told.compromised.len()), (0, 1), "{told:?}");
    assert_eq!(shapes(&bank).await, "pft pft cf cf");
    assert!(found(&bank).await.contains(&Defect::CompromisedWord));
    // What it forgets from now on goes its way.
    put(&bank, "user-3", event("UserRegistered", r#"{"id":3}"#)).await.unwrap();
    bank.forget(&subject("user-3"), "asked").await.unwrap();
    drop(bank);
    assert_eq!(machine.open().await.witnessed(), Default::default());

    // A vault from before learns it, however old it is, and of the erasures by the present key.
    for (image, learned) in [(&backup, 1), (&before, 0)] {
        machine.restore(image);
        let bank = machine.open().await;
        let told = bank.witnessed();
        assert_eq!((told.keys.len(), &told.distrusted[..]), (learned, &[first][..]), "{told:?}");
        assert!(told.refused.is_empty() && told.unverifiable.is_empty(), "{told:?}");
        assert!(!told.replayed.contains(&malice) && told.compromised.len() == 1, "{told:?}");
        assert_eq!(shapes(&bank).await, "pft pft cf cf");
        let keys = bank.vault().unwrap().signing_keys().unwrap();
        let known: Vec<_> = keys.iter().map(|info| info.compromised.is_some()).collect();
        assert_eq!(known[..2], [true, false]);
        drop(bank);
        assert_eq!(machine.open().await.witnessed(), Default::default(), "told once");
    }
    // Unless the operator says that it was no thief.
    machine.believe(malice.0).await.unwrap();
    assert_eq!(machine.open().await.witnessed().replayed, [malice]);
}

/// Whoever has an earlier key may say of later ones what they like.
#[tokio::test]
async fn a_thief_of_an_earlier_key_cannot_turn_the_good_ones_against_their_owner() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let backup = machine.image();
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&backup);
    let theirs = thief.open().await;
    let first = signs(theirs.vault().unwrap());
    rotate(&machine.open().await, &rotation(None, false)).await;
    // They go on from the stolen key, and distrust it: the owner's next key is not known to them yet.
    let change = change_key(theirs.vault().unwrap(), &rotation(None, false)).await.unwrap();
    let also = KeyChange::Distrust(stolen(&[first]));
    change_key(theirs.vault().unwrap(), &also).await.unwrap();
    let _ = theirs.resume().await;
    let erased = machine.open().await.forget(&subject("user-1"), "asked").await.unwrap().erasure;
    let bank = machine.open().await;
    let keys = bank.vault().unwrap().signing_keys().unwrap();
    assert!(keys.iter().all(|info| info.compromised.is_none() && info.key != change), "{keys:?}");
    let ills = found(&bank).await;
    assert_eq!(ills, [Defect::RefusedStatement; 2]);
    drop(bank);
    machine.restore(&backup);
    let bank = machine.open().await;
    let told = bank.witnessed();
    assert_eq!((told.replayed, told.distrusted), (vec![erased], vec![]));
    assert_eq!(told.refused[0].why, Unlearned::Replaced { key: first });
    assert_eq!(told.refused[1].why, Unlearned::UnknownSigner { signer: change });
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
}

#[tokio::test]
async fn no_key_is_distrusted_by_mistake() {
    let vault = Vault::in_memory().unwrap();
    let refused = |change: KeyChange| {
        let vault = vault.clone();
        async move {
            match change_key(&vault, &change).await.unwrap_err() {
                ErasureError::KeyChange(error) => error,
                other => panic!("{other}"),
            }
        }
    };
    let first = signs(&vault);
    let second = change_key(&vault, &rotation(None, false)).await.unwrap();
    let before = vault.signing_keys().unwrap();
    let distrust = |keys: &[SigningKeyId]| KeyChange::Distrust(stolen(keys));
    let told = refused(distrust(&[second])).await;
    assert!(matches!(told, KeyChangeError::SignsNow(key) if key == second), "{told}");
    let unknown = SigningKeyId([7; 16]);
    for keys in [&[unknown][..], &[first, unknown]] {
        let told = refused(distrust(keys)).await;
        assert!(matches!(told, KeyChangeError::UnknownKey(key) if key == unknown), "{told}");
    }
    let later = Timestamp::from_micros(Timestamp::now().as_micros() + 60_000_000);
    let to_come = Compromised { since: later, keys: vec![first] };
    let told = refused(KeyChange::Distrust(to_come)).await;
    assert!(matches!(told, KeyChangeError::StillToCome(at) if at == later), "{told}");
    let also = |keys: &[SigningKeyId]| KeyChange::Rotate {
        successor: None,
        compromised: Some(stolen(keys)),
        without_successor: false,
    };
    let told = refused(also(&[unknown])).await;
    assert!(matches!(told, KeyChangeError::UnknownKey(key) if key == unknown), "{told}");
    assert_eq!(vault.signing_keys().unwrap(), before, "nothing was changed");

    // Named twice at once, it is distrusted once; and no second time.
    change_key(&vault, &distrust(&[first, first])).await.unwrap();
    let told = refused(distrust(&[first])).await;
    assert!(matches!(told, KeyChangeError::DistrustedBefore { key, .. } if key == first), "{told}");
    let told = refused(also(&[first])).await;
    assert!(matches!(told, KeyChangeError::DistrustedBefore { .. }), "{told}");
    let kinds: Vec<_> = export(&vault).map(|said| said.unwrap().kind().unwrap()).collect();
    assert_eq!(kinds, [AnnouncementKind::SigningKey, AnnouncementKind::Distrust]);
}

/// Its own change of key was said by a key that a pinned successor waits for.
#[tokio::test]
async fn a_change_without_the_successor_needs_the_operators_word_in_older_vaults() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    machine.pin().await;
    let before = machine.image();
    let bank = machine.open().await;
    let refused = change_key(bank.vault().unwrap(), &rotation(None, false)).await.unwrap_err();
    assert!(matches!(refused, ErasureError::KeyChange(KeyChangeError::SuccessorNeeded(_))));
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: true };
    rotate(&bank, &change).await;
    assert_eq!(bank.vault().unwrap().pinned_successor().unwrap(), None);
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    drop(bank);
    assert_eq!(machine.open().await.witnessed(), Default::default());
    let after = machine.image();
    machine.restore(&before);
    // The image served whom the later key forgot: what it does not know to be the vault's word opened.
    let closed = machine.try_open().await.unwrap_err();
    assert!(matches!(closed, ErasureError::UnknownSigner(_)), "{closed}");
    machine.restore(&after);
    assert_eq!(shapes(&machine.open().await).await, FIRST_IS_FORGOTTEN);
}

#[tokio::test]
async fn a_gap_in_the_history_of_keys_keeps_everything_closed_by_its_own_name() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let bank = machine.open().await;
    let missing = rotate(&bank, &rotation(None, false)).await;
    let last = rotate(&bank, &rotation(None, false)).await;
    let erased = bank.forget(&subject("user-1"), "asked").await.unwrap().erasure;
    drop(bank);
    machine.store.tamper(|mut events| {
        events.remove(0);
        events
    });
    machine.restore(&before);
    match machine.try_open().await.unwrap_err() {
        ErasureError::SigningKeyGap { key, replaces, erasures } => {
            let erasures: Vec<_> =
                erasures.iter().map(|doubt| (doubt.erasure, doubt.signer)).collect();
            assert_eq!((key, replaces, erasures), (last, missing, vec![(Some(erased), last)]));
        }
        other => panic!("{other}"),
    }
    machine.believe(erased.0).await.unwrap();
    let bank = machine.open().await;
    // Its tombstones are signed by a key that the vault does not know: it sets its own.
    assert_eq!(shapes(&bank).await, "pft pft c c");
    let told = found(&bank).await;
    assert!(
        !told.contains(&Defect::UnknownSigner) && !told.contains(&Defect::TombstonesMissing),
        "{told:?}"
    );
    assert!(told.contains(&Defect::UncountedTombstone), "{told:?}");
    assert_eq!(bank.witnessed().refused.len(), 1);
}

/// The order in which they stand is the store's.
#[tokio::test]
async fn statements_are_learned_in_whatever_order_they_come() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let bank = machine.open().await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(rotate(&bank, &rotation(None, false)).await);
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    drop(bank);
    machine.store.tamper(|mut events| {
        let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
        events.reverse();
        events.iter_mut().zip(revisions).for_each(|(event, revision)| event.revision = revision);
        events
    });
    machine.restore(&before);
    let bank = machine.open().await;
    let mut learned = bank.witnessed().keys;
    learned.sort();
    keys.sort();
    assert_eq!(learned, keys);
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
}

#[tokio::test]
async fn a_store_that_is_away_hears_of_the_change_later_and_once() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.store.away.store(true, Ordering::SeqCst);
    let bank = machine.open().await;
    change_key(bank.vault().unwrap(), &rotation(None, false)).await.unwrap();
    let pending = bank.resume().await.unwrap_err();
    assert!(matches!(pending, ErasureError::KeyChangePending(_)) && pending.is_pending());
    assert!(pending.to_string().contains("decided about the signing keys"), "{pending}");
    // An erasure waits for it: nobody would know the key that announces it.
    let waits = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::AnnouncementPending { .. }), "{waits}");
    drop(bank);
    drop(machine.open().await);
    machine.store.away.store(false, Ordering::SeqCst);
    // Written, and the answer is lost.
    machine.store.after_announcing(true);
    drop(machine.open().await);
    machine.store.after_announcing(false);
    drop(machine.open().await);
    let kinds: Vec<_> =
        machine.announcements().await.iter().filter_map(|said| said.kind()).collect();
    assert_eq!(kinds, [AnnouncementKind::SigningKey, AnnouncementKind::Erasure]);
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1);
    assert!(!bank.witnessed().gap);
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
}

/// The store hears of a change that makes an earlier word void, and is away before it has the rest.
#[tokio::test]
async fn what_waits_for_the_store_is_called_what_it_is() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let bank = machine.open().await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    change_key(bank.vault().unwrap(), &rotation(None, true)).await.unwrap();
    let statements = machine.announcements().await.len();
    // The change, and that the earlier key is compromised.
    *machine.store.leaves.lock().unwrap() = Some(1);
    let pending = bank.resume().await.unwrap_err();
    assert_eq!(machine.announcements().await.len(), statements + 1);
    assert!(matches!(pending, ErasureError::RepeatPending(_)) && pending.is_pending(), "{pending}");
    assert!(pending.to_string().contains("announced again"), "{pending}");
    // An erasure waits for it as well.
    let waits = bank.forget(&subject("user-2"), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::AnnouncementPending { .. }), "{waits}");
    *machine.store.leaves.lock().unwrap() = None;
    bank.resume().await.unwrap();
    assert!(bank.erasures().unwrap().iter().all(|record| record.done));
}

/// Several changes while the store is away, of several statements each: others read them as one history, and miss
/// each that is missing.
#[tokio::test]
async fn each_statement_about_keys_names_the_one_before_it() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let before = machine.image();
    let vault = machine.vault();
    let first = signs(&vault);
    let second = change_key(&vault, &rotation(None, false)).await.unwrap();
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    change_key(&vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
    change_key(&vault, &KeyChange::Distrust(stolen(&[first]))).await.unwrap();
    change_key(&vault, &rotation(Some(&successor), true)).await.unwrap();
    drop(vault);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed(), Default::default());
    drop(bank);

    let said = machine.announcements().await;
    let kinds: Vec<_> = said.iter().filter_map(Announcement::kind).collect();
    let wanted = [
        AnnouncementKind::Erasure,
        AnnouncementKind::SigningKey,
        AnnouncementKind::Successor,
        AnnouncementKind::Distrust,
        AnnouncementKind::SigningKey,
        AnnouncementKind::Distrust,
        AnnouncementKind::Erasure,
    ];
    assert_eq!(kinds, wanted);
    for pair in said.windows(2) {
        assert!(pair[1].previous().eq([pair[0].id()]));
    }
    assert_eq!(machine.open().await.witnessed(), Default::default(), "not news to itself");

    machine.restore(&before);
    let told = machine.open().await.witnessed();
    assert_eq!(
        (&told.keys[..], &told.distrusted[..]),
        (&[second, successor.id()][..], &[second, first][..])
    );
    // What the compromised one said of another is in the chain.
    assert!(!told.gap && told.refused.len() == 1 && told.unverifiable.is_empty(), "{told:?}");

    // Those that a key names whose word counts.
    for missing in [3, 5] {
        machine.restore(&before);
        let id = said[missing].id();
        let without = move |events: Vec<RecordedEvent>| {
            events.into_iter().filter(|event| event.id != id).collect()
        };
        machine.store.tamper(without);
        let closed = machine.try_open().await.unwrap_err();
        assert!(matches!(&closed, ErasureError::WitnessGap(events) if *events == [id]), "{closed}");
    }
}

#[tokio::test]
async fn a_file_of_erasures_brings_the_statements_along() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let successor = machine.pin().await;
    let before = machine.image();
    let bank = machine.open().await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    rotate(&bank, &rotation(Some(&successor), true)).await;
    let file: Vec<_> = export(bank.vault().unwrap()).map(Result::unwrap).collect();
    let kinds: Vec<_> = file.iter().filter_map(|said| said.kind()).collect();
    use AnnouncementKind::{Erasure, SigningKey};
    assert_eq!(kinds, [AnnouncementKind::Successor, SigningKey, Erasure]);
    let lines: Vec<String> = file.iter().map(|said| serde_json::to_string(said).unwrap()).collect();
    drop(bank);
    machine.restore(&before);
    let vault = machine.vault();
    // In any order.
    let file = lines.iter().rev().map(|line| line.parse().unwrap());
    let replayed = replay(&vault, file).await.unwrap();
    assert_eq!((replayed.erasures.len(), replayed.unverifiable.len()), (1, 0));
    // A statement that was changed is told, and so is another vault's that is replayed here.
    let changed = lines[1].replace(r#""epoch":"#, r#""epoch":9"#).parse().unwrap();
    let replayed = replay(&vault, [changed]).await.unwrap();
    assert_eq!(replayed.unverifiable.len(), 1);
    let other = Vault::in_memory().unwrap();
    let theirs: Vec<_> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(replay(&other, theirs).await.unwrap().foreign, 3);
    assert_eq!(other.signing_keys().unwrap().len(), 1);
}

#[tokio::test]
async fn no_other_key_passes_for_the_successor() {
    let vault = Vault::in_memory().unwrap();
    let generate = |vault: &Vault| Arc::new(Successor::generate(vault.id()).unwrap());
    let (right, wrong) = (generate(&vault), generate(&vault));
    let theirs = generate(&Vault::in_memory().unwrap());
    let refused = |change: KeyChange| {
        let vault = vault.clone();
        async move {
            match change_key(&vault, &change).await.unwrap_err() {
                ErasureError::KeyChange(error) => error,
                other => panic!("{other}"),
            }
        }
    };
    let told = refused(rotation(Some(&right), false)).await;
    assert!(matches!(told, KeyChangeError::NothingPinned), "{told}");
    let told = refused(KeyChange::Pin(Arc::clone(&theirs))).await;
    assert!(matches!(told, KeyChangeError::OfAnotherVault { .. }), "{told}");
    change_key(&vault, &KeyChange::Pin(Arc::clone(&right))).await.unwrap();
    let told = refused(KeyChange::Pin(Arc::clone(&wrong))).await;
    assert!(matches!(told, KeyChangeError::AlreadyPinned(key) if key == right.id()), "{told}");
    let told = refused(rotation(Some(&wrong), false)).await;
    assert!(matches!(told, KeyChangeError::WrongSuccessor { .. }), "{told}");
    let told = refused(rotation(Some(&theirs), false)).await;
    assert!(matches!(told, KeyChangeError::OfAnotherVault { .. }), "{told}");
    let later = Timestamp::from_micros(Timestamp::now().as_micros() + 60_000_000);
    let successor = Some(Arc::clone(&right));
    let (compromised, without_successor) =
        (Some(Compromised { since: later, keys: vec![] }), false);
    let told = refused(KeyChange::Rotate { successor, compromised, without_successor }).await;
    assert!(matches!(told, KeyChangeError::StillToCome(_)), "{told}");
    assert_eq!(vault.signing_keys().unwrap().len(), 1, "nothing was changed");
    change_key(&vault, &rotation(Some(&right), false)).await.unwrap();
    assert_eq!(signs(&vault), right.id());
}
