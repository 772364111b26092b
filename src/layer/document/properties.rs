//! What holds for any input.

use proptest::prelude::*;

use super::{
    tests::{Place, key, open_all, part},
    *,
};
use crate::{
    crypto::{Body, Token, open, seal},
    event::{Fillings, Json, Node, Payload},
};

/// Text that has much in common with what the layer writes.
fn almost() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{\"$sealed\":[\"".to_owned()),
        Just("\"]}".to_owned()),
        Just("\"$oubliette\":{\"fields\":[[\"*\"]]}".to_owned()),
        Just("\"$sealed\"".to_owned()),
        Just("AQEREhMUFRYXGBkaGxwdHh8gEBESExQVFhcYGRobIY2wXgYAS7ZCWCck1MigIVD29jZUZWIwmhpkqdC9sttLDIP4gnTzZrg".to_owned()),
        "[\\[\\]{}:,\"\\\\A-Za-z0-9_-]{0,8}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Payload::Bytes(bytes.into())),
        object().prop_map(Payload::Json),
        ".*".prop_map(|text| Payload::Json(Json::of(&text).unwrap())),
    ]
}

fn object() -> impl Strategy<Value = Json> {
    let leaf =
        prop_oneof![any::<i64>().prop_map(serde_json::Value::from), ".{0,8}".prop_map(Into::into)];
    let value = leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-f~/]{0,3}", inner, 0..5)
                .prop_map(|map| map.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-f~/]{0,3}", value, 0..6).prop_map(|map| Json::of(&map).unwrap())
}

/// Cuts members out of an object, at the top and one level down, as some policy might.
fn cut_out(node: Node<'_>, pointer: &str, mask: &mut u64, cut: &mut [String; 2]) -> String {
    if !node.is_object() {
        return node.text().to_owned();
    }
    let mut kept = Vec::new();
    for (index, member) in node.children().enumerate() {
        let choice = *mask & 3;
        *mask = mask.rotate_right(2);
        let key = member.key().unwrap().replace('~', "~0").replace('/', "~1");
        match choice {
            0 | 1 => {
                let part = usize::try_from(choice).unwrap();
                Fillings::write(pointer, index, &[member.piece()], &mut cut[part]);
            }
            2 => {
                let inner = cut_out(member, &format!("{pointer}/{key}"), mask, cut);
                kept.push([member.before(), &inner, member.after()].concat());
            }
            _ => kept.push(member.piece().to_owned()),
        }
    }
    format!("{{{}}}", kept.join(","))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in almost(), other in almost()) {
        let mut bytes = bytes;
        let _ = Token::from_bytes(bytes.clone());
        let _ = Token::parse(&text);
        let _ = Fillings::read(&text);
        let key = key(1);
        if bytes.len() > 1 {
            bytes[..2].copy_from_slice(&[1, 1]);
            if let Ok(token) = Token::from_bytes(bytes.clone()) {
                prop_assert!(open(token, &key, &[]).is_err());
            }
        }
        let metadata = Json::parse(&other).ok();
        let _ = parse(&Payload::Bytes(bytes.into()), metadata.as_ref());
        if let Ok(json) = Json::parse(&text) {
            let _ = parse(&json.into(), metadata.as_ref());
        }
    }

    #[test]
    fn an_arbitrary_payload_comes_back_byte_for_byte(payload in payload(), pad in 0..300usize) {
        let (key, place) = (key(1), Place::new());
        let (body, notes) = match &payload {
            Payload::Json(json) => (json.into(), Notes::default()),
            Payload::Bytes(bytes) => {
                (Body::Bytes(bytes), Notes { sealed_bytes: true, ..Notes::default() })
            }
        };
        let draft = Draft::new(None, None, &notes);
        let parts = [crate::crypto::SealPart { pad, ..part(&key, body, "") }];
        let tokens = seal(&parts, &place.context(), draft.digest()).unwrap();
        if pad > 0 {
            prop_assert_eq!((tokens[0].as_bytes().len() - 50) % pad, 0);
        }
        let (data, metadata) = draft.store(&tokens);
        let Document::Stored(stored) = parse(&data, metadata.as_ref()).unwrap() else { panic!() };
        let opened = open_all(&stored, &[&key]).unwrap();
        prop_assert_eq!(stored.assemble(opened).unwrap(), (Some(payload), None));
    }

    #[test]
    fn fields_cut_out_for_two_people_come_back_in_their_order(whole in object(), meta in object(), mask in any::<u64>(), pretty in any::<bool>()) {
        let (a, b, place) = (key(1), key(2), Place::new());
        let mut mask = mask;
        let (mut cut, mut aside) = (<[String; 2]>::default(), <[String; 2]>::default());
        let whole = Json::parse(&if pretty { spread(&whole) } else { whole.as_str().to_owned() }).unwrap();
        let rest = Json::parse(&cut_out(whole.tree().root(), "", &mut mask, &mut cut)).unwrap();
        let around = Json::parse(&cut_out(meta.tree().root(), "", &mut mask, &mut aside)).unwrap();
        let public = (!rest.tree().root().is_empty()).then(|| rest.into());
        let draft = Draft::new(public, Some(&around), &Notes::default());
        let parts = [part(&a, Body::Fields(&cut[0]), &aside[0]), part(&b, Body::Fields(&cut[1]), &aside[1])];
        let tokens = seal(&parts, &place.context(), draft.digest()).unwrap();
        let (data, metadata) = draft.store(&tokens);
        let Document::Stored(stored) = parse(&data, metadata.as_ref()).unwrap() else { panic!() };
        let opened = open_all(&stored, &[&a, &b]).unwrap();
        let (data, metadata) = stored.assemble(opened).unwrap();
        prop_assert!(data == Some(whole.into()));
        let same = metadata.as_ref().map_or("{}", Json::as_str) == meta.as_str();
        prop_assert!(same, "the metadata came back otherwise");
    }

    #[test]
    fn any_bit_of_any_token_matters(text in ".{0,40}") {
        let (key, place) = (key(1), Place::new());
        let payload = Json::of(&text).unwrap();
        let draft = Draft::new(None, None, &Notes::default());
        let tokens = seal(&[part(&key, (&payload).into(), "")], &place.context(), draft.digest()).unwrap();
        for bit in 0..tokens[0].as_bytes().len() * 8 {
            let mut bytes = tokens[0].as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(token) = Token::from_bytes(bytes) {
                let ids = [token.key_id()].into_iter();
                let associated = place.context().associated(ids, draft.digest());
                prop_assert!(open(token, &key, &associated).is_err(), "bit {}", bit);
            }
        }
    }
}

/// The same with white space in it.
fn spread(json: &Json) -> String {
    let value: serde_json::Value = json.to().unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}
