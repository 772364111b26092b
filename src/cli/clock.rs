//! Spans of the calendar, counted from now.

use jiff::{Span, tz::TimeZone};
use oubliette::event::Timestamp;

/// The instant that lies this span after now (before, if it is negative), counted in UTC.
///
/// # Errors
/// It is not between the years 1 and 9999.
pub(super) fn from_now(span: Span) -> Result<Timestamp, jiff::Error> {
    let now = jiff::Timestamp::from_microsecond(Timestamp::now().as_micros())?;
    let at = now.to_zoned_datetime(TimeZone::UTC).checked_add(span)?;
    Ok(Timestamp::from_micros(at.timestamp().as_microsecond()))
}
