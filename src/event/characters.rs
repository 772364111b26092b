//! The characters of names: which there are, and in which form.
//!
//! Two names that nobody can tell apart by sight must not be two people: whoever forgets the one would
//! miss the other. So names are kept in Unicode's Normalization Form C, in which `é` is one character
//! however it was typed, and have no characters that do not show. Case stays as it is.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The text in Normalization Form C.
///
/// A name is normalised rather than refused: an append under a name from a system that writes the
/// other form goes on, and finds the same person.
pub(crate) fn normalized(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}

/// Whether two texts are the same but for the form in which they were typed.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one == other || !(one.is_ascii() && other.is_ascii()) && normalized(one) == normalized(other)
}

/// Characters that two different names could differ in without anybody seeing it, or of which
/// nobody knows how they look: white space, controls, what is left out where it cannot be shown
/// (zero-width and directional marks, variation selectors, fillers, tags), private use, and what is
/// no character at all.
pub(super) fn is_odd(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            // Blank, annotations, private use.
            '\u{2800}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E000}'..='\u{F8FF}'
            | '\u{F0000}'..='\u{10FFFF}' | '\u{FDD0}'..='\u{FDEF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
        || is_default_ignorable(c)
}

/// Unicode's property Default_Ignorable_Code_Point, from DerivedCoreProperties.txt (17.0). A test
/// checks it against another copy of that file.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_what_does_not_show_is_unicodes() {
        let pattern = r"\p{Default_Ignorable_Code_Point}";
        let hir = regex_syntax::parse(pattern).unwrap();
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) =
            hir.kind()
        else {
            panic!("not a class")
        };
        let listed = |c: char| class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&c));
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert_eq!(is_default_ignorable(c), listed(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn forms_are_told_apart_by_nobody() {
        assert_eq!(normalized("Mu\u{308}ller"), "Müller");
        assert!(same("Mu\u{308}ller", "M\u{fc}ller") && same("a", "a"));
        assert!(!same("a", "A") && !same("ü", "u"));
        // The ohm sign is an omega; full-width letters are others, and are seen to be.
        assert!(same("\u{2126}", "\u{3A9}") && !same("\u{FF41}", "a"));
    }
}
