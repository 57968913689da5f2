//! Dates, sizes and subjects as people read them.
use std::sync::LazyLock;
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

const MONTHS_FR: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS_FR: [&str; 7] =
    ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];
const DAYS_EN: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A moment in France: for people, and for the `datetime` attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// `dimanche 22 novembre 2026 à 15 h 40`, `Sunday 22 November 2026 at 15:40`.
    pub long: String,
    /// The same without the day of the week.
    pub short: String,
    /// RFC 3339 with the offset of Paris.
    pub machine: String,
}

/// A moment as it is said in France.
pub fn spoken(moment: Timestamp, lang: Lang) -> Spoken {
    let zoned = in_paris(moment);
    let (day, year, hour, minute) = (zoned.day(), zoned.year(), zoned.hour(), zoned.minute());
    let month = usize::try_from(zoned.month() - 1).unwrap_or(0);
    let weekday = usize::try_from(zoned.weekday().to_monday_zero_offset()).unwrap_or(0);
    let (weekday, short) = match lang {
        Lang::Fr => {
            let day = if day == 1 { "1er".to_owned() } else { day.to_string() };
            // No-break spaces: an hour must not be torn from its minutes.
            let hour = format!("{hour}\u{a0}h\u{a0}{minute:02}");
            (DAYS_FR[weekday], format!("{day} {} {year} à {hour}", MONTHS_FR[month]))
        }
        Lang::En => {
            (DAYS_EN[weekday], format!("{day} {} {year} at {hour}:{minute:02}", MONTHS_EN[month]))
        }
    };
    Spoken {
        long: format!("{weekday} {short}"),
        short,
        machine: zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

/// The moment in Europe/Paris.
pub fn in_paris(moment: Timestamp) -> jiff::Zoned {
    // The zone is bundled; should it ever be lost, UTC is still a true statement.
    static PARIS: LazyLock<jiff::tz::TimeZone> = LazyLock::new(|| {
        jiff::tz::TimeZone::get("Europe/Paris").unwrap_or(jiff::tz::TimeZone::UTC)
    });
    let milliseconds = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(PARIS.clone())
}

/// `3 jours`, `5 h`, `12 min`.
pub fn age(duration: Duration, texts: &Texts) -> String {
    let minutes = duration.as_secs() / 60;
    match minutes {
        0..60 => format!("{minutes}\u{a0}{}", texts.unit_minutes),
        60..2_880 => format!("{}\u{a0}{}", minutes / 60, texts.unit_hours),
        _ => format!("{}\u{a0}{}", minutes / 1_440, texts.unit_days),
    }
}

/// `812 octets`, `3,4 Mo`. Decimal units: they are what a person's file browser shows.
pub fn size(octets: u64, lang: Lang) -> String {
    let texts = lang.texts();
    let tenths = |unit: u64| {
        let value = octets.saturating_mul(10) / unit;
        let point = if lang == Lang::Fr { ',' } else { '.' };
        format!("{}{point}{}", value / 10, value % 10)
    };
    match octets {
        0..1_000 => format!("{octets}\u{a0}{}", texts.unit_octets),
        1_000..1_000_000 => format!("{}\u{a0}{}", octets / 1_000, texts.unit_kilo),
        _ => format!("{}\u{a0}{}", tenths(1_000_000), texts.unit_mega),
    }
}

/// 1234567 as `1 234 567` or `1,234,567`.
pub fn number(value: u64, lang: Lang) -> String {
    let digits = value.to_string();
    // A narrow no-break space, as French typography wants it.
    let separator = if lang == Lang::Fr { "\u{202f}" } else { "," };
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}

/// The mark that software puts before the subject of a letter with documents.
const XDM_MARK: &str = "XDM/1.0/DDM+";

/// A subject for people: the mark of documents is hidden on screen and kept in the letter, also
/// behind `Re:` or a bracketed remark such as `[Annule et remplace]`.
pub fn shown_subject(subject: &str) -> String {
    let subject: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let Some(place) = subject.find(XDM_MARK) else { return subject.trim().to_owned() };
    let (before, after) = (&subject[..place], &subject[place + XDM_MARK.len()..]);
    if !is_reply_mark(before) {
        return subject.trim().to_owned();
    }
    format!("{before}{}", after.trim_start()).trim().to_owned()
}

/// True for nothing but `Re:`, `Tr:`, `Fwd:` and `[remarks]`.
fn is_reply_mark(text: &str) -> bool {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let cut = match rest.strip_prefix('[') {
            Some(remark) => remark.find(']').map(|end| end + 2),
            None => rest.find(':').filter(|end| (1..=4).contains(end)).map(|end| end + 1),
        };
        let Some(cut) = cut else { return false };
        rest = rest[cut..].trim_start();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_said_as_in_france() {
        let moment = Timestamp::from_seconds(1_795_358_400); // 2026-11-22T14:40:00Z
        let french = spoken(moment, Lang::Fr);
        assert_eq!(french.long, "dimanche 22 novembre 2026 à 15\u{a0}h\u{a0}40");
        assert_eq!(french.machine, "2026-11-22T15:40:00+01:00");
        assert_eq!(spoken(moment, Lang::En).long, "Sunday 22 November 2026 at 15:40");
        let first = Timestamp::from_seconds(1_780_300_800); // 2026-06-01T08:00:00Z
        assert_eq!(spoken(first, Lang::Fr).short, "1er juin 2026 à 10\u{a0}h\u{a0}00");
        let _ = spoken(Timestamp::from_millis(u64::MAX), Lang::Fr);
    }

    #[test]
    fn the_mark_of_documents_is_hidden_on_screen() {
        for (subject, shown) in [
            ("XDM/1.0/DDM+CR d'imagerie EXEMPLIER ADA", "CR d'imagerie EXEMPLIER ADA"),
            ("Re: XDM/1.0/DDM+CR", "Re: CR"),
            ("RE: Tr: XDM/1.0/DDM+CR", "RE: Tr: CR"),
            ("[Annule et remplace] XDM/1.0/DDM+CR", "[Annule et remplace] CR"),
            ("[KO !][902] XDM/1.0/DDM+CR", "[KO !][902] CR"),
            ("XDM/1.0/DDM+", ""),
            ("About XDM/1.0/DDM+ letters", "About XDM/1.0/DDM+ letters"),
            ("a\r\nBcc: x", "a  Bcc: x"),
            ("  ", ""),
            ("[é XDM/1.0/DDM+x", "[é XDM/1.0/DDM+x"),
        ] {
            assert_eq!(shown_subject(subject), shown, "{subject:?}");
        }
    }

    #[test]
    fn sizes_and_numbers_follow_the_language() {
        assert_eq!(size(812, Lang::Fr), "812\u{a0}octets");
        assert_eq!(size(3_456_789, Lang::Fr), "3,4\u{a0}Mo");
        assert_eq!(size(3_456_789, Lang::En), "3.4\u{a0}MB");
        assert_eq!(number(1_234_567, Lang::En), "1,234,567");
        assert_eq!(number(999, Lang::Fr), "999");
    }
}
