//! Seal and open one payload of 1 KiB: the bare AEAD with a fresh nonce, and what the codec adds
//! to it, as bytes and as a JSON token.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oubliette::{
    crypto::{Body, Context, DataKey, KeyId, Purpose, SealPart, open, seal},
    event::{EventId, EventType, Json, Payload, PolicyDigest, StreamName},
    layer::document::{Document, Draft, Notes, parse},
};
use rand::{TryRng, rngs::SysRng};

const SECRET: [u8; 32] = [7; 32];

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
    stored.assemble(&[opened]).unwrap().0.unwrap()
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal + open, 1 KiB");
    group.throughput(Throughput::Bytes(1024));
    let text = kibibyte();
    let cipher = Aes256Gcm::new((&SECRET).into());
    let key = DataKey::from_bytes(KeyId([1; 16]), &SECRET);
    let stream = StreamName::new("user-456").unwrap();
    let event_type = EventType::new("UserRegistered").unwrap();
    let context = Context {
        purpose: Purpose::Event,
        stream: &stream,
        event_id: EventId::random(),
        event_type: &event_type,
    };

    group.bench_function("bare AEAD", |bencher| {
        bencher.iter(|| {
            let mut nonce = [0; 12];
            SysRng.try_fill_bytes(&mut nonce).unwrap();
            let mut buffer = black_box(text.as_bytes()).to_vec();
            let body = InOutBuf::from(buffer.as_mut_slice());
            let tag = cipher.encrypt_inout_detached((&nonce).into(), &[], body).unwrap();
            let body = InOutBuf::from(buffer.as_mut_slice());
            cipher.decrypt_inout_detached((&nonce).into(), &[], body, &tag).unwrap();
            buffer
        });
    });
    group.bench_function("bare AEAD with associated data", |bencher| {
        bencher.iter(|| {
            let mut nonce = [0; 12];
            SysRng.try_fill_bytes(&mut nonce).unwrap();
            let mut buffer = black_box(text.as_bytes()).to_vec();
            let body = InOutBuf::from(buffer.as_mut_slice());
            let tag = cipher.encrypt_inout_detached((&nonce).into(), &[7; 128], body).unwrap();
            let body = InOutBuf::from(buffer.as_mut_slice());
            cipher.decrypt_inout_detached((&nonce).into(), &[7; 128], body, &tag).unwrap();
            buffer
        });
    });
    let notes = Notes::default();
    let payload = Json::parse(&text).unwrap();
    group.bench_function("JSON token", |bencher| {
        bencher.iter(|| round_trip(&key, &context, black_box(&payload).into(), &notes));
    });
    group.bench_function("bytes", |bencher| {
        bencher.iter(|| {
            let body = Body::Bytes(black_box(text.as_bytes()));
            let draft = [SealPart {
                key: &key,
                policy: PolicyDigest::default(),
                body,
                metadata: "",
                pad: 0,
            }];
            let digest = oubliette::crypto::PublicDigest::NOTHING;
            let token = seal(&draft, &context, &digest).unwrap().remove(0);
            let associated = context.associated([token.key_id()].into_iter(), &digest);
            open(token, &key, &associated).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
