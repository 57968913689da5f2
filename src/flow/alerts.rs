//! What administrators must hear of: a line in the log, a counter, and a letter when the
//! configuration names a mailbox for it (`admin.alerts_to`).
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::flow::house_letter;
use crate::flow::office::Office;
use crate::infra::store::Batch;

/// When the last letter about each subject went out.
#[derive(Default)]
pub struct Alerts(Mutex<HashMap<String, Timestamp>>);

impl Alerts {
    /// True when a letter about this may go out now: at most one in `limits::ALERT_EVERY`.
    fn take(&self, subject: &str, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back must not silence anybody.
        told.retain(|_, at| *at <= now && now.since(*at) < limits::ALERT_EVERY);
        if told.contains_key(subject) || told.len() >= limits::ALERTS_REMEMBERED_MAX {
            return false;
        }
        told.insert(subject.to_owned(), now);
        true
    }
}

/// Says that something needs a human. Neither `subject` nor `text` may hold a patient's address
/// or anything of a letter. Does not wait for the letter.
///
/// False when a mailbox is named and gets no letter, because one with this subject went out a
/// short time ago: what matters should then be said again.
pub fn raise(office: &Arc<Office>, subject: &str, text: &str) -> bool {
    tracing::error!(alert = subject, "{text}");
    office.metrics.alert();
    let now = office.clock.now();
    let Some(to) = office.config.admin.alerts_to.clone() else { return true };
    if !office.alerts.take(subject, now) {
        return false;
    }
    let content = letter(office, &to, subject, text, now);
    let office = Arc::clone(office);
    tokio::spawn(async move {
        if let Err(refusal) = house_letter(&office, to, &content, Batch::new()).await {
            tracing::error!(%refusal, "an alert could not be written to its mailbox");
        }
    });
    true
}

fn letter(office: &Office, to: &Address, subject: &str, text: &str, now: Timestamp) -> Vec<u8> {
    let (name, hostname) = (&office.config.operator.name, &office.config.operator.hostname);
    let message_id = uuid::Uuid::now_v7().simple();
    // One line each, ASCII in the header: texts are ours, but may quote a domain or a reason.
    let line = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
    };
    let body: Vec<String> = text.lines().map(wrapped).collect();
    format!(
        "From: postmaster@{hostname}\r\nTo: {to}\r\nSubject: [{}] {}\r\nDate: {}\r\n\
         Message-ID: <{message_id}@{hostname}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
        line(name),
        line(subject),
        now.to_rfc5322(),
        body.join("\r\n"),
    )
    .into_bytes()
}

/// A line of at most some 900 octets: RFC 5322 §2.1.1 allows 998.
fn wrapped(line: &str) -> String {
    let mut wrapped = String::new();
    let mut octets = 0;
    for character in line.chars().filter(|character| !character.is_control()) {
        if octets + character.len_utf8() > 900 {
            wrapped.push_str("\r\n");
            octets = 0;
        }
        octets += character.len_utf8();
        wrapped.push(character);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_alarm_is_written_about_once_an_hour() {
        let alerts = Alerts::default();
        let at = |seconds: u64| Timestamp::from_seconds(1_795_388_399 + seconds);
        assert!(alerts.take("a letter was set aside", at(0)));
        assert!(!alerts.take("a letter was set aside", at(3_599)));
        assert!(alerts.take("another thing", at(3_599)));
        assert!(alerts.take("a letter was set aside", at(3_600)));
        for number in 0..2 * limits::ALERTS_REMEMBERED_MAX {
            alerts.take(&number.to_string(), at(3_600));
        }
        assert!(alerts.0.lock().unwrap().len() <= limits::ALERTS_REMEMBERED_MAX);
    }

    #[test]
    fn no_line_of_an_alert_is_too_long() {
        assert!(wrapped(&"é".repeat(5_000)).split("\r\n").all(|line| line.len() <= 900));
    }
}
