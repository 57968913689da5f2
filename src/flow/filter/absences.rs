//! Absences that an administrator recorded: from when to when, who stands in, what senders read.
//!
//! The text may say why somebody is away, so the row is sealed with the mailbox's keys. Whether an
//! absence counts is asked of the clock for each letter: nobody has to end it.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::rights::Rights;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::flow::filter::answers;
use crate::flow::filter::answers::Answer;
use crate::flow::filter::rows;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::Batch;
use crate::infra::store::StoreError;
use crate::infra::store::row;
use crate::proto::sieve::Letter;
use crate::proto::sieve::Vacation;

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"absence";

/// An absence of whoever a mailbox belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Who stands in.
    pub substitute: Address,
    /// The first moment.
    pub from: Timestamp,
    /// The moment at which it is over.
    pub until: Timestamp,
    /// What senders read besides.
    pub text: Option<String>,
    /// What the substitute may do in the mailbox meanwhile.
    pub delegated: Rights,
    /// When it was recorded. Who was told of another absence is told of this one.
    pub recorded: Timestamp,
    /// Who recorded it.
    pub author: String,
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    substitute: String,
    from: u64,
    until: u64,
    text: Option<String>,
    delegated: u16,
    recorded: u64,
    author: String,
    reason: String,
}

/// The absence that is recorded for a mailbox, also one that is over or to come.
///
/// # Errors
/// The store's.
pub async fn away(office: &Office, mailbox: &OpenMailbox) -> Result<Option<Away>, StoreError> {
    let Some(row) = office.store.get(&rows::absence_key(&mailbox.id())).await? else {
        return Ok(None);
    };
    let away = opened(mailbox.keys(), &row.value);
    if away.is_none() {
        tracing::error!(mailbox = ?mailbox.id(), "a recorded absence is damaged");
    }
    Ok(away)
}

/// Records an absence, or that there is none, in a batch.
pub fn put_away(mailbox: &OpenMailbox, away: Option<&Away>, batch: &mut Batch) {
    let key = rows::absence_key(&mailbox.id());
    match away {
        Some(away) => batch.put(key, sealed(mailbox.keys(), away)),
        None => batch.delete(key),
    };
}

/// The absence that counts at a moment. When it cannot be read, letters are taken in all the same.
pub(super) async fn counting(
    office: &Office,
    mailbox: &OpenMailbox,
    now: Timestamp,
) -> Option<Away> {
    match away(office, mailbox).await {
        Ok(away) => away.filter(|away| away.from <= now && now < away.until),
        Err(error) => {
            tracing::warn!(mailbox = ?mailbox.id(), %error, "nobody is told of an absence");
            None
        }
    }
}

impl Away {
    /// The answer to a letter, if it is decent to give one.
    pub(super) fn answer(
        &self,
        letter: &Letter<'_>,
        from: &str,
        own: [&Address; 2],
        seconds_min: u64,
    ) -> Option<Answer> {
        let vacation = Vacation {
            seconds: None,
            subject: None,
            from: None,
            addresses: Vec::new(),
            mime: false,
            handle: format!("absence/{}", self.recorded.as_millis()),
            reason: self.notice(own[0]),
        };
        answers::wanted(letter, from, own, &vacation, seconds_min)
    }

    /// What senders read: French first, as the trust space speaks it.
    fn notice(&self, mailbox: &Address) -> String {
        let first = Day::in_france(self.from);
        let last = self.until.as_millis().saturating_sub(1);
        let last = Day::in_france(Timestamp::from_millis(last));
        let own = self.text.as_deref().map(|text| format!("{text}\r\n\r\n")).unwrap_or_default();
        let substitute = &self.substitute;
        format!(
            "{own}Réponse automatique : la boîte {mailbox} n'est pas relevée par son titulaire\r\n\
             du {first} au {last}. Pour une réponse, écrivez à {substitute}.\r\n\
             \r\n\
             Automatic reply: the owner of {mailbox} is away\r\n\
             from {first} to {last}. For an answer, write to {substitute}.\r\n"
        )
    }
}

fn sealed(keys: &MailboxKeys, away: &Away) -> Vec<u8> {
    let row = Row {
        substitute: away.substitute.to_string(),
        from: away.from.as_millis(),
        until: away.until.as_millis(),
        text: away.text.clone(),
        delegated: away.delegated.bits(),
        recorded: away.recorded.as_millis(),
        author: away.author.clone(),
        reason: away.reason.clone(),
    };
    keys.seal_index(CONTEXT, &row::encode(FORMAT, &row))
}

fn opened(keys: &MailboxKeys, sealed: &[u8]) -> Option<Away> {
    let clear = keys.open_index(CONTEXT, sealed).ok()?;
    let row: Row = row::decode(FORMAT, clear.expose())?;
    Some(Away {
        substitute: Address::parse(&row.substitute).ok()?,
        from: Timestamp::from_millis(row.from),
        until: Timestamp::from_millis(row.until),
        text: row.text,
        delegated: Rights::from_bits(row.delegated),
        recorded: Timestamp::from_millis(row.recorded),
        author: row.author,
        reason: row.reason,
    })
}

/// A text that fits: at most [`limits::ABSENCE_TEXT_OCTETS_MAX`] octets, without control
/// characters but line ends.
///
/// # Errors
/// A sentence for the administrator.
pub fn check_text(text: &str) -> Result<String, String> {
    if text.len() > limits::ABSENCE_TEXT_OCTETS_MAX {
        return Err(format!("the text has at most {} octets", limits::ABSENCE_TEXT_OCTETS_MAX));
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("the text has control characters".to_owned());
    }
    Ok(text.trim().lines().collect::<Vec<_>>().join("\r\n"))
}
