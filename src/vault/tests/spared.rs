//! Keys that an erasure spares: they live on whatever is done afterwards, and nothing else does.

use std::collections::BTreeSet;

use super::*;
use crate::vault::{Decision, records::fence::FenceRecord, tree::Erasure};

/// Removes a key from the tree, as damage would.
pub(in crate::vault) fn lose(vault: &Vault, id: KeyId) {
    let shared = vault.shared();
    let entry = shared.find(id).unwrap().unwrap();
    let place = shared.naming.place_of(&entry);
    let changes = vec![(place, None)];
    shared.disk.erase(Erasure { changes, ..Erasure::default() }).unwrap();
    shared.cache.outdate();
    shared.cache.drop_state(id);
    shared.cache.drop_warm(&(entry.stream, entry.subject));
}

/// Three keys of one subject, and one of another's.
async fn filled(vault: &Vault) -> [KeyId; 4] {
    let mut ids = Vec::new();
    for (of, whose) in [("a", "user-1"), ("b", "user-1"), ("c", "user-1"), ("a", "user-2")] {
        ids.push(key(vault, of, whose).await.unwrap().id());
    }
    ids.try_into().unwrap()
}

/// What a destruction takes, as it is announced: sealed and opened.
pub(in crate::vault) fn announced(vault: &Vault, destruction: &Destruction) -> Decision {
    let decision = vault.decision(destruction, b"").unwrap();
    let sealed = vault.seal_decision(&decision, b"").unwrap();
    let opened = vault.open_decision(destruction.erasure, b"", &sealed).unwrap().unwrap();
    assert_eq!(opened, decision);
    opened
}

#[tokio::test]
async fn a_spared_key_lives_on_and_all_others_are_shredded() {
    let tree = tree();
    let vault = over(&tree);
    let [dead, spared, gone, others] = filled(&vault).await;
    let erasure = ErasureId::now();
    let done = destroy_but(&vault, erasure, "user-1", Dead::All, [spared]).await.unwrap();
    assert_eq!(done.keys, 2);
    let check = |vault: &Vault| {
        assert_eq!(shredded(vault.opening_key(dead)), erasure);
        assert_eq!(shredded(vault.opening_key(gone)), erasure);
        live(vault.opening_key(spared));
        live(vault.opening_key(others));
        let fence = vault.subject_state(&subject("user-1")).unwrap().fence.unwrap();
        assert_eq!(fence.spared, [(Generation(1), spared)]);
        assert!(fence.closed);
        assert_eq!(verify::troubles(vault), [] as [&str; 0]);
    };
    check(&vault);
    drop(vault);
    let vault = over(&tree);
    check(&vault);
    // Again, as after a restart: nothing more goes.
    let again = destroy_but(&vault, erasure, "user-1", Dead::All, [spared]).await.unwrap();
    assert_eq!(again.keys, 0);
    // Reopened, rotated, and the rest forgotten: it stays.
    assert_eq!(vault.reopen(&subject("user-1")).await.unwrap(), Some(Generation(2)));
    let fresh = key(&vault, "b", "user-1").await.unwrap().id();
    vault.rotate(&subject("user-1")).await.unwrap();
    live(vault.opening_key(spared));
    let later = ErasureId::now();
    destroy_but(&vault, later, "user-1", Dead::All, [spared]).await.unwrap();
    assert_eq!(shredded(vault.opening_key(fresh)), later);
    check(&vault);
}

#[tokio::test]
async fn nothing_more_is_sealed_under_a_spared_key() {
    for whole in [true, false] {
        let tree = tree();
        let vault = over(&tree);
        let [_, spared, ..] = filled(&vault).await;
        let dead = if whole { Dead::All } else { spans(&[(1, 1)]) };
        destroy_but(&vault, ErasureId::now(), "user-1", dead, [spared]).await.unwrap();
        // By its generation, it would still be warm.
        let refused = key_of(&vault, "b", "user-1", Some(1)).await;
        assert!(matches!(refused, Err(VaultError::Forgotten { .. })), "{refused:?}");
        vault.reopen(&subject("user-1")).await.unwrap();
        let refused = key_of(&vault, "b", "user-1", Some(1)).await;
        assert!(matches!(refused, Err(VaultError::NoGeneration { .. })), "{refused:?}");
        assert_ne!(key(&vault, "b", "user-1").await.unwrap().id(), spared);
        live(vault.opening_key(spared));
        // It sealed once, and three were to spare.
        vault.flush().await.unwrap();
        let info = vault.key_info(spared).unwrap().unwrap();
        assert_eq!(info.sealed_at_most, 1 + 3);
    }
}

#[tokio::test]
async fn a_spared_key_that_is_lost_is_missing_and_not_shredded() {
    let tree = tree();
    let vault = over(&tree);
    let [dead, spared, ..] = filled(&vault).await;
    let erasure = ErasureId::now();
    destroy_but(&vault, erasure, "user-1", Dead::All, [spared]).await.unwrap();
    lose(&vault, spared);
    assert!(is_missing(&vault.opening_key(spared)));
    assert_eq!(shredded(vault.opening_key(dead)), erasure);
    assert_eq!(verify::troubles(&vault), [format!("spared {spared}: missing")]);
    drop(vault);
    let vault = over(&tree);
    assert!(is_missing(&vault.opening_key(spared)));
    // The next erasure takes it, lost or not; then somebody destroyed it.
    let last = forget(&vault, "user-1").await;
    assert_eq!(shredded(vault.opening_key(spared)), last);
    assert_eq!(verify::troubles(&vault), [] as [&str; 0]);
}

#[tokio::test]
async fn a_later_erasure_that_does_not_spare_a_key_takes_it() {
    let tree = tree();
    let vault = over(&tree);
    let [dead, first, second, _] = filled(&vault).await;
    let earlier = ErasureId::now();
    destroy_but(&vault, earlier, "user-1", Dead::All, [first, second]).await.unwrap();
    let later = ErasureId::now();
    let done = destroy_but(&vault, later, "user-1", Dead::All, [second]).await.unwrap();
    assert_eq!(done.keys, 1);
    for _ in 0..2 {
        assert_eq!(shredded(vault.opening_key(dead)), earlier);
        assert_eq!(shredded(vault.opening_key(first)), later);
        live(vault.opening_key(second));
    }
    let last = forget(&vault, "user-1").await;
    drop(vault);
    let vault = over(&tree);
    assert_eq!(shredded(vault.opening_key(dead)), earlier);
    assert_eq!(shredded(vault.opening_key(first)), later);
    assert_eq!(shredded(vault.opening_key(second)), last);
    assert_eq!(vault.subject_state(&subject("user-1")).unwrap().fence.unwrap().spared, []);
    // What was to be spared once is not made alive by being asked for again.
    destroy_but(&vault, earlier, "user-1", Dead::All, [first, second]).await.unwrap();
    assert_eq!(shredded(vault.opening_key(second)), last);
}

#[cfg(feature = "backup")]
/// Announcements, and what is exported of fences, in any order and more than once.
#[tokio::test]
async fn what_was_spared_is_spared_wherever_an_erasure_is_replayed() {
    for exported in [false, true] {
        for reversed in [false, true] {
            let tree = tree();
            let vault = over(&tree);
            let [dead, first, second, others] = filled(&vault).await;
            // The same vault, rolled back to this moment.
            let image = Arc::new(tree.twin());
            let (mut told, mut order) = (Vec::new(), Vec::new());
            for spared in [vec![first, second], vec![second]] {
                let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
                let spared = spared.into_iter().collect();
                let erasure = ErasureId::now();
                let destruction = Destruction { spared, ..Destruction::new(erasure, losses) };
                told.push(announced(&vault, &destruction));
                order.push(erasure);
                vault.destroy(&destruction, b"").await.unwrap();
            }
            if exported {
                told = vault.decisions().flat_map(Result::unwrap).collect();
                assert_eq!(told.len(), 2);
                // Exported by their ids, of which two of one millisecond have any order.
                told.sort_by_key(|decision| order.iter().position(|of| *of == decision.erasure));
            }
            if reversed {
                told.reverse();
            }
            let back = over(&image);
            for decision in &told {
                assert!(reversed || !back.covers(decision).unwrap());
                back.replay(vec![decision.clone()]).await.unwrap();
                assert!(back.covers(decision).unwrap());
            }
            for _ in 0..2 {
                assert_eq!(back.replay(told.clone()).await.unwrap().keys, 0);
                live(back.opening_key(second));
                live(back.opening_key(others));
                shredded(back.opening_key(first));
                shredded(back.opening_key(dead));
                assert_eq!(verify::troubles(&back), [] as [&str; 0]);
            }
        }
    }
}

/// One that waited for the store was announced twice; meanwhile a hold came, or was lifted.
#[tokio::test]
async fn of_an_erasure_that_was_announced_twice_the_last_says_what_is_spared() {
    for held_in_the_end in [false, true] {
        let vault = over(&tree());
        let [_, spared, ..] = filled(&vault).await;
        let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
        let free = Destruction::new(ErasureId::now(), losses);
        let held = Destruction { spared: BTreeSet::from([spared]), ..free.clone() };
        let mut told = vec![announced(&vault, &free), announced(&vault, &held)];
        if !held_in_the_end {
            told.reverse();
        }
        vault.replay(told).await.unwrap();
        match held_in_the_end {
            true => drop(live(vault.opening_key(spared))),
            false => drop(shredded(vault.opening_key(spared))),
        }
    }
}

/// A restored vault has no secret of the era in which a key was made that it does not have. Its fence
/// knows the key all the same.
#[cfg(feature = "backup")]
#[tokio::test]
async fn what_a_fence_knows_is_spared_though_its_id_cannot_be_read() {
    let tree = tree();
    let vault = over(&tree);
    let image = Arc::new(tree.twin());
    vault.ask(crate::vault::commit::committer::Job::EndEra).await.unwrap();
    let [_, spared, ..] = filled(&vault).await;
    let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
    let destruction = |spared| {
        let spared = BTreeSet::from([spared]);
        Destruction { spared, ..Destruction::new(ErasureId::now(), losses.clone()) }
    };
    let told = vault.decision(&destruction(spared), b"").unwrap();
    let back = over(&image);
    back.replay(vec![told]).await.unwrap();
    assert!(is_missing(&back.opening_key(spared)));
    let again = destruction(spared);
    assert_eq!(back.decision(&again, b"").unwrap().taken[0].spared.len(), 1);
    back.destroy(&again, b"").await.unwrap();
    let fence = back.subject_state(&subject("user-1")).unwrap().fence.unwrap();
    assert_eq!(fence.spared, [(Generation(1), spared)]);
}

/// Part of an erasure may be known, because it was announced twice.
#[tokio::test]
async fn a_replay_of_what_is_known_closes_nobody_who_was_admitted_since() {
    for dead in [Dead::All, spans(&[(1, 1)])] {
        let vault = over(&tree());
        let [_, spared, ..] = filled(&vault).await;
        let losses = vec![Loss { subject: subject("user-1"), dead }];
        let spared = BTreeSet::from([spared]);
        let destruction = Destruction { spared, ..Destruction::new(ErasureId::now(), losses) };
        let told = announced(&vault, &destruction);
        vault.destroy(&destruction, b"").await.unwrap();
        vault.reopen(&subject("user-1")).await.unwrap();
        let later = key(&vault, "a", "user-1").await.unwrap().id();
        assert_eq!(vault.replay(vec![told]).await.unwrap().keys, 0);
        assert_eq!(key(&vault, "a", "user-1").await.unwrap().id(), later);
    }
}

#[test]
fn a_fence_that_does_not_have_its_form_is_refused() {
    let (one, two) = (KeyId([1; 20]), KeyId([2; 20]));
    let mut fence = FenceRecord::default();
    let spared = BTreeSet::from([(Generation(1), one), (Generation(1), two)]);
    fence.kill(Generation(1), Generation(3), ErasureId::now(), &spared);
    fence.kill(
        Generation(1),
        Generation(3),
        ErasureId::now(),
        &BTreeSet::from([(Generation(1), two)]),
    );
    let good = fence.encode();
    assert_eq!(FenceRecord::decode(&good).unwrap(), fence);
    for length in 0..good.len() {
        assert!(FenceRecord::decode(&good[..length]).is_err(), "cut off after {length}");
    }
    assert!(FenceRecord::decode(&[good.as_slice(), &[0]].concat()).is_err());
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        FenceRecord::decode(&bytes)
    };
    assert!(matches!(changed(0, 2), Err(VaultError::NewerFormat { found: 2, known: 1, .. })));
    for flags in [0, 1, 4, 7] {
        assert!(changed(1, flags).is_err(), "flags {flags}");
    }
    // Span, erasures that took the whole, then the list: in order, and none twice.
    let list = 2 + 4 + 24 + 4 + 4;
    assert!(changed(list + 4, 3).is_err());
    assert!(changed(list + 4 + 20, 7).is_err());
    assert_eq!(good.len(), list + 41 + 25);
}

/// Through the layer, over a vault that was rolled back and told what it missed.
#[cfg(feature = "backup")]
#[tokio::test]
async fn a_reader_gets_what_was_spared_and_an_alarm_where_it_is_lost() {
    use crate::{
        erasure,
        event::{Content, EventType, Json, NewEvent, Payload},
        layer::Oubliette,
        policy::Policy,
        store::{
            EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError, Unreadable,
        },
    };
    let policy = || {
        let rule = "[[stream]]\nmatch = \"room-{id}\"\nsubject = \"user-{/author}\"\n";
        Policy::parse(rule).unwrap()
    };
    let (tree, store) = (tree(), MemoryStore::new());
    let layer = async |vault| Oubliette::open(store.clone(), vault, policy()).await.unwrap();
    let said = r#"{"author":1,"text":"a secret"}"#;
    let said = Json::parse(said).unwrap();
    let bank = layer(over(&tree)).await;
    let of = ["user-1", "room-1", "room-2"].map(stream);
    for of in &of {
        let event = NewEvent::new(EventType::new("Said").unwrap(), said.clone());
        bank.append_to(of, ExpectedRevision::Any, vec![event]).await.unwrap();
    }
    drop(bank);
    let image = Arc::new(tree.twin());
    let vault = over(&tree);
    let keys = vault.keys_of(&subject("user-1")).unwrap();
    let of_room = |of: &StreamName| keys.iter().find(|key| key.stream == *of).unwrap().id;
    let (held, lost) = (of_room(&of[1]), of_room(&of[2]));
    destroy_but(&vault, ErasureId::now(), "user-1", Dead::All, [held, lost]).await.unwrap();
    let told: Vec<_> = erasure::export(&vault).map(Result::unwrap).collect();

    for tree in [&tree, &image] {
        let vault = over(tree);
        erasure::replay(&vault, told.clone()).await.unwrap();
        lose(&vault, lost);
        let bank = layer(vault).await;
        let read = async |of: &StreamName| bank.events(of, ReadOptions::default()).await;
        let own = read(&of[0]).await.unwrap();
        assert!(matches!(own[0].content(), Content::Shredded(_)), "{own:?}");
        let room = read(&of[1]).await.unwrap();
        assert_eq!(room[0].content(), Content::Clear(&Payload::Json(said.clone())));
        let alarm = read(&of[2]).await;
        let missing = |unreadable: &Unreadable| matches!(unreadable, Unreadable::KeyMissing);
        assert!(
            matches!(&alarm, Err(StoreError::Unreadable { unreadable, .. }) if missing(unreadable)),
            "{alarm:?}"
        );
    }
}

/// Nobody who kept a copy of the pages reads with today's root what was destroyed beside a spared key.
#[cfg(all(unix, feature = "drill"))]
#[tokio::test]
async fn no_earlier_page_opens_after_an_erasure_that_spared_a_key() {
    use crate::vault::Copied;
    for (whole, erased) in [(true, true), (false, true), (false, false)] {
        let disk = tempfile::tempdir().unwrap();
        let at = |part: &str| disk.path().join(part);
        let vault = Vault::create(&at("vault"), &at("slot")).unwrap();
        let [dead, spared, gone, _] = filled(&vault).await;
        drop(vault);
        folder::copy_folder(&at("vault"), &at("copy"));
        let vault = Vault::open(&at("vault"), &at("slot")).unwrap();
        let all = if whole { Dead::All } else { spans(&[(1, 1)]) };
        if erased {
            destroy_but(&vault, ErasureId::now(), "user-1", all, [spared]).await.unwrap();
        } else {
            // As no vault does it: the page keeps its key.
            let shared = vault.shared();
            for id in [dead, gone] {
                let place = shared.naming.place_of(&shared.find(id).unwrap().unwrap());
                shared.disk.put(vec![(place, None)]).unwrap();
            }
        }
        let copy = Copied::open(&Copied::pages(&at("copy")).unwrap()).unwrap();
        let mut seen = BTreeSet::new();
        let mut page = |name: &[u8; 16]| copy.page(name).unwrap();
        vault.dead_keys(None, &mut page, &mut |key| seen.extend([key.id])).unwrap();
        assert_eq!(seen, if erased { BTreeSet::new() } else { BTreeSet::from([dead, gone]) });
        live(vault.opening_key(spared));
    }
}
