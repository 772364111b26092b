//! What the decisions say of bytes within the vault. Where one of these changes, so does the sentence.

use super::{classes::class, *};
use crate::{
    event::{Class, EventId, Timestamp},
    vault::{
        MemoKind, Owner, Tenure,
        records::{
            disk,
            entries::{KeyEntry, Stated, SubjectRecord},
            fence::FenceRecord,
            memos, places,
        },
        root::{SECTOR_BYTES, SECTORS_APART},
    },
};

fn key_of(class: Class) -> usize {
    let entry = KeyEntry {
        id: KeyId([7; 20]),
        secret: crate::crypto::Secret::copy_of(&[9; 32]),
        stream: stream("user-456"),
        subject: subject("user-456"),
        class,
        generation: Generation(1),
        created: Timestamp::now(),
        last_day: 20_000,
        reserved: 64,
        layout: Layout::Inline,
        policy: PolicyDigest(*b"policy 1"),
    };
    entry.encode().len()
}

/// Decision 25, and 5 before it.
#[test]
fn keys_and_fences_have_the_bytes_that_decisions_5_and_25_say() {
    let [plain, category, period, both] = [
        class("", ""),
        class("marketing", ""),
        class("", "2031-12-31"),
        class("marketing", "2031-12-31"),
    ]
    .map(key_of);
    assert_eq!((plain, category - plain, period - plain, both - plain), (96, 10, 4, 14));

    let fence = |spared: &[(Generation, KeyId)], later: bool| {
        let mut fence = FenceRecord { closed: true, ..FenceRecord::default() };
        let erasure = ErasureId::now();
        fence.kill(Generation(1), Generation(3), erasure, &spared.iter().copied().collect());
        fence.whole.push(ErasureId::now());
        if later {
            fence.kill(Generation(1), Generation(3), ErasureId::now(), &[].into());
        }
        fence.encode().len()
    };
    let spared = [1, 2].map(|n| (Generation(n), KeyId([n as u8; 20])));
    let none = fence(&[], false);
    let mut again = FenceRecord { closed: true, ..FenceRecord::default() };
    for generation in [1, 2] {
        let erasure = ErasureId::now();
        again.kill(Generation(generation), Generation(generation), erasure, &[].into());
        again.whole.push(erasure);
    }
    assert_eq!(again.encode().len() - none, 40);
    assert_eq!((none, fence(&spared[..1], false) - none), (50, 4 + 25));
    assert_eq!(fence(&spared, false) - none, 4 + 2 * 25);
    assert_eq!(fence(&spared, true) - none, 4 + 2 * 41);
}

/// Decision 17: of what an event states a record keeps 41 bytes, and 16 for each change. While its claim is open, 16
/// more for each owner whom it adds, and for a change of hands.
#[test]
fn what_an_event_states_has_the_bytes_that_decision_17_says() {
    let event = EventId(uuid::Uuid::from_u128(1));
    let with = |stated: Vec<Stated>, unsettled: Option<EventId>| {
        let owner = Owner { subject: Some(subject("user-1")), unsettled };
        let from = Generation(1);
        let record = SubjectRecord {
            current: from,
            highest: from,
            tenures: vec![Tenure { from, unsettled, owners: vec![owner], any: false }],
            stated,
            former: vec![],
            began: vec![],
        };
        record.encode().len()
    };
    let stated = |changes| {
        vec![Stated { event, content: Some([5; 16]), changes: vec![[6; 16]; changes], begun: None }]
    };
    let nothing = with(vec![], None);
    assert_eq!([0, 1, 2].map(|n| with(stated(n), None) - nothing), [41, 57, 73]);
    assert_eq!(with(vec![], Some(event)) - nothing, 2 * 16);
}

/// Decisions 19, 29 and 30.
#[test]
fn small_notes_have_the_bytes_that_decisions_19_and_29_say() {
    let memo = |kind, content: usize| {
        let stored = memos::stored(&vec![7; content]);
        let (place, value) = disk::parts(&places::memo(kind, &[1; 16]), &stored).unwrap().remove(0);
        (place.len(), value.unwrap().len())
    };
    // Of a dependent's pseudonym and an instant; and of a digest.
    assert_eq!(memo(MemoKind::Claim, 16 + 8), (22, 29));
    assert_eq!(memo(MemoKind::Owners, 8), (22, 13));
}

/// Decision 15: the slot's sectors.
#[test]
fn a_root_slot_has_the_bytes_that_decision_15_says() {
    assert_eq!((SECTOR_BYTES, SECTORS_APART), (4096, 1 << 20));
}
