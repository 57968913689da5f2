//! A professional's own page: which mailbox, who and what has access to it.
//!
//! Letters are read in mail programs; here is what those cannot do.
pub mod adding;
pub mod certificate;
pub mod programs;
pub mod provider;
pub mod second;
pub mod sessions;

use std::sync::Arc;

use axum::extract::Form;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::login::LoginForm;
use crate::server::web::login::TokenForm;
use crate::server::web::pages::AccountPage;
use crate::server::web::pages::ChoicePage;
use crate::server::web::pages::ChoiceRow;
use crate::server::web::pages::Frame;
use crate::server::web::pages::LoginPage;
use crate::server::web::pages::SignedIn;
use crate::server::web::pages::page;
use crate::server::web::session::Person;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// Where people log in.
pub const LOGIN: &str = "/account/login";
/// The page itself.
pub const HOME: &str = "/account";
/// Where a mailbox is chosen.
pub const CHOICE: &str = "/account/mailbox";

/// Why the login form is shown again.
#[derive(Deserialize)]
pub struct LoginQuery {
    out: Option<String>,
    ended: Option<String>,
}

/// `GET /account/login`
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
    login_form(&site, &visitor, &headers, StatusCode::OK, None, notice)
}

/// The login form, with what went wrong or well.
pub fn login_form(
    site: &Site,
    visitor: &Visitor,
    headers: &HeaderMap,
    status: StatusCode,
    error: Option<&'static str>,
    notice: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let form_token = login::form_token(site, headers);
    let template = LoginPage {
        frame: Frame::new(visitor.lang, t.account_login_title, LOGIN).with_error(error.is_some()),
        heading: t.account_title,
        intro: t.account_login_intro,
        action: LOGIN,
        name_label: t.account_login_name,
        name_hint: None,
        form_token: form_token.clone(),
        error,
        notice,
        open: true,
        provider: provider::button(site, visitor),
        code: false,
    };
    login::with_form_cookie(page(status, &template), &form_token)
}

/// `POST /account/login`
pub async fn log_in(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(mut form): Form<LoginForm>,
) -> Response {
    let t = visitor.lang.texts();
    let again = |status, error| login_form(&site, &visitor, &headers, status, Some(error), None);
    let password = form.take_password();
    if !login::is_confirmed(&form, &headers) {
        return again(StatusCode::FORBIDDEN, t.login_stale);
    }
    match site.desk.login(visitor.ip, form.name.trim(), &password).await {
        Ok(account) if account.kind == MailboxKind::Citizen => {
            again(StatusCode::FORBIDDEN, t.account_login_citizen)
        }
        Ok(account) => {
            site.desk.count_login(true);
            match second::stands_before(&site, &account).await {
                Ok(true) => {
                    let person = Person::HalfIn(Box::new(account));
                    login::welcome(&site, &visitor, person, second::ASKED).await
                }
                Ok(false) => {
                    login::welcome(&site, &visitor, Person::Professional(Box::new(account)), HOME)
                        .await
                }
                Err(_) => again(StatusCode::SERVICE_UNAVAILABLE, t.login_temporary),
            }
        }
        Err(refusal) => {
            site.desk.count_login(false);
            tracing::info!(door = "https", reason = refusal.name(), "login refused");
            let (status, text) = refused(refusal, t);
            again(status, text)
        }
    }
}

/// What somebody reads who was not let in.
pub fn refused(refusal: Refusal, t: &'static Texts) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::TooManyFromPeer => (StatusCode::TOO_MANY_REQUESTS, t.login_put_off),
        Refusal::AuthFailed
        | Refusal::AuthRequired
        | Refusal::MailboxUnknown
        | Refusal::MailboxSuspended => (StatusCode::UNAUTHORIZED, t.account_login_wrong),
        _ => (StatusCode::SERVICE_UNAVAILABLE, t.login_temporary),
    }
}

/// `POST /account/logout`
pub async fn log_out(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<TokenForm>,
) -> Response {
    let vouched = visitor.session.as_ref().and_then(|(_, session)| session.vouched.clone());
    let response = login::log_out(&site, &visitor, &form, "/account/login?out=1");
    match vouched {
        Some(vouched) if response.status().is_redirection() => {
            provider::leave(&site, &visitor, &vouched, response).await
        }
        _ => response,
    }
}

/// What was just done.
#[derive(Deserialize)]
pub struct OverviewQuery {
    closed: Option<String>,
}

/// `GET /account`
pub async fn overview(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<OverviewQuery>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return to_login(&visitor) };
    let t = visitor.lang.texts();
    let others = person.session.vouched.as_ref().is_some_and(|it| it.mailboxes.len() > 1);
    let template = AccountPage {
        frame: person.frame(&visitor, t.account_title, &visitor.path),
        notice: query.closed.map(|_| t.account_session_ended),
        csrf: person.session.csrf.expose().clone(),
        sessions: sessions::rows(&site, person.account, visitor.lang),
        last_login: programs::last_login(&site, &person, visitor.lang).await,
        programs: programs::HOME,
        address: person.account.address.to_string(),
        name: person.account.display_name.trim().to_owned(),
        kind: kind(person.account.kind, t),
        listing: match person.account.listing {
            Listing::Public => t.account_listed,
            Listing::RedList => t.account_red_list,
        },
        choice: others.then_some(CHOICE),
        second: (site.house.second_factor != SecondFactor::Off).then_some(second::HOME),
    };
    page(StatusCode::OK, &template)
}

/// `GET /account/mailbox`: which of several.
pub async fn choice(State(_site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let Some(person) = Professional::of(&visitor) else { return to_login(&visitor) };
    let Some(vouched) = &person.session.vouched else { return login::see_other(HOME) };
    let row = |address: &Address| ChoiceRow {
        address: address.to_string(),
        current: *address == person.account.address,
    };
    let template = ChoicePage {
        frame: person.frame(&visitor, visitor.lang.texts().account_choice_title, CHOICE),
        csrf: person.session.csrf.expose().clone(),
        mailboxes: vouched.mailboxes.iter().map(row).collect(),
    };
    page(StatusCode::OK, &template)
}

/// What the choice sends.
#[derive(Deserialize)]
pub struct ChoiceForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    address: String,
}

/// `POST /account/mailbox`
pub async fn choose(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<ChoiceForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return to_login(&visitor) };
    let refuse = |status| guard::error(status, visitor.lang, CHOICE);
    if !login::is_own(person.session, &form.csrf) {
        return refuse(StatusCode::FORBIDDEN);
    }
    // What the provider vouched for at the login, and nothing that a form says.
    let wanted = Address::parse(&form.address).ok();
    let Some(vouched) = &person.session.vouched else { return refuse(StatusCode::FORBIDDEN) };
    let Some(address) = vouched.mailboxes.iter().find(|it| Some(*it) == wanted.as_ref()) else {
        return refuse(StatusCode::FORBIDDEN);
    };
    match site.desk.mailbox(address).await {
        Ok(Some(account)) => {
            site.desk.arrived(&account, visitor.ip).await;
            let person = Person::Professional(Box::new(account));
            let vouched = Some(Arc::clone(vouched));
            login::begin(&site, &visitor, person, vouched, login::see_other(HOME)).await
        }
        Ok(None) => refuse(StatusCode::NOT_FOUND),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A professional who is logged in.
pub struct Professional<'a> {
    /// Their mailbox.
    pub account: &'a Account,
    /// Their login.
    pub session: &'a Session,
}

impl<'a> Professional<'a> {
    /// Who asks for a page, when it is a professional.
    pub fn of(visitor: &'a Visitor) -> Option<Self> {
        let (_, session) = visitor.session.as_ref()?;
        match &session.person {
            Person::Professional(account) => Some(Self { account, session }),
            Person::Citizen(_)
            | Person::HalfIn(_)
            | Person::Administrator(_)
            | Person::HalfInAdministrator(_) => None,
        }
    }

    /// What is around their pages.
    pub fn frame(&self, visitor: &Visitor, title: &str, path: &str) -> Frame {
        let mut frame = Frame::new(visitor.lang, title, path);
        frame.signed_in = Some(SignedIn {
            name: self.account.address.to_string(),
            log_out: "/account/logout",
            csrf: self.session.csrf.expose().clone(),
            home: HOME,
        });
        frame
    }
}

/// Somebody without a session, or whose session has ended.
pub fn to_login(visitor: &Visitor) -> Response {
    login::see_other(if visitor.had_cookie { "/account/login?ended=1" } else { LOGIN })
}

fn kind(kind: MailboxKind, t: &'static Texts) -> &'static str {
    match kind {
        MailboxKind::Personal => t.admin_kind_per,
        MailboxKind::Organisational => t.admin_kind_org,
        MailboxKind::Applicative => t.admin_kind_app,
        MailboxKind::Practice => t.admin_kind_cab,
        MailboxKind::Citizen => t.admin_kind_ctn,
    }
}
