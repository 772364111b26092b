//! Cutting a document into what is public and whose the rest is.
//!
//! First every place is classified, from the leaves up; then the public part and the fillings
//! are written, from pieces of the text: what is between two commas goes one way or the other, white
//! space and all, so that together they are the text again. Nothing is public unless a pattern says so: the patterns that are still possible
//! at a place are carried down, and where none is left all that is below is sealed.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{
    PolicyRefusal, personal_data,
    rules::{Field, FieldRules},
};
use crate::event::{Fillings, Json, Kind, Node, Subject};

/// How many subjects one event is of at most. Each has a token, and each token is bound to the
/// key ids of all: the work grows with the square of their number, and each costs a new key.
const MOST_SUBJECTS: usize = 1024;

/// What one place of a document is.
enum Piece {
    /// All of it is in clear.
    Public,
    /// All of it is sealed with the rest.
    Sealed,
    /// All of it is sealed by a rule of its own.
    Field { field: usize, part: usize, residue: Option<String> },
    /// A container with something of each kind.
    Mixed { children: Vec<Piece>, in_clear: bool },
}

impl Piece {
    fn in_clear(&self) -> bool {
        match self {
            Self::Public => true,
            Self::Sealed => false,
            Self::Field { residue, .. } => residue.is_some(),
            Self::Mixed { in_clear, .. } => *in_clear,
        }
    }

    /// Whether a part has something at or below this place.
    fn holds(&self, part: usize) -> bool {
        match self {
            Self::Public => false,
            Self::Sealed => part == 0,
            Self::Field { part: own, .. } => *own == part,
            Self::Mixed { children, .. } => children.iter().any(|child| child.holds(part)),
        }
    }
}

/// A document, cut.
pub(super) enum Outcome {
    /// All of it is in clear.
    Clear,
    /// All of it is the primary subject's.
    Whole,
    /// Some of it is in clear, or it is of several subjects.
    Parts { public: Option<Json>, parts: Vec<CutPart> },
}

/// What is sealed for one subject.
pub(super) struct CutPart {
    pub(super) subject: Subject,
    pub(super) fillings: Zeroizing<String>,
    pub(super) fields: Vec<String>,
}

/// How a field's own subject is found: by field and by what its `*` stand for.
pub(super) trait FieldSubjects {
    /// `Ok(None)`: the field is sealed with the rest.
    fn subject(
        &self,
        field: &Field,
        stars: &[&str],
        value: Node<'_>,
    ) -> Result<Option<Subject>, PolicyRefusal>;
}

/// Cuts an object.
pub(super) fn cut(
    root: Node<'_>,
    cut: &FieldRules,
    primary: &Subject,
    subjects: &dyn FieldSubjects,
) -> Result<Outcome, PolicyRefusal> {
    let mut classifier =
        Classifier { cut, subjects, parts: vec![primary.clone()], path: Vec::new() };
    let all: Vec<usize> = (0..cut.public.len() + cut.fields.len()).collect();
    let piece = classifier.classify(root, &all, cut.whole, false)?;
    let parts = classifier.parts;
    match piece {
        Piece::Public => return Ok(Outcome::Clear),
        Piece::Sealed => return Ok(Outcome::Whole),
        Piece::Mixed { in_clear: false, .. } if parts.len() == 1 => return Ok(Outcome::Whole),
        Piece::Field { .. } | Piece::Mixed { .. } => {}
    }
    let public = piece.in_clear().then(|| {
        let mut text = String::with_capacity(root.text().len());
        write_public(root, &piece, &mut text);
        Json::composed(text)
    });
    let parts = parts
        .into_iter()
        .enumerate()
        .filter(|(part, _)| piece.holds(*part))
        .map(|(part, subject)| {
            let mut writer = Writer::new(part, cut);
            writer.write(root, 0, &piece, 0);
            writer.finish(subject)
        })
        .collect();
    Ok(Outcome::Parts { public, parts })
}

/// All of an object as the fillings of one subject.
pub(super) fn all_of(root: Node<'_>, subject: &Subject) -> Outcome {
    let cut = FieldRules::default();
    let mut writer = Writer::new(0, &cut);
    for (i, member) in root.children().enumerate() {
        writer.descend(&member.key().unwrap_or_default(), member, &Piece::Sealed, i);
    }
    Outcome::Parts { public: None, parts: vec![writer.finish(subject.clone())] }
}

struct Classifier<'c, 'n> {
    cut: &'c FieldRules,
    subjects: &'c dyn FieldSubjects,
    /// The subjects found so far, the primary one first.
    parts: Vec<Subject>,
    path: Vec<Cow<'n, str>>,
}

impl<'c, 'n> Classifier<'c, 'n> {
    /// The n-th pattern: first come the public ones, then the fields'.
    fn place(&self, pattern: usize) -> &'c super::path::PathPattern {
        match self.cut.public.get(pattern) {
            Some(place) => place,
            None => &self.cut.fields[pattern - self.cut.public.len()].place,
        }
    }

    fn is_field(&self, pattern: usize) -> bool {
        pattern >= self.cut.public.len()
    }

    /// `active`: the patterns that fit the path so far. `muted`: nothing below may be in clear,
    /// because a key on the way must not.
    fn classify(
        &mut self,
        node: Node<'n>,
        active: &[usize],
        public: bool,
        muted: bool,
    ) -> Result<Piece, PolicyRefusal> {
        let depth = self.path.len();
        let mut public = public;
        let mut deeper = Vec::new();
        for &pattern in active {
            if self.place(pattern).steps().len() > depth {
                deeper.push(pattern);
            } else if self.is_field(pattern) {
                return self.field(node, pattern - self.cut.public.len(), muted);
            } else if pattern >= self.cut.scalars
                || !matches!(node.kind(), Kind::Array | Kind::Object)
            {
                public = true;
            }
        }
        let plain = if public { Piece::Public } else { Piece::Sealed };
        if public {
            // Only what a field takes out still matters.
            deeper.retain(|&pattern| self.is_field(pattern));
        }
        if deeper.is_empty() {
            return Ok(plain);
        }
        let is_key = match node.kind() {
            Kind::Object => true,
            Kind::Array => false,
            _ => return Ok(plain),
        };
        let children: Vec<Piece> = node
            .children()
            .enumerate()
            .map(|(i, child)| {
                let key = child.key().unwrap_or_else(|| i.to_string().into());
                self.child(key, child, &deeper, public, muted, is_key)
            })
            .collect::<Result<_, _>>()?;
        Ok(if children.iter().all(|child| matches!(child, Piece::Sealed)) {
            if public && children.is_empty() { Piece::Public } else { Piece::Sealed }
        } else if children.iter().all(|child| matches!(child, Piece::Public)) {
            Piece::Public
        } else {
            let in_clear = children.iter().any(Piece::in_clear);
            Piece::Mixed { children, in_clear }
        })
    }

    fn child(
        &mut self,
        key: Cow<'n, str>,
        node: Node<'n>,
        active: &[usize],
        public: bool,
        muted: bool,
        is_key: bool,
    ) -> Result<Piece, PolicyRefusal> {
        let depth = self.path.len();
        let mut active: Vec<usize> = active
            .iter()
            .copied()
            .filter(|&pattern| self.place(pattern).steps()[depth].fits(&key))
            .collect();
        if active.is_empty() {
            return Ok(if public { Piece::Public } else { Piece::Sealed });
        }
        let mut muted = muted;
        if is_key && !public && !muted {
            // A key that only a `*` fits was not written by the author of the policy: it may be
            // an address or an account number, and then it does not become public.
            let named = active
                .iter()
                .any(|&pattern| self.place(pattern).steps()[depth] != super::path::PathStep::Any);
            if !named && personal_data::check_name(&key).is_err() {
                muted = true;
                active.retain(|&pattern| self.is_field(pattern));
            }
        }
        self.path.push(key);
        let piece = self.classify(node, &active, public, muted);
        self.path.pop();
        piece
    }

    fn field(&mut self, node: Node<'_>, index: usize, muted: bool) -> Result<Piece, PolicyRefusal> {
        let field = &self.cut.fields[index];
        let path: Vec<&str> = self.path.iter().map(|step| &**step).collect();
        let stars = field.place.star_steps(&path);
        let part = match self.subjects.subject(field, &stars, node)? {
            None => 0,
            Some(subject) => match self.parts.iter().position(|known| *known == subject) {
                Some(known) => known,
                None if self.parts.len() >= MOST_SUBJECTS => {
                    return Err(PolicyRefusal::TooManySubjects { most: MOST_SUBJECTS });
                }
                None => {
                    self.parts.push(subject);
                    self.parts.len() - 1
                }
            },
        };
        let kept = field.keep.and_then(|keep| {
            let text = node.string()?;
            serde_json::to_string(keep.residue(&text)?).ok()
        });
        let residue = kept.or_else(|| field.placeholder.clone()).filter(|_| !muted);
        Ok(Piece::Field { field: index, part, residue })
    }
}

fn write_public(node: Node<'_>, piece: &Piece, text: &mut String) {
    match piece {
        Piece::Public => text.push_str(node.text()),
        Piece::Field { residue: Some(residue), .. } => text.push_str(residue),
        Piece::Mixed { children, in_clear: true } => {
            let is_object = node.kind() == Kind::Object;
            text.push(if is_object { '{' } else { '[' });
            let mut first = true;
            for (child, piece) in node.children().zip(children) {
                // An element keeps its place, a member does not.
                if is_object && !piece.in_clear() {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    text.push(',');
                }
                text.push_str(child.before());
                write_public(child, piece, text);
                text.push_str(child.after());
            }
            text.push(if is_object { '}' } else { ']' });
        }
        _ => text.push_str("null"),
    }
}

/// Writes the fillings of one part.
struct Writer<'c> {
    part: usize,
    cut: &'c FieldRules,
    text: Zeroizing<String>,
    pointer: String,
    fields: Vec<String>,
    rest: bool,
}

impl<'c> Writer<'c> {
    fn new(part: usize, cut: &'c FieldRules) -> Self {
        Self {
            part,
            cut,
            text: Zeroizing::default(),
            pointer: String::new(),
            fields: Vec::new(),
            rest: false,
        }
    }

    fn finish(mut self, subject: Subject) -> CutPart {
        if self.rest {
            self.fields.push("*".to_owned());
        }
        CutPart { subject, fillings: self.text, fields: self.fields }
    }

    fn write(&mut self, node: Node<'_>, parent: usize, piece: &Piece, index: usize) {
        match piece {
            Piece::Public => {}
            Piece::Sealed => {
                if self.part == 0 {
                    self.rest = true;
                    self.filling(parent, index, node, node.text());
                }
            }
            Piece::Field { field, part, .. } => {
                if *part == self.part {
                    let name = self.cut.fields[*field].place.to_string();
                    if !self.fields.contains(&name) {
                        self.fields.push(name);
                    }
                    self.filling(parent, index, node, node.text());
                }
            }
            Piece::Mixed { children, in_clear } => {
                if !piece.holds(self.part) {
                    return;
                }
                if !in_clear && !self.pointer.is_empty() {
                    self.filling(parent, index, node, &skeleton(node));
                }
                for (i, (child, piece)) in node.children().zip(children).enumerate() {
                    let key = child.key().unwrap_or_else(|| i.to_string().into());
                    self.descend(&key, child, piece, i);
                }
            }
        }
    }

    fn descend(&mut self, key: &str, node: Node<'_>, piece: &Piece, index: usize) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        self.write(node, length, piece, index);
        self.pointer.truncate(length);
    }

    /// A piece with this value. `parent` is how much of the pointer names the container.
    fn filling(&mut self, parent: usize, index: usize, node: Node<'_>, value: &str) {
        // 64 bytes are enough for the numbers and the spaces.
        self.reserve(parent + node.piece().len() + value.len() + 64);
        let parent = &self.pointer[..parent];
        Fillings::write(parent, index, &[node.before(), value, node.after()], &mut self.text);
    }

    /// Makes room, so that no copy of the text is left behind in freed memory.
    fn reserve(&mut self, more: usize) {
        let needed = self.text.len() + more;
        if needed > self.text.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(needed.max(2 * self.text.len())));
            larger.push_str(&self.text);
            self.text = larger;
        }
    }
}

/// A container of something that is filled in, where none is in clear.
fn skeleton(node: Node<'_>) -> String {
    if node.kind() == Kind::Object {
        return "{}".to_owned();
    }
    let places: Vec<String> =
        node.children().map(|item| format!("{}null{}", item.before(), item.after())).collect();
    format!("[{}]", places.join(","))
}
