//! Logging in by the OpenID provider: a browser goes there and comes back with a code.
//!
//! Links and pages that go on by themselves, and no forms: the pages' policy lets forms go
//! nowhere but here, and a browser that comes from another site leaves our strict cookies at
//! home until a page of ours sends it on.
use std::sync::Arc;

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

use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::infra::directory::oidc::Person as Known;
use crate::server::web::account;
use crate::server::web::desk::Sso;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::Frame;
use crate::server::web::pages::Made;
use crate::server::web::pages::OnwardPage;
use crate::server::web::pages::page;
use crate::server::web::session::OIDC_COOKIE;
use crate::server::web::session::Person;
use crate::server::web::session::Vouched;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::site::cookie;

/// Where the way to the provider begins.
pub const START: &str = "/login/oidc";
/// Where it ends; to be told to the provider with `web.public_url` before it.
pub const CALLBACK: &str = "/login/oidc/callback";

/// Lax: it must come along when the provider sends the browser back.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The button of the login page: where it leads, and what it says.
pub(super) fn button(site: &Site, visitor: &Visitor) -> Option<(&'static str, &'static str)> {
    let t = visitor.lang.texts();
    let sso = site.desk.sso()?;
    let is_national = sso.provider.is_pro_sante_connect();
    Some((START, if is_national { t.account_provider } else { t.account_provider_other }))
}

/// `GET /login/oidc`
pub async fn start(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    let Some(sso) = site.desk.sso() else {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, START);
    };
    let browser = sso.provider.browser(&site.desk.random_token());
    let redirect = format!("{}{CALLBACK}", sso.public_url);
    let to = sso.provider.authorization(&browser, &redirect, visitor.lang.tag()).await;
    match to {
        Ok(to) => {
            let mut response = login::see_other(&to);
            let value = format!("{OIDC_COOKIE}={}; {ATTRIBUTES}; Max-Age=900", browser.expose());
            login::set_cookie(&mut response, &value);
            response
        }
        Err(error) => {
            tracing::warn!(door = "https", %error, "nobody can be sent to the OpenID provider");
            let t = visitor.lang.texts();
            let (status, text) = (StatusCode::SERVICE_UNAVAILABLE, t.account_provider_away);
            account::login_form(&site, &visitor, &headers, status, Some(text), None)
        }
    }
}

/// What the provider adds to the address (RFC 6749 §4.1.2, RFC 9207).
#[derive(Deserialize)]
pub struct Arrival {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    error: Option<String>,
    iss: Option<String>,
}

/// `GET /login/oidc/callback`
pub async fn arrive(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(arrival): Query<Arrival>,
    headers: HeaderMap,
) -> Response {
    let response = match site.desk.sso() {
        None => guard::error(StatusCode::NOT_FOUND, visitor.lang, CALLBACK),
        Some(sso) => match known(&site, &sso, &visitor, &arrival, &headers).await {
            Ok(person) => welcome(&site, &sso, &visitor, person, &headers).await,
            Err((status, text)) => {
                site.desk.count_login(false);
                account::login_form(&site, &visitor, &headers, status, Some(text), None)
            }
        },
    };
    let mut response = response;
    login::set_cookie(&mut response, &format!("{OIDC_COOKIE}=; {ATTRIBUTES}; Max-Age=0"));
    response
}

/// Who has come back.
async fn known(
    site: &Site,
    sso: &Sso,
    visitor: &Visitor,
    arrival: &Arrival,
    headers: &HeaderMap,
) -> Result<Known, (StatusCode, &'static str)> {
    let t = visitor.lang.texts();
    if arrival.error.is_some() || arrival.code.is_empty() {
        return Err((StatusCode::UNAUTHORIZED, t.account_provider_refused));
    }
    let Some(browser) = cookie(headers, OIDC_COOKIE) else {
        return Err((StatusCode::FORBIDDEN, t.login_stale));
    };
    // Each code is a question to the provider: strangers shall not ask it in our name.
    if !site.arrivals.begin(visitor.ip, site.desk.now()) {
        return Err((StatusCode::TOO_MANY_REQUESTS, t.login_put_off));
    }
    let browser = Secret::new(browser.to_owned());
    let redirect = format!("{}{CALLBACK}", sso.public_url);
    let issuer = arrival.iss.as_deref();
    let arrived =
        sso.provider.arrived(&browser, &redirect, &arrival.state, &arrival.code, issuer).await;
    match arrived {
        Ok(Some(person)) => {
            site.arrivals.succeeded(visitor.ip);
            Ok(person)
        }
        Ok(None) => Err((StatusCode::UNAUTHORIZED, t.account_provider_refused)),
        Err(error) => {
            tracing::warn!(door = "https", %error, "the OpenID provider did not answer");
            Err((StatusCode::SERVICE_UNAVAILABLE, t.account_provider_away))
        }
    }
}

/// Begins the session of somebody for whom the provider vouches.
async fn welcome(
    site: &Site,
    sso: &Sso,
    visitor: &Visitor,
    person: Known,
    headers: &HeaderMap,
) -> Response {
    let t = visitor.lang.texts();
    let again = |status, text| {
        site.desk.count_login(false);
        account::login_form(site, visitor, headers, status, Some(text), None)
    };
    let held = match site.desk.held(visitor.ip, &person.national_id).await {
        Ok(held) => held,
        Err(Refusal::TooManyFromPeer) => {
            return again(StatusCode::TOO_MANY_REQUESTS, t.login_put_off);
        }
        Err(_) => return again(StatusCode::SERVICE_UNAVAILABLE, t.login_temporary),
    };
    let mailboxes: Vec<_> = held.iter().map(|account| account.address.clone()).collect();
    let Some(account) = held.into_iter().next() else {
        return again(StatusCode::FORBIDDEN, t.account_no_mailbox);
    };
    site.desk.count_login(true);
    if mailboxes.len() == 1 {
        site.desk.arrived(&account, visitor.ip).await;
    }
    let to = if mailboxes.len() > 1 { account::CHOICE } else { account::HOME };
    let vouched = Vouched {
        sid: person.sid,
        subject: person.subject,
        id_token: person.id_token,
        mailboxes,
        until: site.desk.now().after(sso.session),
    };
    let onward = onward(visitor, t.account_onward_title, t.account_onward, to.to_owned());
    let person = Person::Professional(Box::new(account));
    login::begin(site, visitor, person, Some(Arc::new(vouched)), onward).await
}

/// Ends the session here, and sends the browser to the provider so that it ends there, too.
pub(super) async fn leave(
    site: &Site,
    visitor: &Visitor,
    vouched: &Vouched,
    response: Response,
) -> Response {
    let t = visitor.lang.texts();
    let Some(sso) = site.desk.sso() else { return response };
    let back = format!("{}{}?out=1", sso.public_url, account::LOGIN);
    let Some(to) = sso.provider.end_session(&vouched.id_token, &back).await else {
        return response;
    };
    let mut onward = onward(visitor, t.account_out_title, t.account_out, to);
    for cookie in response.headers().get_all(header::SET_COOKIE) {
        onward.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    onward
}

fn onward(visitor: &Visitor, title: &str, text: &'static str, to: String) -> Response {
    let t = visitor.lang.texts();
    let frame = Frame::new(visitor.lang, title, account::LOGIN);
    page(StatusCode::OK, &OnwardPage { frame, text, link: t.account_onward_link, to })
}

/// What the provider posts (OpenID Connect Back-Channel Logout 1.0 §2.5).
#[derive(Deserialize)]
pub struct LogoutForm {
    #[serde(default)]
    logout_token: String,
}

/// `POST /login/oidc/logout`: the provider says that somebody has left.
pub async fn logged_out(State(site): State<Arc<Site>>, Form(form): Form<LogoutForm>) -> Response {
    let Some(sso) = site.desk.sso() else { return StatusCode::NOT_FOUND.into_response() };
    let (status, body) = match sso.provider.logged_out(&form.logout_token).await {
        Ok(Some(token)) => {
            let (sid, subject) = (token.sid.as_deref(), token.subject.as_deref());
            // Tokens of mail programs mostly name no session. Where the message names only that,
            // the pages know whose it is.
            let whose = subject.map(str::to_owned).or_else(|| site.sessions.subject_of(sid?));
            let ended = site.sessions.end_vouched(sid, subject);
            let programs = site.desk.end_vouched(sid, whose.as_deref());
            tracing::info!(door = "https", ended, programs, "the OpenID provider ended sessions");
            (StatusCode::OK, "")
        }
        Ok(None) => (StatusCode::BAD_REQUEST, r#"{"error":"invalid_request"}"#),
        Err(error) => {
            tracing::warn!(door = "https", %error, "a logout message cannot be checked now");
            (StatusCode::BAD_REQUEST, r#"{"error":"temporarily_unavailable"}"#)
        }
    };
    let mut response = (status, body).into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(Made);
    response
}
