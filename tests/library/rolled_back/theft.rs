//! What a thief of a signing key can do, and what the vault says of it.

use oubliette::{
    audit::{Location, verify::Defect},
    erasure::{
        Compromised, ErasureError, KeyChange, KeyChangeError, UnclearError, change_key, export,
    },
    event::{AnnouncementKind, SigningKeyId, Timestamp},
    vault::{Unlearned, Vault},
};

use super::{
    FIRST_IS_FORGOTTEN,
    keys::{findings, found, rotate, rotation, signs, stolen},
    machine::Machine,
    shapes, two_people,
};
use crate::common::*;

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
    let count = |defect| told.iter().filter(|told| **told == defect).count();
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
        told.retain(|defect| *defect != Defect::UncountedTombstone);
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
        assert!(finding.remedy.contains("`erasure::believe`"), "{finding:?}");
    }
    drop(bank);

    // Unless the operator says that it was no thief.
    machine.believe(malice.0).await.unwrap();
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [malice]);
    assert_eq!(shapes(&bank).await, "pft pft pft pft");
    assert!(found(&bank).await.iter().all(|defect| *defect == Defect::UncountedTombstone));
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
    assert!(!said.remedy.contains("erasure::"), "nothing applies a statement: {said:?}");
    // What the thief's key says next is nobody's.
    thief.open().await.forget(&subject("user-2"), "malice").await.unwrap();
    drop(bank);
    let error = machine.try_open().await.unwrap_err();
    assert!(
        matches!(error, ErasureError::Unclear(UnclearError::UnknownSigner(_))),
        "it was put back: {error}"
    );
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
    let defects = found(&bank).await;
    assert_eq!(defects, [Defect::RefusedStatement; 2]);
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
        async move { change_key(&vault, &change).await.unwrap_err() }
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
