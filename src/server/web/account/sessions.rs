//! Programs that are in the mailbox at this moment, and how its owner puts one out.
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::decision::SessionId;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::flow::login::live::Listed;
use crate::infra::directory::Account;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::guard;
use crate::server::web::language;
use crate::server::web::login;
use crate::server::web::pages::SessionRow;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Lang;

/// What the button sends.
#[derive(Deserialize)]
pub struct EndForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    id: String,
}

/// `POST /account/session/end`
pub async fn end(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<EndForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    if !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, account::HOME);
    }
    // One that has ended meanwhile is what was wanted.
    let ended =
        SessionId::parse(&form.id).is_some_and(|id| site.desk.end_session(person.account, &id));
    login::see_other(if ended { "/account?closed=1" } else { account::HOME })
}

/// The sessions of a mailbox, for its page.
pub(super) fn rows(site: &Site, account: &Account, lang: Lang) -> Vec<SessionRow> {
    let t = lang.texts();
    let row = |listed: Listed| SessionRow {
        id: listed.id.to_string(),
        door: match listed.entrance {
            Entrance::Submission => t.account_door_submission,
            Entrance::Imap | Entrance::Pop3 => t.account_door_reading,
            Entrance::ManageSieve => t.account_door_filters,
            Entrance::Pages => t.account_door_pages,
            Entrance::AddressBook => t.account_door_addressbook,
        },
        peer: listed.peer.map(|ip| ip.to_string()).unwrap_or_default(),
        means: match listed.means {
            Means::Password => t.login_password.to_owned(),
            Means::AppPassword(name) => format!("{} « {name} »", t.account_means_app),
            Means::Token => t.account_means_token.to_owned(),
            Means::Certificate => t.account_means_certificate.to_owned(),
        },
        since: language::spoken(listed.since, lang),
    };
    site.desk.sessions(account).into_iter().map(row).collect()
}
