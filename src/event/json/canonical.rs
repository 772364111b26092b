//! The one form of a JSON value, whatever its spelling.
//!
//! Stores with a JSON type of their own give back the value, not the text: they sort keys, respell
//! strings, and write numbers out (PostgreSQL's `jsonb` makes `1e2` to `100`, and leaves `1.50`).
//! What is bound to a public part is bound to this form of it.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Kind, Node, node::write_string};

/// Where canonical text goes: a string, or a hash, so that it need not be kept.
pub(crate) trait Sink {
    fn put(&mut self, text: &str);
}

impl Sink for String {
    fn put(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Node<'_> {
    /// The value in canonical form: no white space, members sorted by the UTF-8 of their keys,
    /// strings with the escapes of RFC 8785, numbers as [`canonical_number`] writes them.
    pub(crate) fn to_canonical(self) -> String {
        let mut text = String::new();
        self.canonical(&mut text, &[]);
        text
    }

    /// As [`Node::to_canonical`], without the members that `left_out` names, each by its path. An
    /// object of which nothing is left so is left out, too.
    pub(crate) fn canonical(&self, sink: &mut impl Sink, left_out: &[&[&str]]) {
        match self.kind() {
            Kind::Null | Kind::Bool => sink.put(self.text()),
            Kind::Number => sink.put(&canonical_number(self.text())),
            Kind::String if self.is_plain().1 => sink.put(self.text()),
            Kind::String => respelled(self.string(), sink),
            Kind::Array => {
                sink.put("[");
                for (i, item) in self.children().enumerate() {
                    if i > 0 {
                        sink.put(",");
                    }
                    item.canonical(sink, &[]);
                }
                sink.put("]");
            }
            Kind::Object => {
                sink.put("{");
                if left_out.is_empty() && self.is_sorted() {
                    for (i, member) in self.children().enumerate() {
                        member.canonical_member(i == 0, sink, &[]);
                    }
                } else {
                    let mut members: SmallVec<[Node<'_>; 8]> =
                        self.children().filter(|member| !member.is_left_out(left_out)).collect();
                    if members.spilled() {
                        members.sort_by_cached_key(Node::key);
                    } else {
                        members.sort_by(|one, other| one.key().cmp(&other.key()));
                    }
                    for (i, member) in members.into_iter().enumerate() {
                        let within = member.within(left_out);
                        member.canonical_member(i == 0, sink, &within);
                    }
                }
                sink.put("}");
            }
        }
    }

    fn canonical_member(&self, first: bool, sink: &mut impl Sink, left_out: &[&[&str]]) {
        if !first {
            sink.put(",");
        }
        match self.is_plain().0 {
            true => sink.put(self.spelling()),
            false => respelled(self.key(), sink),
        }
        sink.put(":");
        self.canonical(sink, left_out);
    }

    /// Whether the members are in their canonical order already.
    fn is_sorted(&self) -> bool {
        self.children().map(|member| member.key()).is_sorted()
    }

    /// Whether a member is left out, or all that is in it.
    pub(crate) fn is_left_out(&self, left_out: &[&[&str]]) -> bool {
        let within = self.within(left_out);
        within.iter().any(|path| path.is_empty())
            || !within.is_empty()
                && self.kind() == Kind::Object
                && !self.is_empty()
                && self.children().all(|member| member.is_left_out(&within))
    }

    /// What is left out of a member.
    fn within<'p>(&self, left_out: &[&'p [&'p str]]) -> SmallVec<[&'p [&'p str]; 4]> {
        let below =
            |path: &&'p [&'p str]| path.split_first().filter(|(first, _)| self.is_called(first));
        left_out.iter().filter_map(below).map(|(_, rest)| rest).collect()
    }
}

/// A string that has escapes; of one that has none there is only one spelling.
fn respelled(characters: Option<Cow<'_, str>>, sink: &mut impl Sink) {
    let mut text = String::new();
    write_string(&characters.unwrap_or_default(), &mut text);
    sink.put(&text);
}

/// From which to which power of ten numbers are written out.
const PLAIN: std::ops::Range<i64> = -40..40;
/// Exponents of more digits are not reckoned with.
const MAX_EXPONENT_DIGITS: usize = 18;

/// The one spelling of a JSON number's value: no sign of zero, no zeros that say nothing, and
/// - written out (`100`, `-0.025`) where its first digit counts between 10⁻⁴⁰ and 10³⁹;
/// - else as `d.ddde±n` without the plus sign (`1.5e400`, `1e-41`).
///
/// So `1e2`, `100`, `1.0e2` and `100.00` are one, and no other value has that form. A number whose
/// exponent has more than 18 digits stays as it is spelled, unless it is zero.
pub fn canonical_number(literal: &str) -> Cow<'_, str> {
    let (negative, magnitude) = match literal.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", literal),
    };
    // Short and without an exponent, as most are: it is written out, and at most zeros are cut off.
    if magnitude.len() <= 40 && !magnitude.contains(['e', 'E']) {
        let cut = match magnitude.contains('.') {
            true => literal.trim_end_matches('0').trim_end_matches('.'),
            false => literal,
        };
        return Cow::Borrowed(if cut == "-0" { "0" } else { cut });
    }
    let (number, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let leading = digits.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Cow::Borrowed("0");
    }
    let Some(exponent) = read_exponent(exponent) else { return Cow::Borrowed(literal) };
    // The power of ten of the first digit that counts. No text is long enough to overflow it.
    let power = exponent + whole.len() as i64 - leading as i64 - 1;
    let (first, rest) = significant.split_at(1);
    Cow::Owned(if !PLAIN.contains(&power) {
        let point = if rest.is_empty() { "" } else { "." };
        format!("{negative}{first}{point}{rest}e{power}")
    } else if power < 0 {
        let zeros = power.unsigned_abs() as usize - 1;
        format!("{negative}0.{}{significant}", "0".repeat(zeros))
    } else {
        let before = power.unsigned_abs() as usize + 1;
        match significant.split_at_checked(before) {
            Some((whole, "")) => format!("{negative}{whole}"),
            Some((whole, fraction)) => format!("{negative}{whole}.{fraction}"),
            None => format!("{negative}{significant}{}", "0".repeat(before - significant.len())),
        }
    })
}

fn read_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_EXPONENT_DIGITS {
        return None;
    }
    let exponent = if digits.is_empty() { 0 } else { digits.parse::<i64>().ok()? };
    Some(if negative { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        for (spellings, canonical) in [
            (&["1e2", "100", "1.0e2", "100.00", "1E+2", "10e1", "0.1e3", "1000e-1"][..], "100"),
            (&["0", "-0", "0.0", "-0e5", "0e99999999999999999999"], "0"),
            (&["1.5", "1.50", "15e-1", "0.15E1"], "1.5"),
            (&["-0.025", "-25e-3", "-2.50e-2"], "-0.025"),
            (&["1e39", "10e38"], "1000000000000000000000000000000000000000"),
            (&["1e40", "10000000000000000000000000000000000000000", "0.1e41"], "1e40"),
            (&["1e-40", "0.1e-39"], "0.0000000000000000000000000000000000000001"),
            (&["1e-41", "0.10e-40"], "1e-41"),
            (&["1.5e400", "15e399", "0.0150E402"], "1.5e400"),
            (&["9007199254740993", "9007199254740993.0"], "9007199254740993"),
            (&["1e0999999999999999999"], "1e999999999999999999"),
            (&["1E1000000000000000000"], "1E1000000000000000000"),
        ] {
            for spelling in spellings {
                assert_eq!(canonical_number(spelling), canonical, "{spelling}");
            }
        }
    }

    /// Sign, digits without zeros at the ends, and the power of ten of the last.
    fn value(text: &str) -> (bool, String, i64) {
        let (negative, text) = (text.starts_with('-'), text.trim_start_matches('-'));
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut exponent = exponent.trim_start_matches('+').parse::<i64>().unwrap();
        exponent -= fraction.len() as i64;
        let mut digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
        while digits.ends_with('0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() { (false, digits, 0) } else { (negative, digits, exponent) }
    }

    fn numbers() -> impl Strategy<Value = String> {
        "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?"
    }

    proptest! {
        #[test]
        fn the_form_keeps_the_value_and_is_its_own(number in numbers()) {
            let canonical = canonical_number(&number);
            prop_assert_eq!(value(&canonical), value(&number));
            prop_assert_eq!(canonical_number(&canonical), canonical.as_ref());
            prop_assert!(canonical.len() <= number.len() + 45);
        }

        #[test]
        fn another_spelling_has_the_same_form(number in numbers(), shift in -60i64..60, zeros in 0usize..5) {
            // A decimal point elsewhere, with the exponent that makes up for it, and zeros more.
            let (negative, digits, exponent) = value(&number);
            let sign = if negative { "-" } else { "" };
            let digits = if digits.is_empty() { "0".to_owned() } else { digits };
            let padded = format!("{digits}{}", "0".repeat(zeros + 60));
            let point = (digits.len() as i64 + shift).max(1).min(padded.len() as i64 - 1) as usize;
            let moved = exponent + digits.len() as i64 - point as i64;
            let other = format!("{sign}{}.{}e{moved}", &padded[..point], &padded[point..]);
            prop_assert_eq!(canonical_number(&other), canonical_number(&number), "{}", other);
        }
    }
}
