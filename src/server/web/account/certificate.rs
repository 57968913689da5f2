//! An own certificate: what a professional, or a patient, registers so that the relay cannot read
//! their letters any more.
use std::sync::Arc;

use axum::extract::Form;
use axum::extract::Multipart;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::limits;
use crate::flow::own::challenge::Proof;
use crate::infra::directory::Account;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::guard;
use crate::server::web::inbox;
use crate::server::web::inbox::Patient;
use crate::server::web::language;
use crate::server::web::login;
use crate::server::web::pages::CertificateChallenge;
use crate::server::web::pages::CertificatePage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::page;
use crate::server::web::session::Session;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// The page of professionals.
pub const HOME: &str = "/account/certificate";
/// The page of patients.
pub const OF_PATIENTS: &str = "/inbox/certificate";

/// Octets of a form with a certificate.
pub const BODY_OCTETS_MAX: usize = limits::OPENPGP_RING_OCTETS_MAX + 65_536;

/// Whoever is at the page.
struct Person<'a> {
    account: &'a Account,
    session: &'a Session,
    home: &'static str,
    back: &'static str,
    frame: Frame,
}

/// Professionals at their page, patients at theirs.
fn person<'a>(visitor: &'a Visitor) -> Result<Person<'a>, Box<Response>> {
    let title = visitor.lang.texts().certificate_title;
    if visitor.path.starts_with(OF_PATIENTS) {
        let Some(citizen) = Patient::of(visitor) else {
            return Err(Box::new(inbox::to_login(visitor)));
        };
        let frame = citizen.frame(visitor, title, OF_PATIENTS);
        let (account, session) = (citizen.account, citizen.session);
        return Ok(Person { account, session, home: OF_PATIENTS, back: "/inbox", frame });
    }
    let Some(it) = Professional::of(visitor) else {
        return Err(Box::new(account::to_login(visitor)));
    };
    let frame = it.frame(visitor, title, HOME);
    Ok(Person { account: it.account, session: it.session, home: HOME, back: account::HOME, frame })
}

/// What was just done.
#[derive(Deserialize)]
pub struct DoneQuery {
    set: Option<String>,
    removed: Option<String>,
}

/// What the forms send.
#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    code: String,
}

/// `GET /account/certificate`, `GET /inbox/certificate`
pub async fn show(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<DoneQuery>,
) -> Response {
    let person = match person(&visitor) {
        Ok(person) => person,
        Err(response) => return *response,
    };
    let t = visitor.lang.texts();
    let notice = match (query.set, query.removed) {
        (Some(_), _) => Some(t.certificate_set),
        (None, Some(_)) => Some(t.certificate_removed),
        (None, None) => None,
    };
    shown(&site, &visitor, person, StatusCode::OK, notice, None, None).await
}

async fn shown(
    site: &Site,
    visitor: &Visitor,
    person: Person<'_>,
    status: StatusCode,
    notice: Option<&'static str>,
    error: Option<(&'static str, &'static str)>,
    challenge: Option<CertificateChallenge>,
) -> Response {
    let registered = site.desk.own_certificate(person.account).await;
    let now = site.desk.now();
    let template = CertificatePage {
        csrf: person.session.csrf.expose().clone(),
        home: person.home,
        back: person.back,
        notice,
        error,
        is_bad: registered.as_ref().is_some_and(|it| it.certificate.check(now).is_err()),
        until: registered
            .as_ref()
            .and_then(|it| it.certificate.expires(now))
            .map(|until| language::spoken(until, visitor.lang)),
        registered: registered.map(|it| {
            (
                in_groups(it.certificate.fingerprint().as_str()),
                language::spoken(it.since, visitor.lang),
            )
        }),
        challenge,
        frame: person.frame.with_error(error.is_some()),
    };
    page(status, &template)
}

/// What somebody brought.
#[derive(Default)]
struct Brought {
    csrf: String,
    understood: bool,
    certificate: Vec<u8>,
}

/// `POST /account/certificate`: a certificate; answered with something to open.
pub async fn bring(State(site): State<Arc<Site>>, visitor: Visitor, form: Multipart) -> Response {
    let person = match person(&visitor) {
        Ok(person) => person,
        Err(response) => return *response,
    };
    let t = visitor.lang.texts();
    let Some(brought) = read(form).await else {
        return guard::error(StatusCode::BAD_REQUEST, visitor.lang, person.home);
    };
    if !login::is_own(person.session, &brought.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, person.home);
    }
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    if !brought.understood {
        let error = Some(("understood", t.certificate_not_understood));
        return shown(&site, &visitor, person, wrong, None, error, None).await;
    }
    let begun = PeerCertificate::read(&brought.certificate)
        .and_then(|it| site.desk.challenge(person.account, &it, t.certificate_challenge_text));
    match begun {
        Ok((certificate, armoured)) => {
            let challenge = CertificateChallenge {
                fingerprint: in_groups(certificate.fingerprint().as_str()),
                message: String::from_utf8_lossy(&armoured).into_owned(),
            };
            shown(&site, &visitor, person, StatusCode::OK, None, None, Some(challenge)).await
        }
        Err(flaw) => {
            let error = Some(("certificate", sentence(flaw, t)));
            shown(&site, &visitor, person, wrong, None, error, None).await
        }
    }
}

async fn read(mut form: Multipart) -> Option<Brought> {
    let mut brought = Brought::default();
    while let Some(field) = form.next_field().await.ok()? {
        let name = field.name()?.to_owned();
        let octets = field.bytes().await.ok()?;
        match name.as_str() {
            "csrf" => brought.csrf = String::from_utf8(octets.to_vec()).ok()?,
            "understood" => brought.understood = !octets.is_empty(),
            // A file goes before what is pasted.
            "file" if !octets.is_empty() => brought.certificate = octets.to_vec(),
            "certificate" if brought.certificate.is_empty() => {
                brought.certificate = octets.trim_ascii().to_vec();
            }
            _ => {}
        }
    }
    Some(brought)
}

/// `POST /account/certificate/prove`: what was sealed in the challenge.
pub async fn prove(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let person = match person(&visitor) {
        Ok(person) => person,
        Err(response) => return *response,
    };
    if !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, person.home);
    }
    let t = visitor.lang.texts();
    let (status, text) = match site.desk.prove(person.account, &form.code).await {
        Ok(Proof::Registered(_)) => {
            return login::see_other(&format!("{}?set=1", person.home));
        }
        Ok(Proof::Wrong) => (StatusCode::UNPROCESSABLE_ENTITY, t.certificate_code_wrong),
        Ok(Proof::Over) => (StatusCode::CONFLICT, t.certificate_code_over),
        Err(error) => {
            tracing::error!(error, "an own certificate is not registered");
            return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, person.home);
        }
    };
    // The message is shown again only where it was not used up.
    let challenge =
        (status == StatusCode::UNPROCESSABLE_ENTITY).then(CertificateChallenge::default);
    let field = if challenge.is_some() { "code" } else { "certificate" };
    shown(&site, &visitor, person, status, None, Some((field, text)), challenge).await
}

/// `POST /account/certificate/remove`
pub async fn remove(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Form(form): Form<CodeForm>,
) -> Response {
    let person = match person(&visitor) {
        Ok(person) => person,
        Err(response) => return *response,
    };
    if !login::is_own(person.session, &form.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, person.home);
    }
    if site.desk.own_certificate(person.account).await.is_some()
        && let Err(error) = site.desk.remove_own_certificate(person.account).await
    {
        tracing::error!(error, "an own certificate is not removed");
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, person.home);
    }
    login::see_other(&format!("{}?removed=1", person.home))
}

fn sentence(flaw: CertificateFlaw, t: &'static Texts) -> &'static str {
    match flaw {
        CertificateFlaw::Unreadable | CertificateFlaw::OverLimit => t.certificate_unreadable,
        CertificateFlaw::HoldsSecret => t.certificate_secret,
        CertificateFlaw::OtherAddress => t.certificate_other_address,
        CertificateFlaw::NotAlive => t.certificate_not_alive,
        CertificateFlaw::Revoked => t.certificate_revoked,
        CertificateFlaw::NoEncryption | CertificateFlaw::Weak => t.certificate_no_encryption,
    }
}

/// As people compare it.
fn in_groups(fingerprint: &str) -> String {
    let digits: Vec<char> = fingerprint.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect()).collect::<Vec<String>>().join(" ")
}
