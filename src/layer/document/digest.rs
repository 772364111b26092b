//! The digest that every token is bound to: of what is in clear, in canonical form.

use crate::{
    crypto::{PublicDigest, PublicHash},
    event::{LAYER_KEY, Node, SEALED_KEY},
};

/// The members of data that are the layer's own.
pub(super) const OF_DATA: &[&[&str]] = &[&[SEALED_KEY]];
/// The members of metadata that no token is bound to: the tokens themselves, what is left of them, and
/// the tag, which is made over both and over what the tokens are bound to.
const UNBOUND: &[&[&str]] = &[&[SEALED_KEY], &[LAYER_KEY, "mac"], &[LAYER_KEY, "stubs"]];

/// What is in clear of an event's data, where something does.
#[derive(Clone, Copy)]
pub(super) enum Clear<'t> {
    Json(Node<'t>),
    Bytes(&'t [u8]),
}

/// The digest of data and metadata as they are stored. What is the layer's own of them may be
/// there or not. Metadata of which nothing is bound are as good as none: some stores give `{}` back
/// where nothing was.
pub(super) fn digest(data: Option<Clear<'_>>, metadata: Option<Node<'_>>) -> PublicDigest {
    if data.is_none() && metadata.is_none() {
        return PublicDigest::NOTHING;
    }
    let mut hash = PublicHash::default();
    match data {
        Some(Clear::Json(node)) => node.canonical(&mut hash, OF_DATA),
        Some(Clear::Bytes(bytes)) => hash.update(bytes),
        None => {}
    }
    hash.end_of_data();
    if let Some(metadata) = metadata
        && !(metadata.is_object() && metadata.children().all(|member| member.is_left_out(UNBOUND)))
    {
        metadata.canonical(&mut hash, UNBOUND);
    }
    hash.finish()
}
