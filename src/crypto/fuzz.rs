//! What is fuzzed of tokens.

use super::{
    Body, Context, DataKey, Plaintext, PublicDigest, Purpose, SealPart, Token, open, plaintext,
    seal,
};
use crate::event::{EventId, EventType, KEY_ID_BYTES, KeyId, PolicyDigest, StreamName};

/// A place and a key. Who makes up a token knows neither.
struct World {
    stream: StreamName,
    event_type: EventType,
    key: DataKey,
}

impl World {
    fn new() -> Self {
        Self {
            stream: StreamName::new("user-456").unwrap(),
            event_type: EventType::new("UserRegistered").unwrap(),
            key: DataKey::from_bytes(KeyId([7; KEY_ID_BYTES]), &[9; 32]),
        }
    }

    fn context(&self) -> Context<'_> {
        let (stream, event_type) = (&self.stream, &self.event_type);
        let event_id = EventId(uuid::Uuid::from_u128(5));
        Context { purpose: Purpose::Event, stream, event_id, event_type }
    }

    fn seal(&self, policy: PolicyDigest, body: Body<'_>, metadata: &str, pad: usize) -> Token {
        let part = SealPart { key: &self.key, policy, body, metadata, pad };
        seal(&[part], &self.context(), &PublicDigest::NOTHING).unwrap().pop().unwrap()
    }

    /// As the layer does: an event is bound to the ids that its tokens name.
    fn open(&self, token: Token) -> Option<Plaintext> {
        let keys = [token.key_id()];
        let associated = self.context().associated(keys.into_iter(), &PublicDigest::NOTHING);
        open(token, &self.key, &associated).ok()
    }
}

/// A token has one spelling, as text and as bytes. One that we did not seal does not open, nor does one that we
/// sealed and somebody changed.
pub fn token(data: &[u8]) {
    let world = World::new();
    if let Some((text, token)) =
        str::from_utf8(data).ok().and_then(|t| Some((t, Token::parse(t).ok()?)))
    {
        assert_eq!((token.to_string().as_str(), token.text_len()), (text, text.len()));
        assert!(world.open(token).is_none(), "a token that nobody sealed opens");
    }
    if let Ok(token) = Token::from_bytes(data.to_vec()) {
        assert_eq!(token.as_bytes(), data);
        assert_eq!(Token::parse(&token.to_string()).as_ref(), Ok(&token));
        assert!(token.stub().is_stub() && token.stub().stub() == token.stub());
        assert_eq!((token.stub().key_id(), token.stub().tag()), (token.key_id(), token.tag()));
        assert!(world.open(token).is_none(), "bytes that nobody sealed open");
    }
    // The first two bytes say where the token of the others is changed.
    let Some((at, body)) = data.split_first_chunk::<2>() else { return };
    let sealed = world.seal(PolicyDigest([0; 8]), Body::Bytes(body), "", 0);
    let opened = world.open(sealed.clone()).expect("what was sealed opens");
    assert!(opened.body() == Ok(Body::Bytes(body)));
    assert!(world.open(sealed.stub()).is_none(), "a stub opens");
    let bit = usize::from(u16::from_be_bytes(*at)) % (sealed.as_bytes().len() * 8);
    let mut changed = sealed.as_bytes().to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    let opens = |bytes| Token::from_bytes(bytes).ok().and_then(|token| world.open(token)).is_some();
    assert!(!opens(changed), "bit {bit} was changed, and it opens");
    assert!(!opens(sealed.as_bytes()[..bit / 8].to_vec()), "it opens, cut to {} bytes", bit / 8);
}

/// What is read as a token's content is written as the same bytes, and comes back from a token as it went in.
pub fn plaintext(data: &[u8]) {
    let Ok(read) = Plaintext::parse(data.to_vec(), 0, data.len()) else { return };
    let (Ok(body), Ok(metadata)) = (read.body(), read.metadata()) else { return };
    let mut written = Vec::new();
    plaintext::write(&mut written, read.policy(), &body, metadata, data.len());
    assert_eq!(written, data, "it is written otherwise than it was read");
    // No padding is longer than that.
    assert_eq!(plaintext::length(&body, metadata, data.len()), Some(data.len()));

    let world = World::new();
    let opened = world.open(world.seal(read.policy(), body, metadata, data.len()));
    let opened = opened.expect("what was sealed opens");
    assert!(opened.body() == Ok(body) && opened.metadata() == Ok(metadata));
    assert_eq!(opened.policy(), read.policy());
    assert_eq!(opened.is_whole(), matches!(body, Body::Json(_) | Body::Bytes(_)));
    let whole = opened.whole().expect("it is text as before");
    assert_eq!(
        whole.as_ref().map(|payload| payload.as_bytes()),
        read.is_whole().then(|| body.as_bytes())
    );
}
