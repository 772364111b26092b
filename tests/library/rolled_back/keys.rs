//! A vault that is put back learns of changes of its signing key from the event store.

use std::sync::{Arc, atomic::Ordering};

use oubliette::{
    audit::{
        Finding,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    erasure::{
        Compromised, ErasureError, KeyChange, KeyChangeError, PendingError, UnclearError,
        change_key, export, replay,
    },
    event::{Announcement, AnnouncementKind, RecordedEvent, SigningKeyId, Timestamp},
    layer::Oubliette,
    vault::{KeyOrigin, Successor, Vault, internals::Plumbing as _},
};

use super::{
    FIRST_IS_FORGOTTEN,
    machine::{Announcements, Machine},
    shapes, two_people,
};
use crate::common::*;

pub(crate) fn rotation(successor: Option<&Arc<Successor>>, compromised: bool) -> KeyChange {
    KeyChange::Rotate {
        successor: successor.cloned(),
        compromised: compromised.then(|| stolen(&[])),
        without_successor: false,
    }
}

/// Somebody else has these as well, since now.
pub(crate) fn stolen(keys: &[SigningKeyId]) -> Compromised {
    Compromised { since: Timestamp::now(), keys: keys.to_vec() }
}

fn origins(vault: &Vault) -> Vec<KeyOrigin> {
    vault.signing_keys().unwrap().iter().map(|info| info.origin).collect()
}

pub(crate) fn signs(vault: &Vault) -> SigningKeyId {
    vault.signing_keys().unwrap().last().unwrap().key
}

pub(crate) async fn findings(bank: &Oubliette<Announcements>) -> Vec<Finding<Defect>> {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    bank.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

pub(crate) async fn found(bank: &Oubliette<Announcements>) -> Vec<Defect> {
    findings(bank).await.into_iter().map(|finding| finding.kind).collect()
}

/// As a service does it: the key changes, and the store is told.
pub(crate) async fn rotate(bank: &Oubliette<Announcements>, change: &KeyChange) -> SigningKeyId {
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

/// Its own change of key was said by a key that a pinned successor waits for.
#[tokio::test]
async fn a_change_without_the_successor_needs_the_operators_word_in_older_vaults() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    machine.pin().await;
    let before = machine.image();
    let bank = machine.open().await;
    let refused = change_key(bank.vault().unwrap(), &rotation(None, false)).await.unwrap_err();
    assert!(matches!(refused, KeyChangeError::SuccessorNeeded(_)));
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
    assert!(matches!(closed, ErasureError::Unclear(UnclearError::UnknownSigner(_))), "{closed}");
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
        ErasureError::Unclear(UnclearError::SigningKeyGap { key, replaces, erasures }) => {
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
    assert!(matches!(pending, ErasureError::Pending(PendingError::KeyChange(_))), "{pending}");
    assert!(pending.to_string().contains("decided about the signing keys"), "{pending}");
    // An erasure waits for it: nobody would know the key that announces it.
    let waits = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::Pending(PendingError::Announcement { .. })), "{waits}");
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
    assert!(matches!(pending, ErasureError::Pending(PendingError::Repeat(_))), "{pending}");
    assert!(pending.to_string().contains("announced again"), "{pending}");
    // An erasure waits for it as well.
    let waits = bank.forget(&subject("user-2"), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::Pending(PendingError::Announcement { .. })), "{waits}");
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
        assert!(
            matches!(&closed, ErasureError::Unclear(UnclearError::WitnessGap(events)) if *events == [id]),
            "{closed}"
        );
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
        async move { change_key(&vault, &change).await.unwrap_err() }
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
