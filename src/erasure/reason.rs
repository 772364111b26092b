//! Whether a reason may be kept.
//!
//! It stays with the record of the erasure, which is kept for good and names no one.

use crate::{
    event::{Subject, normalized},
    policy::personal_data::{PersonalData, check_text},
};

/// Why a reason is refused. It is not repeated.
///
/// ```
/// use oubliette::{erasure::{UnfitReason, check_reason}, *};
/// let subject = Subject::new("user-456")?;
/// assert!(check_reason("request 2026-117", &subject).is_ok());
/// assert!(matches!(check_reason("e-mail of a@example.org", &subject), Err(UnfitReason::Personal(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitReason {
    /// It says nothing.
    #[error("the reason is empty; write the number of the request or ticket")]
    Empty,
    /// It holds what looks like personal data.
    #[error(
        "the reason holds {0}, and it is kept for good with the record of the erasure, which names \
         nobody; write the number of the request or ticket instead"
    )]
    Personal(PersonalData),
    /// It names who is to be forgotten.
    #[error(
        "the reason names the subject, and it is kept for good with the record of the erasure, which \
         names nobody; write the number of the request or ticket instead"
    )]
    NamesTheSubject,
}

/// Whether a reason may be kept with the record of an erasure: it must not say whose request it was. Forgetting
/// asks the same before all else; a program may ask before it opens anything.
///
/// # Errors
/// [`UnfitReason`].
pub fn check_reason(reason: &str, subject: &Subject) -> Result<(), UnfitReason> {
    if reason.trim().is_empty() {
        return Err(UnfitReason::Empty);
    }
    if names(&normalized(reason), subject.as_str()) {
        return Err(UnfitReason::NamesTheSubject);
    }
    check_text(reason).map_err(UnfitReason::Personal)
}

/// Whether a name is in a text as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(part_of_a_name)
            && !text[at + name.len()..].starts_with(part_of_a_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_which_request_and_not_whose() {
        let subject = Subject::new("user-456").unwrap();
        let check = |reason: &str| match check_reason(reason, &subject) {
            Ok(()) => None,
            Err(unfit) => {
                assert!(!unfit.to_string().contains("456"));
                Some(unfit)
            }
        };
        for fit in ["ticket 4711", "request 2026-117", "asked by letter on 3 May 2026", "user-4567"]
        {
            assert_eq!(check(fit), None, "{fit}");
        }
        assert_eq!(check(" "), Some(UnfitReason::Empty));
        for naming in ["user-456", "user-456 asked", "as asked (user-456)"] {
            assert_eq!(check(naming), Some(UnfitReason::NamesTheSubject), "{naming}");
        }
        let accented = Subject::new("user-\u{e9}").unwrap();
        let decomposed = check_reason("user-e\u{301} asked", &accented);
        assert_eq!(decomposed, Err(UnfitReason::NamesTheSubject));
        for (personal, looks) in [
            ("anna@example.org asked", PersonalData::Email),
            ("mail from <anna@example.org>", PersonalData::Email),
            ("account DE89 3704 0044 0532 0130 00", PersonalData::Iban),
            ("called from +49 170 1234567", PersonalData::Phone),
            ("card 4111 1111 1111 1111", PersonalData::Card),
        ] {
            assert_eq!(check(personal), Some(UnfitReason::Personal(looks)), "{personal}");
        }
    }
}
