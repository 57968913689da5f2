//! Dates (RFC 5260 §4): a moment in a zone, and its parts.
use jiff::Zoned;
use jiff::tz::Offset;
use jiff::tz::TimeZone;
use mail_parser::DateTime;

use crate::domain::time::Timestamp;
use crate::proto::mime::date;

const PARTS: [&str; 13] = [
    "year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601",
    "std11", "zone", "weekday",
];
/// Modified Julian Day of 1970-01-01.
const MJD_OF_1970: i64 = 40_587;

/// RFC 5260 §4.2
pub(super) fn is_part(name: &str) -> bool {
    PARTS.iter().any(|part| part.eq_ignore_ascii_case(name))
}

/// `+hhmm`, in minutes.
pub(super) fn zone_minutes(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 4)?;
    let number: i32 = digits.bytes().all(|o| o.is_ascii_digit()).then(|| digits.parse().ok())??;
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// The moment of a field and the zone in which it is written. Of Received, what stands behind the
/// last semicolon.
pub(super) fn read(value: &str) -> Option<(i64, i32)> {
    let written = value.rsplit(';').next().unwrap_or(value).trim();
    let date = DateTime::parse_rfc822(written).filter(DateTime::is_valid)?;
    let minutes = i32::from(date.tz_hour) * 60 + i32::from(date.tz_minute);
    Some((date.to_timestamp(), if date.tz_before_gmt { -minutes } else { minutes }))
}

/// A moment on a clock: of Paris, or so many minutes from Greenwich.
pub(super) fn on_clock(seconds: i64, minutes: Option<i32>) -> Option<Zoned> {
    let Some(minutes) = minutes else {
        return Some(date::in_paris(Timestamp::from_seconds(u64::try_from(seconds).ok()?)));
    };
    let offset = Offset::from_seconds(minutes.checked_mul(60)?).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::fixed(offset)))
}

/// One part of a date; `None` when there is no such part.
pub(super) fn part(moment: &Zoned, name: &str) -> Option<String> {
    let format = match name.to_ascii_lowercase().as_str() {
        "year" => "%Y",
        "month" => "%m",
        "day" => "%d",
        "date" => "%Y-%m-%d",
        "hour" => "%H",
        "minute" => "%M",
        "second" => "%S",
        "time" => "%H:%M:%S",
        "iso8601" => "%Y-%m-%dT%H:%M:%S%:z",
        "std11" => "%a, %d %b %Y %H:%M:%S %z",
        "zone" => "%z",
        "weekday" => "%w",
        "julian" => {
            let seconds = moment.timestamp().as_second() + i64::from(moment.offset().seconds());
            return Some((seconds.div_euclid(86_400) + MJD_OF_1970).to_string());
        }
        _ => return None,
    };
    Some(moment.strftime(format).to_string())
}
