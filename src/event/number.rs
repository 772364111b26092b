//! Numbers and ids, each a type of its own so that none can be passed for another.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{NoContext, Uuid, Variant};

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub $inner);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// Orders the events of one stream. Some stores' revisions have gaps: take the next one from
    /// what an append returned, never by adding one.
    Revision, u64
}

number! {
    /// Counts a subject's changes of keys, from 1. Each stream of the subject has at most one key per generation and
    /// class.
    Generation, u32
}

impl Generation {
    /// The generation that a subject's first key in a stream has.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id! {
    /// The identity of one event, unique in its store; what makes a retry recognisable.
    ///
    /// Never derive it from the payload: a guessable hash would outlive the key.
    ///
    /// ```
    /// use oubliette::*;
    /// let fresh = EventId::random();
    /// // For rows of a source that have none: from its name and the row's number, never from the payload.
    /// let space = uuid::Uuid::from_u128(0x57ff_261f_6b5d_4a84_a96e_002d_6a9d_0371);
    /// assert_eq!(EventId::derived(space, "17"), EventId::derived(space, "17"));
    /// assert_eq!(fresh.to_string().parse::<EventId>()?, fresh);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    EventId
}

id! {
    /// The identity of one erasure: a version 7 UUID, so that it carries the instant at which
    /// the erasure was decided. A clock may be set back: the order of ids is not that of erasures.
    ErasureId
}

/// The identity of a vault, a random UUID (version 4), fixed when the vault is made. Its text is in lower
/// case and with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VaultId(pub Uuid);

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for VaultId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VaultId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = Uuid::parse_str(&text).map_err(de::Error::custom)?;
        // One spelling, because it is bound by a tag.
        if id.to_string() == text {
            Ok(Self(id))
        } else {
            Err(de::Error::custom("another spelling"))
        }
    }
}

impl EventId {
    /// A new random id (UUID version 4).
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id that belongs to `name` within `space` (UUID version 5, RFC 9562): the same
    /// arguments give the same id, in every run and on every machine.
    pub fn derived(space: Uuid, name: &str) -> Self {
        Self(Uuid::new_v5(&space, name.as_bytes()))
    }
}

impl ErasureId {
    /// A new id that carries the present instant.
    pub fn now() -> Self {
        Self(Timestamp::now().new_uuid())
    }

    /// The day in UTC on which the erasure was decided.
    pub fn day(self) -> Day {
        self.at().day()
    }

    /// The instant at which the erasure was decided, to the millisecond.
    pub fn at(self) -> Timestamp {
        let millis = match self.0.get_timestamp() {
            Some(stamp) => {
                let (seconds, nanos) = stamp.to_unix();
                i64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
                    + i64::from(nanos / 1_000_000)
            }
            None => 0,
        };
        Timestamp::from_micros(millis.saturating_mul(1000))
    }
}

/// An instant, in microseconds since 1970-01-01 UTC; written as RFC 3339.
///
/// It is between the years 1 and 9999, which is what RFC 3339 can write: whatever a clock, a
/// store or a stranger's bytes say, a `Timestamp` that is written can be read again.
///
/// ```
/// use oubliette::event::{Day, Timestamp};
/// let at: Timestamp = "2026-01-31T12:00:00Z".parse()?;
/// assert_eq!(at.day(), "2026-01-31".parse::<Day>()?);
/// assert_eq!(Timestamp::from_micros(at.as_micros()), at);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A text is not an RFC 3339 instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an instant such as 2026-01-31T12:00:00Z (RFC 3339), in the years 1 to 9999")]
pub struct TimestampError;

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z, the last whole second that has a date in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The present instant of the system's clock. A clock outside of the range of this type gives
    /// its nearest end.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    fn of(time: SystemTime) -> Self {
        let micros = |since: std::time::Duration| i64::try_from(since.as_micros());
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self::from_micros(micros(since).unwrap_or(i64::MAX)),
            Err(before) => Self::from_micros(micros(before.duration()).map_or(i64::MIN, |m| -m)),
        }
    }

    /// The instant so many microseconds after 1970-01-01 UTC, or the nearest one in range.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since 1970-01-01 UTC.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// A new UUID of version 7 that carries this instant, or 1970-01-01 where it is earlier.
    pub(crate) fn new_uuid(self) -> Uuid {
        // `Uuid::now_v7` panics where the clock is before 1970. A context would keep the ids of one process in
        // order, and so give one the instant of an earlier one where the clock was set back.
        let micros = u64::try_from(self.0).unwrap_or(0);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        // A remainder below a million, so that its nanoseconds fit.
        let nanos = u32::try_from(rest * 1000).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos))
    }

    /// Whether a UUID is of version 7 and carries this instant, to the millisecond.
    pub(crate) fn is_in(self, id: Uuid) -> bool {
        let is_one = id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122;
        is_one && i64::try_from(id.as_u128() >> 80) == Ok(self.0.div_euclid(1000))
    }
}

impl Timestamp {
    /// The day in UTC that the instant is in.
    pub fn day(self) -> Day {
        // Always in range: see `from_micros`.
        let instant = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        Day(jiff::tz::TimeZone::UTC.to_datetime(instant).date())
    }
}

/// A day, in UTC where nothing else is said; written as `2026-01-31`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(jiff::civil::Date);

/// A text is not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a day such as 2026-01-31")]
pub struct DayError;

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = DayError;
    fn from_str(text: &str) -> Result<Self, DayError> {
        let day = text.parse().map(Self).map_err(|_| DayError)?;
        // One spelling, because it is signed. Not every program has a year 0.
        if day.0.year() > 0 && day.to_string() == text { Ok(day) } else { Err(DayError) }
    }
}

impl Day {
    /// Year (2), month, day: so that days are ordered as their bytes are.
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.0.year().to_be_bytes();
        [high, low, self.0.month().unsigned_abs(), self.0.day().unsigned_abs()]
    }

    /// `None`: there is no such day in the years 1 to 9999.
    pub(crate) fn from_bytes([high, low, month, day]: [u8; 4]) -> Option<Self> {
        let year = i16::from_be_bytes([high, low]);
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(year, month, day).ok().filter(|_| year > 0).map(Self)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        f.pad(&instant.to_string())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let micros = instant.as_microsecond();
        let timestamp = Self::from_micros(micros);
        if timestamp.0 == micros { Ok(timestamp) } else { Err(TimestampError) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_its_text() {
        let now = Timestamp::now();
        assert_eq!(now.to_string().parse(), Ok(now));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
    }

    #[test]
    fn a_day_has_one_spelling() {
        let day = "2026-11-28T23:59:59.9Z".parse::<Timestamp>().unwrap().day();
        assert_eq!(day.to_string(), "2026-11-28");
        assert_eq!("2026-11-28".parse(), Ok(day));
        for odd in
            ["20261128", "2026-11-28T00:00:00", "2026-11-31", "2026-W48-6", " 2026-11-28", ""]
        {
            assert_eq!(odd.parse::<Day>(), Err(DayError), "{odd}");
        }
    }

    #[test]
    fn a_clock_before_1970_or_after_9999_is_no_panic_and_spoils_no_text() {
        let day = std::time::Duration::from_secs(86_400);
        let odd = [
            UNIX_EPOCH - day,
            UNIX_EPOCH - day * 1_000_000,
            UNIX_EPOCH + day * 3_000_000,
            UNIX_EPOCH + day * 100_000_000,
        ];
        for time in odd {
            let instant = Timestamp::of(time);
            assert_eq!(instant.to_string().parse(), Ok(instant));
            let erasure = ErasureId(instant.new_uuid());
            let at = erasure.at();
            assert_eq!(at.to_string().parse(), Ok(at));
            assert!(at >= Timestamp::from_micros(0), "{at}");
        }
        assert_eq!(Timestamp::of(UNIX_EPOCH - day).to_string(), "1969-12-31T00:00:00Z");
    }

    #[test]
    fn whatever_number_a_store_returns_is_an_instant_that_can_be_written() {
        for micros in [i64::MIN, i64::MAX, Timestamp::MIN.0 - 1, Timestamp::MAX.0 + 1, -1, 0] {
            let instant = Timestamp::from_micros(micros);
            assert_eq!(instant.to_string().parse(), Ok(instant));
        }
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00Z");
        // A stranger's id carries an instant beyond the year 9999.
        let late = ErasureId(Uuid::from_u128(0xffff_ffff_ffff_7000_8000_0000_0000_0000));
        assert_eq!(late.at().to_string().parse(), Ok(late.at()));
        assert_eq!("-000001-01-01T00:00:00Z".parse::<Timestamp>(), Err(TimestampError));
    }

    /// The day of an erasure is signed, and is in every tombstone.
    #[test]
    fn an_id_carries_its_own_instant_after_the_clock_was_set_back() {
        let now = Timestamp::now();
        let ahead = Timestamp::from_micros(now.as_micros() + 90 * 86_400_000_000);
        for instant in [ahead, now, ahead, now] {
            let id = ErasureId(instant.new_uuid());
            assert_eq!(id.at().as_micros() / 1000, instant.as_micros() / 1000);
            assert_eq!(id.day(), instant.day());
            assert_eq!(id.0.get_version_num(), 7);
        }
        assert_ne!(now.new_uuid(), now.new_uuid());
    }

    #[test]
    fn an_erasure_id_carries_its_instant() {
        let before = Timestamp::now().as_micros() / 1000;
        let at = ErasureId::now().at().as_micros() / 1000;
        let after = Timestamp::now().as_micros() / 1000;
        assert!((before..=after).contains(&at));
    }

    #[test]
    fn derived_ids_depend_on_both_arguments() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(EventId::derived(a, "x"), EventId::derived(a, "x"));
        assert_ne!(EventId::derived(a, "x"), EventId::derived(b, "x"));
        assert_ne!(EventId::derived(a, "x"), EventId::derived(a, "y"));
    }
}
