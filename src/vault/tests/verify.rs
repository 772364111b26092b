//! Judging a vault: every trouble that is planted is told, by its kind, and nothing else is.

use super::{
    claims::{claim, owned},
    *,
};
use crate::{
    event::{EventId, OwnerChange},
    vault::{
        KeyTrouble, Trouble,
        records::{
            disk::Disk, entries::KeyEntry, eras::Eras, fence::FenceRecord, naming::Naming, places,
        },
        tree::Value,
    },
};

/// What is wrong with a vault, each in a few words.
pub(in crate::vault) fn troubles(vault: &Vault) -> Vec<String> {
    let mut told = Vec::new();
    vault
        .judge(false, &mut |trouble| told.push(in_words(&trouble)), &mut |part| {
            assert!((0.0..=1.0).contains(&part));
        })
        .unwrap();
    told
}

fn in_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Flaw(_) => "flaw".into(),
        Trouble::Value { at, why } => format!("value: {at}: {why}"),
        Trouble::Key { stream, why, .. } => {
            let why = match why {
                KeyTrouble::Dead(_) => "dead",
                KeyTrouble::Misplaced => "misplaced",
                KeyTrouble::Twice => "twice",
                KeyTrouble::Worn(_) => "worn",
                KeyTrouble::NeverBegun(_) => "never begun",
            };
            format!("key of {stream}: {why}")
        }
        Trouble::SparedMissing(id) => format!("spared {id}: missing"),
        Trouble::EdgeMissing { subject, owner } => format!("{subject} → {owner}: missing"),
        Trouble::EdgeStale { subject, .. } => format!("{subject}: stale"),
        Trouble::ForgottenNamed { subject } => format!("{subject} names the forgotten"),
        Trouble::Unsettled { subject, .. } => format!("{subject}: unsettled"),
        Trouble::Contradiction { why, .. } => (*why).into(),
    }
}

fn add(owner: &str) -> OwnerChange {
    OwnerChange::Add(subject(owner))
}

/// Two people; the account of one; a claim that was withdrawn; somebody who is forgotten, one who
/// was reopened since.
async fn filled() -> (Arc<Tree>, Vault) {
    let tree = tree();
    let vault = over(&tree);
    for of in ["user-1", "user-2", "user-3", "user-4", "account-1"] {
        key(&vault, of, of).await.unwrap();
    }
    key(&vault, "room-1", "user-1").await.unwrap();
    owned(&vault, "account-1", add("user-1"), true).await.unwrap();
    owned(&vault, "account-1", add("user-2"), false).await.unwrap();
    owned(&vault, "account-1", OwnerChange::Replace(subject("user-2")), true).await.unwrap();
    key(&vault, "account-1", "account-1").await.unwrap();
    forget(&vault, "user-3").await;
    forget(&vault, "user-4").await;
    vault.reopen(&subject("user-4")).await.unwrap();
    key(&vault, "user-4", "user-4").await.unwrap();
    vault.flush().await.unwrap();
    (tree, vault)
}

fn naming(tree: &Arc<Tree>) -> Naming {
    Naming::new(tree.identity(), Eras::load(&Disk::new(Arc::clone(tree))).unwrap())
}

/// The place and entry of a subject's first key.
fn first_key(tree: &Arc<Tree>, whose: &str) -> (Vec<u8>, KeyEntry) {
    let keys = places::keys(&naming(tree).subject(&subject(whose)));
    let (place, value) = tree.range(&keys.start, &keys.end, 1).unwrap().pop().unwrap();
    (place, KeyEntry::decode(&value).unwrap())
}

fn put(tree: &Tree, place: Vec<u8>, value: impl AsRef<[u8]>) {
    tree.put(vec![(place, Some(Value::new(value.as_ref().to_vec())))]).unwrap();
}

#[tokio::test]
async fn a_vault_that_is_whole_has_no_troubles() {
    let (_tree, vault) = filled().await;
    assert_eq!(troubles(&vault), [] as [&str; 0]);
}

#[tokio::test]
async fn a_key_behind_its_fence_is_told() {
    let (tree, vault) = filled().await;
    let (place, entry) = first_key(&tree, "user-2");
    forget(&vault, "user-2").await;
    assert_eq!(troubles(&vault), [] as [&str; 0]);
    put(&tree, place, entry.encode());
    assert_eq!(troubles(&vault), ["key of user-2: dead"]);
}

#[tokio::test]
async fn a_key_whose_id_leads_elsewhere_is_told() {
    let (tree, vault) = filled().await;
    let (place, entry) = first_key(&tree, "user-2");
    let (_, other) = first_key(&tree, "user-4");
    put(&tree, place.clone(), KeyEntry { id: other.id, ..entry.clone() }.encode());
    assert_eq!(troubles(&vault), ["key of user-2: misplaced"]);
    put(&tree, place.clone(), KeyEntry { subject: subject("user-9"), ..entry.clone() }.encode());
    assert!(troubles(&vault).contains(&"key of user-2: misplaced".to_owned()));
    put(&tree, place, entry.encode());
    assert_eq!(troubles(&vault), [] as [&str; 0]);
}

#[tokio::test]
async fn two_keys_with_one_id_are_told() {
    let (tree, vault) = filled().await;
    // Of one subject, in two streams whose hashes begin alike: so that both places fit the id.
    let (_, entry) = first_key(&tree, "user-2");
    let hash = naming(&tree).subject(&subject("user-2"));
    let mut by_prefix = std::collections::HashMap::new();
    let (one, two) = (0..)
        .find_map(|i| {
            let name = stream(&format!("stream-{i}"));
            let place = naming(&tree).key(&hash, &name, &entry.class, entry.generation);
            by_prefix.insert(place[18..20].to_vec(), name.clone()).map(|earlier| (earlier, name))
        })
        .unwrap();
    let id = naming(&tree)
        .mint(&naming(&tree).key(&hash, &one, &entry.class, entry.generation))
        .unwrap();
    for name in [one, two] {
        let place = naming(&tree).key(&hash, &name, &entry.class, entry.generation);
        put(&tree, place, KeyEntry { id, stream: name, ..entry.clone() }.encode());
    }
    let told = troubles(&vault);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(": twice"));
}

#[tokio::test]
async fn a_key_that_sealed_too_much_and_one_never_begun_are_told() {
    let (tree, vault) = filled().await;
    let (place, entry) = first_key(&tree, "user-2");
    put(&tree, place.clone(), KeyEntry { reserved: 1 << 32, ..entry.clone() }.encode());
    assert_eq!(troubles(&vault), [] as [&str; 0]);
    put(&tree, place.clone(), KeyEntry { reserved: (1 << 32) + 1, ..entry.clone() }.encode());
    assert_eq!(troubles(&vault), ["key of user-2: worn"]);
    put(&tree, place, entry.encode());

    let generation = Generation(7);
    let hash = naming(&tree).subject(&subject("user-2"));
    let place = naming(&tree).key(&hash, &entry.stream, &entry.class, generation);
    let id = naming(&tree).mint(&place).unwrap();
    put(&tree, place, KeyEntry { id, generation, ..entry }.encode());
    assert_eq!(troubles(&vault), ["key of user-2: never begun"]);
}

#[tokio::test]
async fn owner_edges_must_agree_in_both_directions() {
    let (tree, vault) = filled().await;
    let names = naming(&tree);
    let hash = |name: &str| names.subject(&subject(name));
    let edge = places::dependent(&hash("user-2"), &hash("account-1"));
    let name = tree.get(&edge).unwrap();
    tree.put(vec![(edge.clone(), None)]).unwrap();
    assert_eq!(troubles(&vault), ["account-1 → user-2: missing"]);
    tree.put(vec![(edge, name)]).unwrap();

    // Who was named by a claim that was withdrawn is named as a former one: no trouble. Who
    // never was, is stale.
    put(&tree, places::dependent(&hash("user-4"), &hash("account-1")), "account-1");
    assert_eq!(troubles(&vault), ["account-1: stale"]);
    put(&tree, places::dependent(&hash("user-4"), &hash("account-1")), "account-2");
    assert!(troubles(&vault)[0].ends_with("it is the name of another subject"));
}

#[tokio::test]
async fn a_forgotten_owner_who_is_still_named_is_told() {
    let (tree, vault) = filled().await;
    let names = naming(&tree);
    let hash = |name: &str| names.subject(&subject(name));
    // As if an erasure had left the names.
    let record = places::beginning_with(&places::record(&hash("account-1")));
    let before = tree.range(&record.start, &record.end, 9).unwrap();
    forget(&vault, "user-1").await;
    assert_eq!(troubles(&vault), [] as [&str; 0]);
    tree.put(before.into_iter().map(|(place, value)| (place, Some(value))).collect()).unwrap();
    let told = troubles(&vault);
    assert!(told.contains(&"account-1 names the forgotten".to_owned()), "{told:?}");
    assert!(told.contains(&"account-1 → user-1: missing".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_claim_that_nobody_settled_is_told() {
    let (_tree, vault) = filled().await;
    vault.claim(&[claim("user-4", EventId::random(), add("user-1"))]).await.unwrap();
    assert_eq!(troubles(&vault), ["user-4: unsettled"]);
}

#[tokio::test]
async fn what_does_not_have_its_form_or_stands_where_nothing_should_is_told() {
    let (tree, vault) = filled().await;
    let hash = naming(&tree).subject(&subject("user-2"));
    let (place, entry) = first_key(&tree, "user-2");
    put(&tree, place.clone(), b"\x01 no key");
    assert!(troubles(&vault)[0].starts_with("value: a key of "));
    put(&tree, place, entry.encode());

    let fence = [places::fence(&hash), vec![0; 4]].concat();
    put(&tree, fence.clone(), b"\0\0\0\x02no");
    assert!(troubles(&vault).iter().any(|told| told.starts_with("value: the fence of ")));
    let odd = FenceRecord { closed: true, ..FenceRecord::default() }.encode();
    put(&tree, fence.clone(), [&(odd.len() as u32).to_be_bytes()[..], &odd].concat());
    assert_eq!(troubles(&vault), ["its fence is closed, and no generation is dead"]);
    let mut odd = FenceRecord::default();
    odd.kill(Generation(1), Generation(1), ErasureId::now(), &Default::default());
    odd.spared.insert((Generation(2), KeyId([0; 20])), Some(ErasureId::now()));
    let odd = odd.encode();
    put(&tree, fence.clone(), [&(odd.len() as u32).to_be_bytes()[..], &odd].concat());
    let why = "its fence spares a key of a generation that is not dead";
    assert!(troubles(&vault).contains(&why.to_owned()));
    // A part of a value without the one before it.
    let second = [places::fence(&hash), vec![0, 0, 0, 2]].concat();
    tree.put(vec![(fence, None), (second.clone(), Some(Value::new(vec![1])))]).unwrap();
    assert!(troubles(&vault).iter().any(|told| told.ends_with("the part before it is missing")));
    tree.put(vec![(second, None)]).unwrap();

    for place in [vec![0], vec![1, 2, 3], vec![9; 20], [&[1], &hash[..], &[7]].concat()] {
        put(&tree, place.clone(), b"odd");
        let told = troubles(&vault);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("there should be nothing"));
        tree.put(vec![(place, None)]).unwrap();
    }
    assert_eq!(troubles(&vault), [] as [&str; 0]);
}
