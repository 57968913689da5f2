//! Dates of commands and responses (RFC 3501 §9), and the day of a Date field.
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::domain::time::ZonedTime;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const NOT_A_DATE: Bad = Bad::form("a date such as 1-Feb-2026 was expected");
const NOT_A_DATE_TIME: Bad =
    Bad::form("a date-time such as \" 1-Feb-2026 09:30:00 +0100\" was expected");

/// `date`: `1-Feb-2026`, perhaps in quotes.
pub fn date(cursor: &mut Cursor<'_>) -> Result<Day, Bad> {
    let quoted = cursor.eat(b'"');
    let text = cursor.take_while(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let day = std::str::from_utf8(text).ok().and_then(day_month_year).ok_or(NOT_A_DATE)?;
    if quoted {
        cursor.expect(b'"', "a quoted date has no end")?;
    }
    Ok(day)
}

/// `date-time`: `" 1-Feb-2026 09:30:00 +0100"`, quotes included.
pub fn date_time(cursor: &mut Cursor<'_>) -> Result<ZonedTime, Bad> {
    cursor.expect(b'"', NOT_A_DATE_TIME.0)?;
    let text = cursor.take_while(|octet| octet != b'"');
    cursor.expect(b'"', NOT_A_DATE_TIME.0)?;
    std::str::from_utf8(text).ok().and_then(moment).ok_or(NOT_A_DATE_TIME)
}

/// A day as commands write it.
pub fn print_date(day: Day) -> String {
    format!("{}-{}-{:04}", day.day, month_name(day.month), day.year)
}

/// A moment as INTERNALDATE shows it, without quotes, in the zone that APPEND named.
pub fn print_date_time(moment: ZonedTime) -> String {
    let minutes = moment.zone.minutes();
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.unsigned_abs() / 60, minutes.unsigned_abs() % 60);
    let moment = on_its_clock(moment);
    format!(
        "{:2}-{}-{:04} {:02}:{:02}:{:02} {sign}{hours:02}{minutes:02}",
        moment.day(),
        month_name(moment.month()),
        moment.year(),
        moment.hour(),
        moment.minute(),
        moment.second()
    )
}

/// The day that [`print_date_time`] shows. RFC 3501 §6.4.4: BEFORE, ON and SINCE disregard
/// time and zone, so they must agree with what the client was shown.
pub fn day_of(moment: ZonedTime) -> Day {
    let date = on_its_clock(moment).date();
    Day { year: date.year(), month: date.month(), day: date.day() }
}

/// The day that a Date header field names, disregarding time and zone (SENTON and so on);
/// `None` when it names none.
pub fn day_of_header(field: &[u8]) -> Option<Day> {
    // RFC 5322 §3.3: [ day-name "," ] day month year …; §4.3 allows years of two digits.
    let text = String::from_utf8_lossy(field);
    let date = text.split_once(',').map_or(&*text, |(_, date)| date);
    let mut words = date.split_ascii_whitespace();
    let day = words.next()?.parse().ok()?;
    let month = month_number(words.next()?.get(..3)?)?;
    let year = words.next()?;
    let year = match (year.len(), year.parse::<i16>().ok()?) {
        (2, year @ 0..=49) => 2000 + year,
        (2 | 3, year @ 0..) => 1900 + year,
        (_, year) => year,
    };
    valid(year, month, day)
}

fn moment(text: &str) -> Option<ZonedTime> {
    // `date-day-fixed` has a leading space for days below ten.
    let (date, rest) = text.strip_prefix(' ').unwrap_or(text).split_once(' ')?;
    let (time, zone) = rest.split_once(' ')?;
    let day = day_month_year(date)?;
    let [hour, minute, second] = numbers(time, ':')?;
    let date = jiff::civil::Date::new(day.year, day.month, day.day).ok()?;
    // A leap second is the moment after.
    let time = jiff::civil::Time::new(hour, minute, second.min(59), 0).ok()?;
    let (sign, digits) = match zone.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) || second > 60 {
        return None;
    }
    let number = |digits: &[u8]| i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0');
    let minutes = sign * (number(&digits[..2]) * 60 + number(&digits[2..]));
    let utc = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let seconds = utc.timestamp().as_second() - minutes * 60;
    // Programs that move mailboxes bring letters of 1601 and 1904; a refusal would lose them.
    let at = Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0));
    let zone = i16::try_from(minutes).ok().and_then(Zone::from_minutes).unwrap_or_default();
    Some(ZonedTime { at, zone })
}

fn day_month_year(text: &str) -> Option<Day> {
    let mut parts = text.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if parts.next().is_some() || year.len() != 4 || day.len() > 2 || !digits(day) || !digits(year) {
        return None;
    }
    valid(year.parse().ok()?, month_number(month)?, day.parse().ok()?)
}

fn numbers(text: &str, separator: char) -> Option<[i8; 3]> {
    let mut parts = text.split(separator).map(|part| {
        (part.len() == 2 && part.bytes().all(|octet| octet.is_ascii_digit()))
            .then(|| part.parse().ok())
            .flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

fn valid(year: i16, month: i8, day: i8) -> Option<Day> {
    jiff::civil::Date::new(year, month, day).ok().filter(|_| year >= 0)?;
    Some(Day { year, month, day })
}

fn month_number(name: &str) -> Option<i8> {
    let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    i8::try_from(index + 1).ok()
}

fn month_name(number: i8) -> &'static str {
    usize::try_from(number - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or("Jan")
}

/// What a clock in that zone shows.
fn on_its_clock(moment: ZonedTime) -> jiff::Zoned {
    let milliseconds = i64::try_from(moment.at.as_millis()).unwrap_or(i64::MAX);
    let shown = milliseconds.saturating_add(i64::from(moment.zone.minutes()) * 60_000);
    jiff::Timestamp::from_millisecond(shown)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::cursor::Piece;

    #[test]
    fn a_date_time_is_read_and_shown_in_its_zone() {
        let check = |text: &str, expected: Option<&str>| {
            let pieces = [Piece::Text(format!("\"{text}\"").into_bytes())];
            let shown = date_time(&mut Cursor::new(&pieces)).ok().map(print_date_time);
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check(" 1-Feb-2026 00:30:00 +0100", Some(" 1-Feb-2026 00:30:00 +0100"));
        check("17-Jul-1996 02:44:25 -0700", Some("17-Jul-1996 02:44:25 -0700"));
        check("01-Jan-1970 00:00:00 +0000", Some(" 1-Jan-1970 00:00:00 +0000"));
        check("1-Jan-1969 00:00:00 +0000", Some(" 1-Jan-1970 00:00:00 +0000"));
        check("1-Jan-1969 00:00:00 -0330", Some("31-Dec-1969 20:30:00 -0330"));
        // A zone that nobody can show: the moment is kept.
        check("17-Jul-1996 02:44:25 +9999", Some("12-Jul-1996 22:05:25 +0000"));
        check("30-Feb-2026 00:00:00 +0000", None);
        check("1-Feb-2026 24:00:00 +0000", None);
        check("1-Feb-2026 00:00:00", None);
        check("1-Feb-2026 00:00:00 +01", None);
        check("1-Feb-2026 0:00:00 +0100", None);
        check("", None);
    }

    #[test]
    fn a_header_date_gives_its_own_day() {
        let check = |field: &str, expected: Option<&str>| {
            let day = day_of_header(field.as_bytes()).map(print_date);
            assert_eq!(day.as_deref(), expected, "{field}");
        };
        check("Sat, 21 Nov 2026 23:59:59 -0800", Some("21-Nov-2026"));
        check(" 3 feb 99 08:00 GMT", Some("3-Feb-1999"));
        check("Wed,1 July 2026 10:00:00 +0200 (CEST)", Some("1-Jul-2026"));
        check("yesterday", None);
        check("", None);
    }
}
