//! Makes the vectors of tombstones of `docs/format.md`, under fixed keys, and checks that the committed ones
//! are still what this program writes.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    crypto::SigningKey,
    event::{
        ErasureId, EventId, Json, KeyId, Signature, SignedTombstone, SigningKeyId, State,
        StreamName, Tombstone, framed,
    },
    layer::document::vectors::{are_committed, hex},
    vault::reference_as_vector,
};

const VAULT: Uuid = Uuid::from_u128(0x8863_13e1_3b8a_4372_9b90_0c9a_ee19_9e5d);
const OTHER_VAULT: Uuid = Uuid::from_u128(0x6fa4_59ea_ee8a_5ca4_894e_db77_e160_0009);
const ERASURE: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
/// Who signs, by the byte that the secret is made of. The vault never had the key of a stranger.
const FIRST: u8 = 1;
const LATER: u8 = 2;
const STRANGER: u8 = 3;
/// Somebody else has this key of the history as well.
const STOLEN: u8 = 4;
/// A key that the vault has: none of the others.
const LIVING: u8 = 0xb1;

fn identity() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn signer(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

fn id(number: u8) -> EventId {
    EventId(Uuid::from_u128(0x6fa4_59ea_ee8a_4ca4_894e_db77_e160_3500 + u128::from(number)))
}

/// A tombstone in a stream, and what its signature is over.
fn made(stream: &str, event: EventId, dead: &[u8], by: u8) -> (Tombstone, Vec<u8>) {
    let (stream, erasure) = (stream.parse::<StreamName>().unwrap(), ErasureId(ERASURE));
    let mut tombstone = Tombstone {
        state: State::Forgotten,
        reference: reference_as_vector(&identity(), erasure, &stream),
        day: erasure.day(),
        keys: dead.iter().map(|byte| KeyId([*byte; 20])).collect(),
        subject: (stream.as_str() == "user-456").then(|| "user-456".parse().unwrap()),
        key: signer(by).public().id(),
        sig: signer(by).sign(b""),
    };
    let bytes = tombstone.signed_bytes(VAULT, &stream, event).unwrap();
    tombstone.sig = signer(by).sign(&bytes);
    (tombstone, bytes)
}

/// A document with another signature, over all of it as it is.
fn signed(data: &str, stream: &str, event: EventId, by: u8) -> String {
    let said = SignedTombstone::read(&Json::parse(data).unwrap()).unwrap();
    let bytes = said.signed_bytes(VAULT, &stream.parse().unwrap(), event);
    data.replacen(&said.sig.to_string(), &signer(by).sign(&bytes).to_string(), 1)
}

/// What is noted of a stream in a public half.
fn noted(stream: &str) -> String {
    format!(r#"{{"$oubliette":{{"stream":"{stream}"}}}}"#)
}

fn good() -> Vec<Value> {
    let cases: [(&str, &str, &[u8], u8); 6] = [
        ("in the subject's own stream", "user-456", &[0xa1, 0xa2], FIRST),
        (
            "in a shared stream: nobody is named, and the reference is another",
            "room-selfhelp",
            &[0xa1],
            FIRST,
        ),
        ("in a stream that was wholly public: no key died", "list-ü", &[], FIRST),
        ("by a later key of the history", "user-456", &[0xa1, 0xa2], LATER),
        ("in a public half", "user-456", &[0xa1, 0xa2], FIRST),
        ("from a store that gives `{}` back where nothing was", "user-456", &[0xa1], FIRST),
    ];
    let vector = |(number, (name, stream, dead, by)): (u8, (&str, &str, &[u8], u8))| {
        let (tombstone, bytes) = made(stream, id(number), dead, by);
        let metadata = match number {
            4 => Some(noted(stream)),
            5 => Some("{}".to_owned()),
            _ => None,
        };
        json!({
            "name": name, "stream": stream, "id": id(number).to_string(),
            "erasure": ERASURE.to_string(), "signed": hex(&bytes), "metadata": metadata,
            "data": serde_json::to_string(&tombstone).unwrap(),
        })
    };
    (0..).zip(cases).map(vector).collect()
}

fn bad() -> Vec<Value> {
    let own = |by| made("user-456", id(0), &[0xa1, 0xa2], by);
    let (whole, bytes) = own(FIRST);
    let text = |tombstone: &Tombstone| serde_json::to_string(tombstone).unwrap();
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, stream: &str, event: EventId, data: String| {
        bad.push(json!({
            "name": name, "error": error, "stream": stream, "id": event.to_string(),
            "metadata": null, "data": data,
        }));
    };
    let mut here =
        |name: &str, error: &str, data: String| add(name, error, "user-456", id(0), data);
    let edited = |edit: &dyn Fn(&mut Tombstone)| {
        let mut tombstone = whole.clone();
        edit(&mut tombstone);
        text(&tombstone)
    };
    let replaced = |from: &str, to: &str| {
        let whole = text(&whole);
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let sig = whole.sig.to_string();
    let resigned = |sig: Signature| edited(&|tombstone| tombstone.sig = sig);
    here("a bit of the signature", "forged", {
        let last = if sig.starts_with('A') { "B" } else { "A" };
        replaced(&sig, &[last, &sig[1..]].concat())
    });
    here("another day", "forged", replaced("2023-06-30", "2023-07-01"));
    here("another reference", "forged", edited(&|tombstone| tombstone.reference.0[0] ^= 1));
    here("a key more", "forged", edited(&|tombstone| tombstone.keys.insert(0, KeyId([0; 20]))));
    here("no key", "forged", edited(&|tombstone| tombstone.keys.clear()));
    let other = "user-789".parse().unwrap();
    here("another subject", "forged", edited(&|said| said.subject = Some(Clone::clone(&other))));
    here("no subject", "forged", edited(&|tombstone| tombstone.subject = None));
    let later = signer(LATER).public().id();
    here("under the id of another key of the history", "forged", edited(&|said| said.key = later));
    let own_stream: StreamName = "user-456".parse().unwrap();
    let other_vault = whole.signed_bytes(OTHER_VAULT, &own_stream, id(0)).unwrap();
    here("signed as another vault", "forged", resigned(signer(FIRST).sign(&other_vault)));
    let label = framed(&[b"oubliette signed tombstone"]).len();
    let purpose = [&framed(&[b"oubliette signed announcement"]), &bytes[label..]].concat();
    here("signed for another purpose", "forged", resigned(signer(FIRST).sign(&purpose)));
    let stranger = own(STRANGER).0;
    here("signed by a key that the vault never had", "unknown key", text(&stranger));
    here("under an id and a signature of zeros", "unknown key", {
        edited(&|said| (said.key, said.sig) = (SigningKeyId([0; 16]), Signature([0; 64])))
    });
    here("a bit of the signing key's id", "unknown key", edited(&|said| said.key.0[0] ^= 1));
    here("signed by a key that somebody else has as well", "compromised", text(&own(STOLEN).0));
    here("a key that lives", "undone", text(&made("user-456", id(0), &[0xa1, LIVING], FIRST).0));
    let [a, b] = [0, 1].map(|at| format!("\"{}\"", whole.keys[at]));
    let keys = format!("[{a},{b}]");
    let (reversed, repeated) = (format!("[{b},{a}]"), format!("[{a},{a},{b}]"));
    let subject = "\"subject\":\"user-456\"";
    for (name, from, to) in [
        ("suspended", "\"forgotten\"", "\"suspended\""),
        ("lifted", "\"forgotten\"", "\"lifted\""),
        ("a state that nobody knows", "\"forgotten\"", "\"gone\""),
        ("a member more", "{", "{\"until\":\"2031-01-01\","),
        ("a format", "{", "{\"format\":2,"),
        ("a member that is an object", "{", "{\"by\":{\"b\":1,\"a\":[1e2]},"),
        ("a name as an object", "\"forgotten\"", "{\"forgotten\":null}"),
        ("null for what is absent", subject, "\"subject\":null"),
        ("a member less", "\"day\":\"2023-06-30\",", ""),
        ("a day in another spelling", "2023-06-30", "20230630"),
        ("a day in the year 0", "2023-06-30", "0000-01-01"),
        ("a subject that is no name", subject, "\"subject\":\"user 456\""),
        ("the keys in another order", &keys, &reversed),
        ("a key twice", &keys, &repeated),
    ] {
        let other = replaced(from, to);
        here(name, "newer", signed(&other, "user-456", id(0), FIRST));
        here(&format!("{name}, and not signed"), "malformed", other.clone());
        let stranger = other.replacen(&whole.key.to_string(), &stranger.key.to_string(), 1);
        let stranger = signed(&stranger, "user-456", id(0), STRANGER);
        here(&format!("{name}, signed by a stranger"), "malformed", stranger);
    }
    here("no signature", "malformed", replaced(&format!(",\"sig\":\"{sig}\""), ""));
    let key = whole.key;
    here("no key id", "malformed", replaced(&format!("\"key\":\"{key}\","), ""));
    here("a signature with padding", "malformed", replaced(&sig, &format!("{sig}==")));
    here("a signature a byte short", "malformed", replaced(&sig, &sig[..sig.len() - 2]));
    let reference = whole.reference.to_string();
    here("a reference whose spare bits are not zero", "malformed", {
        let last = char::from(reference.as_bytes()[reference.len() - 1] + 1);
        replaced(&reference, &format!("{}{last}", &reference[..reference.len() - 1]))
    });
    here("a day that is none", "malformed", replaced("2023-06-30", "2023-02-30"));
    let day = "\"day\":\"2023-06-30\"";
    here("a member twice", "malformed", replaced(day, &format!("{day},{day}")));
    here("not an object", "malformed", "[]".to_owned());
    here("a list of its members", "malformed", {
        let Tombstone { reference, day, keys, key, .. } = &whole;
        json!(["forgotten", reference, day, keys, "user-456", key, sig]).to_string()
    });
    let dead = whole.keys[0].to_string();
    here("a key id of another length", "malformed", replaced(&dead, &dead[..dead.len() - 2]));
    add("in another stream", "forged", "user-789", id(0), text(&whole));
    add("as another event", "forged", "user-456", id(5), text(&whole));
    let mut beside = |name: &str, error: &str, stream: &str, metadata: String| {
        bad.push(json!({
            "name": name, "error": error, "stream": stream, "id": id(0).to_string(),
            "metadata": metadata, "data": text(&whole),
        }));
    };
    beside("metadata that note another stream", "misplaced", "user-789", noted("user-456"));
    for (name, metadata) in [
        ("metadata without a note", r#"{"a":1}"#.to_owned()),
        ("metadata beside the note", noted("user-456").replacen('{', r#"{"a":1,"#, 1)),
        ("another note", r#"{"$oubliette":{"stream":"user-456","others":true}}"#.to_owned()),
        ("a note that is empty", r#"{"$oubliette":{}}"#.to_owned()),
    ] {
        beside(name, "malformed", "user-456", metadata);
    }
    bad
}

#[test]
fn the_committed_tombstones_are_what_is_written_today() {
    let key = |secret: u8| {
        let public = signer(secret).public();
        let compromised = secret == STOLEN;
        json!({
            "key": public.id().to_string(), "public": public.to_string(), "compromised": compromised,
        })
    };
    are_committed(
        "tombstones.json",
        &json!({
            "identity": hex(&identity()), "vault": VAULT.to_string(),
            "keys": [key(FIRST), key(STOLEN), key(LATER)],
            "living": [KeyId([LIVING; 20]).to_string()], "vectors": good(), "bad": bad(),
        }),
    );
}
