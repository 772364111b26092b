//! What a statement about keys says, and who signed it. Nothing here knows the history: whether it counts is
//! decided in `learn`.

use crate::event::{
    Announcement, AnnouncementKind, SigningKeyId, Statement, Timestamp, VerifyingKey,
};

/// What a statement says, taken apart.
pub(super) struct Said<'a> {
    pub(super) statement: &'a Statement,
    /// The id of the key that it names.
    pub(super) key: SigningKeyId,
    pub(super) kind: AnnouncementKind,
    pub(super) at: Timestamp,
    pub(super) signer: SigningKeyId,
}

impl<'a> Said<'a> {
    pub(super) fn of(said: &'a Announcement) -> Option<Self> {
        let body = said.body().ok()?;
        let (statement, (_, signer, _)) = (body.statement.as_ref()?, said.signature()?);
        let (key, kind, at) = (statement.public.id(), body.kind, body.at);
        Some(Self { statement, key, kind, at, signer })
    }
}

/// Whether the key that a statement names signed it, too.
pub(super) fn is_proved(said: &Announcement) -> bool {
    let body = said.body().ok();
    body.is_some_and(|body| match (&body.statement, &body.proof) {
        (Some(statement), Some(proof)) => statement.public.verifies(&said.proof_bytes(), proof),
        _ => false,
    })
}

/// The key that signed an announcement, whether or not anybody knows it: the one that it gives, if that has
/// the id that it names, and made the signature. Nothing is believed, or told to anybody as somebody's, before
/// that.
pub(super) fn signer_of(said: &Announcement) -> Option<VerifyingKey> {
    let (public, key, signature) = said.signature()?;
    let is_so = key == public.id() && public.verifies(&said.signed_bytes(), signature);
    is_so.then_some(public)
}

pub(super) fn is_signed(said: &Announcement, by: &VerifyingKey) -> bool {
    said.signature().is_some_and(|(public, ..)| public == *by) && signer_of(said).is_some()
}
