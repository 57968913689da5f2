//! Dates of header fields.
use std::sync::LazyLock;

use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;

/// `Fri, 20 Nov 2026 14:36:00 +0100` (RFC 5322 §3.3), in the time of Paris.
pub fn rfc5322(moment: Timestamp) -> String {
    in_paris(moment).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// The moment on a clock in Paris, for texts that people read.
pub(crate) fn in_paris(moment: Timestamp) -> Zoned {
    static PARIS: LazyLock<TimeZone> =
        LazyLock::new(|| TimeZone::get("Europe/Paris").unwrap_or(TimeZone::UTC));
    let milliseconds = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(PARIS.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_mail_wants_it() {
        for (seconds, written) in [
            (1_795_181_760, "Fri, 20 Nov 2026 14:36:00 +0100"),
            (1_782_864_000, "Wed, 01 Jul 2026 02:00:00 +0200"),
            (0, "Thu, 01 Jan 1970 01:00:00 +0100"),
        ] {
            assert_eq!(rfc5322(Timestamp::from_seconds(seconds)), written);
            assert!(mail_parser::DateTime::parse_rfc822(written).is_some());
        }
        assert!(rfc5322(Timestamp::from_millis(u64::MAX)).len() < 64);
    }
}
