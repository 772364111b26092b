//! Templates such as `{tenant}/user-{/owner}`: literals, captures of `match`, and pointers into
//! the payload.

use std::borrow::Cow;

use super::{
    PolicyRefusal,
    path::PathPattern,
    pattern::{NamePattern, is_capture_name},
};
use crate::event::{Kind, Node, Subject, normalized};

/// A parsed template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    /// The n-th capture of the rule's pattern.
    Capture(usize),
    /// A place in the payload. Its n-th `*` is what the field's n-th `*` stands for.
    Pointer(PathPattern),
}

impl Template {
    /// Parses a template for a rule with this pattern; `stars` is how many `*` its pointers may
    /// use, which is as many as the field's pointer has.
    pub(super) fn parse(text: &str, pattern: &NamePattern, stars: usize) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (literal, tail) = rest.split_at(open);
            push_literal(&mut pieces, literal)?;
            let close = tail.find('}').ok_or("a `{` is never closed")?;
            let inner = &tail[1..close];
            pieces.push(Self::hole(inner, pattern, stars)?);
            rest = &tail[close + 1..];
        }
        push_literal(&mut pieces, rest)?;
        if pieces.is_empty() {
            return Err("an empty template names nobody".to_owned());
        }
        Ok(Self { pieces })
    }

    fn hole(inner: &str, pattern: &NamePattern, stars: usize) -> Result<Piece, String> {
        if inner.starts_with('/') {
            let place = PathPattern::parse(inner)?;
            if place.stars() > stars {
                return Err(format!(
                    "`{{{inner}}}` has more `*` than the field's pointer: each needs one there that \
                     says which element is meant"
                ));
            }
            return Ok(Piece::Pointer(place));
        }
        if !is_capture_name(inner) {
            return Err(format!(
                "`{{{inner}}}` is neither a capture such as `{{id}}` nor a pointer such as `{{/a/b}}`"
            ));
        }
        match pattern.capture_names().iter().position(|name| name == inner) {
            Some(index) => Ok(Piece::Capture(index)),
            None => Err(format!(
                "`match` captures no `{{{inner}}}`; for a member of the payload write `{{/{inner}}}`"
            )),
        }
    }

    /// Whether the result depends on the stream's name alone.
    pub(super) fn is_of_the_name(&self) -> bool {
        !self.pieces.iter().any(|piece| matches!(piece, Piece::Pointer(_)))
    }

    /// What the template composes from a name's captures alone.
    pub(super) fn compose_from_name(&self, captures: &[&str]) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Capture(index) => captures.get(*index).copied().unwrap_or_default(),
                Piece::Pointer(_) => "",
            })
            .collect()
    }

    /// A name such as the template composes, where its beginning is known: the captures' values, and
    /// something made up for each pointer.
    pub(super) fn sample(&self, captures: &[&str]) -> Option<String> {
        let known = !matches!(self.pieces.first(), Some(Piece::Pointer(_)) | None);
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Capture(index) => (*captures.get(*index).unwrap_or(&"")).to_owned(),
            Piece::Pointer(_) => "7x9".to_owned(),
        };
        known.then(|| self.pieces.iter().map(piece).collect())
    }

    /// What the template composes; `stars` are the steps that the field's `*` stand for.
    ///
    /// [`Composed::Missing`] names the pointer that finds nothing.
    pub(super) fn compose(
        &self,
        what: &'static str,
        captures: &[&str],
        payload: Option<Node<'_>>,
        stars: &[&str],
    ) -> Result<Composed, PolicyRefusal> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Capture(index) => {
                    text.push_str(captures.get(*index).copied().unwrap_or_default());
                }
                Piece::Pointer(place) => {
                    let found = payload.and_then(|payload| place.find(payload, stars));
                    let found = found.filter(|node| node.kind() != Kind::Null);
                    let Some(node) = found else {
                        return Ok(Composed::Missing(place.to_string()));
                    };
                    let pointer = || place.to_string();
                    match node.scalar() {
                        // Numbers have one form here, so that no person has two names.
                        Some(scalar)
                            if node.kind() == Kind::Number && scalar.contains(['e', 'E']) =>
                        {
                            return Err(PolicyRefusal::NumberNotPlain { what, pointer: pointer() });
                        }
                        Some(scalar) if !scalar.is_empty() => text.push_str(&scalar),
                        _ => return Err(PolicyRefusal::NotScalar { what, pointer: pointer() }),
                    }
                }
            }
        }
        Subject::new(Cow::<str>::Owned(text))
            .map(Composed::Subject)
            .map_err(|error| PolicyRefusal::BadName { what, error: without_content(error) })
    }
}

/// The result of a template.
pub(super) enum Composed {
    Subject(Subject),
    /// This pointer finds nothing, or null.
    Missing(String),
}

/// A name's error may quote one character of it, which here comes from the payload.
fn without_content(error: crate::event::NameError) -> crate::event::NameError {
    match error {
        crate::event::NameError::BadCharacter { what, at, .. } => {
            crate::event::NameError::BadCharacter { what, character: '\u{FFFD}', at }
        }
        other => other,
    }
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) -> Result<(), String> {
    if literal.contains('}') {
        return Err("a `}` closes nothing".to_owned());
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(normalized(literal).into_owned()));
    }
    Ok(())
}
