//! What the clock does: it tells holders who do not come, closes what nobody wants, and ends
//! closings whose time has come.
//!
//! A clock can be wrong, and contents do not come back. So the calendar alone closes nothing: the
//! sweep counts the days on which it ran, and a notice of 60 days must have lain in the mailbox on
//! 60 such days. A clock that jumps a year ahead is one more day. What is closed or ended in one
//! day is bounded besides.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::life::Actor;
use crate::domain::life::LastLogin;
use crate::domain::life::Stage;
use crate::domain::life::Step;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::house_report;
use crate::flow::life;
use crate::flow::life::CLOCK;
use crate::flow::life::Life;
use crate::flow::life::Notice;
use crate::flow::life::Order;
use crate::flow::life::Record;
use crate::flow::life::ending;
use crate::flow::life::notice;
use crate::flow::life::rows;
use crate::flow::life::rows::Days;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::infra::store::Batch;

const DAY: u64 = 86_400;

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Holders who were told.
    pub told: u64,
    /// Mailboxes found to be in use after all.
    pub used: u64,
    /// Mailboxes whose closing began.
    pub closed: u64,
    /// Mailboxes whose contents are gone.
    pub ended: u64,
    /// Those that must wait for another day.
    pub put_off: u64,
}

/// What should happen to a mailbox now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Somebody came, or the calendar was wrong.
    Used,
    /// Tell its holder: so many days before the closing, which is then.
    Tell(u64, Timestamp),
    Close,
    End,
}

/// One round over all mailboxes. Whatever it does is durable by itself, so it may be interrupted
/// at any moment and run again at any time.
///
/// # Errors
/// A sentence for the log; what is left is done the next time.
pub async fn sweep(office: &Arc<Office>) -> Result<Swept, String> {
    ending::clear_all(office).await?;
    let mut days = today(office).await?;
    let mut swept = Swept::default();
    let mut after = None;
    let mut seen: u64 = 0;
    loop {
        let page = office.accounts.page(after, limits::LIFE_SWEPT_AT_ONCE).await;
        let (accounts, more) = page.map_err(|error| error.to_string())?;
        seen += accounts.len() as u64;
        for account in &accounts {
            if let Err(error) = look_at(office, account, &mut days, seen, &mut swept).await {
                tracing::warn!(mailbox = ?account.id, %error, "the sweep leaves a mailbox alone");
            }
        }
        tokio::task::yield_now().await;
        after = more;
        if after.is_none() {
            break;
        }
    }
    report(office, &swept);
    Ok(swept)
}

/// The days on which the sweep ran; none before its first run.
pub(super) async fn days(office: &Office) -> Result<Days, String> {
    let row = office.store.get(rows::DAYS).await.map_err(|error| error.to_string())?;
    Ok(row.and_then(|row| rows::decode_days(&row.value)).unwrap_or_default())
}

/// Counts today, once.
async fn today(office: &Office) -> Result<Days, String> {
    let now = office.clock.now();
    let mut days = days(office).await?;
    let day = now.as_seconds() / DAY;
    if days.lived > 0 && day == days.last {
        return Ok(days);
    }
    // A clock that was set back has no new day.
    days.lived += u64::from(days.lived == 0 || day > days.last);
    if days.began == 0 {
        days.began = now.as_millis();
    }
    (days.last, days.ended) = (day, 0);
    keep(office, &days).await?;
    Ok(days)
}

async fn keep(office: &Office, days: &Days) -> Result<(), String> {
    let mut batch = Batch::new();
    batch.put(rows::DAYS, rows::encode_days(days));
    office.store.commit(batch).await.map_err(|error| error.to_string())
}

async fn look_at(
    office: &Arc<Office>,
    account: &Account,
    days: &mut Days,
    mailboxes: u64,
    swept: &mut Swept,
) -> Result<(), String> {
    let life = life::of(office, account).await?;
    let due = due(office, account, &life, days).await?;
    if matches!(due, Due::Close | Due::End) {
        let most = limits::LIFE_ENDS_A_DAY_MIN.max(mailboxes / limits::LIFE_ENDS_A_DAY_SHARE);
        if days.ended >= most {
            swept.put_off += 1;
            return Ok(());
        }
        // Counted before it is done: a kill in between costs one of the day's number.
        days.ended += 1;
        keep(office, days).await?;
    }
    let (step, by, reason, count) = match due {
        Due::Nothing => return Ok(()),
        Due::Tell(days_before, closes) => {
            tell(office, account, &life, days_before, closes, days).await?;
            swept.told += 1;
            return Ok(());
        }
        Due::Used => (Step::Oppose, Actor::Clock, "it is in use", &mut swept.used),
        Due::Close => {
            (Step::Close, Actor::Clock, "nobody logged in, and nobody objected", &mut swept.closed)
        }
        Due::End => (Step::End, Actor::Clock, "its time to be undone is over", &mut swept.ended),
    };
    let address = &account.address;
    life::change(office, &Order { address, step, by, author: CLOCK, reason }).await?;
    *count += 1;
    Ok(())
}

async fn due(office: &Office, account: &Account, life: &Life, days: &Days) -> Result<Due, String> {
    let now = office.clock.now();
    match life.standing.stage {
        Stage::Closing => {
            let kept = office.config.life.closing.as_secs() / DAY;
            let is_over = life.standing.until.is_none_or(|until| until <= now);
            let has_lain = days.lived.saturating_sub(life.day) >= kept;
            return Ok(if is_over && has_lain { Due::End } else { Due::Nothing });
        }
        Stage::Active | Stage::Notified => {}
        _ => return Ok(Due::Nothing),
    }
    // A patient's inbox is theirs as long as the service is; and our own alarms are read by
    // whoever reads them, not by a login.
    let is_ours = office.config.admin.alerts_to.as_ref() == Some(&account.address);
    if account.kind == MailboxKind::Citizen || is_ours {
        return Ok(Due::Nothing);
    }
    let rule = &office.config.life;
    let Some(login) = life::last_login(office, &account.id).await? else {
        return Ok(Due::Nothing);
    };
    let used = last_used(login, life, days);
    let mut due = judge(life, used, now, days.lived, rule.inactive, &rule.notice_days);
    if matches!(due, Due::Tell(..) | Due::Close) {
        // Whoever works in it from a mailbox of their own uses it too.
        let used = used.max(used_by_readers(office, account, days).await?);
        due = judge(life, used, now, days.lived, rule.inactive, &rule.notice_days);
    }
    Ok(due)
}

/// The moment from which nobody has come. What is not known counts from the first record.
fn last_used(login: LastLogin, life: &Life, days: &Days) -> Timestamp {
    let known = match login {
        LastLogin::At(at) => at,
        LastLogin::Never => life.quiet_from,
        LastLogin::Unknown => Timestamp::from_millis(days.began),
    };
    known.max(life.quiet_from)
}

async fn used_by_readers(
    office: &Office,
    account: &Account,
    days: &Days,
) -> Result<Timestamp, String> {
    let readers = office.mailboxes.granted_to(&account.id).await;
    let readers = readers.map_err(|error| error.to_string())?;
    let mut last = Timestamp::from_millis(0);
    for reader in readers.iter().take(limits::ACL_ENTRIES_MAX) {
        let id = office.accounts.number_of(reader).await.map_err(|error| error.to_string())?;
        last = last.max(match id {
            // Everybody may read it, or somebody who is not known here: nobody can tell.
            None => Timestamp::from_millis(days.began),
            Some(id) => match life::last_login(office, &id).await? {
                Some(LastLogin::At(at)) => at,
                Some(LastLogin::Never) => continue,
                _ => Timestamp::from_millis(days.began),
            },
        });
    }
    Ok(last)
}

/// What the rule says. Pure, so that a year can be tried in a test.
fn judge(
    life: &Life,
    used: Timestamp,
    now: Timestamp,
    lived: u64,
    inactive: Duration,
    notice_days: &[u64],
) -> Due {
    let days = |count: u64| Duration::from_secs(count * DAY);
    let Some(longest) = notice_days.first().copied() else { return Due::Nothing };
    let Some(first) = life.notices.first() else {
        let is_told = now.since(used) >= inactive.saturating_sub(days(longest));
        let closes = used.after(inactive).max(now.after(days(longest)));
        return if is_told { Due::Tell(longest, closes) } else { Due::Nothing };
    };
    if used > first.at || now.since(used) < inactive.saturating_sub(days(longest)) {
        return Due::Used;
    }
    // A notice that came late puts the closing off, and so does a relay that did not run.
    let closes = used.after(inactive).max(first.at.after(days(first.days_before)));
    let is_given = |wanted: u64| life.notices.iter().any(|notice| notice.days_before == wanted);
    let next = notice_days.iter().copied().find(|wanted| !is_given(*wanted));
    if let Some(wanted) = next {
        let waited = lived.saturating_sub(first.day) >= first.days_before.saturating_sub(wanted);
        let is_due = now.after(days(wanted)) >= closes;
        let closes = closes.max(now.after(days(wanted)));
        return if waited && is_due { Due::Tell(wanted, closes) } else { Due::Nothing };
    }
    let has_lain = |notice: &Notice| {
        now.since(notice.at) >= days(notice.days_before)
            && lived.saturating_sub(notice.day) >= notice.days_before
    };
    match now >= closes && life.notices.iter().all(has_lain) {
        true => Due::Close,
        false => Due::Nothing,
    }
}

/// Files the letter and writes down that it was filed, in one commit.
async fn tell(
    office: &Arc<Office>,
    account: &Account,
    _seen: &Life,
    days_before: u64,
    closes: Timestamp,
    days: &Days,
) -> Result<(), String> {
    let (before, version) = life::read(office, account).await?;
    let now = office.clock.now();
    let standing = before.standing.step(Step::Notice, Actor::Clock, now, now);
    let standing = standing.map_err(|refused| refused.to_string())?;
    let mut next = Life { standing, ..before.clone() };
    if standing.stage != before.standing.stage {
        next.since = now;
    }
    next.notices.push(Notice { days_before, at: now, day: days.lived });
    let mut told = Batch::new();
    life::stage_row(&mut told, &next, version);
    let left = closes.since(now).as_secs().div_ceil(DAY);
    let record = Record {
        at: now,
        author: CLOCK.to_owned(),
        step: Step::Notice,
        from: Some(before.standing.stage),
        to: next.standing.stage,
        reason: format!("nobody logs in; it closes in {left} days"),
    };
    life::tell(office, &next, &record, &mut told);
    let letter = notice::letter(office, &account.address, closes, left);
    let to = account.address.clone();
    let filed = house_report(office, to, &letter, Batch::new(), told).await;
    filed.map_err(|refusal| format!("a notice could not be filed: {refusal}"))?;
    // Only what lies in the mailbox counts.
    let (after, _) = life::read(office, account).await?;
    match after.notices.len() == next.notices.len() {
        true => Ok(()),
        false => Err("a notice could not be filed: the mailbox takes no letter".to_owned()),
    }
}

fn report(office: &Arc<Office>, swept: &Swept) {
    let mut lines = BTreeMap::new();
    for (count, what) in [
        (swept.told, "holders were told that their mailbox closes, because nobody logs in"),
        (swept.closed, "mailboxes are closing, because nobody came"),
        (swept.ended, "mailboxes are closed; their contents are destroyed"),
        (swept.put_off, "closings wait for another day: the day's number is reached"),
    ] {
        if count > 0 {
            lines.insert(what, count);
        }
    }
    if lines.is_empty() {
        return;
    }
    let text: Vec<String> = lines.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let text = format!(
        "{}\n`vaguemestre mailbox list` shows them; `mailbox oppose ADDRESS` keeps one, `mailbox \
         undo-close ADDRESS` brings one back.",
        text.join("\n")
    );
    alerts::raise(office, "mailboxes that nobody uses", &text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::life::Standing;
    use crate::domain::mailbox::Listing;
    use crate::domain::mailbox::MailboxId;

    const NEW_YEAR: u64 = 1_798_761_600;
    const YEAR: Duration = Duration::from_secs(365 * DAY);

    fn at(day: u64) -> Timestamp {
        Timestamp::from_seconds(NEW_YEAR + day * DAY)
    }

    fn quiet() -> Life {
        let standing = Standing::requested(MailboxKind::Personal, Listing::Public);
        Life {
            id: MailboxId::from_bytes([1; 16]),
            address: None,
            domain: "hopital.test".to_owned(),
            standing: Standing { stage: Stage::Active, ..standing },
            since: at(0),
            quiet_from: at(0),
            day: 0,
            notices: Vec::new(),
        }
    }

    /// A mailbox that was made on day 0 and never used; `logins` on some days; `calendar` says
    /// which day the clock shows on each day that the relay lives.
    fn live(days: u64, calendar: impl Fn(u64) -> u64, logins: &[u64]) -> Vec<(u64, Due)> {
        let (mut life, mut events) = (quiet(), Vec::new());
        for lived in 0..days {
            let now = at(calendar(lived));
            let last = logins.iter().filter(|day| **day <= lived).max();
            let used = last.map_or(at(0), |day| at(calendar(*day)));
            let due = judge(&life, used.max(life.quiet_from), now, lived, YEAR, &[60, 15]);
            match due {
                Due::Tell(days_before, _) => {
                    life.notices.push(Notice { days_before, at: now, day: lived });
                }
                Due::Used => life.notices.clear(),
                _ => {}
            }
            if due != Due::Nothing {
                events.push((lived, due));
            }
            if due == Due::Close {
                break;
            }
        }
        events
    }

    #[test]
    fn in_a_year_of_silence_its_holder_is_told_twice_and_then_it_closes() {
        let events = live(400, |day| day, &[]);
        let expected =
            [(305, Due::Tell(60, at(365))), (350, Due::Tell(15, at(365))), (365, Due::Close)];
        assert_eq!(events, expected);
    }

    #[test]
    fn any_login_begins_the_year_anew() {
        let events = live(800, |day| day, &[310]);
        assert_eq!(events[0].0, 305);
        assert_eq!(events[1], (310, Due::Used));
        assert_eq!(events[2].0, 310 + 305);
        assert_eq!(events.last(), Some(&(310 + 365, Due::Close)));
        assert!(live(3_000, |day| day, &(0..3_000).step_by(300).collect::<Vec<_>>()).is_empty());
    }

    /// On the tenth day the clock jumps a year ahead.
    #[test]
    fn a_clock_that_jumps_a_year_closes_nothing_before_the_notices_have_lain_their_days() {
        let jump = |day| if day < 10 { day } else { day + 365 };
        let events = live(200, jump, &[]);
        assert_eq!(events[0], (10, Due::Tell(60, at(375 + 60))));
        assert_eq!(events[1].0, 10 + 45);
        assert_eq!(events[2], (10 + 60, Due::Close));
        // Set right again after a day: nobody is quiet any more.
        let corrected = |day| if day == 10 { 375 } else { day };
        let events = live(200, corrected, &[]);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[1], (11, Due::Used));
        // A jump each day: still sixty days of the relay's own life.
        let events = live(200, |day| day * 365, &[]);
        let closed = events.last().unwrap();
        assert_eq!(closed.1, Due::Close);
        assert!(closed.0 >= events[0].0 + 60, "{events:?}");
    }

    #[test]
    fn a_relay_that_did_not_run_tells_first_and_closes_later() {
        // It was off from day 20 to day 500.
        let events = live(200, |day| if day < 20 { day } else { day + 480 }, &[]);
        let expected = [20, 20 + 45, 20 + 60];
        assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_known_counts_from_the_first_record_and_never_is_a_date() {
        let life = quiet();
        let days = Days { began: at(100).as_millis(), ..Days::default() };
        assert_eq!(last_used(LastLogin::Unknown, &life, &days), at(100));
        assert_eq!(last_used(LastLogin::Never, &life, &days), at(0));
        assert_eq!(last_used(LastLogin::At(at(30)), &life, &days), at(30));
        let objected = Life { quiet_from: at(50), ..life };
        assert_eq!(last_used(LastLogin::At(at(30)), &objected, &days), at(50));
    }
}
