//! Statistics as tables: sums of the ledger's rows, by whatever one asks for.
use std::collections::BTreeMap;

use crate::domain::fact::Counterpart;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Day;
use crate::infra::ledger::StatRow;
use crate::server::web::language;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

/// The events that tables show as columns, in this order.
pub const EVENTS: [&str; 7] =
    ["accepted", "sent", "received", "refused", "relayed", "deferred", "failed"];

/// Rows of a table of reasons: the most frequent ones.
const REASONS_MAX: usize = 30;

/// A table, ready to print.
pub struct Table {
    /// What it shows.
    pub caption: &'static str,
    /// Column heads.
    pub heads: Vec<&'static str>,
    /// Rows.
    pub rows: Vec<TableRow>,
}

/// One row of a table.
pub struct TableRow {
    /// Its head.
    pub name: String,
    /// Its figures.
    pub cells: Vec<String>,
}

/// How often each of [`EVENTS`] happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; EVENTS.len()]);

impl Counts {
    /// Adds a row of the ledger.
    pub fn add(&mut self, row: &StatRow) {
        if let Some(place) = EVENTS.iter().position(|event| *event == row.event) {
            self.0[place] = self.0[place].saturating_add(row.count);
        }
    }

    /// How often this event happened.
    pub fn of(&self, event: &str) -> u64 {
        EVENTS.iter().position(|known| *known == event).map_or(0, |place| self.0[place])
    }

    fn cells(&self, lang: Lang) -> Vec<String> {
        self.0.iter().map(|count| language::number(*count, lang)).collect()
    }
}

/// Column heads of [`EVENTS`].
fn event_heads(t: &Texts) -> [&'static str; EVENTS.len()] {
    [
        t.admin_accepted,
        t.admin_sent,
        t.admin_received,
        t.admin_refused,
        t.admin_relayed,
        t.admin_deferred,
        t.admin_failed,
    ]
}

/// Sums over the whole period.
pub fn totals(rows: &[StatRow], lang: Lang) -> Vec<(&'static str, String)> {
    let mut counts = Counts::default();
    rows.iter().for_each(|row| counts.add(row));
    event_heads(lang.texts()).into_iter().zip(counts.cells(lang)).collect()
}

/// Sums by day, for each day of the period, also the quiet ones.
pub fn by_day(rows: &[StatRow], days: &[Day]) -> Vec<(Day, Counts)> {
    let mut sums: BTreeMap<Day, Counts> = BTreeMap::new();
    rows.iter().for_each(|row| sums.entry(row.day).or_default().add(row));
    days.iter().map(|day| (*day, sums.get(day).copied().unwrap_or_default())).collect()
}

/// All tables of the dashboard.
pub fn tables(rows: &[StatRow], days: &[Day], lang: Lang) -> Vec<Table> {
    let t = lang.texts();
    let mut daily = by_day(rows, days);
    daily.reverse();
    let daily = daily.into_iter().map(|(day, counts)| (day.to_string(), counts)).collect();
    let domains = grouped(rows, |row| row.domain.clone());
    let kinds = in_order(
        grouped(rows, |row| kind(row.mailbox_kind, t)),
        MailboxKind::ALL.into_iter().map(|each| kind(Some(each), t)),
    );
    let counterparts = in_order(
        grouped(rows, |row| counterpart(row.counterpart, t).to_owned()),
        Counterpart::ALL.into_iter().map(|each| counterpart(each, t).to_owned()),
    );
    vec![
        table(t.admin_by_day, t.admin_day, daily, lang),
        table(t.admin_by_domain, t.admin_domain, domains, lang),
        table(t.admin_by_kind, t.admin_kind, kinds, lang),
        table(t.admin_by_counterpart, t.admin_counterpart, counterparts, lang),
        reasons(rows, lang),
    ]
}

fn grouped(rows: &[StatRow], key: impl Fn(&StatRow) -> String) -> Vec<(String, Counts)> {
    let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
    rows.iter().for_each(|row| sums.entry(key(row)).or_default().add(row));
    sums.into_iter().filter(|(_, counts)| *counts != Counts::default()).collect()
}

/// Sorted as `order` says; what is not in it comes last.
fn in_order(
    mut sums: Vec<(String, Counts)>,
    order: impl Iterator<Item = String>,
) -> Vec<(String, Counts)> {
    let order: Vec<String> = order.collect();
    sums.sort_by_key(|(name, _)| order.iter().position(|each| each == name).unwrap_or(usize::MAX));
    sums
}

fn table(
    caption: &'static str,
    head: &'static str,
    sums: Vec<(String, Counts)>,
    lang: Lang,
) -> Table {
    let mut heads = vec![head];
    heads.extend(event_heads(lang.texts()));
    let rows = sums.into_iter().map(|(name, counts)| TableRow { name, cells: counts.cells(lang) });
    Table { caption, heads, rows: rows.collect() }
}

/// Why letters were refused, put off or given up, the most frequent reasons first.
fn reasons(rows: &[StatRow], lang: Lang) -> Table {
    let t = lang.texts();
    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    // The reason of a document is its code: nobody was refused for it.
    let told = rows.iter().filter(|row| !row.event.starts_with("document"));
    for row in told.filter(|row| !row.reason.is_empty()) {
        let sum = sums.entry((row.reason.as_str(), row.event.as_str())).or_default();
        *sum = sum.saturating_add(row.count);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sums.truncate(REASONS_MAX);
    let heads = vec![t.admin_reason, t.admin_event, t.admin_count];
    let rows = sums.into_iter().map(|((reason, event), count)| TableRow {
        name: reason.to_owned(),
        cells: vec![event_name(event, t).to_owned(), language::number(count, lang)],
    });
    Table { caption: t.admin_reasons, heads, rows: rows.collect() }
}

fn event_name<'a>(event: &'a str, t: &'static Texts) -> &'a str {
    let place = EVENTS.iter().position(|known| *known == event);
    place.map_or(event, |place| event_heads(t)[place])
}

fn kind(kind: Option<MailboxKind>, t: &Texts) -> String {
    let name = match kind {
        Some(MailboxKind::Personal) => t.admin_kind_per,
        Some(MailboxKind::Organisational) => t.admin_kind_org,
        Some(MailboxKind::Applicative) => t.admin_kind_app,
        Some(MailboxKind::Practice) => t.admin_kind_cab,
        Some(MailboxKind::Citizen) => t.admin_kind_ctn,
        None => t.admin_unknown,
    };
    name.to_owned()
}

fn counterpart(counterpart: Counterpart, t: &Texts) -> &'static str {
    match counterpart {
        Counterpart::Here => t.admin_here,
        Counterpart::OtherOperator => t.admin_other_operator,
        Counterpart::Patient => t.admin_patient,
        Counterpart::Unknown => t.admin_unknown,
    }
}

/// The rows as they stand, for a spreadsheet. Names are the ledger's and do not follow the
/// page's language, so that programs can rely on them.
pub fn csv(rows: &[StatRow]) -> Result<Vec<u8>, csv::Error> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(vec![]);
    writer.write_record([
        "day",
        "domain",
        "mailbox_kind",
        "counterpart",
        "event",
        "reason",
        "count",
        "octets",
    ])?;
    for row in rows {
        writer.write_record([
            row.day.to_string().as_str(),
            inert(&row.domain).as_str(),
            row.mailbox_kind.map_or("", MailboxKind::code),
            row.counterpart.name(),
            inert(&row.event).as_str(),
            inert(&row.reason).as_str(),
            row.count.to_string().as_str(),
            row.octets.to_string().as_str(),
        ])?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

/// A spreadsheet reads `=…`, `+…`, `-…` and `@…` as a formula.
fn inert(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn stat(day: i8, domain: &str, event: &str, reason: &str, count: u64) -> StatRow {
        StatRow {
            day: Day { year: 2026, month: 11, day },
            domain: domain.to_owned(),
            mailbox_kind: Some(MailboxKind::Personal),
            counterpart: Counterpart::Patient,
            event: event.to_owned(),
            reason: reason.to_owned(),
            count,
            octets: count.saturating_mul(4096),
        }
    }

    #[test]
    fn every_table_adds_up_to_the_same_totals() {
        let mut rows = vec![
            stat(21, "a.test", "sent", "", 3),
            stat(22, "b.test", "sent", "", 4),
            stat(22, "b.test", "refused", "mailbox-unknown", 2),
        ];
        rows[1].mailbox_kind = None;
        rows[2].counterpart = Counterpart::Unknown;
        let days = [20, 21, 22].map(|day| Day { year: 2026, month: 11, day });
        let tables = tables(&rows, &days, Lang::Fr);
        for table in &tables[..4] {
            let sent: u64 = table.rows.iter().map(|row| row.cells[1].parse::<u64>().unwrap()).sum();
            assert_eq!(sent, 7, "{}", table.caption);
            assert!(table.rows.iter().all(|row| row.cells.len() + 1 == table.heads.len()));
        }
        assert_eq!(tables[0].rows.len(), 3, "a quiet day has its row too");
        assert_eq!(tables[4].rows[0].cells, ["Refusés", "2"]);
        assert_eq!(totals(&rows, Lang::Fr)[1], ("Envoyés", "7".to_owned()));
    }

    #[test]
    fn the_spreadsheet_runs_nothing() {
        let text = csv(&[stat(22, "=cmd|x", "sent", "a,\"b\"", 1)]).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text.lines().nth(1),
            Some("2026-11-22,'=cmd|x,PER,patient,sent,\"a,\"\"b\"\"\",1,4096")
        );
    }
}
