//! Keys of a class, which a later version makes: this one loses none of them, and takes none for
//! another.

use std::collections::BTreeSet;

use super::*;
use crate::{
    crypto::random_secret,
    event::{Class, Timestamp},
    vault::{
        KeyInfo,
        records::{entries::KeyEntry, places},
        tree::Value,
    },
};

pub(in crate::vault) fn class(category: &str, period: &str) -> Class {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Class {
        category: given(category).map(|text| text.parse().unwrap()),
        period: given(period).map(|text| text.parse().unwrap()),
    }
}

/// Makes a key of a class, as a later version does, in a generation that is begun.
pub(in crate::vault) fn key_of_class(
    vault: &Vault,
    of: &str,
    whose: &str,
    class: &Class,
    generation: u32,
) -> KeyId {
    let shared = vault.shared();
    let (stream, subject, generation) = (stream(of), subject(whose), Generation(generation));
    let hash = shared.naming.subject(&subject);
    let place = shared.naming.key(&hash, &stream, class, generation);
    if let Some(there) = shared.disk.key(&place).unwrap() {
        return there.id;
    }
    let entry = KeyEntry {
        id: shared.naming.mint(&place).unwrap(),
        secret: random_secret().unwrap(),
        stream,
        subject,
        class: class.clone(),
        generation,
        created: Timestamp::from_micros(1_800_000_000_000_000),
        last_day: 20_000,
        reserved: 3,
        layout: Layout::Inline,
        policy: PolicyDigest(*b"policy 1"),
    };
    shared.disk.put(vec![(place, Some(entry.encode()))]).unwrap();
    entry.id
}

fn classes() -> [Class; 4] {
    [
        Class::default(),
        class("marketing", ""),
        class("", "2026-12-31"),
        class("marketing", "2026-12-31"),
    ]
}

/// A key of each class, of one stream and subject, and one of somebody else.
async fn filled(vault: &Vault) -> (Vec<KeyId>, KeyId) {
    let empty = key(vault, "room", "user-1").await.unwrap().id();
    let mut ids = vec![empty];
    for class in classes().iter().skip(1) {
        ids.push(key_of_class(vault, "room", "user-1", class, 1));
    }
    (ids, key(vault, "room", "user-2").await.unwrap().id())
}

fn listed(vault: &Vault, id: KeyId) -> KeyInfo {
    let all: Vec<KeyInfo> = vault.keys_of(&subject("user-1")).unwrap();
    let inventory: Vec<_> = vault
        .inventory()
        .filter_map(|entry| match entry.unwrap() {
            InventoryEntry::Key(info) if info.id == id => Some(info),
            _ => None,
        })
        .collect();
    let found: Vec<_> = all.into_iter().filter(|info| info.id == id).collect();
    assert_eq!(inventory, found);
    assert_eq!(found.len(), 1);
    assert_eq!(vault.key_info(id).unwrap().as_ref(), found.first());
    found.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_key_of_any_class_opens_and_is_listed_and_dies_with_its_subject() {
    let tree = tree();
    let vault = over(&tree);
    let (ids, other) = filled(&vault).await;
    drop(vault);
    let vault = over(&tree);
    for (id, class) in ids.iter().zip(classes()) {
        assert_eq!(live(vault.opening_key(*id)).id(), *id);
        assert_eq!(listed(&vault, *id).class, class);
    }
    assert_eq!(verify::troubles(&vault), [] as [&str; 0]);
    // They stay as they are when keys beside them are made, counted and replaced.
    assert_eq!(key(&vault, "room", "user-1").await.unwrap().id(), ids[0]);
    vault.flush().await.unwrap();
    vault.rotate(&subject("user-1")).await.unwrap();
    assert!(!ids.contains(&key(&vault, "room", "user-1").await.unwrap().id()));
    for (id, class) in ids.iter().zip(classes()).skip(1) {
        let info = listed(&vault, *id);
        assert_eq!((info.class, info.sealed_about), (class, 3));
    }
    let secrets: Vec<_> = ids.iter().map(|id| *live(vault.opening_key(*id)).secret()).collect();
    let erasure = forget(&vault, "user-1").await;
    drop(vault);
    let vault = over(&tree);
    for id in ids {
        assert_eq!(shredded(vault.opening_key(id)), erasure);
    }
    live(vault.opening_key(other));
    let values = tree.range(&[], &[0xff; 65], usize::MAX).unwrap();
    for secret in secrets {
        assert!(!values.iter().any(|(_, value)| value.windows(32).any(|part| part == secret)));
    }
}

/// As consent that is withdrawn for one category.
#[tokio::test]
async fn each_class_dies_and_is_spared_by_itself() {
    for dies in 0..4 {
        for whole in [true, false] {
            let tree = tree();
            let vault = over(&tree);
            let (ids, other) = filled(&vault).await;
            let spared = ids.iter().enumerate().filter(|(at, _)| *at != dies).map(|(_, id)| *id);
            let dead = if whole { Dead::All } else { spans(&[(1, 1)]) };
            let erasure = ErasureId::now();
            let done = destroy_but(&vault, erasure, "user-1", dead, spared).await.unwrap();
            assert_eq!(done.keys, 1);
            drop(vault);
            let vault = over(&tree);
            for (at, id) in ids.iter().enumerate() {
                match at == dies {
                    true => assert_eq!(shredded(vault.opening_key(*id)), erasure),
                    false => assert_eq!(listed(&vault, *id).class, classes()[at]),
                }
            }
            live(vault.opening_key(other));
            assert_eq!(verify::troubles(&vault), [] as [&str; 0]);
        }
    }
}

/// What this version cannot read of a key it does not destroy, either, nor anything beside it.
#[tokio::test]
async fn a_key_of_a_form_from_a_newer_version_is_refused_by_name_and_kept() {
    for (byte, newer) in [(0, 2), (77, 0x41), (77, 0x81)] {
        let tree = tree();
        let vault = over(&tree);
        let (ids, other) = filled(&vault).await;
        let shared = vault.shared();
        let entry = shared.find(ids[0]).unwrap().unwrap();
        let place = shared.naming.place_of(&entry);
        let mut bytes = entry.encode().to_vec();
        assert_eq!((bytes[0], bytes[77]), (1, 1), "version and layout");
        bytes[byte] = newer;
        shared.disk.put(vec![(place.clone(), Some(Value::new(bytes.clone())))]).unwrap();
        drop(vault);
        let vault = over(&tree);
        let named = |error: VaultError| match error {
            VaultError::NewerFormat { found: 2, known: 1, .. } => byte == 0,
            VaultError::UnknownClass(form) => byte != 0 && form == newer >> 4,
            _ => false,
        };
        assert!(named(vault.opening_key(ids[0]).unwrap_err()));
        assert!(named(vault.keys_of(&subject("user-1")).unwrap_err()));
        assert!(named(vault.inventory().find_map(Result::err).unwrap()));
        assert!(named(key(&vault, "room", "user-1").await.unwrap_err()));
        let refused = destroy(&vault, ErasureId::now(), "user-1", Dead::All).await;
        assert!(named(refused.unwrap_err()));
        assert_eq!(vault.subject_state(&subject("user-1")).unwrap().fence, None);
        assert_eq!(tree.get(&place).unwrap().unwrap().as_slice(), bytes);
        // Nobody else is concerned.
        live(vault.opening_key(other));
        key(&vault, "room", "user-2").await.unwrap();
        forget(&vault, "user-2").await;
    }
}

#[test]
fn an_empty_class_has_no_byte_and_what_does_not_have_the_form_is_refused() {
    let entry = |class| KeyEntry {
        id: KeyId([7; 20]),
        secret: Default::default(),
        stream: stream("user-1"),
        subject: subject("user-1"),
        class,
        generation: Generation(1),
        created: Timestamp::from_micros(0),
        last_day: 0,
        reserved: 0,
        layout: Layout::Split,
        policy: PolicyDigest([0; 8]),
    };
    // 86, the name, and that the stream is the subject's own.
    let sizes = classes().map(|class| entry(class).encode().len());
    assert_eq!(sizes, [94, 94 + 10, 94 + 4, 94 + 14]);
    for class in classes() {
        let entry = entry(class);
        let good = entry.encode();
        let read = KeyEntry::decode(&good).unwrap();
        assert_eq!((read.class, read.id), (entry.class, entry.id));
        for length in 0..good.len() {
            assert!(KeyEntry::decode(&good[..length]).is_err(), "cut off after {length}");
        }
        assert!(KeyEntry::decode(&[good.as_slice(), &[0]].concat()).is_err());
        // Another form of class over the same bytes.
        for form in (0..16).filter(|form| form << 4 | 2 != good[77]) {
            let mut bytes = good.to_vec();
            bytes[77] = form << 4 | 2;
            assert!(KeyEntry::decode(&bytes).is_err(), "form {form}");
        }
    }
    let good = entry(class("marketing", "2026-12-31")).encode();
    for (at, to) in [(good.len() - 2, 13), (good.len() - 1, 32), (94, 0), (95, b' '), (77, 0x33)] {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        assert!(KeyEntry::decode(&bytes).is_err(), "byte {at} is {to}");
    }
}

/// No two of stream and class have one place, however their bytes could be cut.
#[tokio::test]
async fn no_class_and_stream_stand_at_the_place_of_others() {
    let vault = over(&tree());
    let naming = &vault.shared().naming;
    let hash = naming.subject(&subject("user-1"));
    let categories = ["", "a", "b", "ab"];
    let periods = ["", "2026-12-31", "2027-12-31"];
    let mut seen = BTreeSet::new();
    for of in ["a", "b", "ab", "ba", "\u{3}a"] {
        let Ok(of) = StreamName::new(of) else { continue };
        for category in categories {
            for period in periods {
                let place = naming.key(&hash, &of, &class(category, period), Generation(1));
                assert_eq!(place.len(), 38);
                assert!(places::keys(&hash).contains(&place));
                assert!(naming.leads_to(naming.mint(&place).unwrap(), &place));
                assert!(seen.insert(place));
            }
        }
    }
    assert_eq!(seen.len(), 4 * 12);
}
