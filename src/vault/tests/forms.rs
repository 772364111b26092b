//! The values of the tree, as bytes. Nothing of them is passed over: whatever is changed in one is refused, or
//! is another value.

use super::{classes::class, *};
use crate::{
    event::{Class, EventId, Timestamp},
    vault::{
        Owner, Tenure,
        records::{
            entries::{KeyEntry, Stated, SubjectRecord},
            fence::FenceRecord,
        },
    },
};

/// A form, with a value that has all that it can have.
struct Form {
    what: &'static str,
    version: u8,
    good: Vec<u8>,
    /// What is read, written again.
    again: fn(&[u8]) -> Result<Vec<u8>, VaultError>,
}

fn key_record(class: Class) -> Vec<u8> {
    let entry = KeyEntry {
        id: KeyId([7; 20]),
        secret: crate::crypto::Secret::copy_of(&[9; 32]),
        stream: stream("account-1"),
        subject: subject("user-1"),
        class,
        generation: Generation(3),
        created: Timestamp::from_micros(1_764_000_000_000_000),
        last_day: 20_000,
        reserved: 64,
        layout: Layout::Inline,
        policy: PolicyDigest(*b"policy 1"),
    };
    entry.encode().to_vec()
}

fn subjects_record() -> Vec<u8> {
    let event = |n| EventId(uuid::Uuid::from_u128(n));
    let owner = |name: Option<&str>, event| Owner { subject: name.map(subject), unsettled: event };
    let record = SubjectRecord {
        current: Generation(2),
        highest: Generation(4),
        tenures: vec![
            Tenure {
                from: Generation(1),
                unsettled: None,
                owners: vec![owner(None, None), owner(Some("user-1"), None)],
                any: true,
            },
            Tenure {
                from: Generation(3),
                unsettled: Some(event(1)),
                owners: vec![owner(Some("user-2"), Some(event(2)))],
                any: false,
            },
        ],
        stated: vec![
            Stated { event: event(1), content: Some([5; 16]), changes: vec![[6; 16]], begun: None },
            Stated {
                event: event(3),
                content: None,
                changes: vec![[7; 16], [8; 16]],
                begun: Some(Generation(2)),
            },
        ],
        former: vec![subject("user-3")],
        began: vec![(Generation(2), Timestamp::from_micros(1_764_000_000_000_000))],
    };
    record.encode().to_vec()
}

fn a_fence() -> Vec<u8> {
    let spared = [(Generation(1), KeyId([1; 20])), (Generation(2), KeyId([2; 20]))];
    let mut fence = FenceRecord { closed: true, ..FenceRecord::default() };
    fence.kill(Generation(1), Generation(2), ErasureId::now(), &spared.into());
    fence.kill(Generation(1), Generation(4), ErasureId::now(), &[spared[1]].into());
    fence.whole.push(ErasureId::now());
    fence.encode().to_vec()
}

fn forms() -> [Form; 4] {
    let key: fn(&[u8]) -> _ = |bytes| KeyEntry::decode(bytes).map(|read| read.encode().to_vec());
    [
        Form { what: "a key's entry", version: 1, good: key_record(Class::default()), again: key },
        Form {
            what: "a key's entry",
            version: 1,
            good: key_record(class("marketing", "2026-12-31")),
            again: key,
        },
        Form {
            what: "a subject's record",
            version: 3,
            good: subjects_record(),
            again: |bytes| SubjectRecord::decode(bytes).map(|read| read.encode().to_vec()),
        },
        Form {
            what: "a fence",
            version: 1,
            good: a_fence(),
            again: |bytes| FenceRecord::decode(bytes).map(|read| read.encode().to_vec()),
        },
    ]
}

/// Whether the error calls the value damaged by its name.
fn called_damaged(read: &Result<Vec<u8>, VaultError>, what: &str) -> bool {
    matches!(read, Err(VaultError::Damaged(told)) if told.contains(what))
}

#[test]
fn no_bit_of_a_value_is_passed_over() {
    for Form { what, good, again, .. } in forms() {
        assert_eq!(again(&good).unwrap(), good, "{what}");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match again(&bytes) {
                Ok(read) => assert_eq!(read, bytes, "{what}, bit {bit}"),
                Err(VaultError::NewerFormat { .. }) => assert!(bit < 8, "{what}, bit {bit}"),
                Err(VaultError::UnknownClass(_)) => assert_eq!(bit / 8, 77, "{what}, bit {bit}"),
                read => assert!(called_damaged(&read, what), "{what}, bit {bit}: {read:?}"),
            }
        }
    }
}

#[test]
fn a_value_that_is_cut_or_has_a_byte_more_or_less_is_refused() {
    for Form { what, good, again, .. } in forms() {
        for length in 0..good.len() {
            let read = again(&good[..length]);
            assert!(called_damaged(&read, what), "{what}, cut to {length}: {read:?}");
        }
        for byte in [0, 1, 255] {
            let read = again(&[good.as_slice(), &[byte]].concat());
            assert!(called_damaged(&read, what), "{what}: {read:?}");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes.remove(at);
            let read = again(&bytes);
            assert!(read.is_err(), "{what}, without byte {at}: {read:?}");
        }
    }
}

#[test]
fn a_value_of_another_version_is_refused_and_a_newer_one_by_its_number() {
    for Form { what, version: known, good, again } in forms() {
        for version in (0..=u8::MAX).filter(|version| *version != known) {
            let read = again(&[&[version], &good[1..]].concat());
            match read {
                Err(VaultError::NewerFormat { what: told, found, known: ours }) => {
                    assert_eq!(told, what);
                    assert!(version > known, "{what} {version}");
                    assert_eq!((found, ours), (u32::from(version), u32::from(known)), "{what}");
                }
                read => assert!(version < known && called_damaged(&read, what), "{what} {version}"),
            }
        }
    }
}
