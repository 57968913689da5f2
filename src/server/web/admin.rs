//! The administrators' dashboard: how much mail, in what state the relay is. Figures only:
//! no page here can show a letter, a subject or a person.
pub mod chart;
pub mod figures;
pub mod mailboxes;
pub mod passkeys;
pub mod people;
pub mod throttle;
mod wording;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use axum::extract::Form;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::factors;
use crate::infra::ledger::StatRow;
use crate::infra::metrics::LoginCount;
use crate::server::web::desk::DirectoryState;
use crate::server::web::desk::Owner;
use crate::server::web::desk::RelayState;
use crate::server::web::guard;
use crate::server::web::language;
use crate::server::web::login;
use crate::server::web::login::LoginForm;
use crate::server::web::login::TokenForm;
use crate::server::web::pages::AdminPage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::LoginPage;
use crate::server::web::pages::Made;
use crate::server::web::pages::Period;
use crate::server::web::pages::SignedIn;
use crate::server::web::pages::StateRow;
use crate::server::web::pages::page;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

pub(super) const LOGIN: &str = "/admin/login";
/// A certificate that ends within this time is worth a warning: renewing one takes weeks.
const RENEW_WITHIN: Duration = Duration::from_secs(30 * 86_400);

/// `GET /admin/login`
pub async fn login_page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    login_form(&site, visitor.lang, &headers, StatusCode::OK, None)
}

fn login_form(
    site: &Site,
    lang: Lang,
    headers: &HeaderMap,
    status: StatusCode,
    error: Option<&'static str>,
) -> Response {
    let t = lang.texts();
    let open = site.house.admin_password_file.is_some();
    let form_token = login::form_token(site, headers);
    let template = LoginPage {
        frame: Frame::new(lang, t.admin_login_title, LOGIN).with_error(error.is_some()),
        heading: t.admin_login_heading,
        intro: t.admin_login_intro,
        action: LOGIN,
        name_label: t.admin_login_name,
        name_hint: None,
        form_token: form_token.clone(),
        error: if open { error } else { Some(t.admin_closed) },
        notice: None,
        open,
        provider: None,
        code: open && code_file(site).is_some_and(|file| file.exists()),
    };
    login::with_form_cookie(page(status, &template), &form_token)
}

/// `POST /admin/login`
pub async fn log_in(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(mut form): Form<LoginForm>,
) -> Response {
    let t = visitor.lang.texts();
    let again = |status, error| login_form(&site, visitor.lang, &headers, status, Some(error));
    let password = form.take_password();
    if !login::is_confirmed(&form, &headers) {
        return again(StatusCode::FORBIDDEN, t.login_stale);
    }
    let Some(file) = &site.house.admin_password_file else {
        return again(StatusCode::FORBIDDEN, t.admin_closed);
    };
    if !site.throttle.begin(visitor.ip, site.desk.now()) {
        return again(StatusCode::TOO_MANY_REQUESTS, t.login_put_off);
    }
    let name = form.name.trim();
    let Some(right) = is_password(&site, file, name, password).await else {
        return again(StatusCode::SERVICE_UNAVAILABLE, t.login_temporary);
    };
    // Who has no right password learns nothing of who has passkeys or a secret.
    let has_passkey = match has_passkey(&site, name, right).await {
        Ok(has) => has,
        Err(()) => return again(StatusCode::SERVICE_UNAVAILABLE, t.login_temporary),
    };
    let shown = if has_passkey && form.code.trim().is_empty() {
        Code::None
    } else {
        // Asked for together, so that nobody learns which of them was wrong.
        match is_code(&site, name, &form.code, right).await {
            Ok(shown) => shown,
            Err(text) => return again(StatusCode::SERVICE_UNAVAILABLE, text(t)),
        }
    };
    let right = right && shown != Code::Wrong;
    site.desk.count_login(right);
    if !right {
        tracing::warn!(door = "https", "an administrator's login was refused");
        return again(StatusCode::UNAUTHORIZED, t.admin_login_wrong);
    }
    site.throttle.succeeded(visitor.ip);
    if shown == Code::None {
        if has_passkey {
            let person = Person::HalfInAdministrator(name.to_owned());
            return login::welcome(&site, &visitor, person, passkeys::SECOND).await;
        }
        if site.house.second_factor == SecondFactor::Required {
            return again(StatusCode::SERVICE_UNAVAILABLE, t.admin_needs_totp);
        }
    }
    tracing::info!(door = "https", administrator = name, "an administrator logged in");
    let person = Person::Administrator(name.to_owned());
    login::welcome(&site, &visitor, person, "/admin").await
}

/// Checks the password against the name's argon2id hash; `None` when the file cannot be used.
async fn is_password(
    site: &Site,
    file: &Path,
    name: &str,
    password: Secret<String>,
) -> Option<bool> {
    // Each check takes memory and a core for a moment; a flood of them must not take all.
    static CHECKS: LazyLock<Semaphore> =
        LazyLock::new(|| Semaphore::new(limits::PASSWORD_CHECKS_AT_ONCE));
    let _turn = CHECKS.acquire().await.ok()?;
    let stored = match tokio::fs::read_to_string(file).await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::error!(%error, "admin.password_file cannot be read");
            return None;
        }
    };
    let known = people::find(&stored, name, &site.house.admin_user);
    // A name that nobody has costs a hash too, so that time does not tell which was wrong.
    let (is_known, line) = (known.is_some(), known.or_else(|| people::any(&stored))?.to_owned());
    let check = move || {
        let hash = PasswordHash::new(&line).ok()?;
        let right = Argon2::default().verify_password(password.expose().as_bytes(), &hash);
        Some(right.is_ok() && is_known)
    };
    let right = tokio::task::spawn_blocking(check).await.ok()?;
    if right.is_none() {
        tracing::error!("admin.password_file holds no argon2id hash");
    }
    right
}

/// True when this is the name of an administrator at this moment; `None` when the file cannot be
/// read.
pub(super) async fn is_one(site: &Site, name: &str) -> Option<bool> {
    let Some(file) = &site.house.admin_password_file else { return Some(false) };
    let stored = match tokio::fs::read_to_string(file).await {
        Ok(stored) => Secret::new(stored),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(false),
        Err(error) => {
            tracing::error!(%error, "admin.password_file cannot be read");
            return None;
        }
    };
    Some(people::find(stored.expose(), name, &site.house.admin_user).is_some())
}

/// The file with the secret of one-time codes, beside the one of the password; `None` when nobody
/// is asked for codes.
fn code_file(site: &Site) -> Option<PathBuf> {
    let asked = site.house.second_factor != SecondFactor::Off;
    let file = site.house.admin_password_file.as_ref().filter(|_| asked)?;
    Some(totp_file(file))
}

/// `FILE.totp`, as `vaguemestre admin totp` writes it: secrets in hexadecimal, by name.
pub fn totp_file(password_file: &Path) -> PathBuf {
    let mut name = password_file.as_os_str().to_owned();
    name.push(".totp");
    name.into()
}

/// What came of the one-time code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Right and new.
    Right,
    /// Wrong, or used before.
    Wrong,
    /// This administrator has none.
    None,
}

/// True when a passkey is asked of this administrator, whose password was right.
async fn has_passkey(site: &Site, name: &str, is_password: bool) -> Result<bool, ()> {
    if !is_password || site.house.second_factor == SecondFactor::Off {
        return Ok(false);
    }
    let known = site.desk.factors_of(Owner::Administrator(name)).await.map_err(|_| ())?;
    Ok(known.is_set_up())
}

/// True when this administrator has one-time codes, or that cannot be seen now.
pub(super) async fn has_code(site: &Site, name: &str) -> bool {
    let Some(file) = code_file(site) else { return false };
    match tokio::fs::read_to_string(&file).await {
        Ok(text) => {
            let text = Secret::new(text);
            people::find(text.expose(), name, &site.house.admin_user).is_some()
        }
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Looks at the code, if the administrator has a secret. A wrong password uses no code up.
pub(super) async fn is_code(
    site: &Site,
    name: &str,
    code: &str,
    is_password: bool,
) -> Result<Code, fn(&'static Texts) -> &'static str> {
    let Some(file) = code_file(site) else { return Ok(Code::None) };
    let secret = match tokio::fs::read_to_string(&file).await {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Secret::new(String::new()),
        Err(error) => {
            tracing::error!(%error, "the administrators' one-time secret cannot be read");
            return Err(|t| t.login_temporary);
        }
    };
    let Some(line) = people::find(secret.expose(), name, &site.house.admin_user) else {
        return Ok(Code::None);
    };
    let Some(octets) = from_hex(line) else {
        tracing::error!("the administrators' one-time secret is damaged");
        return Err(|t| t.login_temporary);
    };
    let Some(step) = factors::step_of(octets.expose(), code, site.desk.now()) else {
        return Ok(Code::Wrong);
    };
    if !is_password {
        return Ok(Code::Wrong);
    }
    // RFC 6238 §5.2: a code counts once, and no older one counts after it.
    match site.desk.take_administrators_step(name, step).await {
        Ok(true) => Ok(Code::Right),
        Ok(false) => Ok(Code::Wrong),
        Err(refusal) => {
            tracing::error!(reason = refusal.name(), "an administrator's code cannot be noted");
            Err(|t| t.login_temporary)
        }
    }
}

fn from_hex(text: &str) -> Option<Secret<Vec<u8>>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_even = text.len() >= 32 && text.len().is_multiple_of(2);
    let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    octets.filter(|_| is_even).map(Secret::new)
}

/// `POST /admin/logout`
pub async fn log_out(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<TokenForm>,
) -> Response {
    login::log_out(&site, &visitor, &form, LOGIN)
}

/// Which period.
#[derive(Deserialize)]
pub struct PeriodQuery {
    days: Option<u16>,
}

impl PeriodQuery {
    /// 1, 7 or 30 days; anything else is a week.
    fn days(&self) -> u16 {
        self.days.filter(|days| [1, 7, 30].contains(days)).unwrap_or(7)
    }
}

pub(super) fn session(visitor: &Visitor) -> Option<&Session> {
    let (_, session) = visitor.session.as_ref()?;
    matches!(session.person, Person::Administrator(_)).then_some(session.as_ref())
}

/// Which administrator a session is of; nobody for any other one.
pub(super) fn name(session: &Session) -> &str {
    match &session.person {
        Person::Administrator(name) => name,
        Person::Citizen(_)
        | Person::Professional(_)
        | Person::HalfIn(_)
        | Person::HalfInAdministrator(_) => "",
    }
}

/// What is around an administrator's page.
pub(super) fn frame(visitor: &Visitor, session: &Session, title: &str) -> Frame {
    let mut frame = Frame::new(visitor.lang, title, &visitor.path);
    frame.signed_in = Some(SignedIn {
        name: name(session).to_owned(),
        log_out: "/admin/logout",
        csrf: session.csrf.expose().clone(),
        home: "/admin",
    });
    frame
}

/// The last `count` days in France, oldest first.
fn last_days(now: Timestamp, count: u16) -> Vec<Day> {
    let today = language::in_paris(now).date();
    (0..count)
        .rev()
        .map(|back| today.saturating_sub(jiff::Span::new().days(back)))
        .map(|date| Day { year: date.year(), month: date.month(), day: date.day() })
        .collect()
}

/// `GET /admin`
pub async fn overview(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<PeriodQuery>,
) -> Response {
    let Some(session) = session(&visitor) else { return login::see_other(LOGIN) };
    let now = site.desk.now();
    let days = last_days(now, query.days());
    let rows = match statistics(&site, &days).await {
        Ok(rows) => rows,
        Err(()) => return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, "/admin"),
    };
    let state = site.desk.state(&site.house).await;
    let logins = site.sessions.count(now);
    let template = admin_page(&site, &visitor, session, &query, &days, &rows, &state, logins, now);
    page(StatusCode::OK, &template)
}

async fn statistics(site: &Site, days: &[Day]) -> Result<Vec<StatRow>, ()> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Vec::new()) };
    site.desk.statistics(*first, *last).await.map_err(|error| {
        tracing::error!(%error, "the ledger did not answer");
    })
}

#[allow(clippy::too_many_arguments, reason = "each is one thing that the page shows")]
fn admin_page(
    site: &Site,
    visitor: &Visitor,
    session: &Session,
    query: &PeriodQuery,
    days: &[Day],
    rows: &[StatRow],
    state: &RelayState,
    logins: usize,
    now: Timestamp,
) -> AdminPage {
    let (lang, t) = (visitor.lang, visitor.lang.texts());
    let periods = [(1, t.admin_today), (7, t.admin_week), (30, t.admin_month)];
    let periods = periods.map(|(count, label)| Period {
        label,
        href: format!("/admin?days={count}"),
        current: query.days() == count,
    });
    AdminPage {
        frame: frame(visitor, session, t.admin_title),
        passkeys: passkeys::are_offered(site).then_some(passkeys::HOME),
        house: site.house.name.clone(),
        periods: periods.into(),
        totals: figures::totals(rows, lang),
        chart: chart::chart(&figures::by_day(rows, days), lang),
        tables: figures::tables(rows, days, lang),
        csv: format!("/admin/statistics.csv?days={}", query.days()),
        state: state_rows(state, logins, now, lang),
        directory: directory_rows(state, now, lang),
        logins: login_table(state, lang),
    }
}

/// What an operator looks at first.
fn state_rows(state: &RelayState, logins: usize, now: Timestamp, lang: Lang) -> Vec<StateRow> {
    let t = lang.texts();
    let line =
        |label: &str, value: String| StateRow { label: label.to_owned(), value, warning: None };
    let (waiting, oldest) = state.queue;
    let mut queue = match waiting {
        0 => t.admin_queue_empty.to_owned(),
        many => format!("{} {}", language::number(many, lang), t.unit_recipients),
    };
    if let Some(oldest) = oldest.filter(|_| waiting > 0) {
        let age = language::age(now.since(oldest), t);
        queue.push_str(&format!(", {} {age}", t.admin_queue_oldest));
    }
    let (generated, domains) = state.trust;
    let trust = format!(
        "{} {} {} {}",
        language::number(domains as u64, lang),
        t.admin_trust_domains,
        language::age(now.since(generated), t),
        t.admin_trust_ago,
    );
    let sessions: u64 = state.sessions.iter().map(|(_, open)| open).sum();
    let doors = state.sessions.iter().filter(|(_, open)| *open > 0);
    let doors: Vec<String> = doors.map(|(door, open)| format!("{door} {open}")).collect();
    let doors = if doors.is_empty() { String::new() } else { format!(" ({})", doors.join(", ")) };
    vec![
        line(t.admin_queue, queue),
        line(t.admin_trust, trust.trim().to_owned()),
        certificate(t.admin_certificate_people, state.certificates[0], now, t),
        certificate(t.admin_certificate_mx, state.certificates[1], now, t),
        line(t.admin_sessions, format!("{}{doors}", language::number(sessions, lang))),
        line(t.admin_web_logins, language::number(logins as u64, lang)),
        line(t.admin_version, env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

/// How well the copy of the national directory is, and what it shows about our own mailboxes.
fn directory_rows(state: &RelayState, now: Timestamp, lang: Lang) -> Vec<StateRow> {
    let t = lang.texts();
    let line =
        |label: &str, value: String, warning| StateRow { label: label.to_owned(), value, warning };
    let Some(copy) = &state.directory else {
        let closed = t.admin_directory_closed;
        return vec![line(t.admin_directory_copy, closed.to_owned(), None)];
    };
    let Some((rows, addresses)) = copy.mailboxes else {
        return vec![
            line(t.admin_directory_copy, t.admin_directory_none.to_owned(), None),
            refresh_row(copy, now, t),
        ];
    };
    let (rows, addresses) = (language::number(rows, lang), language::number(addresses, lang));
    let size =
        format!("{rows} {}, {addresses} {}", t.admin_directory_rows, t.admin_directory_addresses);
    let drift = match copy.drift {
        None => t.admin_unreadable.to_owned(),
        Some(0) => "0".to_owned(),
        Some(many) => {
            let many = language::number(many as u64, lang);
            format!("{many} ({})", t.admin_directory_drift_how)
        }
    };
    let old = copy.is_old.then_some(t.admin_directory_old);
    vec![
        line(t.admin_directory_copy, size, None),
        line(t.admin_directory_age, language::age(copy.age, t), old),
        refresh_row(copy, now, t),
        line(t.admin_directory_drift, drift, None),
    ]
}

fn refresh_row(copy: &DirectoryState, now: Timestamp, t: &'static Texts) -> StateRow {
    let ago = |at: Timestamp| language::age(now.since(at), t);
    let (value, warning) = match (&copy.error, copy.tried, copy.succeeded) {
        (Some(error), Some(at), _) => {
            let text = format!("{} {}\u{a0}: {error}", t.admin_directory_failed, ago(at));
            (text, Some(t.admin_directory_failing))
        }
        (Some(error), None, _) => (error.clone(), Some(t.admin_directory_failing)),
        (None, _, Some(at)) => (format!("{} {}", t.admin_directory_well, ago(at)), None),
        (None, ..) => (t.admin_directory_never.to_owned(), None),
    };
    StateRow { label: t.admin_directory_refresh.to_owned(), value, warning }
}

/// In the words of `vaguemestre_login_attempts_total`, so that both can be compared.
fn login_table(state: &RelayState, lang: Lang) -> figures::Table {
    let t = lang.texts();
    let row = |one: &LoginCount| figures::TableRow {
        name: one.door.to_owned(),
        cells: vec![one.means.to_owned(), one.result.to_owned(), language::number(one.count, lang)],
    };
    figures::Table {
        caption: t.admin_logins,
        heads: vec![
            t.admin_logins_door,
            t.admin_logins_means,
            t.admin_logins_result,
            t.admin_count,
        ],
        rows: state.logins.iter().map(row).collect(),
    }
}

fn certificate(label: &str, end: Option<Timestamp>, now: Timestamp, t: &'static Texts) -> StateRow {
    let (value, warning) = match end {
        None => (t.admin_unreadable.to_owned(), Some(t.admin_soon)),
        Some(end) if end <= now => (t.admin_expired.to_owned(), Some(t.admin_soon)),
        Some(end) => {
            let left = end.since(now);
            let warning = (left < RENEW_WITHIN).then_some(t.admin_soon);
            (format!("{} {}", t.admin_expires, language::age(left, t)), warning)
        }
    };
    StateRow { label: label.to_owned(), value, warning }
}

/// `GET /admin/statistics.csv`
pub async fn download(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<PeriodQuery>,
) -> Response {
    if session(&visitor).is_none() {
        return login::see_other(LOGIN);
    }
    let days = last_days(site.desk.now(), query.days());
    let rows = statistics(&site, &days).await;
    let Some(text) = rows.ok().and_then(|rows| figures::csv(&rows).ok()) else {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, "/admin");
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    headers.insert(header::CONTENT_TYPE, kind);
    let name = HeaderValue::from_static("attachment; filename=\"statistics.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    response.extensions_mut().insert(Made);
    response
}
