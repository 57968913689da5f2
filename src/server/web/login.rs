//! What both login forms share: the form's token, the session's cookie, logging out.
//!
//! Login CSRF: a stranger could make a browser log in to the *stranger's* inbox and read what
//! its owner then writes there. So the form carries a token that a cookie of the same browser
//! must confirm.
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::secret::Secret;
use crate::server::web::guard;
use crate::server::web::pages::Made;
use crate::server::web::session::FORM_COOKIE;
use crate::server::web::session::Person;
use crate::server::web::session::SESSION_COOKIE;
use crate::server::web::session::Session;
use crate::server::web::session::Vouched;
use crate::server::web::session::same_token;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::site::cookie;

/// What a login form sends.
#[derive(Deserialize)]
pub struct LoginForm {
    /// The form's token.
    #[serde(default)]
    form: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Password.
    #[serde(default)]
    password: String,
    /// One-time code, where the form asks for one.
    #[serde(default)]
    pub code: String,
}

impl LoginForm {
    /// Takes the password out, so that it is wiped after use.
    pub fn take_password(&mut self) -> Secret<String> {
        Secret::new(std::mem::take(&mut self.password))
    }
}

/// What a form with nothing but a button sends.
#[derive(Deserialize)]
pub struct TokenForm {
    /// The session's token.
    #[serde(default)]
    pub csrf: String,
}

/// The token for a login form; the browser's own when it has one, so that two open forms work.
pub fn form_token(site: &Site, headers: &HeaderMap) -> String {
    let known = cookie(headers, FORM_COOKIE).filter(|token| {
        (16..=64).contains(&token.len())
            && token.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
    });
    known.map_or_else(|| site.desk.random_token().expose().clone(), str::to_owned)
}

/// Sets the cookie that confirms the form's token.
pub fn with_form_cookie(mut response: Response, token: &str) -> Response {
    set_cookie(&mut response, &format!("{FORM_COOKIE}={token}; {ATTRIBUTES}"));
    response
}

/// True when the form comes from a page that this browser fetched.
pub fn is_confirmed(form: &LoginForm, headers: &HeaderMap) -> bool {
    cookie(headers, FORM_COOKIE).is_some_and(|token| same_token(token, &form.form))
}

/// Begins a session and goes to its first page. An older session of this browser ends.
pub async fn welcome(site: &Site, visitor: &Visitor, person: Person, to: &str) -> Response {
    begin(site, visitor, person, None, see_other(to)).await
}

/// Begins a session, and gives its cookie to a response. An older session of this browser ends.
pub async fn begin(
    site: &Site,
    visitor: &Visitor,
    person: Person,
    vouched: Option<Arc<Vouched>>,
    mut response: Response,
) -> Response {
    if let Some((old, _)) = &visitor.session {
        site.sessions.end(old.expose());
    }
    let seat = match &person {
        Person::Citizen(account) | Person::Professional(account) => {
            match site.desk.seat(visitor.ip, account, vouched.as_deref()).await {
                Ok(seat) => seat,
                Err(refusal) => {
                    tracing::info!(door = "https", reason = refusal.name(), "login refused");
                    return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, "/");
                }
            }
        }
        Person::HalfIn(_) | Person::Administrator(_) | Person::HalfInAdministrator(_) => None,
    };
    let token = site.desk.random_token();
    let (csrf, now) = (site.desk.random_token(), site.desk.now());
    site.sessions.begin(&token, csrf, person, vouched, seat, now);
    set_cookie(&mut response, &format!("{SESSION_COOKIE}={}; {ATTRIBUTES}", token.expose()));
    set_cookie(&mut response, &format!("{FORM_COOKIE}=; {ATTRIBUTES}; Max-Age=0"));
    response
}

/// Ends the session, if the form is its own.
pub fn log_out(site: &Arc<Site>, visitor: &Visitor, form: &TokenForm, to: &str) -> Response {
    if let Some((token, session)) = &visitor.session {
        if !is_own(session, &form.csrf) {
            return guard::error(StatusCode::FORBIDDEN, visitor.lang, "/");
        }
        site.sessions.end(token.expose());
    }
    let mut response = see_other(to);
    set_cookie(&mut response, &format!("{SESSION_COOKIE}=; {ATTRIBUTES}; Max-Age=0"));
    response
}

/// True when a form carries its session's token.
pub fn is_own(session: &Session, csrf: &str) -> bool {
    same_token(session.csrf.expose(), csrf)
}

/// 303: a form was taken, look there.
pub fn see_other(to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    response.extensions_mut().insert(Made);
    response
}

/// Only this host, only TLS, not for scripts, not on other sites' requests.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

pub(super) fn set_cookie(response: &mut Response, cookie: &str) {
    // Tokens are made of URL-safe characters, so this cannot fail for ours.
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
