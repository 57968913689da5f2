//! The life of a mailbox, and how programs are set up: `[life]`, `[setup]`.
use std::time::Duration;

use crate::domain::life::Action;
use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;

/// The life of a mailbox.
#[derive(Clone, Debug)]
pub struct Life {
    /// `life.inactive_days`: without a login for so long a mailbox is closed (at most a year:
    /// CNIL, délibération 2014-239, art. 4).
    pub inactive: Duration,
    /// `life.notice_days`: so many days before that its holder is told, longest first.
    pub notice_days: Vec<u64>,
    /// `life.closing_days`: between the closing of a mailbox and the end of its contents.
    pub closing: Duration,
    /// `life.four_eyes`: what needs a second administrator.
    pub four_eyes: Vec<Action>,
}

/// How mail programs find us.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `setup.autoconfig`: autoconfig, Autodiscover and `.mobileconfig` are answered.
    pub autoconfig: bool,
    /// `setup.mta_sts`: the policy that is published, if any.
    pub mta_sts: Option<MtaSts>,
    /// `setup.mta_sts_seconds`: how long others may keep it.
    pub mta_sts_age: Duration,
}

/// RFC 8461 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtaSts {
    /// Failures are reported only.
    Testing,
    /// Nothing is sent without TLS.
    Enforce,
}

impl Reader {
    pub(super) fn life(&mut self) -> Option<Life> {
        let inactive = self.number("life.inactive_days", 365, 1, 366);
        let notice_days = self.numbers("life.notice_days", &[60, 15], |days| {
            (1..=10).contains(&days.len()) && days.is_sorted_by(|one, next| one > next)
        });
        let closing = self.number("life.closing_days", 30, 0, 3_660);
        let four_eyes = self.list("life.four_eyes", &[], Action::parse);
        let (inactive, notice_days) = (inactive?, notice_days?);
        if notice_days.first().is_some_and(|first| *first >= inactive) {
            self.wrong("life.notice_days", "a notice would come before the first login");
        }
        Some(Life {
            inactive: Duration::from_secs(inactive * DAY),
            notice_days,
            closing: Duration::from_secs(closing? * DAY),
            four_eyes: four_eyes?,
        })
    }

    pub(super) fn setup(&mut self) -> Option<Setup> {
        let autoconfig = self.truth("setup.autoconfig", true);
        let mta_sts = self.text_or("setup.mta_sts", "off", |text| match text {
            "off" => Some(None),
            "testing" => Some(Some(MtaSts::Testing)),
            "enforce" => Some(Some(MtaSts::Enforce)),
            _ => None,
        });
        let age = self.number("setup.mta_sts_seconds", 7 * DAY, DAY, 31_557_600);
        Some(Setup {
            autoconfig: autoconfig?,
            mta_sts: mta_sts?,
            mta_sts_age: Duration::from_secs(age?),
        })
    }
}
