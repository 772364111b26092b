//! The vault of the vectors: its eras, its keys, living and dead, and those that it does not have.

use std::sync::LazyLock;

use super::*;
use crate::{
    event::ErasureId,
    vault::{Vault, VectorKey, VectorVault},
};

pub(super) const VAULT: Uuid = Uuid::from_u128(0x8863_13e1_3b8a_4372_9b90_0c9a_ee19_9e5d);
pub(super) const OTHER_VAULT: Uuid = Uuid::from_u128(0x0f0e_0d0c_0b0a_4908_8706_0504_0302_0100);
const ERASURE: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

/// The eras that the vault knows, in their order.
pub(super) const FIRST: Era = Era([0x0e, 0x7a, 0x00, 0x02]);
pub(super) const ERA: Era = Era([0x0e, 0x7a, 0x00, 0x03]);
/// One that it does not know: it was put back to before that.
pub(super) const LATER: Era = Era([0x0e, 0x7a, 0x00, 0x04]);
/// One of the other vault's.
pub(super) const THEIRS: Era = Era([0x1b, 0x2c, 0x3d, 0x4e]);

/// Keys, by what happened to them.
pub(super) const OWN: u8 = 1;
/// Of the events of somebody else in the same stream.
pub(super) const OTHERS: u8 = 2;
pub(super) const DEAD: u8 = 3;
pub(super) const OTHERS_DEAD: u8 = 4;
/// Spared when its generation died, and lost since.
pub(super) const LOST: u8 = 5;
/// The vault never made it, though it knows the era.
pub(super) const NEVER: u8 = 6;
/// Of an era that the vault does not know.
pub(super) const OF_LATER: u8 = 7;
pub(super) const OF_THEIRS: u8 = 8;
/// It lives, and is of an earlier era.
pub(super) const OLD: u8 = 9;

static KEYS: LazyLock<Vec<VectorKey>> = LazyLock::new(|| {
    let (own, other, third) = ("user-456", "user-789", "user-815");
    let keys = [
        (identity(), ERA, own, 2),
        (identity(), ERA, other, 2),
        (identity(), ERA, own, 1),
        (identity(), FIRST, third, 1),
        (identity(), ERA, own, 1),
        (identity(), ERA, own, 9),
        (identity(), LATER, own, 3),
        (counting(0x70), THEIRS, own, 1),
        (identity(), FIRST, other, 1),
    ];
    let key = |(number, (identity, era, subject, generation))| {
        let place = (STREAM, subject, generation);
        VectorKey::new(&identity, (era, of_era(era)), place, (secret(number), [number; 3]))
    };
    (1..).zip(keys).map(key).collect()
});

static OPEN: LazyLock<Vault> = LazyLock::new(|| {
    let dead = [DEAD, OTHERS_DEAD].map(|number| (vector_key(number), ErasureId(ERASURE)));
    let vault = VectorVault {
        id: VAULT,
        identity: identity(),
        eras: [FIRST, ERA].map(|era| (era, of_era(era))).into(),
        keys: living().collect(),
        dead: dead.into(),
        lost: vec![(vector_key(LOST), ErasureId(ERASURE))],
    };
    vault.open()
});

/// The vault itself.
pub(super) fn vault() -> Vault {
    OPEN.clone()
}

fn identity() -> [u8; 32] {
    counting(0)
}

fn secret(number: u8) -> [u8; 32] {
    counting(number.wrapping_mul(0x11))
}

/// The secret of an era.
pub(super) fn of_era(era: Era) -> [u8; 32] {
    counting(era.0[3].wrapping_add(0xc0))
}

fn vector_key(number: u8) -> &'static VectorKey {
    &KEYS[usize::from(number) - 1]
}

fn living() -> impl Iterator<Item = &'static VectorKey> {
    [OWN, OTHERS, OLD].into_iter().map(vector_key)
}

pub(super) fn id(number: u8) -> KeyId {
    vector_key(number).id
}

pub(super) fn key(number: u8) -> DataKey {
    let VectorKey { id, secret, .. } = vector_key(number);
    DataKey::from_bytes(*id, secret)
}

/// A living key with this id.
pub(super) fn living_key(id: KeyId) -> Option<DataKey> {
    living().find(|key| key.id == id).map(|key| DataKey::from_bytes(id, &key.secret))
}

/// A file of vectors: the vault, as a reader needs it, and these members.
pub(super) fn file(members: Value) -> Value {
    let key = |key: &VectorKey| {
        json!({
            "id": key.id, "secret": hex(&key.secret), "subject": key.subject.as_str(),
            "stream": key.stream.as_str(), "generation": key.generation,
        })
    };
    let era = |era: Era| json!({ "era": era, "secret": hex(&of_era(era)) });
    let mut file = json!({
        "vault": VAULT.to_string(),
        "identity": hex(&identity()),
        "eras": Value::from([FIRST, ERA].map(era).to_vec()),
        "keys": Value::from_iter(living().map(key)),
        "fences": [
            {
                "subject": vector_key(DEAD).subject.as_str(),
                "dead": [[1, 1, ERASURE.to_string()]],
                "spared": [[1, id(LOST)]],
            },
            {
                "subject": vector_key(OTHERS_DEAD).subject.as_str(),
                "dead": [[1, 1, ERASURE.to_string()]],
                "spared": [],
            },
        ],
    });
    let (Some(file_members), Value::Object(members)) = (file.as_object_mut(), members) else {
        panic!("both are objects");
    };
    file_members.extend(members);
    file
}
