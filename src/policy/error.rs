//! What is wrong with a policy file, and why an event was refused.

use std::fmt;

use super::personal_data::PersonalData;
use crate::event::{NameError, StreamName, Subject};

/// All that is wrong with a policy file, in the order of the file.
///
/// Shown as one line for each, `file:line:column: message`.
///
/// ```
/// use oubliette::*;
/// let errors = Policy::parse("[[stream]]\nmatch = 'user-{id}'\nlayuot = 'split'").unwrap_err();
/// assert_eq!(errors.errors()[0].line, 3);
/// println!("{errors}"); // each with line, column and what to do
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    pub(super) file: String,
    pub(super) errors: Vec<PolicyError>,
}

/// One thing that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyError {
    /// The line, from 1; 0 where the file could not be read at all.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file could not be read at all.
    pub column: usize,
    /// What kind of mistake it is.
    pub problem: Problem,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// The kinds of mistakes in a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// A word that the policy language does not have, a word missing, or a value of another type.
    Word,
    /// A word whose meaning is not there in this version.
    NotYet,
    /// A `match` that is no pattern, or that no stream's name can fit.
    Pattern,
    /// A pointer that is none, or that can have no effect.
    Pointer,
    /// A template that is none, or that uses what is not there.
    Template,
    /// Two rules that say the same, or contradict each other.
    Conflict,
    /// Streams that own each other in a circle, or themselves.
    Cycle,
}

/// Something that is allowed, and about which people should think twice.
///
/// ```
/// use oubliette::Policy;
/// let policy = Policy::parse("[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/surname\"]\n")?;
/// let warning = &policy.warnings()[0];
/// println!("policy.toml:{}:{}: {}", warning.line, warning.column, warning.message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What to think about.
    pub message: String,
}

impl PolicyErrors {
    /// The file itself cannot be read.
    pub fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("the policy cannot be read: {error}");
        let error = PolicyError { line: 0, column: 0, problem: Problem::Unreadable, message };
        Self { file: path.display().to_string(), errors: vec![error] }
    }

    /// The file's name, or `policy` where the text came from elsewhere.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The errors, in the order of the file; at least one.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if error.line > 0 {
                write!(f, ":{}:{}", error.line, error.column)?;
            }
            write!(f, ": {}", error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// A number that passes for a card's by chance can be allowed, in the names of streams and subjects.
fn or_allowed(looks: PersonalData, what: &str) -> &'static str {
    match looks {
        PersonalData::Card if ["stream name", "subject", "owner"].contains(&what) => {
            "; or, where such ids are no cards, say `card_like_ids = true` in the stream's rule"
        }
        _ => "",
    }
}

/// Why the policy refuses an event. No message holds anything of the payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyRefusal {
    /// The stream is one half of a split stream.
    #[error("`{stream}` is a half of the split stream `{logical}`; append to `{logical}` instead")]
    PhysicalName {
        /// The name that was used.
        stream: StreamName,
        /// The stream that it is a half of.
        logical: String,
    },
    /// A word that the layer keeps for itself.
    #[error("{what} is reserved for the layer that seals events; use another name")]
    Reserved {
        /// What was used.
        what: &'static str,
    },
    /// A name that is never encrypted looks like personal data. The name is not repeated.
    #[error(
        "the {what} looks like {looks}; it is never encrypted, so use an opaque id{}",
        or_allowed(*looks, what)
    )]
    LooksPersonal {
        /// Which name.
        what: &'static str,
        /// What it looks like.
        looks: PersonalData,
    },
    /// The event names another subject than the policy finds.
    #[error(
        "the event says it is about `{given}`, but the policy's `subject` makes it another's; \
         leave the subject away or correct the event"
    )]
    SubjectContradicts {
        /// The subject that the event names.
        given: Subject,
    },
    /// The event names a subject other than its stream, and no rule lets it.
    #[error(
        "the event says it is about `{given}`, and the policy does not let events of this stream \
         name their subject: leave the subject away, or write `otherwise = \"named\"`, or a \
         `subject`, in the stream's rule"
    )]
    SubjectNotExpected {
        /// The subject that the event names.
        given: Subject,
    },
    /// A template's pointer finds nothing, or null.
    #[error("the policy takes the {what} of this event from `{pointer}`, where there is nothing")]
    Missing {
        /// What the template is for.
        what: &'static str,
        /// The policy's pointer.
        pointer: String,
    },
    /// Whose a readable field of a copy is, is not known: what names them is missing in the copy.
    #[error(
        "the field `{field}` of this copy is readable, and whose it is, the policy takes from `{pointer}`, which \
         is missing in the copy: nobody's forgetting would reach the field. Make a hole of it: take the field out \
         of `data`, and add {{\"fields\":[\"{field}\"],\"why\":\"not-copied\"}} to the row's list `withheld`; the \
         original stays where it is"
    )]
    FieldOfNobody {
        /// The policy's pointer to the field.
        field: String,
        /// The policy's pointer to what names its subject.
        pointer: String,
    },
    /// A template's pointer finds an object, an array or an empty string.
    #[error(
        "the policy takes the {what} of this event from `{pointer}`, where there is an object, \
         an array or an empty string"
    )]
    NotScalar {
        /// What the template is for.
        what: &'static str,
        /// The policy's pointer.
        pointer: String,
    },
    /// A template's pointer finds a number that is too large or too small to be written out. It
    /// would have several names.
    #[error(
        "the policy takes the {what} of this event from `{pointer}`, where there is a number of \
         more than 40 digits; write it as a string"
    )]
    NumberNotPlain {
        /// What the template is for.
        what: &'static str,
        /// The policy's pointer.
        pointer: String,
    },
    /// What a template composes is no valid name. The name is not repeated.
    #[error("the {what} that the policy composes for this event is no valid name: {error}")]
    BadName {
        /// What the template is for.
        what: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A field is to be sealed under another person's key, but the payload is no JSON object.
    #[error(
        "a field of this event is to be sealed under another subject's key, \
         but the payload is no JSON object"
    )]
    NotAnObject,
    /// The fields of one event are sealed for more subjects than the limit.
    #[error("the fields of this event are of more than {most} subjects; make it several events")]
    TooManySubjects {
        /// The limit.
        most: usize,
    },
    /// Metadata must be a JSON object.
    #[error("an event's metadata must be a JSON object")]
    MetadataNotAnObject,
    /// The event would make its stream depend on itself.
    #[error("the event would make its stream its own owner")]
    OwnsItself,
}
