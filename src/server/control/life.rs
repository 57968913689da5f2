//! The lives of mailboxes: steps, where one is, its history, lists of mailboxes to be made.
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde::Serialize;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use zeroize::Zeroize;

use crate::domain::address::Address;
use crate::domain::identity::Rpps;
use crate::domain::life::Actor;
use crate::domain::life::LastLogin;
use crate::domain::life::Step;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::flow::approval;
use crate::flow::approval::Bulk;
use crate::flow::approval::Deed;
use crate::flow::life;
use crate::flow::life::Life;
use crate::flow::life::Order;
use crate::flow::life::import;
use crate::flow::life::import::Outcome;
use crate::flow::office::Office;
use crate::infra::directory::NewAccount;
use crate::proto::roster::Entry;
use crate::server::control::Caller;
use crate::server::control::approval::PetitionLine;
use crate::server::control::approval::petition_line;
use crate::server::control::mask;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Take an address for a mailbox that opens later.
    Ask {
        /// Its address, for ever.
        address: String,
        /// Its kind, for ever.
        kind: String,
        /// What people call it.
        name: String,
        /// Hidden in the public directory.
        red_list: bool,
        /// Why.
        reason: String,
    },
    /// Make a step.
    Step {
        /// Of which mailbox.
        address: String,
        /// Which: `activate`, `suspend`…
        step: String,
        /// Why.
        reason: String,
    },
    /// Where it is.
    State {
        /// Which mailbox.
        address: String,
    },
    /// What happened to it.
    History {
        /// Which mailbox.
        address: String,
    },
    /// Mailboxes that are closed.
    Closed {},
    /// May this list be imported?
    ImportBegin {
        /// The file's name.
        file: String,
        /// Lines that would be handed over.
        lines: u64,
        /// SHA-256 of each part, hexadecimal.
        parts: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A part of a list.
    ImportLines {
        /// Only tell what would happen.
        dry: bool,
        /// The lines.
        lines: Vec<Line>,
        /// Why.
        reason: String,
    },
    /// The list is through.
    ImportEnd {
        /// A part of it: names the petition.
        part: String,
        /// What came of it.
        outcome: String,
    },
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Where it stands in the file.
    pub line: u64,
    /// Its address.
    pub address: String,
    /// Its kind.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Hidden in the public directory.
    pub red_list: bool,
    /// RPPS number of its holder.
    pub holder: Option<String>,
    /// Its first password; nobody knows one when absent.
    pub password: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// It waits for a second administrator.
    Waits(Box<PetitionLine>),
    /// Where it is.
    State(StateLine),
    /// What happened to it, first step first.
    History(Vec<HistoryLine>),
    /// Mailboxes that are closed.
    Closed(Vec<StateLine>),
    /// What each line came to.
    Lines(Vec<LineAnswer>),
}

/// Where a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLine {
    /// Its address; `***@domain` for a patient.
    pub address: String,
    /// `PER`, `ORG`, `APP`, `CAB`, `CTN`.
    pub kind: String,
    /// `requested`, `active`, `notified`, `suspended`, `closing`, `closed`.
    pub state: String,
    /// `public` or `red-list`.
    pub listing: String,
    /// Since when it is in this state, RFC 3339, UTC.
    pub since: String,
    /// When its contents go; only while it is closing.
    pub until: Option<String>,
    /// `unknown`, `never`, or RFC 3339, UTC.
    pub last_login: String,
    /// When its holder was told of inactivity, and how many days before the closing.
    pub notices: Vec<NoticeLine>,
}

/// A notice that lies in the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// So many days before the closing.
    pub days_before: u64,
}

/// A step that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// Who.
    pub author: String,
    /// Which step.
    pub step: String,
    /// From which state; absent for the first one.
    pub from: Option<String>,
    /// To which.
    pub to: String,
    /// Why.
    pub reason: String,
}

/// What a line came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineAnswer {
    /// Where it stands in the file.
    pub line: u64,
    /// Its address; `***@domain` for a patient; absent when it has none.
    pub address: Option<String>,
    /// `made`, `there` (done before), `wrong`, or `failed` (may be tried again).
    pub result: String,
    /// Why, for `wrong` and `failed`.
    pub detail: String,
}

/// Passwords go with the line that held them.
impl Drop for Line {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Ask { address, kind, name, red_list, reason } => {
            let reason = given(&reason)?;
            let address = parse(&address)?;
            let kind = kind_of(&kind)?;
            import::fits(&office.config.operator, &address, kind)?;
            let shown = mask::address(&office.config.operator, &address);
            // Nobody logs in before it is active, and a password is set then.
            let listing = if red_list { Listing::RedList } else { Listing::Public };
            let new = NewAccount { address, kind, listing, display_name: name, password: None };
            let made = life::make(office, new, false, &caller.author, &reason).await;
            let account = made.map_err(|error| error.to_string())?;
            let folders = office.mailboxes.create(&account).await;
            folders.map_err(|error| error.to_string())?;
            Ok(Answer::Done(format!(
                "{shown} is requested: `mailbox activate` opens it, `mailbox passwd` gives it a \
                 password."
            )))
        }
        Request::Step { address, step, reason } => {
            let reason = given(&reason)?;
            take_step(office, &parse(&address)?, &step, reason, caller).await
        }
        Request::State { address } => {
            let life = life::look(office, &parse(&address)?).await?;
            Ok(Answer::State(state_line(office, &life).await?))
        }
        Request::History { address } => {
            let life = life::look(office, &parse(&address)?).await?;
            let records = life::history(office, &life.id).await?;
            let line = |record: life::Record| HistoryLine {
                at: record.at.to_string(),
                author: record.author,
                step: record.step.name().to_owned(),
                from: record.from.map(|stage| stage.name().to_owned()),
                to: record.to.name().to_owned(),
                reason: record.reason,
            };
            Ok(Answer::History(records.into_iter().map(line).collect()))
        }
        Request::Closed {} => {
            let (mut lines, mut after) = (Vec::new(), None);
            loop {
                let (lives, more) = life::closed(office, after, limits::SCAN_ROWS_MAX).await?;
                for life in &lives {
                    lines.push(state_line(office, life).await?);
                }
                after = more;
                if after.is_none() {
                    return Ok(Answer::Closed(lines));
                }
            }
        }
        Request::ImportBegin { file, lines, parts, reason } => {
            begin_import(office, &file, lines, &parts, &reason, caller).await
        }
        Request::ImportLines { dry, lines, reason } => {
            import_lines(office, dry, &lines, &reason, caller).await
        }
        Request::ImportEnd { part, outcome } => {
            let part = digest_of(&part)?;
            if let Some(id) = approval::approved_bulk(office, &part, caller.person()).await? {
                approval::finish(office, &id, &outcome).await?;
            }
            Ok(Answer::Done(outcome))
        }
    }
}

async fn take_step(
    office: &Arc<Office>,
    address: &Address,
    step: &str,
    reason: String,
    caller: &Caller,
) -> Result<Answer, String> {
    let step = Step::parse(step).ok_or("no such step")?;
    let deed = match step {
        Step::Close => Deed::Close { address: address.clone(), reason },
        Step::End => Deed::Delete { address: address.clone(), reason },
        _ => {
            let by = Actor::Administrator;
            let order = Order { address, step, by, author: &caller.author, reason: &reason };
            let life = life::change(office, &order).await?;
            let shown = mask::address(&office.config.operator, address);
            let listing = listing_name(life.standing.listing);
            let stage = life.standing.stage.name();
            return Ok(Answer::Done(format!("{shown} is {stage}, {listing}.")));
        }
    };
    answer_of(office, approval::ask(office, deed, caller.person()).await?)
}

/// What came of something that may need a second administrator.
fn answer_of(office: &Office, asked: approval::Asked) -> Result<Answer, String> {
    Ok(match asked {
        approval::Asked::Done(text) => Answer::Done(text),
        approval::Asked::Waits(petition) => {
            Answer::Waits(Box::new(petition_line(office, &petition)))
        }
    })
}

async fn begin_import(
    office: &Arc<Office>,
    file: &str,
    lines: u64,
    parts: &[String],
    reason: &str,
    caller: &Caller,
) -> Result<Answer, String> {
    let reason = given(reason)?;
    let digests = parts.iter().map(|part| digest_of(part)).collect::<Result<Vec<_>, _>>()?;
    let name: String = file.chars().filter(|c| !c.is_control()).take(100).collect();
    let approved = match digests.first() {
        Some(first) => approval::approved_bulk(office, first, caller.person()).await,
        None => return Ok(Answer::Done("There is nothing to import.".to_owned())),
    };
    if let Ok(Some(_)) = approved {
        return Ok(Answer::Done("Approved.".to_owned()));
    }
    let bulk = Bulk { file: name, lines, digests, reason };
    answer_of(office, approval::ask(office, Deed::Bulk(bulk), caller.person()).await?)
}

async fn import_lines(
    office: &Arc<Office>,
    dry: bool,
    lines: &[Line],
    reason: &str,
    caller: &Caller,
) -> Result<Answer, String> {
    if lines.len() > limits::ROSTER_LINES_AT_ONCE {
        return Err("too many lines at once".to_owned());
    }
    let reason = given(reason)?;
    if !dry {
        approval::approved_bulk(office, &part_digest(lines), caller.person()).await?;
    }
    let mut running = JoinSet::new();
    let mut answers = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        // Together, for each waits for a disk; commits at the same time share one sync.
        if running.len() >= limits::ROSTER_LINES_TOGETHER {
            answers.extend(running.join_next().await.map(joined).transpose()?);
        }
        let entry = entry_of(line)?;
        let password = line.password.as_ref().map(|text| Secret::new(text.clone()));
        let (office, number) = (Arc::clone(office), line.line);
        let (author, reason) = (caller.author.clone(), reason.clone());
        running.spawn(async move {
            let done = match dry {
                true => import::plan(&office, &entry).await,
                false => import::make(&office, &entry, password.as_ref(), &author, &reason).await,
            };
            (place, line_answer(&office, number, &entry, done))
        });
    }
    while let Some(one) = running.join_next().await {
        answers.push(joined(one)?);
    }
    answers.sort_by_key(|(place, _)| *place);
    let answers = answers.into_iter().map(|(_, answer)| answer).collect();
    Ok(Answer::Lines(answers))
}

fn joined(one: Result<(usize, LineAnswer), JoinError>) -> Result<(usize, LineAnswer), String> {
    one.map_err(|_| "a line was cut; run the same import again".to_owned())
}

fn line_answer(
    office: &Office,
    line: u64,
    entry: &Entry,
    done: Result<Outcome, String>,
) -> LineAnswer {
    let (result, detail) = match done {
        Ok(Outcome::Made) => ("made", String::new()),
        Ok(Outcome::There) => ("there", String::new()),
        Ok(Outcome::Wrong(why)) => ("wrong", why),
        Err(why) => ("failed", why),
    };
    LineAnswer {
        line,
        address: Some(shown(office, &entry.address, entry.kind)),
        result: result.to_owned(),
        detail,
    }
}

/// Says which lines these are, whatever their passwords: SHA-256 over each field and its length.
pub fn part_digest(lines: &[Line]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for line in lines {
        let number = line.line.to_string();
        let holder = line.holder.as_deref().unwrap_or_default();
        let listing = if line.red_list { "red-list" } else { "public" };
        for field in [&number, &line.address, &line.kind, &line.name, listing, holder] {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
    }
    let mut found = [0; 32];
    found.copy_from_slice(context.finish().as_ref());
    found
}

/// Hexadecimal digits.
pub fn digest_text(digest: &[u8; 32]) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn digest_of(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "a digest is 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, octet) in digest.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn entry_of(line: &Line) -> Result<Entry, String> {
    let holder = line
        .holder
        .as_deref()
        .map(|text| Rpps::parse(text).ok_or_else(|| "a holder's RPPS number is wrong".to_owned()));
    Ok(Entry {
        line: line.line,
        address: parse(&line.address)?,
        kind: kind_of(&line.kind)?,
        name: line.name.clone(),
        listing: if line.red_list { Listing::RedList } else { Listing::Public },
        holder: holder.transpose()?,
    })
}

async fn state_line(office: &Office, life: &Life) -> Result<StateLine, String> {
    let standing = &life.standing;
    let last = life::last_login(office, &life.id).await?.unwrap_or(LastLogin::Unknown);
    Ok(StateLine {
        address: match &life.address {
            Some(address) => shown(office, address, standing.kind),
            None => format!("***@{}", life.domain),
        },
        kind: standing.kind.code().to_owned(),
        state: standing.stage.name().to_owned(),
        listing: listing_name(standing.listing).to_owned(),
        since: life.since.to_string(),
        until: standing.until.map(|until| until.to_string()),
        last_login: match last {
            LastLogin::Unknown => "unknown".to_owned(),
            LastLogin::Never => "never".to_owned(),
            LastLogin::At(at) => at.to_string(),
        },
        notices: life
            .notices
            .iter()
            .map(|one| NoticeLine { at: one.at.to_string(), days_before: one.days_before })
            .collect(),
    })
}

fn shown(office: &Office, address: &Address, kind: MailboxKind) -> String {
    match kind {
        MailboxKind::Citizen => format!("***@{}", address.domain()),
        _ => mask::address(&office.config.operator, address),
    }
}

fn listing_name(listing: Listing) -> &'static str {
    match listing {
        Listing::Public => "public",
        Listing::RedList => "red-list",
    }
}

fn parse(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

fn kind_of(text: &str) -> Result<MailboxKind, String> {
    MailboxKind::from_code(text).ok_or_else(|| "a kind is PER, ORG, APP, CAB or CTN".to_owned())
}

pub(super) fn given(reason: &str) -> Result<String, String> {
    let kept = reason.trim().chars().filter(|c| !c.is_control());
    let reason: String = kept.take(limits::REASON_CHARACTERS_MAX).collect();
    if reason.is_empty() { Err("a reason is needed: --reason".to_owned()) } else { Ok(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_the_lines_and_not_their_passwords() {
        let line = |name: &str, password: Option<&str>| Line {
            line: 2,
            address: "a@x.fr".to_owned(),
            kind: "ORG".to_owned(),
            name: name.to_owned(),
            red_list: false,
            holder: None,
            password: password.map(str::to_owned),
        };
        let one = part_digest(&[line("A", None)]);
        assert_eq!(one, part_digest(&[line("A", Some("secret"))]));
        assert_ne!(one, part_digest(&[line("B", None)]));
        assert_eq!(digest_of(&digest_text(&one)), Ok(one));
        assert!(digest_of("é").is_err() && digest_of(&"g".repeat(64)).is_err());
    }
}
