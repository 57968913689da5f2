//! The citizen inbox: log in, list, read, download, answer.
pub mod answer;
pub mod compose;
pub mod letter;

use std::sync::Arc;

use axum::extract::Form;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::mailbox::MailboxError;
use crate::infra::directory::Account;
use crate::server::web::desk::Correspondent;
use crate::server::web::desk::Row;
use crate::server::web::desk::Rows;
use crate::server::web::desk::Slice;
use crate::server::web::guard;
use crate::server::web::language;
use crate::server::web::login;
use crate::server::web::login::LoginForm;
use crate::server::web::login::TokenForm;
use crate::server::web::pages::Frame;
use crate::server::web::pages::InboxPage;
use crate::server::web::pages::InboxRow;
use crate::server::web::pages::LoginPage;
use crate::server::web::pages::Sender;
use crate::server::web::pages::SignedIn;
use crate::server::web::pages::page;
use crate::server::web::session::Notice;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Lang;

const LOGIN: &str = "/inbox/login";

/// Why the login form is shown again.
#[derive(Deserialize)]
pub struct LoginQuery {
    out: Option<String>,
    ended: Option<String>,
}

/// `GET /inbox/login`
pub async fn login_page(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<LoginQuery>,
    headers: HeaderMap,
) -> Response {
    let t = visitor.lang.texts();
    let notice = match (query.out, query.ended) {
        (Some(_), _) => Some(t.logged_out),
        (None, Some(_)) => Some(t.login_expired),
        (None, None) => None,
    };
    login_form(&site, visitor.lang, &headers, StatusCode::OK, None, notice)
}

fn login_form(
    site: &Site,
    lang: Lang,
    headers: &HeaderMap,
    status: StatusCode,
    error: Option<&'static str>,
    notice: Option<&'static str>,
) -> Response {
    let t = lang.texts();
    let form_token = login::form_token(site, headers);
    let template = LoginPage {
        frame: Frame::new(lang, t.login_title, LOGIN).with_error(error.is_some()),
        heading: t.login_heading,
        intro: t.login_intro,
        action: LOGIN,
        name_label: t.login_name,
        name_hint: Some(t.login_name_hint),
        form_token: form_token.clone(),
        error,
        notice,
        open: true,
        provider: None,
        code: false,
    };
    login::with_form_cookie(page(status, &template), &form_token)
}

/// `POST /inbox/login`
pub async fn log_in(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(mut form): Form<LoginForm>,
) -> Response {
    let t = visitor.lang.texts();
    let again =
        |status, error| login_form(&site, visitor.lang, &headers, status, Some(error), None);
    let password = form.take_password();
    if !login::is_confirmed(&form, &headers) {
        return again(StatusCode::FORBIDDEN, t.login_stale);
    }
    let name = login_name(&form.name, &site);
    match site.desk.login(visitor.ip, &name, &password).await {
        Ok(account) if account.kind == MailboxKind::Citizen => {
            site.desk.count_login(true);
            login::welcome(&site, &visitor, Person::Citizen(Box::new(account)), "/inbox").await
        }
        Ok(_) => again(StatusCode::FORBIDDEN, t.login_professional),
        Err(refusal) => {
            site.desk.count_login(false);
            tracing::info!(door = "https", reason = refusal.name(), "login refused");
            match refusal {
                Refusal::TooManyFromPeer => again(StatusCode::TOO_MANY_REQUESTS, t.login_put_off),
                Refusal::AuthFailed | Refusal::AuthRequired => {
                    again(StatusCode::UNAUTHORIZED, t.login_wrong)
                }
                Refusal::MailboxUnknown | Refusal::MailboxSuspended => {
                    again(StatusCode::UNAUTHORIZED, t.login_wrong)
                }
                _ => again(StatusCode::SERVICE_UNAVAILABLE, t.login_temporary),
            }
        }
    }
}

/// The matricule becomes an address. People type it in groups, as their card prints it.
fn login_name(typed: &str, site: &Site) -> String {
    let typed = typed.trim();
    if typed.contains('@') {
        return typed.to_owned();
    }
    let matricule: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    match &site.house.citizen_domain {
        Some(domain) => format!("{}@{domain}", matricule.to_ascii_uppercase()),
        None => matricule,
    }
}

/// `POST /inbox/logout`
pub async fn log_out(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<TokenForm>,
) -> Response {
    login::log_out(&site, &visitor, &form, "/inbox/login?out=1")
}

/// Which part of the list.
#[derive(Deserialize)]
pub struct ListQuery {
    before: Option<u32>,
    after: Option<u32>,
}

/// `GET /inbox`
pub async fn list(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let Some(patient) = Patient::of(&visitor) else { return to_login(&visitor) };
    let slice = match (query.before, query.after) {
        (Some(uid), _) => Slice::Before(Uid(uid)),
        (None, Some(uid)) => Slice::After(Uid(uid)),
        (None, None) => Slice::Newest,
    };
    match site.desk.rows(patient.account, slice).await {
        Ok(rows) => {
            let notice = patient.session.notice();
            page(StatusCode::OK, &list_page(&visitor, &patient, &rows, slice, notice))
        }
        Err(error) => mailbox_error(&error, visitor.lang, "/inbox"),
    }
}

fn list_page(
    visitor: &Visitor,
    patient: &Patient<'_>,
    rows: &Rows,
    slice: Slice,
    notice: Option<Notice>,
) -> InboxPage {
    let (lang, t) = (visitor.lang, visitor.lang.texts());
    let first = rows.rows.first().map(|row| row.uid.0);
    let last = rows.rows.last().map(|row| row.uid.0);
    InboxPage {
        frame: patient.frame(visitor, t.inbox_title, &visitor.path),
        notice: notice.map(|notice| match notice {
            Notice::Sent => t.answer_sent,
            Notice::SentWithoutCopy => t.answer_sent_no_copy,
        }),
        unread: match rows.unseen {
            0 => t.inbox_unread_none.to_owned(),
            1 => t.inbox_unread_one.to_owned(),
            many => format!("{many} {}", t.inbox_unread_many),
        },
        empty: rows.rows.is_empty() && slice == Slice::Newest,
        newer: rows.newer.then_some(first).flatten().map(|uid| format!("/inbox?after={uid}")),
        older: rows.older.then_some(last).flatten().map(|uid| format!("/inbox?before={uid}")),
        rows: rows.rows.iter().map(|row| list_row(row, lang)).collect(),
    }
}

fn list_row(row: &Row, lang: Lang) -> InboxRow {
    let t = lang.texts();
    InboxRow {
        href: letter_path(FolderId::INBOX, row.uid),
        sender: sender(row.from.as_ref(), lang),
        subject: subject(&row.subject, lang),
        at: language::spoken(row.at, lang),
        unread: !row.flags.seen,
        answered: row.flags.answered,
        attachments: match row.attachments {
            0 => String::new(),
            1 => t.inbox_attachment_one.to_owned(),
            many => format!("{many} {}", t.inbox_attachment_many),
        },
    }
}

/// Where a letter's page is: numbers only, nothing about the person or the letter.
fn letter_path(folder: FolderId, uid: Uid) -> String {
    format!("/inbox/{}/{}", folder.0, uid.0)
}

/// The one folder that has pages. Elsewhere numbers mean other letters: what "later" is, and so
/// whether an exchange is closed, could not be told.
fn has_pages(folder: FolderId) -> bool {
    folder == FolderId::INBOX
}

/// A correspondent for a page. Software writes names with underscores (rule ECO.2.2.7).
fn sender(correspondent: Option<&Correspondent>, lang: Lang) -> Sender {
    let Some(correspondent) = correspondent else {
        let name = lang.texts().inbox_no_sender.to_owned();
        return Sender { name, address: String::new() };
    };
    let name: String = correspondent
        .name
        .chars()
        .map(|c| if c == '_' || c.is_control() { ' ' } else { c })
        .collect();
    // A name that is just the address again says nothing.
    let name = if name.trim() == correspondent.shown { String::new() } else { name };
    Sender { name: name.trim().to_owned(), address: correspondent.shown.clone() }
}

fn subject(subject: &str, lang: Lang) -> String {
    let shown = language::shown_subject(subject);
    if shown.is_empty() { lang.texts().inbox_no_subject.to_owned() } else { shown }
}

/// A patient who is logged in.
pub(super) struct Patient<'a> {
    pub(super) account: &'a Account,
    pub(super) session: &'a Session,
}

impl<'a> Patient<'a> {
    pub(super) fn of(visitor: &'a Visitor) -> Option<Self> {
        let (_, session) = visitor.session.as_ref()?;
        match &session.person {
            Person::Citizen(account) => Some(Self { account, session }),
            Person::Professional(_)
            | Person::HalfIn(_)
            | Person::Administrator(_)
            | Person::HalfInAdministrator(_) => None,
        }
    }

    pub(super) fn frame(&self, visitor: &Visitor, title: &str, path: &str) -> Frame {
        let t = visitor.lang.texts();
        // The matricule itself is on no page but where its owner types it.
        let name = match self.account.display_name.trim() {
            "" => t.landing_patient,
            name => name,
        };
        let mut frame = Frame::new(visitor.lang, title, path);
        frame.signed_in = Some(SignedIn {
            name: name.to_owned(),
            log_out: "/inbox/logout",
            csrf: self.session.csrf.expose().clone(),
            home: "/inbox",
        });
        frame
    }
}

/// Somebody without a session, or whose session has ended.
pub(super) fn to_login(visitor: &Visitor) -> Response {
    login::see_other(if visitor.had_cookie { "/inbox/login?ended=1" } else { LOGIN })
}

/// The page of a mailbox that did not do what was asked.
fn mailbox_error(error: &MailboxError, lang: Lang, path: &str) -> Response {
    let status = match error {
        MailboxError::NoSuchFolder | MailboxError::NoSuchMessage => StatusCode::NOT_FOUND,
        _ => {
            tracing::warn!(door = "https", %error, "a mailbox did not answer");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    guard::error(status, lang, path)
}
