//! Spans, days and instants as people write and read them; all in UTC, and said so.

use jiff::{Span, civil::Date, tz::TimeZone};
use oubliette::event::Timestamp;

/// `2026-01-31 12:00:00 UTC`, within a sentence.
pub(super) fn time(at: Timestamp) -> String {
    format!("{} UTC", utc(at))
}

/// `2026-01-31 12:00:00`, in a column that says that it is UTC.
pub(super) fn utc(at: Timestamp) -> String {
    let seconds: String = at.to_string().chars().take("2026-01-31T12:00:00".len()).collect();
    seconds.replace('T', " ")
}

/// When it is, so much from now (before, if it is negative), counted in UTC.
///
/// # Errors
/// It is not between the years 1 and 9999.
pub(super) fn from_now(span: Span) -> Result<Timestamp, jiff::Error> {
    let now = jiff::Timestamp::from_microsecond(Timestamp::now().as_micros())?;
    let at = now.to_zoned_datetime(TimeZone::UTC).checked_add(span)?;
    Ok(Timestamp::from_micros(at.timestamp().as_microsecond()))
}

/// A span such as 90d, 6mo, 1y or 12h. `m` alone is refused: one reads months, another minutes.
pub(super) fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("`{text}` is no span such as 90d, 6mo or 1y");
    let span: Span = text.parse().map_err(|_| wrong())?;
    // In ISO's form, `P3M` and `PT3M`, it is clear.
    let is_iso = text.trim_start_matches(['-', '+']).starts_with(['P', 'p']);
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    if !is_iso && words.any(|word| word.eq_ignore_ascii_case("m")) {
        return Err(format!("`m` in `{text}`: mo or min?"));
    }
    Ok(span)
}

/// When something expires: after a span of days or longer, at the end of a day (in UTC), or at an instant
/// whose zone is said.
pub(super) fn expiry(text: &str) -> Result<Timestamp, String> {
    if let Some(zone) = text.find('[') {
        let zone = &text[zone..];
        return Err(format!(
            "a zone {zone} is not understood; give an offset such as +01:00, or Z"
        ));
    }
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let has_time = text.contains(':') || text.contains('T') && !text.starts_with(['P', '-', '+']);
    match text.parse::<Date>() {
        Ok(_) if has_time => {
            Err(format!("in which zone is {text}? Add Z for UTC, or an offset such as +01:00"))
        }
        Ok(date) => {
            let end = date.at(23, 59, 59, 0).to_zoned_datetime(TimeZone::UTC);
            let end = end.map_err(|_| format!("{text} is too far away"))?;
            Ok(Timestamp::from_micros(end.timestamp().as_microsecond()))
        }
        Err(_) => in_days(text),
    }
}

fn in_days(text: &str) -> Result<Timestamp, String> {
    let span = span(text).map_err(|wrong| format!("{wrong}; or give a date such as 2027-01-31"))?;
    let in_days = Span::new()
        .try_years(span.get_years())
        .and_then(|part| part.try_months(span.get_months()))
        .and_then(|part| part.try_weeks(span.get_weeks()))
        .and_then(|part| part.try_days(span.get_days()));
    let far = |_| format!("{text} is too far away");
    let in_days = in_days.map_err(far)?;
    if in_days.fieldwise() != span.fieldwise() {
        return Err(format!("{text} counts less than days; give days, weeks, months or years"));
    }
    if span.is_negative() || span.is_zero() {
        return Err(format!("{text} is not in the future"));
    }
    from_now(span).map_err(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn an_expiry_is_a_span_of_days_the_end_of_a_day_or_an_instant() {
        let in_90 = Timestamp::now().as_micros() + 90 * DAY;
        assert!((expiry("90d").unwrap().as_micros() - in_90).abs() < DAY / 24);
        assert!(expiry("6mo").unwrap() > expiry("170d").unwrap());
        assert!(expiry("1y").unwrap() > expiry("360d").unwrap());
        assert!(expiry("P6M").unwrap() > expiry("170d").unwrap());
        assert!(expiry("2w 1d").unwrap() > expiry("14d").unwrap());
        let end = "2027-01-31T23:59:59Z".parse().unwrap();
        assert_eq!(expiry("2027-01-31"), Ok(end));
        assert_eq!(expiry("20270131"), Ok(end));
        assert_eq!(expiry("2027-02-01T01:59:59+02:00"), Ok(end));
        for wrong in ["", "soon", "90", "31.1.2027", "99999999y", "-90d", "0d", "2027-13-01"] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }

    /// Each was taken for something else than its writer meant.
    #[test]
    fn an_expiry_that_can_be_read_in_two_ways_is_refused() {
        for (text, says) in [
            ("3m", "mo or min"),
            ("1y3m", "mo or min"),
            ("3 m", "mo or min"),
            ("3min", "less than days"),
            ("PT3M", "less than days"),
            ("36h", "less than days"),
            ("90d 12h", "less than days"),
            ("2027-03-28T02:30", "which zone"),
            ("2027-03-28 02:30", "which zone"),
            ("2027-03-28T02:30:00", "which zone"),
            ("2027-03-28[Europe/Berlin]", "[Europe/Berlin]"),
            ("2027-03-28T02:30[Europe/Berlin]", "[Europe/Berlin]"),
            ("2027-03-28T02:30:00+01:00[Europe/Berlin]", "[Europe/Berlin]"),
        ] {
            let wrong = expiry(text).unwrap_err();
            assert!(wrong.contains(says), "{text}: {wrong}");
        }
    }

    #[test]
    fn months_and_minutes_are_not_confused() {
        for clear in ["6mo", "5min", "12h", "0s", "P3M", "PT3M", "2y 6mo"] {
            assert!(span(clear).is_ok(), "{clear}");
        }
        for unclear in ["3m", "1y 3m", "2h3m"] {
            assert!(span(unclear).unwrap_err().contains("mo or min"), "{unclear}");
        }
    }
}
