//! What a token holds, once open.

use std::fmt;

use crate::event::{Json, Payload, PolicyDigest};

/// The length of a plaintext's head: form, policy digest, two lengths.
pub(super) const HEAD_BYTES: usize = 1 + 8 + 4 + 4;

/// Why a token does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// The token, or what it is bound to, was changed; or the key is another.
    #[error("the token does not open under this key in this place")]
    Tampered,
    /// The token is a stub: its ciphertext is no longer there.
    #[error("the token's ciphertext was purged")]
    Purged,
    /// The token is genuine, but does not hold what a token must: its writer was at fault.
    #[error("{0}")]
    Malformed(&'static str),
}

/// What a token holds of an event's body, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<'a> {
    /// Nothing: the token holds metadata only, or belongs to an event without a body of its own.
    Nothing,
    /// The whole JSON payload, byte for byte.
    Json(&'a str),
    /// Some fields of it: fillings as text, see
    /// `event::Fillings`.
    Fields(&'a str),
    /// The whole of a payload that is not JSON.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a Json> for Body<'a> {
    fn from(json: &'a Json) -> Self {
        Self::Json(json.as_str())
    }
}

impl Body<'_> {
    fn form(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Json(_) => 1,
            Self::Fields(_) => 2,
            Self::Bytes(_) => 3,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Json(text) | Self::Fields(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Nothing => "Nothing",
            Self::Json(_) => "Json",
            Self::Fields(_) => "Fields",
            Self::Bytes(_) => "Bytes",
        };
        write!(f, "{kind}({} bytes)", self.as_bytes().len())
    }
}

/// An opened token.
///
/// Unlike a key it is not wiped when dropped: its content is about to be handed to a caller as an
/// ordinary payload, and wiping a copy would cost a third of the whole opening.
pub struct Plaintext {
    /// The token's bytes, opened in place.
    bytes: Vec<u8>,
    metadata_at: usize,
    body_at: usize,
    body_end: usize,
    form: u8,
    policy: PolicyDigest,
}

impl Plaintext {
    /// Reads what was sealed: `bytes[from..to]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: Vec<u8>, from: usize, to: usize) -> Result<Self, &'static str> {
        let inner = bytes.get(from..to).ok_or("a token's content is too short")?;
        let (head, rest) =
            inner.split_first_chunk::<HEAD_BYTES>().ok_or("a token's content is too short")?;
        let &[form, p0, p1, p2, p3, p4, p5, p6, p7, m0, m1, m2, m3, b0, b1, b2, b3] = head;
        let metadata = u32::from_be_bytes([m0, m1, m2, m3]) as usize;
        let body = u32::from_be_bytes([b0, b1, b2, b3]) as usize;
        let used = metadata.checked_add(body).filter(|&used| used <= rest.len());
        let used = used.ok_or("a token's lengths exceed its content")?;
        if rest[used..].iter().any(|&byte| byte != 0) {
            return Err("a token's padding is not zero");
        }
        match form {
            0 if body > 0 => return Err("a token of no body has one"),
            0..=3 => {}
            _ => return Err("a token's content has an unknown form"),
        }
        let metadata_at = from + HEAD_BYTES;
        let body_at = metadata_at + metadata;
        Ok(Self {
            metadata_at,
            body_at,
            body_end: body_at + body,
            form,
            policy: PolicyDigest([p0, p1, p2, p3, p4, p5, p6, p7]),
            bytes,
        })
    }

    /// How long a plaintext that begins so is without its padding, where it is one.
    #[cfg(feature = "drill")]
    pub(super) fn used(head: &[u8]) -> Option<usize> {
        let &[form, .., m0, m1, m2, m3, b0, b1, b2, b3] = head.first_chunk::<HEAD_BYTES>()?;
        let metadata = u32::from_be_bytes([m0, m1, m2, m3]) as usize;
        let body = u32::from_be_bytes([b0, b1, b2, b3]) as usize;
        let used = HEAD_BYTES.checked_add(metadata)?.checked_add(body)?;
        (form <= 3).then_some(used)
    }

    /// The body, or what the token holds of it.
    ///
    /// # Errors
    /// [`UnsealError::Malformed`] where text is not UTF-8.
    pub fn body(&self) -> Result<Body<'_>, UnsealError> {
        let bytes = &self.bytes[self.body_at..self.body_end];
        Ok(match self.form {
            1 => Body::Json(text(bytes)?),
            2 => Body::Fields(text(bytes)?),
            3 => Body::Bytes(bytes),
            _ => Body::Nothing,
        })
    }

    /// Whether the body is the whole payload.
    pub fn is_whole(&self) -> bool {
        matches!(self.form, 1 | 3)
    }

    /// The payload, where the body is the whole of it.
    ///
    /// # Errors
    /// [`UnsealError::Malformed`] where text is not UTF-8.
    pub fn whole(&self) -> Result<Option<Payload>, UnsealError> {
        Ok(match self.body()? {
            Body::Json(text) => Some(Json::trusted(text).into()),
            Body::Bytes(bytes) => Some(Payload::Bytes(bytes.into())),
            Body::Nothing | Body::Fields(_) => None,
        })
    }

    /// The fillings of the metadata as text; empty where there are none.
    ///
    /// # Errors
    /// [`UnsealError::Malformed`] where it is not UTF-8.
    pub fn metadata(&self) -> Result<&str, UnsealError> {
        text(&self.bytes[self.metadata_at..self.body_at])
    }

    /// The policy that said what to seal.
    pub fn policy(&self) -> PolicyDigest {
        self.policy
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metadata, body) = (self.body_at - self.metadata_at, self.body_end - self.body_at);
        write!(f, "Plaintext(form {}, {metadata} + {body} bytes)", self.form)
    }
}

const NOT_TEXT: UnsealError = UnsealError::Malformed("a token's content is not UTF-8");

fn text(bytes: &[u8]) -> Result<&str, UnsealError> {
    std::str::from_utf8(bytes).map_err(|_| NOT_TEXT)
}

/// The length of a plaintext; `None` where a part is too long for its length's field.
pub(super) fn length(body: &Body<'_>, metadata: &str, pad: usize) -> Option<usize> {
    u32::try_from(metadata.len()).ok()?;
    u32::try_from(body.as_bytes().len()).ok()?;
    let used = HEAD_BYTES.checked_add(metadata.len())?.checked_add(body.as_bytes().len())?;
    if pad > 1 { used.checked_next_multiple_of(pad) } else { Some(used) }
}

/// Appends a plaintext of `length` bytes, as [`length`] said.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    policy: PolicyDigest,
    body: &Body<'_>,
    metadata: &str,
    length: usize,
) {
    let end = buffer.len() + length;
    let content = body.as_bytes();
    buffer.push(body.form());
    buffer.extend_from_slice(&policy.0);
    // Within bounds, or `length` would not have given a length.
    buffer.extend_from_slice(&(metadata.len() as u32).to_be_bytes());
    buffer.extend_from_slice(&(content.len() as u32).to_be_bytes());
    buffer.extend_from_slice(metadata.as_bytes());
    buffer.extend_from_slice(content);
    buffer.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: Body<'_>, metadata: &str, pad: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = length(&body, metadata, pad).unwrap();
        write(&mut bytes, PolicyDigest([9; 8]), &body, metadata, length);
        bytes
    }

    fn parsed(bytes: &[u8]) -> Result<Plaintext, &'static str> {
        Plaintext::parse(bytes.to_vec(), 0, bytes.len())
    }

    #[test]
    fn each_form_comes_back_as_it_was_written() {
        for body in [Body::Nothing, Body::Json("{}"), Body::Fields("0 0 1 7"), Body::Bytes(b"\xff")]
        {
            for pad in [0, 1, 64] {
                let plaintext = parsed(&written(body, "0 0 1 8", pad)).unwrap();
                assert_eq!((plaintext.body(), plaintext.metadata()), (Ok(body), Ok("0 0 1 8")));
                assert_eq!(plaintext.is_whole(), matches!(body, Body::Json(_) | Body::Bytes(_)));
                assert_eq!(plaintext.policy(), PolicyDigest([9; 8]));
                let whole = plaintext.whole().unwrap();
                let whole = whole.as_ref().map(Payload::as_bytes);
                let is_whole = matches!(body, Body::Json(_) | Body::Bytes(_));
                assert_eq!(whole, is_whole.then(|| body.as_bytes()));
            }
        }
    }

    #[test]
    fn what_no_token_holds_is_refused() {
        let good = written(Body::Json("{}"), "", 64);
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            parsed(&bytes).map(|_| ())
        };
        assert_eq!(changed(0, 0), Err("a token of no body has one"));
        assert_eq!(changed(0, 4), Err("a token's content has an unknown form"));
        assert_eq!(changed(good.len() - 1, 1), Err("a token's padding is not zero"));
        assert_eq!(changed(HEAD_BYTES - 1, 200), Err("a token's lengths exceed its content"));
        assert_eq!(changed(HEAD_BYTES - 5, 200), Err("a token's lengths exceed its content"));
        let short = parsed(&good[..HEAD_BYTES - 1]).map(|_| ());
        assert_eq!(short, Err("a token's content is too short"));
        assert!(parsed(&good[..HEAD_BYTES + 2]).is_ok());
    }
}
