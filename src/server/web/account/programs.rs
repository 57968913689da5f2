//! App passwords: what a professional gives to programs that cannot do better, and takes back.
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Form;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::limits;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::infra::directory::accounts::app_passwords::AppPassword;
use crate::infra::directory::accounts::app_passwords::NewAppPassword;
use crate::infra::directory::accounts::app_passwords::NoAppPassword;
use crate::infra::directory::accounts::app_passwords::Use;
use crate::infra::directory::accounts::arrivals::LastLogin;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::guard;
use crate::server::web::language;
use crate::server::web::login;
use crate::server::web::pages::ProgramMadePage;
use crate::server::web::pages::ProgramRow;
use crate::server::web::pages::ProgramUse;
use crate::server::web::pages::ProgramsPage;
use crate::server::web::pages::page;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

/// The list, with the form for one more.
pub const HOME: &str = "/account/app-passwords";
/// Days after which one ends, as the form offers them; 0 is never.
const DAYS: [u32; 4] = [365, 90, 30, 0];

/// What was just done.
#[derive(Deserialize)]
pub struct ListQuery {
    revoked: Option<String>,
}

/// What the forms send.
#[derive(Default, Deserialize)]
pub struct ProgramForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    network: String,
    #[serde(default)]
    days: String,
}

/// `GET /account/app-passwords`
pub async fn list(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    let notice = query.revoked.map(|_| visitor.lang.texts().programs_revoked);
    let form = ProgramForm::default();
    shown(&site, &visitor, &person, StatusCode::OK, notice, None, &form).await
}

async fn shown(
    site: &Site,
    visitor: &Visitor,
    person: &Professional<'_>,
    status: StatusCode,
    notice: Option<&'static str>,
    error: Option<Wrong>,
    form: &ProgramForm,
) -> Response {
    let (lang, t) = (visitor.lang, visitor.lang.texts());
    let Ok(listed) = site.desk.app_passwords(person.account).await else {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, lang, HOME);
    };
    let now = site.desk.now();
    let row = |one: AppPassword| ProgramRow {
        scope: scope_name(one.scope, t),
        network: one.network.map(|network| network.to_string()),
        created: language::spoken(one.created, lang),
        is_over: one.until.is_some_and(|until| until <= now),
        until: one.until.map(|until| language::spoken(until, lang)),
        used: one.used.map(|used| used_row(used, lang)),
        name: one.name,
    };
    let template = ProgramsPage {
        frame: person.frame(visitor, t.programs_title, HOME).with_error(error.is_some()),
        csrf: person.session.csrf.expose().clone(),
        notice,
        error: error.as_ref().map(|wrong| (wrong.field, wrong.text)),
        rows: listed.into_iter().map(row).collect(),
        name: form.name.clone(),
        network: form.network.clone(),
        scope: if form.scope.is_empty() { "send,read".to_owned() } else { form.scope.clone() },
        days: DAYS.map(|days| (days, days_name(days, t), form.days == days.to_string())).into(),
        name_max: limits::LOGIN_NAME_CHARACTERS_MAX,
    };
    page(status, &template)
}

/// What is wrong with the form, and in which field.
struct Wrong {
    field: &'static str,
    text: &'static str,
}

/// `POST /account/app-passwords`
pub async fn add(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<ProgramForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    if !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    let t = visitor.lang.texts();
    let new = match wanted(&site, &person, &form, t) {
        Ok(new) => new,
        Err(wrong) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return shown(&site, &visitor, &person, status, None, Some(wrong), &form).await;
        }
    };
    let name = new.name.clone();
    match site.desk.add_app_password(person.account, new).await {
        Ok(password) => {
            let template = ProgramMadePage {
                frame: person.frame(&visitor, t.programs_made_title, HOME),
                name,
                address: person.account.address.to_string(),
                password: password.expose().clone(),
            };
            page(StatusCode::OK, &template)
        }
        Err(error) => {
            let (status, wrong) = refused(&error, t);
            shown(&site, &visitor, &person, status, None, Some(wrong), &form).await
        }
    }
}

fn wanted(
    site: &Site,
    person: &Professional<'_>,
    form: &ProgramForm,
    t: &'static Texts,
) -> Result<NewAppPassword, Wrong> {
    let scope = match form.scope.as_str() {
        "send,read" => Scope::ALL,
        "read" => Scope { send: false, read: true },
        "send" => Scope { send: true, read: false },
        _ => return Err(Wrong { field: "scope", text: t.programs_scope_wrong }),
    };
    let network = match form.network.trim() {
        "" => None,
        text => match Network::parse(text) {
            Some(network) => Some(network),
            None => return Err(Wrong { field: "network", text: t.programs_network_wrong }),
        },
    };
    let days: u32 = form
        .days
        .parse()
        .ok()
        .filter(|days| DAYS.contains(days))
        .ok_or(Wrong { field: "days", text: t.programs_days_wrong })?;
    let until = Duration::from_secs(u64::from(days) * 86_400);
    Ok(NewAppPassword {
        name: form.name.trim().to_owned(),
        scope,
        network,
        until: (days > 0).then(|| site.desk.now().after(until)),
        author: person.account.address.to_string(),
    })
}

fn refused(error: &NoAppPassword, t: &'static Texts) -> (StatusCode, Wrong) {
    let (status, field, text) = match error {
        NoAppPassword::BadName => (StatusCode::UNPROCESSABLE_ENTITY, "name", t.programs_name_wrong),
        NoAppPassword::NameTaken => (StatusCode::CONFLICT, "name", t.programs_name_taken),
        NoAppPassword::TooMany => (StatusCode::CONFLICT, "name", t.programs_too_many),
        NoAppPassword::BadEnd => (StatusCode::UNPROCESSABLE_ENTITY, "days", t.programs_days_wrong),
        NoAppPassword::ForNothing => {
            (StatusCode::UNPROCESSABLE_ENTITY, "scope", t.programs_scope_wrong)
        }
        NoAppPassword::Directory(_) | NoAppPassword::OfAPatient | NoAppPassword::Unknown => {
            tracing::error!(%error, "an app password was not made");
            (StatusCode::SERVICE_UNAVAILABLE, "name", t.login_temporary)
        }
    };
    (status, Wrong { field, text })
}

/// `POST /account/app-passwords/revoke`
pub async fn revoke(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<ProgramForm>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    if !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, HOME);
    }
    match site.desk.revoke_app_password(person.account, &form.name).await {
        // One that was revoked meanwhile is what was wanted.
        Ok(()) | Err(NoAppPassword::Unknown) => login::see_other(&format!("{HOME}?revoked=1")),
        Err(error) => {
            tracing::error!(%error, "an app password was not revoked");
            guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, HOME)
        }
    }
}

/// When somebody last came in, for the page of the mailbox.
pub(super) async fn last_login(site: &Site, person: &Professional<'_>, lang: Lang) -> String {
    let t = lang.texts();
    match site.desk.last_login(person.account).await {
        Ok(LastLogin::At { at, door }) => {
            format!("{} – {}", language::spoken(at, lang).short, door_name(&door, t))
        }
        Ok(LastLogin::Never) => t.mailboxes_never.to_owned(),
        Ok(LastLogin::Unknown) | Err(_) => t.mailboxes_unknown.to_owned(),
    }
}

fn used_row(used: Use, lang: Lang) -> ProgramUse {
    ProgramUse {
        at: language::spoken(used.at, lang),
        peer: used.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        door: door_name(&used.door, lang.texts()),
    }
}

/// As the store says it, and as people do.
fn door_name(door: &str, t: &'static Texts) -> &'static str {
    match door {
        "submission" => t.account_door_submission,
        "imap" | "pop3" => t.account_door_reading,
        "managesieve" => t.account_door_filters,
        "addressbook" => t.account_door_addressbook,
        _ => t.account_door_pages,
    }
}

fn scope_name(scope: Scope, t: &'static Texts) -> &'static str {
    match (scope.send, scope.read) {
        (true, false) => t.programs_send,
        (false, true) => t.programs_read,
        _ => t.programs_both,
    }
}

fn days_name(days: u32, t: &'static Texts) -> String {
    match days {
        0 => t.programs_never_ends.to_owned(),
        365 => t.programs_a_year.to_owned(),
        days => format!("{days} {}", t.unit_days),
    }
}
