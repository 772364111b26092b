//! Seal and open one payload of 1 KiB: the bare AEAD with a fresh nonce, and what the codec adds
//! to it, as bytes and as a JSON token.

#![allow(missing_docs, clippy::unwrap_used)]

mod bookings;
mod pair;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bookings::{POLICY, booking};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use hmac::{Hmac, KeyInit, Mac};
use oubliette::{
    crypto::internals::{Body, Context, DataKey, PublicDigest, Purpose, SealPart, open, seal},
    event::{EventId, EventType, Json, KeyId, Payload, PolicyDigest, StreamName},
    layer::{
        Codec, EventRef,
        internals::{Document, Draft, Notes, parse},
    },
    policy::Policy,
    vault::Vault,
};
use pair::{Ledger, Pair};
use polyval::{Polyval, universal_hash::UniversalHash};
use rand::{TryRng, rngs::SysRng};
use sha2::Sha256;
use tokio::runtime::Runtime;

const SECRET: [u8; 32] = [7; 32];

/// The bare AEAD, by the library that the codec has: encrypts and decrypts in place.
#[cfg(not(feature = "aws-lc"))]
mod bare {
    use aes_gcm::{
        Aes256Gcm, KeyInit,
        aead::{AeadInOut, inout::InOutBuf},
    };

    pub(crate) struct Aead(Aes256Gcm);

    impl Aead {
        pub(crate) fn new(secret: &[u8; 32]) -> Self {
            Self(Aes256Gcm::new(secret.into()))
        }

        pub(crate) fn there_and_back(&self, nonce: &[u8; 12], associated: &[u8], text: &mut [u8]) {
            let body = InOutBuf::from(&mut *text);
            let tag = self.0.encrypt_inout_detached(nonce.into(), associated, body).unwrap();
            let body = InOutBuf::from(text);
            self.0.decrypt_inout_detached(nonce.into(), associated, body, &tag).unwrap();
        }
    }
}
#[cfg(feature = "aws-lc")]
mod bare {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    pub(crate) struct Aead(LessSafeKey);

    impl Aead {
        pub(crate) fn new(secret: &[u8; 32]) -> Self {
            Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).unwrap()))
        }

        pub(crate) fn there_and_back(&self, nonce: &[u8; 12], associated: &[u8], text: &mut [u8]) {
            let nonce = || Nonce::assume_unique_for_key(*nonce);
            let associated = || Aad::from(associated);
            let tag = self.0.seal_in_place_separate_tag(nonce(), associated(), text).unwrap();
            self.0.open_in_place_separate_tag(nonce(), associated(), tag.as_ref(), text).unwrap();
        }
    }
}

fn kibibyte() -> String {
    let text = "All that is sealed here is about somebody. ".repeat(30);
    format!("{{\"note\":\"{}\"}}", &text[..1024 - 11])
}

fn round_trip(key: &DataKey, context: &Context<'_>, body: Body<'_>, notes: &Notes) -> Payload {
    let draft = Draft::new(None, None, notes);
    let part = SealPart { key, policy: PolicyDigest::default(), body, metadata: "", pad: 0 };
    let tokens = seal(&[part], context, draft.digest()).unwrap();
    let (data, metadata) = draft.store(&tokens);
    let Document::Stored(mut stored) = parse(&data, metadata.as_ref()).unwrap() else {
        unreachable!()
    };
    let associated = stored.associated(context);
    let token = stored.tokens.remove(0);
    let opened = open(token, key, &associated).unwrap();
    stored.assemble(vec![opened]).unwrap().0.unwrap()
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal and open, 1 KiB");
    group.sample_size(20).warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    let ledger = Ledger::new("codec");
    let text = kibibyte();
    let aead = bare::Aead::new(&SECRET);
    let key = DataKey::from_bytes(KeyId([1; 20]), &SECRET);
    let stream = StreamName::new("user-456").unwrap();
    let event_type = EventType::new("UserRegistered").unwrap();
    let context = Context {
        purpose: Purpose::Event,
        stream: &stream,
        event_id: EventId::random(),
        event_type: &event_type,
    };

    let bare = |associated: &[u8]| {
        let mut nonce = [0; 12];
        SysRng.try_fill_bytes(&mut nonce).unwrap();
        let mut buffer = black_box(text.as_bytes()).to_vec();
        aead.there_and_back(&nonce, associated, &mut buffer);
        buffer
    };
    let bytes = || {
        let body = Body::Bytes(black_box(text.as_bytes()));
        let policy = PolicyDigest::default();
        let draft = [SealPart { key: &key, policy, body, metadata: "", pad: 0 }];
        let digest = PublicDigest::NOTHING;
        let token = seal(&draft, &context, &digest).unwrap().remove(0);
        let associated = context.associated([token.key_id()].into_iter(), &digest);
        open(token, &key, &associated).unwrap()
    };
    let notes = Notes::default();
    let payload = Json::parse(&text).unwrap();
    let token = || round_trip(&key, &context, black_box(&payload).into(), &notes);

    let pair = |row, case: &str| Pair { row, case: case.to_owned(), times: 500, unit: "payload" };
    ledger.pair(&mut group, &pair("bytes", "bytes"), timed(|| bare(&[])), timed(bytes));
    ledger.pair(&mut group, &pair("token", "JSON token"), timed(|| bare(&[])), timed(token));
    ledger.pair(
        &mut group,
        &pair("aead", "the bare AEAD itself, with associated data as long as ours"),
        timed(|| bare(&[])),
        timed(|| bare(&[7; 121])),
    );
    // As `crypto::EventTag` makes it: over the associated data of one token's event, its key id, nonce and
    // GCM tag.
    let mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
    let tagged = || {
        let length = 121_u64.to_be_bytes();
        let mac = mac.clone().chain_update(length).chain_update([7; 121]).chain_update([7; 46]);
        (bare(&[]), mac.finalize())
    };
    ledger.pair(
        &mut group,
        &pair("tag", "the bare AEAD, and beside it the tag that survives the key"),
        timed(|| bare(&[])),
        timed(tagged),
    );
    // As `crypto::nonce` makes it, with a hash over the associated data and the text.
    let polyval = Polyval::new(&[7; 16].into());
    let hedged = || {
        let mut hash = polyval.clone();
        hash.update_padded(&[7; 121]);
        hash.update_padded(black_box(text.as_bytes()));
        (bare(&[]), hash.finalize())
    };
    ledger.pair(
        &mut group,
        &pair("nonce", "the bare AEAD, and beside it the hash that its nonce is made with"),
        timed(|| bare(&[])),
        timed(hedged),
    );
    opening(&mut group, &ledger, &aead);
    group.finish();
}

/// Opening alone, by one thread, as it is a part of reading: neither a store nor another thread has to do with it.
fn opening(group: &mut BenchmarkGroup<'_, WallTime>, ledger: &Ledger, aead: &bare::Aead) {
    let codec = Codec::new(Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    let runtime = Runtime::new().unwrap();
    for layout in ["sealed", "inline"] {
        for (name, size) in [("300 B", 300), ("1 KiB", 1024)] {
            let stream = StreamName::new(format!("{layout}-1")).unwrap();
            let event = booking(1, size);
            let (text, event_type) = (event.data.clone(), event.event_type.clone());
            let sealed = runtime.block_on(codec.seal(&stream, event)).unwrap();
            let id = EventRef { stream: &stream, id: sealed.id, event_type: &event_type };
            let open =
                || codec.open(id, black_box(&sealed.data), sealed.metadata.as_ref()).unwrap();
            assert_eq!(open().data, Some(text.clone()));
            let bare = || {
                let mut buffer = black_box(text.as_bytes()).to_vec();
                aead.there_and_back(&[7; 12], &[], &mut buffer);
                buffer
            };
            let case = format!("{layout}, {name}");
            let pair = Pair { row: "open", case, times: 500, unit: "payload" };
            ledger.pair(group, &pair, timed(bare), timed(open));
            runtime.block_on(sealed.stored()).unwrap();
        }
    }
}

/// How long it takes to do something so many times.
fn timed<T>(mut work: impl FnMut() -> T) -> impl FnMut(u64) -> Duration {
    move |times| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        start.elapsed()
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
