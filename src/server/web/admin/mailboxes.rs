//! The administrators' list of mailboxes, and the page of each: its state, its history, buttons.
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::life::LastLogin;
use crate::domain::life::Stage;
use crate::domain::life::Step;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::infra::directory::factors::Overview;
use crate::server::web::admin;
use crate::server::web::admin::wording;
use crate::server::web::desk::lives::Pressed;
use crate::server::web::desk::lives::Seen;
use crate::server::web::desk::lives::Wanted;
use crate::server::web::guard;
use crate::server::web::login;
use crate::server::web::pages::MailboxButton;
use crate::server::web::pages::MailboxPage;
use crate::server::web::pages::MailboxRow;
use crate::server::web::pages::MailboxStep;
use crate::server::web::pages::MailboxesPage;
use crate::server::web::pages::PetitionRow;
use crate::server::web::pages::StageChoice;
use crate::server::web::pages::page;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

const LIST: &str = "/admin/mailboxes";
/// The button that forgets second factors; it is no step in a life.
const RESET_FACTORS: &str = "reset-factors";

/// What the list shows, and what a form came to.
#[derive(Default, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    after: Option<String>,
    told: Option<String>,
}

/// What a form came to.
#[derive(Deserialize)]
pub struct ToldQuery {
    told: Option<String>,
}

/// A button with its reason.
#[derive(Deserialize)]
pub struct StepForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    reason: String,
    /// Ticked where something ends.
    sure: Option<String>,
}

/// `GET /admin/mailboxes`
pub async fn list(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let said = told(query.told.as_deref(), visitor.lang.texts());
    list_page(&site, &visitor, &query, StatusCode::OK, said).await
}

async fn list_page(
    site: &Site,
    visitor: &Visitor,
    query: &ListQuery,
    status: StatusCode,
    told: Option<(String, bool)>,
) -> Response {
    let Some(session) = admin::session(visitor) else { return login::see_other(admin::LOGIN) };
    let t = visitor.lang.texts();
    let text: String = query.q.chars().take(100).collect();
    let wanted = Wanted {
        text: text.clone(),
        stage: Stage::parse(&query.state),
        after: query.after.as_deref().and_then(number),
    };
    let found = site.desk.mailboxes(&wanted).await;
    let waiting = site.desk.petitions().await;
    let (Ok(found), Ok(waiting)) = (found, waiting) else {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, LIST);
    };
    let stages = Stage::ALL.into_iter().map(|stage| StageChoice {
        value: stage.name(),
        label: stage_name(stage, t),
        selected: wanted.stage == Some(stage),
    });
    let encoded: String = form_encoded(&text);
    let more = found.more.map(|after| {
        format!("{LIST}?q={encoded}&state={}&after={}", query.state_name(), hex(&after))
    });
    let row = |seen: &Seen| MailboxRow {
        href: format!("{LIST}/{}", hex(&seen.life.id)),
        address: seen.address.clone(),
        name: seen.name.clone(),
        kind: kind_name(seen.life.standing.kind, t),
        stage: stage_name(seen.life.standing.stage, t),
        is_warning: !seen.life.standing.stage.is_open(),
        listing: listing_name(seen, t),
        last_login: last_login(seen.last_login, t),
        notices: seen.life.notices.len(),
    };
    let template = MailboxesPage {
        frame: admin::frame(visitor, session, t.mailboxes_title),
        csrf: session.csrf.expose().clone(),
        told,
        text,
        stages: stages.collect(),
        rows: found.rows.iter().map(row).collect(),
        more,
        petitions: waiting
            .into_iter()
            .map(|one| PetitionRow {
                action: format!("/admin/approvals/{}", one.id.simple()),
                what: wording::what(&one.what, visitor.lang),
                author: one.author,
                reason: one.reason,
            })
            .collect(),
    };
    page(status, &template)
}

/// `GET /admin/mailboxes/{id}`
pub async fn show(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query<ToldQuery>,
) -> Response {
    let Some(id) = number(&id) else {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, LIST);
    };
    let said = told(query.told.as_deref(), visitor.lang.texts());
    mailbox_page(&site, &visitor, id, StatusCode::OK, said).await
}

async fn mailbox_page(
    site: &Site,
    visitor: &Visitor,
    id: MailboxId,
    status: StatusCode,
    told: Option<(String, bool)>,
) -> Response {
    let Some(session) = admin::session(visitor) else { return login::see_other(admin::LOGIN) };
    let t = visitor.lang.texts();
    let missing = || guard::error(StatusCode::NOT_FOUND, visitor.lang, LIST);
    let (seen, history) = match site.desk.life(&id).await {
        Ok(Some(found)) => found,
        Ok(None) => return missing(),
        Err(_) => return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, LIST),
    };
    let step = |record: &crate::flow::life::Record| MailboxStep {
        at: shown(record.at),
        author: record.author.clone(),
        step: step_name(record.step, t),
        to: stage_name(record.to, t),
        reason: record.reason.clone(),
    };
    let button = |step: Step| MailboxButton {
        step: step.name(),
        label: step_name(step, t),
        is_final: matches!(step, Step::Close | Step::End),
    };
    let standing = &seen.life.standing;
    let mut buttons: Vec<MailboxButton> = possible(&seen).into_iter().map(button).collect();
    let factors = site.desk.factors_at(&id).await.ok().filter(Overview::is_set_up);
    if factors.is_some() {
        let label = t.mailboxes_factors_reset;
        buttons.push(MailboxButton { step: RESET_FACTORS, label, is_final: true });
    }
    let template = MailboxPage {
        frame: admin::frame(visitor, session, &seen.address),
        csrf: session.csrf.expose().clone(),
        told,
        action: format!("{LIST}/{}", hex(&id)),
        name: seen.name.clone(),
        kind: kind_name(standing.kind, t),
        stage: stage_name(standing.stage, t),
        listing: listing_name(&seen, t),
        since: shown(seen.life.since),
        until: standing.until.map(shown),
        last_login: last_login(seen.last_login, t),
        notices: seen.life.notices.iter().map(|notice| shown(notice.at)).collect(),
        factors: factors.map(|known| factors_text(&known, t)),
        buttons,
        history: history.iter().rev().map(step).collect(),
    };
    page(status, &template)
}

/// `POST /admin/mailboxes/{id}`
pub async fn press(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<StepForm>,
) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    if !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, LIST);
    }
    let step = Step::parse(&form.step);
    let (Some(id), true) = (number(&id), step.is_some() || form.step == RESET_FACTORS) else {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, LIST);
    };
    let back = |told| login::see_other(&format!("{LIST}/{}?told={told}", hex(&id)));
    if form.reason.trim().is_empty() {
        return back("reason");
    }
    if matches!(step, Some(Step::Close | Step::End)) && form.sure.is_none() {
        return back("sure");
    }
    let (reason, who) = (form.reason.trim(), admin::name(session));
    let pressed = match step {
        Some(step) => site.desk.press(&id, step, reason, who).await,
        None => site.desk.reset_factors(&id, reason, who).await,
    };
    match pressed {
        Ok(Pressed::Done) => back("done"),
        Ok(Pressed::Waits) => back("waits"),
        Err(error) => {
            tracing::info!(%error, "a step of a mailbox was refused on the dashboard");
            let t = visitor.lang.texts();
            let why = wording::undone(&error, visitor.lang);
            let said = format!("{} {why}", t.mailboxes_refused);
            mailbox_page(&site, &visitor, id, StatusCode::CONFLICT, Some((said, true))).await
        }
    }
}

/// `POST /admin/approvals/{id}`
pub async fn reply(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(form): Form<StepForm>,
) -> Response {
    let Some(session) = admin::session(&visitor) else { return login::see_other(admin::LOGIN) };
    if !login::is_own(session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, LIST);
    }
    let Ok(id) = uuid::Uuid::parse_str(&id) else {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, LIST);
    };
    let back = |told| login::see_other(&format!("{LIST}?told={told}"));
    if form.reason.trim().is_empty() {
        return back("reason");
    }
    let is_approved = form.step == "approve";
    let who = admin::name(session);
    match site.desk.reply(&id, is_approved, form.reason.trim(), who).await {
        Ok(()) => back("done"),
        Err(error) => {
            tracing::info!(%error, "an answer to a petition was refused on the dashboard");
            let t = visitor.lang.texts();
            let why = wording::undone(&error, visitor.lang);
            let said = format!("{} {why}", t.mailboxes_not_yours);
            let all = ListQuery::default();
            list_page(&site, &visitor, &all, StatusCode::CONFLICT, Some((said, true))).await
        }
    }
}

impl ListQuery {
    /// Only names that we know go into a link.
    fn state_name(&self) -> &'static str {
        Stage::parse(&self.state).map_or("", Stage::name)
    }
}

/// Buttons for what may follow; the rule itself is asked again when one is pressed.
fn possible(seen: &Seen) -> Vec<Step> {
    let mut steps = match seen.life.standing.stage {
        Stage::Requested => vec![Step::Activate, Step::Close],
        Stage::Active => vec![Step::Suspend, Step::Close],
        Stage::Notified => vec![Step::Oppose, Step::Suspend, Step::Close],
        Stage::Suspended => vec![Step::Resume, Step::Close],
        Stage::Closing => return vec![Step::UndoClose, Step::End],
        Stage::Closed => return Vec::new(),
    };
    if seen.life.standing.kind != MailboxKind::Citizen {
        steps.insert(
            1,
            match seen.life.standing.listing {
                Listing::Public => Step::Hide,
                Listing::RedList => Step::Show,
            },
        );
    }
    steps
}

fn number(text: &str) -> Option<MailboxId> {
    uuid::Uuid::parse_str(text).ok().map(|id| MailboxId::from_bytes(*id.as_bytes()))
}

fn hex(id: &MailboxId) -> String {
    uuid::Uuid::from_bytes(*id.as_bytes()).simple().to_string()
}

fn form_encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    let one = |octet: u8| match plain(octet) {
        true => char::from(octet).to_string(),
        false => format!("%{octet:02X}"),
    };
    text.bytes().map(one).collect()
}

fn shown(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..16).map_or(text.clone(), |minutes| format!("{} UTC", minutes.replace('T', " ")))
}

fn last_login(last: LastLogin, t: &Texts) -> String {
    match last {
        LastLogin::Unknown => t.mailboxes_unknown.to_owned(),
        LastLogin::Never => t.mailboxes_never.to_owned(),
        LastLogin::At(at) => shown(at),
    }
}

/// Which second factors there are: no names of devices, those are their owner's.
fn factors_text(known: &Overview, t: &Texts) -> String {
    let codes = known.totp_since.map(|_| t.mailboxes_factors_codes.to_owned());
    let passkeys = known.passkeys.len();
    let passkeys = (passkeys > 0).then(|| format!("{} {passkeys}", t.mailboxes_factors_passkeys));
    codes.into_iter().chain(passkeys).collect::<Vec<_>>().join(", ")
}

fn listing_name(seen: &Seen, t: &'static Texts) -> &'static str {
    match (seen.life.standing.kind, seen.life.standing.listing) {
        (MailboxKind::Citizen, _) => "",
        (_, Listing::Public) => t.mailboxes_public,
        (_, Listing::RedList) => t.mailboxes_red_list,
    }
}

fn kind_name(kind: MailboxKind, t: &'static Texts) -> &'static str {
    match kind {
        MailboxKind::Personal => t.admin_kind_per,
        MailboxKind::Organisational => t.admin_kind_org,
        MailboxKind::Applicative => t.admin_kind_app,
        MailboxKind::Practice => t.admin_kind_cab,
        MailboxKind::Citizen => t.admin_kind_ctn,
    }
}

pub(super) fn stage_name(stage: Stage, t: &'static Texts) -> &'static str {
    match stage {
        Stage::Requested => t.stage_requested,
        Stage::Active => t.stage_active,
        Stage::Notified => t.stage_notified,
        Stage::Suspended => t.stage_suspended,
        Stage::Closing => t.stage_closing,
        Stage::Closed => t.stage_closed,
    }
}

fn step_name(step: Step, t: &'static Texts) -> &'static str {
    match step {
        Step::Request => t.step_request,
        Step::Activate => t.step_activate,
        Step::Hide => t.step_hide,
        Step::Show => t.step_show,
        Step::Notice => t.step_notice,
        Step::Oppose => t.step_oppose,
        Step::Suspend => t.step_suspend,
        Step::Resume => t.step_resume,
        Step::Close => t.step_close,
        Step::UndoClose => t.step_undo_close,
        Step::End => t.step_delete,
    }
}

/// A sentence above the page, and whether it is bad news.
fn told(word: Option<&str>, t: &'static Texts) -> Option<(String, bool)> {
    let (text, is_bad) = match word? {
        "done" => (t.mailboxes_done, false),
        "waits" => (t.mailboxes_waits, false),
        "reason" => (t.mailboxes_reason_missing, true),
        "sure" => (t.mailboxes_not_sure, true),
        _ => return None,
    };
    Some((text.to_owned(), is_bad))
}
