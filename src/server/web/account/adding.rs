//! Adding a passkey to a professional's second factors.
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::account::second;
use crate::server::web::account::second::ASKED;
use crate::server::web::account::second::HOME;
use crate::server::web::desk::Owner;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::Frame;
use crate::server::web::passkeys;
use crate::server::web::passkeys::PasskeyForm;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;

/// Where a passkey is asked for that is to be added.
pub const ADD: &str = "/account/factors/passkeys";
/// Where it comes.
pub const MADE: &str = "/account/factors/passkeys/made";

/// Who may add a passkey: somebody who has no factor yet, halfway in or wholly, or who has shown
/// one a moment ago. True when they are in, and true when it comes besides others.
async fn adder<'a>(
    site: &Site,
    visitor: &'a Visitor,
    csrf: &str,
) -> Result<(&'a Account, &'a Session, bool, bool), Response> {
    let full = Professional::of(visitor).map(|person| (person.account, person.session));
    let is_in = full.is_some();
    let Some((account, session)) = full.or_else(|| second::half_in(site, visitor)) else {
        return Err(account::to_login(visitor));
    };
    let refused = || guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    let off = site.house.second_factor == SecondFactor::Off;
    if off || !site.desk.has_passkeys() || !login::is_own(session, csrf) {
        return Err(refused());
    }
    let known = site.desk.factors(account).await.map_err(|_| second::later(visitor))?;
    let besides = is_in && session.is_shown_again(site.desk.now());
    if known.is_set_up() && !besides {
        return Err(refused());
    }
    Ok((account, session, is_in, besides))
}

/// `POST /account/factors/passkeys`: the page where a passkey is made.
pub async fn add(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let (account, session, is_in, _) = match adder(&site, &visitor, &form.csrf).await {
        Ok(adder) => adder,
        Err(response) => return response,
    };
    let title = visitor.lang.texts().passkey_make_title;
    let back = if is_in { HOME } else { ASKED };
    let frame = match Professional::of(&visitor) {
        Some(person) => person.frame(&visitor, title, back),
        None => Frame::new(visitor.lang, title, back),
    };
    let owner = Owner::Mailbox(account);
    let made = passkeys::make_page(&site, session, owner, &form.name, frame, MADE, back).await;
    made.unwrap_or_else(|| second::later(&visitor))
}

/// `POST /account/factors/passkeys/made`: what the browser made.
pub async fn made(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<PasskeyForm>,
) -> Response {
    let (account, session, is_in, besides) = match adder(&site, &visitor, &form.csrf).await {
        Ok(adder) => adder,
        Err(response) => return response,
    };
    let (t, owner) = (visitor.lang.texts(), Owner::Mailbox(account));
    match passkeys::keep(&site, session, owner, &form.answer, besides, t).await {
        Ok(is_first) => {
            tracing::info!(door = "https", "a professional registered a passkey");
            second::set_up(&site, &visitor, account, is_in, is_first).await
        }
        Err((status, text)) => match Professional::of(&visitor) {
            Some(person) => second::overview(&site, &visitor, &person, status, Some(text)).await,
            None => second::propose(&site, &visitor, account, session, Some(text)),
        },
    }
}
