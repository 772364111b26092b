//! Makes the vectors of backups of `docs/format.md`, and checks that what is committed is what is written today, and is
//! read as it says. Only age's own randomness is new each time: `backup.age` is made where it is missing, and else
//! it is opened.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    crypto::Secret,
    event::{
        Announcement, Class, Era, ErasureId, Generation, KeyId, Layout, PolicyDigest, VaultId,
        framed,
    },
    layer::document::vectors::{are_committed, committed, hex, is_wanted, path},
    vault::{
        BackupId, History,
        backup::format::{Header, WASH_BYTES, Writer},
        history_as_vector,
        records::{
            delta::Delta,
            disk,
            entries::KeyEntry,
            eras::{EraKeys, Eras},
            fence::FenceRecord,
            memos,
            naming::Naming,
            places,
        },
        tests::classes::class,
    },
};

/// Of the bytes 1 to 32, and of the bytes 2 to 33.
const IDENTITY: &str = "AGE-SECRET-KEY-1QYPQXPQ9QCRSSZG2PVXQ6RS0ZQG3YYC5Z5TPWXQERGD3C8G7RUSQGPQYEE";
const STRANGER: &str = "AGE-SECRET-KEY-1QGPSGPGXQUYQJZSTPSXSURCSZYFPX9Q4ZCT3SXG6RVWP68SLYQSSZWAS0C";
const VAULT: &str = "886313e1-3b8a-4372-9b90-0c9aee199e5d";
const BACKUP: &str = "019ac9d0-5400-7000-8000-000000000001";
const ERASURE: &str = "019ac8f5-0000-7000-8000-000000000002";
const ERA: Era = Era([0x0e, 0x7a, 0x00, 0x03]);
const MADE: i64 = 1_764_331_200_000_000;

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|at| from.wrapping_add(at as u8))
}

fn age_identity(text: &str) -> age::x25519::Identity {
    text.parse().unwrap()
}

fn naming() -> Naming {
    let era = EraKeys::new(ERA, 1, &Secret::copy_of(&counting::<32>(0x60)));
    Naming::new(&Secret::copy_of(&counting::<32>(0)), Eras::over(vec![era]))
}

fn header() -> Header {
    Header {
        vault: VaultId(VAULT.parse().unwrap()),
        backup: BackupId(BACKUP.parse().unwrap()),
        created: Timestamp::from_micros(MADE),
        expires: Timestamp::from_micros(MADE + 90 * DAY),
        epoch: 17,
        identity: Secret::copy_of(&counting::<32>(0)),
    }
}

/// A key, and where it belongs.
fn a_key(number: u8, of: &str, whose: &str, generation: u32, class: Class) -> (Vec<u8>, KeyEntry) {
    let naming = naming();
    let mut entry = KeyEntry {
        id: KeyId([0; 20]),
        secret: Secret::copy_of(&counting::<32>(number.wrapping_mul(0x20))),
        stream: stream(of),
        subject: subject(whose),
        class,
        generation: Generation(generation),
        created: Timestamp::from_micros(MADE - DAY),
        last_day: 20_419,
        reserved: 64,
        layout: [Layout::Sealed, Layout::Inline, Layout::Split][usize::from(number % 3)],
        policy: PolicyDigest(*b"POLICY01"),
    };
    let place = naming.place_of(&entry);
    entry.id = naming.mint_as_vector(&place, [number; 3]);
    (place, entry)
}

/// What a backup says, to be changed and written.
#[derive(Clone)]
struct Said {
    walk: BTreeMap<Vec<u8>, Vec<u8>>,
    changes: Vec<Delta>,
}

impl Said {
    fn note(&mut self, kind: MemoKind, id: [u8; 16], content: &[u8]) {
        self.whole(&places::memo(kind, &id), &memos::stored(content));
    }

    fn whole(&mut self, stem: &[u8], value: &[u8]) {
        for (place, part) in disk::parts(stem, value).unwrap() {
            self.walk.insert(place, part.unwrap().to_vec());
        }
    }

    fn plaintext(&self) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &header()).unwrap();
        self.walk.iter().for_each(|(place, value)| writer.walked(place, value).unwrap());
        writer.end_of_walk().unwrap();
        self.changes.iter().for_each(|change| writer.change(change).unwrap());
        writer.end().unwrap()
    }

    /// The same with something else in the value at a place.
    fn with(&self, place: &[u8], change: impl Fn(&mut Vec<u8>)) -> Self {
        let mut said = self.clone();
        change(said.walk.get_mut(place).unwrap());
        said
    }

    /// The same without the value that begins at a place.
    fn without(&self, place: &[u8]) -> Self {
        let mut said = self.clone();
        said.walk.remove(place).unwrap();
        let stem = &place[..place.len() - 4];
        said.walk.retain(|other, _| other.len() != place.len() || !other.starts_with(stem));
        said
    }

    fn and(&self, place: &[u8], value: &[u8]) -> Self {
        let mut said = self.clone();
        assert!(said.walk.insert(place.to_vec(), value.to_vec()).is_none());
        said
    }
}

/// The history of the vectors of distrust: a successor is pinned, a key distrusted, and tombstones are still to be
/// set again.
fn history() -> Vec<u8> {
    let file = committed("distrust.json");
    let mut history = History::begin(file["keys"][0]["public"].as_str().unwrap().parse().unwrap());
    let began = history.signing_since();
    for vector in file["statements"].as_array().unwrap() {
        let said: Announcement = vector["line"].to_string().parse().unwrap();
        assert_eq!(history.learn(&said), Ok(true));
    }
    let text = String::from_utf8(memos::to_json(&history).unwrap().to_vec()).unwrap();
    let text = text.replacen(&began.to_string(), "2024-01-01T00:00:00Z", 1);
    let (text, due) = (text.strip_suffix('}').unwrap(), r#","retell":true}"#);
    let text = [text, due].concat();
    for member in ["\"successors\":[{", "\"distrusts\":[{"] {
        assert!(text.contains(member), "{member}");
    }
    history_as_vector(text.as_bytes()).unwrap();
    text.into_bytes()
}

/// The same with this changed in its text.
fn with_history(said: &Said, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(history()).unwrap();
    assert!(text.contains(from), "{from}");
    let place = part(&places::memo(MemoKind::SigningKeys, &[0; 16]));
    let mut said = said.without(&place);
    said.note(MemoKind::SigningKeys, [0; 16], text.replacen(from, to, 1).as_bytes());
    said.plaintext()
}

fn a_fence() -> FenceRecord {
    let (_, spared) = a_key(4, "ledger-7", "user-7", 1, class("", "2031-12-31"));
    let erasure = ErasureId(ERASURE.parse().unwrap());
    let mut fence = FenceRecord { closed: true, ..FenceRecord::default() };
    fence.kill(Generation(1), Generation(2), erasure, &[(spared.generation, spared.id)].into());
    fence.whole.push(erasure);
    fence
}

fn said() -> Said {
    let mut said = Said { walk: BTreeMap::new(), changes: Vec::new() };
    let keys = [
        a_key(1, "user-456", "user-456", 1, Class::default()),
        a_key(2, "account-1", "user-456", 2, class("marketing", "2026-12-31")),
        // Dead, and restored by nobody; spared, and restored.
        a_key(3, "user-7", "user-7", 2, Class::default()),
        a_key(4, "ledger-7", "user-7", 1, class("", "2031-12-31")),
        // Gone when the walk was over.
        a_key(5, "user-8", "user-8", 1, Class::default()),
        a_key(6, "user-9", "user-9", 1, Class::default()),
        a_key(7, "account-9", "user-9", 1, Class::default()),
    ];
    for (place, entry) in &keys {
        said.walk.insert(place.clone(), entry.encode().to_vec());
    }
    let names = naming();
    let of = |name: &str| names.subject(&subject(name));
    said.walk.insert(places::dependent(&of("user-456"), &of("account-1")), b"account-1".to_vec());
    said.whole(&places::fence(&of("user-7")), &a_fence().encode());
    let entry = Backup {
        backup: header().backup,
        created: header().created,
        expires: header().expires,
        epoch: 17,
        era: ERA,
        recipients: vec![age_identity(IDENTITY).to_public().to_string()],
        file: "backup.age".to_owned(),
        keys: None,
        retired: None,
    };
    said.note(MemoKind::Backup, *entry.backup.0.as_bytes(), &entry.to_memo().unwrap());
    said.note(MemoKind::SigningKeys, [0; 16], &history());
    said.note(MemoKind::Policy, [0; 16], policy().as_bytes());
    said.note(MemoKind::Era, era_id(), &counting::<32>(0x60));
    let (place, mut used) = a_key(1, "user-456", "user-456", 1, Class::default());
    used.reserved = 128;
    let (new, entry) = a_key(8, "user-10", "user-10", 1, Class::default());
    let all = places::subject_range(&of("user-9"));
    said.changes = vec![
        Delta::Value(place, used.encode()),
        Delta::Gone(keys[4].0.clone()),
        Delta::RangeGone(all.start, all.end),
        Delta::Value(new, entry.encode()),
        Delta::Value(keys[5].0.clone(), keys[5].1.encode()),
    ];
    said
}

/// In two parts.
fn policy() -> String {
    "# everything is personal\n".repeat(330)
}

fn era_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[11] = 1;
    id[12..].copy_from_slice(&ERA.0);
    id
}

/// Its first part.
fn part(stem: &[u8]) -> Vec<u8> {
    [stem, &[0; 4]].concat()
}

/// What is wrong with what is sealed properly: its name, the error, what the message says, the plaintext.
fn bad_plaintexts() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let said = said();
    let good = said.plaintext();
    let edited = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let content = good.len() - WASH_BYTES;
    let (key, _) = a_key(1, "user-456", "user-456", 1, Class::default());
    let (of_class, _) = a_key(2, "account-1", "user-456", 2, class("marketing", "2026-12-31"));
    let fence = part(&places::fence(&naming().subject(&subject("user-7"))));
    let catalogue = part(&places::memo(MemoKind::Backup, header().backup.0.as_bytes()));
    let signing = part(&places::memo(MemoKind::SigningKeys, &[0; 16]));
    let era = part(&places::memo(MemoKind::Era, &era_id()));
    let walk_ends = {
        // Before the changes, whose sum of lengths is known.
        let mut said = said.clone();
        said.changes.clear();
        said.plaintext().len() - WASH_BYTES - 17 - 1
    };
    let cut = |from: usize, to: usize| [&good[..from], &good[to..]].concat();
    let put = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at..]].concat();
    let first = 108; // After the header.
    let place = usize::from(good[first + 1]);
    let value = usize::from(u16::from_be_bytes([good[first + 2], good[first + 3]]));
    let second = first + 4 + place + value;
    let wrong = "does not have its form";
    let bad = vec![
        ("something else", "not a backup", "", edited(0, b'o')),
        ("format 0", "not a backup", "", edited(19, 0)),
        ("a newer format", "newer format", "", edited(19, 2)),
        ("cut within its header", "cut off", "", good[..60].to_vec()),
        ("cut within a value", "cut off", "", good[..first + 60].to_vec()),
        ("cut before its trailer", "cut off", "", good[..content - 17].to_vec()),
        ("cut before the zeros", "cut off", "", good[..content].to_vec()),
        ("a zero less", "cut off", "", good[..good.len() - 1].to_vec()),
        ("a zero more", "odd", "something follows its end", [&good[..], &[0]].concat()),
        ("a zero that is none", "odd", "something follows its end", edited(content + 7, 1)),
        ("an item of a kind that there is not", "odd", "not of its form", edited(first, 6)),
        ("a place is gone before the walk ends", "odd", "not of its form", {
            put(second, &[&[3, 38], key.as_slice()].concat())
        }),
        ("the walk ends twice", "odd", "not of its form", put(walk_ends, &[2])),
        ("the walk does not end", "odd", "not in order", cut(walk_ends, walk_ends + 1)),
        ("a place stands twice", "odd", "not in order", put(second, &good[first..second])),
        ("places in another order", "odd", "not in order", {
            let end = second
                + 4
                + usize::from(good[second + 1])
                + usize::from(u16::from_be_bytes([good[second + 2], good[second + 3]]));
            [&good[..first], &good[second..end], &good[first..second], &good[end..]].concat()
        }),
        ("a value is missing", "odd", "as much as it says", cut(first, second)),
        ("a change is missing", "odd", "as much as it says", {
            let mut less = said.clone();
            less.changes.pop();
            let mut bytes = less.plaintext();
            let count = bytes.len() - WASH_BYTES - 1;
            bytes[count] += 1;
            bytes
        }),
        ("another count of values", "odd", "as much as it says", edited(content - 9, 99)),
        ("a place of 65 bytes", "odd", "place in it is too long", edited(first + 1, 65)),
        ("a value of 16385 bytes", "odd", "value in it is too long", {
            let mut bytes = good.clone();
            bytes[first + 2..first + 4].copy_from_slice(&16_385_u16.to_be_bytes());
            bytes
        }),
        (
            "a kind of place that is not known",
            "unknown kind",
            "",
            said.and(&[4, 1], b"").plaintext(),
        ),
        ("a kind of subject's value that is not known", "unknown kind", "", {
            let mut place = key.clone();
            place[17] = 4;
            said.and(&place, b"").plaintext()
        }),
        ("a kind of note that is not known", "unknown kind", "", {
            said.and(&[&[3, 12][..], &[0; 20]].concat(), &[0, 0, 0, 1, 1]).plaintext()
        }),
        ("a newer note", "newer format", "", said.with(&catalogue, |memo| memo[4] = 2).plaintext()),
        ("a newer key", "newer format", "", said.with(&key, |key| key[0] = 2).plaintext()),
        ("a newer fence", "newer format", "", said.with(&fence, |fence| fence[4] = 2).plaintext()),
        ("a class of a form that is not known", "unknown class", "", {
            said.with(&of_class, |key| key[77] |= 0x40).plaintext()
        }),
        ("a key of version 0", "odd", wrong, said.with(&key, |key| key[0] = 0).plaintext()),
        (
            "a key that is cut",
            "odd",
            wrong,
            said.with(&key, |key| key.truncate(key.len() - 1)).plaintext(),
        ),
        ("a key with a byte more", "odd", wrong, said.with(&key, |key| key.push(0)).plaintext()),
        (
            "a key of a layout that there is not",
            "odd",
            wrong,
            said.with(&key, |key| key[77] |= 3).plaintext(),
        ),
        ("a key of a subject that is no name", "odd", wrong, {
            said.with(&key, |key| key[87] = b' ').plaintext()
        }),
        ("a key at the place of another generation", "odd", "not its own", {
            said.with(&key, |key| key[56] += 1).plaintext()
        }),
        ("a key at the place of another subject", "odd", "not its own", {
            said.with(&key, |key| key[94] = b'7').plaintext()
        }),
        ("a key at the place of another class", "odd", "not its own", {
            let mut place = of_class.clone();
            place[18..34].copy_from_slice(&key[18..34]);
            let moved = said.walk[&of_class].clone();
            said.without(&of_class).and(&place, &moved).plaintext()
        }),
        ("a fence with a flag that there is not", "odd", wrong, {
            said.with(&fence, |fence| fence[5] |= 4).plaintext()
        }),
        ("a fence whose span ends before it begins", "odd", wrong, {
            said.with(&fence, |fence| fence[13] = 3).plaintext()
        }),
        ("a part of a fence is missing", "odd", "a part of a value is missing", {
            said.with(&fence, |fence| fence[3] += 1).plaintext()
        }),
        ("it is not in its own catalogue", "odd", "not in its own catalogue", {
            said.without(&catalogue).plaintext()
        }),
        ("a catalogue in another spelling", "odd", wrong, {
            let spaced = |memo: &mut Vec<u8>| {
                memo.insert(6, b' ');
                memo[3] += 1;
            };
            said.with(&catalogue, spaced).plaintext()
        }),
        (
            "a note of version 0",
            "odd",
            wrong,
            said.with(&catalogue, |memo| memo[4] = 0).plaintext(),
        ),
        ("no history of signing keys", "odd", "no history of signing keys", {
            said.without(&signing).plaintext()
        }),
        ("a history of signing keys with a gap", "odd", "has a gap", {
            let flip = |memo: &mut Vec<u8>| {
                let at = memo.windows(7).position(|text| text == b"\"sig\":\"").unwrap() + 12;
                memo[at] = if memo[at] == b'A' { b'B' } else { b'A' };
            };
            said.with(&signing, flip).plaintext()
        }),
        ("a history that says no more why a key is stolen", "odd", wrong, {
            let text = String::from_utf8(history()).unwrap();
            let (begins, ends) =
                (text.find(",\"distrusts\"").unwrap(), text.find(",\"due\"").unwrap());
            with_history(&said, &text[begins..ends], "")
        }),
        ("a history in which the key that is distrusted is not called so", "odd", wrong, {
            with_history(&said, ",\"compromised\":\"2026-10-01T00:00:00Z\"", "")
        }),
        ("a history with a member that is unknown", "odd", wrong, {
            with_history(&said, ",\"retell\":true", ",\"retell\":true,\"more\":true")
        }),
        ("a history that says what goes without saying", "odd", wrong, {
            with_history(&said, ",\"retell\":true", ",\"retell\":false")
        }),
        ("a history in which a key signs since an instant in another spelling", "odd", wrong, {
            with_history(&said, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.0Z")
        }),
        ("an era whose secret is cut", "odd", "the secret of an era", {
            let cut = |memo: &mut Vec<u8>| {
                memo.pop();
                memo[3] -= 1;
            };
            said.with(&era, cut).plaintext()
        }),
        ("an era without a number", "odd", "the secret of an era", {
            let mut place = era.clone();
            place[13] = 0;
            let memo = said.walk[&era].clone();
            said.without(&era).and(&place, &memo).plaintext()
        }),
    ];
    bad
}

/// What is wrong with a file: its name, the error, the file.
fn bad_files(file: &[u8]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let flipped = |at: usize| {
        let mut bytes = file.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    // Of what is in base64.
    let another = |at: usize| {
        let mut bytes = file.to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let header = file.windows(5).position(|bytes| bytes == b"\n--- ").unwrap();
    let payload = header + 1 + 4 + 43 + 1;
    let last = payload + 16 + 65_536 + 16;
    let share = file.windows(10).position(|bytes| bytes == b"-> X25519 ").unwrap() + 10;
    vec![
        ("a diary", "not age", b"a diary, or a tar archive".to_vec()),
        ("the first line", "not age", flipped(0)),
        ("a later version of age", "not age", flipped(20)),
        ("another share of the key", "other recipient", another(share + 5)),
        ("another wrapped key", "other recipient", another(share + 50)),
        ("another tag of the header", "damaged", another(header + 10)),
        ("a bit of the nonce", "damaged", flipped(payload + 3)),
        ("a bit of the first chunk", "damaged", flipped(payload + 16 + 1000)),
        ("a bit of the last chunk", "cut off", flipped(last + 10)),
        ("a byte more", "cut off", [file, &[0]].concat()),
        ("nothing", "cut off", Vec::new()),
        ("cut within the header", "cut off", file[..share + 20].to_vec()),
        ("cut after the header", "cut off", file[..payload].to_vec()),
        ("cut within the nonce", "cut off", file[..payload + 7].to_vec()),
        ("cut after the first chunk", "cut off", file[..last].to_vec()),
        ("cut within the last chunk", "cut off", file[..last + 40].to_vec()),
        ("cut by a byte", "cut off", file[..file.len() - 1].to_vec()),
    ]
}

/// What differs, between what is the same at the beginning and at the end.
fn difference(good: &[u8], bad: &[u8], from: usize) -> Option<Value> {
    let at = good.iter().zip(bad).take_while(|(one, other)| one == other).count();
    let most = good.len().min(bad.len()) - at;
    let same = good.iter().rev().zip(bad.iter().rev()).take_while(|(one, other)| one == other);
    let same = same.count().min(most);
    let put = hex(&bad[at..bad.len() - same]);
    let differs = at + same < good.len() || !put.is_empty();
    differs.then(|| json!({ "at": from + at, "cut": good.len() - same - at, "put": put }))
}

/// The differences between two plaintexts: those of the trailers apart, where both have one.
fn differences(good: &[u8], bad: &[u8]) -> Vec<Value> {
    let trailer = WASH_BYTES + 17;
    let (good, good_end) = good.split_at(good.len() - trailer);
    let (bad, bad_end) = bad.split_at(bad.len().saturating_sub(trailer));
    if bad_end.first() != Some(&5) {
        return Vec::from_iter(difference(&[good, good_end].concat(), &[bad, bad_end].concat(), 0));
    }
    let differences = [difference(good, bad, 0), difference(good_end, bad_end, good.len())];
    differences.into_iter().flatten().collect()
}

fn named<T>(read: Result<T, BackupError>) -> (&'static str, String) {
    let Err(error) = read else { return ("good", String::new()) };
    let name = match &error {
        BackupError::NotAge(_) => "not age",
        BackupError::OtherRecipient(_) => "other recipient",
        BackupError::Damaged(_) => "damaged",
        BackupError::CutOff(_) => "cut off",
        BackupError::NotABackup(_) => "not a backup",
        BackupError::Odd { .. } => "odd",
        BackupError::Vault(VaultError::NewerFormat { .. }) => "newer format",
        BackupError::Vault(VaultError::UnknownKind(_)) => "unknown kind",
        BackupError::Vault(VaultError::UnknownClass(_)) => "unknown class",
        other => panic!("{other:?}"),
    };
    (name, error.to_string())
}

fn read(place: &Place, file: &[u8]) -> Result<VerifiedBackup, BackupError> {
    std::fs::write(place.path("vector.age"), file).unwrap();
    place.read("vector.age")
}

/// A folder whose identity is the one of the vectors.
fn place() -> Place {
    let place = Place { identity: age_identity(IDENTITY), dir: tempfile::tempdir().unwrap() };
    place.write_identity("key", &place.identity);
    place
}

fn opened(backup: &VerifiedBackup) -> Value {
    let values: Vec<_> = backup.values().unwrap().map(Result::unwrap).collect();
    let keys = values.iter().filter(|(place, _)| places::is_key(place)).map(|(_, value)| {
        let key = KeyEntry::decode(value).unwrap();
        json!({
            "id": hex(&key.id.0), "secret": hex(key.secret.as_slice()), "stream": key.stream,
            "subject": key.subject, "category": key.class.category, "period": key.class.period,
            "generation": key.generation.0, "created": key.created, "lastDay": key.last_day,
            "reserved": key.reserved, "layout": format!("{:?}", key.layout).to_lowercase(),
            "policy": hex(&key.policy.0),
        })
    });
    let all: Vec<_> = values.iter().flat_map(|(place, value)| [place.as_slice(), value]).collect();
    let fence = a_fence();
    let spans = fence.dead.iter().map(|(from, to, by)| json!([from.0, to.0, by]));
    let spared = fence.spared.iter().map(|((at, id), by)| json!([at.0, hex(&id.0), by]));
    json!({
        "vault": backup.vault().to_string(), "backup": backup.backup().to_string(),
        "created": backup.created(), "expires": backup.expires(), "epoch": backup.header.epoch,
        "identity": hex(backup.header.identity.as_slice()),
        "entry": String::from_utf8(backup.entry.to_memo().unwrap().to_vec()).unwrap(),
        "keys": keys.collect::<Vec<_>>(),
        "fences": [{
            "pseudonym": hex(&naming().subject(&subject("user-7"))), "closed": fence.closed,
            "dead": spans.collect::<Vec<_>>(), "whole": fence.whole, "spared": spared.collect::<Vec<_>>(),
        }],
        "history": String::from_utf8(memos::to_json(backup.signing_history()).unwrap().to_vec()).unwrap(),
        "eras": [{ "era": ERA, "order": 1, "secret": hex(&counting::<32>(0x60)) }],
        "policy": policy(), "values": values.len(), "digest": hex(&Sha256::digest(framed(&all))),
    })
}

#[test]
fn the_committed_backup_is_what_is_written_today() {
    let plaintext = said().plaintext();
    if is_wanted("backup.age") {
        let sealed = age::encrypt(&age_identity(IDENTITY).to_public(), &plaintext).unwrap();
        std::fs::write(path("backup.age"), sealed).unwrap();
    }
    let file = std::fs::read(path("backup.age")).unwrap();
    assert!(
        age::decrypt(&age_identity(IDENTITY), &file).unwrap() == plaintext,
        "backup.age differs"
    );
    let place = place();
    let backup = read(&place, &file).unwrap();
    let opened = opened(&backup);
    assert_eq!(opened["keys"].as_array().unwrap().len(), 5);

    let mut bad = Vec::new();
    for (name, error, file_of_it) in bad_files(&file) {
        assert_eq!(named(read(&place, &file_of_it)).0, error, "{name}");
        bad.push(
            json!({ "name": name, "error": error, "file": [difference(&file, &file_of_it, 0)] }),
        );
    }
    place.write_identity("stranger", &age_identity(STRANGER));
    read(&place, &file).unwrap();
    let others = Identities::from_file(&place.path("stranger")).unwrap();
    let refused = VerifiedBackup::read(&place.path("vector.age"), others);
    assert_eq!(named(refused).0, "other recipient");
    bad.push(
        json!({ "name": "another identity", "error": "other recipient", "identity": STRANGER }),
    );

    for (name, error, what, of_it) in bad_plaintexts() {
        let sealed = age::encrypt(&place.identity.to_public(), &of_it).unwrap();
        let (found, message) = named(read(&place, &sealed));
        assert_eq!(found, error, "{name}: {message}");
        assert!(message.contains(what), "{name}: {message}");
        let differences = differences(&plaintext, &of_it);
        bad.push(json!({ "name": name, "error": error, "what": what, "plaintext": differences }));
    }
    let content = &plaintext[..plaintext.len() - WASH_BYTES];
    are_committed(
        "backup.json",
        &json!({
            "identity": IDENTITY, "plaintext": hex(content), "zeros": WASH_BYTES, "opened": opened,
            "bad": bad,
        }),
    );
}

#[test]
fn the_backup_of_the_vectors_is_restored_with_all_its_keys() {
    let place = place();
    let backup = read(&place, &std::fs::read(path("backup.age")).unwrap()).unwrap();
    let keys = opened(&backup)["keys"].clone();
    backup.restore(&place.path("restored"), &place.path("restored.root"), |_| {}).unwrap();
    let vault = place.restored();
    for key in keys.as_array().unwrap() {
        let id = key["id"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap();
        let living = live(vault.opening_key(KeyId(std::array::from_fn(byte))));
        assert_eq!(hex(living.secret().as_slice()), key["secret"]);
    }
    let (_, dead) = a_key(3, "user-7", "user-7", 2, Class::default());
    shredded(vault.opening_key(dead.id));
}
