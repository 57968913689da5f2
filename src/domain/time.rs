//! A point in time, as stored: milliseconds since 1970 in UTC.
use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z. Only `infra::clock` makes one of "now".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// From seconds since the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The date form of mail (RFC 5322 §3.3), in UTC.
    pub fn to_rfc5322(self) -> String {
        let milliseconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
        moment.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }

    /// Later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`, zero when that is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(milliseconds) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// Minutes east of UTC: where a clock stood, not which rules it followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zone(i16);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(0);

    /// `None` for what `+hhmm` cannot say.
    pub fn from_minutes(minutes: i16) -> Option<Self> {
        (minutes.unsigned_abs() < 100 * 60).then_some(Self(minutes))
    }

    /// Minutes east of UTC.
    pub const fn minutes(self) -> i16 {
        self.0
    }
}

/// A moment, and the zone in which somebody wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonedTime {
    /// The moment.
    pub at: Timestamp,
    /// In which zone it is shown.
    pub zone: Zone,
}

impl From<Timestamp> for ZonedTime {
    /// Shown in UTC.
    fn from(at: Timestamp) -> Self {
        Self { at, zone: Zone::UTC }
    }
}

/// A calendar day in Europe/Paris, the unit of every published statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    /// Year, e.g. 2026.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: i8,
    /// Day of the month, 1 to 31.
    pub day: i8,
}

impl Day {
    /// The French calendar day in which `moment` lies.
    pub fn in_france(moment: Timestamp) -> Self {
        let milliseconds = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        let date = jiff::Timestamp::from_millisecond(milliseconds)
            .unwrap_or(jiff::Timestamp::MAX)
            .to_zoned(france())
            .date();
        Self { year: date.year(), month: date.month(), day: date.day() }
    }

    /// The moment at which it begins; `None` when the calendar has no such day.
    pub fn start(self) -> Option<Timestamp> {
        let date = jiff::civil::Date::new(self.year, self.month, self.day).ok()?;
        let start = date.to_zoned(france()).ok()?;
        u64::try_from(start.timestamp().as_millisecond()).ok().map(Timestamp::from_millis)
    }

    /// The moment at which it is over; `None` when the calendar has no such day.
    pub fn end(self) -> Option<Timestamp> {
        let date = jiff::civil::Date::new(self.year, self.month, self.day).ok()?;
        let next = date.tomorrow().ok()?.to_zoned(france()).ok()?;
        let milliseconds = next.timestamp().as_millisecond();
        u64::try_from(milliseconds).ok().map(Timestamp::from_millis)
    }

    /// Parses `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(Self { year: date.year(), month: date.month(), day: date.day() })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The bundled Europe/Paris zone; UTC if the bundle ever lost it.
fn france() -> jiff::tz::TimeZone {
    use std::sync::LazyLock;
    static PARIS: LazyLock<jiff::tz::TimeZone> = LazyLock::new(|| {
        jiff::tz::TimeZone::get("Europe/Paris").unwrap_or(jiff::tz::TimeZone::UTC)
    });
    PARIS.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_paris() {
        let before = Timestamp::from_seconds(1_795_388_399); // 2026-11-22T22:59:59Z
        assert_eq!(Day::in_france(before).to_string(), "2026-11-22");
        assert_eq!(Day::in_france(before.after(Duration::from_secs(1))).to_string(), "2026-11-23");
        let end = Day::parse("2026-11-22").unwrap().end();
        assert_eq!(end, Some(before.after(Duration::from_secs(1))));
    }
}
