//! The characters of names: which there are, and in which form.
//!
//! Two names that look the same must not be two people: forgetting one of them would
//! miss the other. So names are kept in Unicode's Normalization Form C, in which `é` is one character
//! however it was typed, and have no characters that do not show. Case stays as it is.
//!
//! A name is hashed and bound by tags, so its form must never change. Unicode promises that for all
//! characters that are assigned: text of such characters that is normalised stays so in every later
//! version. A character that is not assigned may yet get a decomposition or a combining class, so it is
//! refused. A later table only takes more names in.
//!
//! What does not show is another matter: Unicode does not promise that a character stays what it is there. So
//! that list is ours (`docs/format.md`, section 3). No later version refuses a name that an earlier one took:
//! a person who is stored under it could not be read, and not be forgotten.

use std::borrow::Cow;

pub(crate) use unicode_normalization::UNICODE_VERSION;
use unicode_normalization::{
    IsNormalized, UnicodeNormalization, char::is_public_assigned, is_nfc_quick,
};
use zeroize::Zeroizing;

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

/// What is wrong with a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Two texts could differ in it invisibly, or it is not known how it looks: white
    /// space, controls, what is left out where it cannot be shown (zero-width and directional marks,
    /// variation selectors, fillers, tags), private use.
    Hidden,
    /// Unicode has not assigned it, or says that it is no character: its form may change.
    Unassigned,
}

/// Why a character may not be in a name.
pub(crate) fn oddity(c: char) -> Option<Odd> {
    let hidden = c.is_whitespace()
        || c.is_control()
        || matches!(c,
            // Blank, annotations, private use.
            '\u{2800}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E000}'..='\u{F8FF}'
            | '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}')
        || is_default_ignorable(c);
    match hidden {
        true => Some(Odd::Hidden),
        false => (!is_public_assigned(c)).then_some(Odd::Unassigned),
    }
}

/// A secret text as the person who types it means it, after RFC 8265's profile for passwords: in Normalization
/// Form C, with U+0020 for whatever other space a keyboard gives.
///
/// # Errors
/// The first character that is neither a space nor one that a name may have, and the kind of it.
pub(crate) fn typed(text: &str) -> Result<Zeroizing<String>, (char, Odd)> {
    // No form is more than three times as long, so that no reallocation leaves a copy behind.
    let mut typed = Zeroizing::new(String::with_capacity(3 * text.len()));
    let space = |c: char| if c.is_whitespace() && !c.is_control() { ' ' } else { c };
    typed.extend(text.chars().map(space).nfc());
    match typed.chars().filter(|c| *c != ' ').find_map(|c| Some((c, oddity(c)?))) {
        Some(odd) => Err(odd),
        None => Ok(typed),
    }
}

/// Unicode's property Default_Ignorable_Code_Point, as it was in version 17.0. Frozen: where a later Unicode
/// gives the property to a character that was assigned in 18.0, that is not added here.
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

    /// By which a name of these alone is not looked at character by character.
    #[test]
    fn no_visible_ascii_character_is_odd() {
        let visible = (0..=0x7Fu8).filter(u8::is_ascii_graphic);
        assert_eq!(visible.map(|c| oddity(c.into())).filter(Option::is_none).count(), 94);
    }

    /// The lists of `docs/format.md`. Where this turns red after an update of Rust or of a library, the
    /// program must go on with these lists, not with the new ones.
    #[test]
    fn a_name_that_was_taken_once_is_never_refused() {
        let white_space = [9..=13, 0x20..=0x20, 0x85..=0x85, 0xA0..=0xA0, 0x1680..=0x1680]
            .into_iter()
            .chain([0x2000..=0x200A, 0x2028..=0x2029, 0x202F..=0x202F, 0x205F..=0x205F])
            .chain([0x3000..=0x3000]);
        let controls = [0..=0x1F, 0x7F..=0x9F];
        let private = [0xE000..=0xF8FF, 0xF_0000..=0xF_FFFD, 0x10_0000..=0x10_FFFD];
        let unseen = [0xAD..=0xAD, 0x34F..=0x34F, 0x61C..=0x61C, 0x115F..=0x1160, 0x17B4..=0x17B5]
            .into_iter()
            .chain([0x180B..=0x180F, 0x200B..=0x200F, 0x202A..=0x202E, 0x2060..=0x206F])
            .chain([0x2800..=0x2800, 0x3164..=0x3164, 0xFE00..=0xFE0F, 0xFEFF..=0xFEFF])
            .chain([0xFFA0..=0xFFA0, 0xFFF0..=0xFFFB, 0x1_BCA0..=0x1_BCA3, 0x1_D173..=0x1_D17A])
            .chain([0xE_0000..=0xE_0FFF]);
        let frozen: Vec<_> =
            white_space.chain(controls).chain(private).chain(unseen).collect::<Vec<_>>();
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let listed = frozen.iter().any(|range| range.contains(&u32::from(c)));
            assert_eq!(oddity(c) == Some(Odd::Hidden), listed, "U+{:04X}", u32::from(c));
        }
    }

    /// Where a library has a later list, only characters that were not assigned in 18.0 may be added to ours.
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

    /// `docs/format.md` says so. With an older table a name that is stored could be refused.
    #[test]
    fn the_tables_are_at_least_of_the_stated_version() {
        assert!(UNICODE_VERSION >= (18, 0, 0), "{UNICODE_VERSION:?}");
    }

    #[test]
    fn only_what_is_assigned_has_no_oddity() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            if oddity(c).is_none() {
                assert!(is_public_assigned(c), "U+{:04X}", u32::from(c));
            }
        }
        for c in ['\u{378}', '\u{2FE0}', '\u{E0FFF}', '\u{FDD0}', '\u{FFFF}', '\u{10FFFF}'] {
            assert!(oddity(c).is_some(), "{c:?}");
        }
        assert_eq!(oddity('\u{378}'), Some(Odd::Unassigned));
        assert_eq!(oddity('\u{E000}'), Some(Odd::Hidden));
        for c in ['a', 'é', '한', '語', '\u{113C7}', '🦉'] {
            assert_eq!(oddity(c), None, "{c:?}");
        }
    }

    #[test]
    fn a_secret_text_is_the_same_however_it_was_typed() {
        assert_eq!(*typed("cafe\u{301} garten").unwrap(), "café garten");
        assert_eq!(typed("caf\u{e9}\u{a0}garten").unwrap(), typed("cafe\u{301} garten").unwrap());
        assert_eq!(*typed(" a  b ").unwrap(), " a  b ");
        assert_eq!(typed("a\r"), Err(('\r', Odd::Hidden)));
        assert_eq!(typed("a\u{200b}"), Err(('\u{200b}', Odd::Hidden)));
        assert_eq!(typed("a\u{378}"), Err(('\u{378}', Odd::Unassigned)));
        // What grows most is no longer than what was reserved.
        let long = "\u{1D160}".repeat(100);
        assert!(typed(&long).unwrap().len() <= 3 * long.len());
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
