//! A patient answers.
use std::sync::Arc;

use axum::extract::Multipart;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::multipart::Field;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::Response;
use zeroize::Zeroize;

use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::mailbox::MailboxError;
use crate::server::web::desk::Letter;
use crate::server::web::guard;
use crate::server::web::inbox;
use crate::server::web::inbox::Patient;
use crate::server::web::inbox::compose;
use crate::server::web::inbox::compose::Answer;
use crate::server::web::inbox::compose::File;
use crate::server::web::inbox::letter;
use crate::server::web::inbox::letter::Draft;
use crate::server::web::login;
use crate::server::web::pages::Frame;
use crate::server::web::pages::KeptPage;
use crate::server::web::pages::page;
use crate::server::web::session::Notice;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// What the form brought, as far as it could be read.
#[derive(Default)]
struct Typed {
    csrf: String,
    ticket: String,
    text: String,
    files: Vec<File>,
    /// Files came, whether we kept them or not.
    had_files: bool,
    problem: Option<Problem>,
}

/// Why the form cannot be sent as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    TextTooLong,
    TooManyFiles,
    TooLarge,
    Broken,
}

/// `POST /inbox/{folder}/{uid}/answer`
pub async fn send(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path((folder, uid)): Path<(u32, u32)>,
    headers: HeaderMap,
    form: Multipart,
) -> Response {
    let Some(patient) = Patient::of(&visitor) else { return keep(&visitor, form).await };
    let (folder, uid) = (FolderId(folder), Uid(uid));
    let path = inbox::letter_path(folder, uid);
    let t = visitor.lang.texts();
    if !inbox::has_pages(folder) {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, "/inbox");
    }

    // The files as they arrive, as a letter, and that letter's copy on its way.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let octets: u64 = announced.unwrap_or_else(|| body_octets_max(&site) as u64);
    let kept = octets.min(site.house.message_octets);
    let Ok(_memory) = site.desk.reserve(kept.saturating_mul(3)).await else {
        return guard::error(StatusCode::SERVICE_UNAVAILABLE, visitor.lang, &path);
    };
    let mut typed = read(letter::room_for_files(&site), form).await;
    if typed.csrf.is_empty() && typed.problem == Some(Problem::TooLarge) {
        // So much came at once that not even the form's token could be read.
        return guard::error(StatusCode::PAYLOAD_TOO_LARGE, visitor.lang, &path);
    }
    if !login::is_own(patient.session, &typed.csrf) {
        return guard::error(StatusCode::FORBIDDEN, visitor.lang, &path);
    }
    let letter = match site.desk.letter(patient.account, folder, uid).await {
        Ok(letter) => letter,
        Err(error) => return inbox::mailbox_error(&error, visitor.lang, &path),
    };
    if typed.ticket.is_empty() && typed.problem.is_none() {
        // Not one of our forms: without its ticket, the same answer could be sent twice.
        return guard::error(StatusCode::BAD_REQUEST, visitor.lang, &path);
    }
    if !typed.ticket.is_empty() && !patient.session.take_ticket(&typed.ticket) {
        // The same form once more: it was sent already.
        return login::see_other("/inbox");
    }
    let files = std::mem::take(&mut typed.files);
    let problem = typed.problem.map(|problem| problem.status_and_text(t)).or_else(|| {
        let empty = typed.text.trim().is_empty();
        empty.then_some((StatusCode::UNPROCESSABLE_ENTITY, t.answer_empty))
    });
    let outcome = match problem {
        Some(problem) => Err(problem),
        None => deliver(&site, &visitor, &patient, folder, &letter, &typed.text, files).await,
    };
    match outcome {
        Ok(notice) => {
            patient.session.leave(notice);
            login::see_other("/inbox")
        }
        Err((status, error)) => {
            patient.session.return_ticket(&typed.ticket);
            let draft =
                Draft { text: typed.text, error: Some(error), files_again: typed.had_files };
            letter::show(&site, &visitor, &patient, folder, letter, draft, status).await
        }
    }
}

/// Somebody wrote for longer than a session lasts: show them their text, so that they need not
/// write it again. It goes nowhere else; files are not kept.
async fn keep(visitor: &Visitor, form: Multipart) -> Response {
    let typed = read(0, form).await;
    if typed.text.trim().is_empty() {
        return inbox::to_login(visitor);
    }
    let title = visitor.lang.texts().answer_kept_title;
    let frame = Frame::new(visitor.lang, title, "/inbox/login");
    page(StatusCode::UNAUTHORIZED, &KeptPage { frame, text: typed.text })
}

impl Problem {
    fn status_and_text(self, t: &Texts) -> (StatusCode, &'static str) {
        match self {
            Self::TextTooLong => (StatusCode::UNPROCESSABLE_ENTITY, t.answer_text_long),
            Self::TooManyFiles => (StatusCode::UNPROCESSABLE_ENTITY, t.answer_too_many),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, t.answer_too_large),
            Self::Broken => (StatusCode::BAD_REQUEST, t.error_400),
        }
    }
}

/// Octets of a whole form. Twice a letter, so that somebody who attached too much is told so in
/// words, with the text kept, and not by a broken connection.
pub fn body_octets_max(site: &Site) -> usize {
    let octets = site.house.message_octets.saturating_mul(2).saturating_add(262_144);
    usize::try_from(octets).unwrap_or(usize::MAX)
}

const TEXT_OCTETS_MAX: usize = limits::WEB_ANSWER_CHARACTERS_MAX * 8;

/// Reads the form field by field. The text stands before the files, so that it survives them.
/// `room`: octets of files that are kept; the others are read on and thrown away.
async fn read(room: u64, mut form: Multipart) -> Typed {
    let mut typed = Typed::default();
    let mut room = usize::try_from(room).unwrap_or(usize::MAX);
    loop {
        let field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => return typed,
            Err(error) => {
                let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
                typed.problem = Some(if too_large { Problem::TooLarge } else { Problem::Broken });
                return typed;
            }
        };
        let name = field.name().unwrap_or_default().to_owned();
        let result = match name.as_str() {
            "csrf" => text(field, 256).await.map(|text| typed.csrf = text),
            "ticket" => text(field, 256).await.map(|text| typed.ticket = text),
            // Room to keep a text that is too long, so that it can be shortened.
            "text" => text(field, TEXT_OCTETS_MAX).await.and_then(|text| {
                typed.text = text;
                let fits = typed.text.chars().count() <= limits::WEB_ANSWER_CHARACTERS_MAX;
                if fits { Ok(()) } else { Err(Problem::TextTooLong) }
            }),
            "files" => file(field, &mut room, &mut typed).await,
            _ => continue,
        };
        if let Err(problem) = result {
            typed.problem = typed.problem.or(Some(problem));
        }
    }
}

async fn text(mut field: Field<'_>, octets_max: usize) -> Result<String, Problem> {
    let mut octets = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| Problem::Broken)? {
        if octets.len() + chunk.len() > octets_max {
            return Err(Problem::TextTooLong);
        }
        octets.extend_from_slice(&chunk);
    }
    String::from_utf8(octets).map_err(|_| Problem::Broken)
}

/// Takes one file while there is room. What is over it is read on and thrown away.
async fn file(mut field: Field<'_>, room: &mut usize, typed: &mut Typed) -> Result<(), Problem> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let mut octets = Vec::new();
    let mut fits = true;
    while let Some(chunk) = field.chunk().await.map_err(|error| {
        let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
        if too_large { Problem::TooLarge } else { Problem::Broken }
    })? {
        fits = fits && chunk.len() <= *room;
        if fits {
            *room -= chunk.len();
            octets.extend_from_slice(&chunk);
        } else {
            octets.zeroize();
        }
    }
    if name.is_empty() && octets.is_empty() && fits {
        // A browser sends an empty field where no file was chosen.
        return Ok(());
    }
    typed.had_files = true;
    if !fits {
        return Err(Problem::TooLarge);
    }
    if typed.files.len() >= limits::WEB_ANSWER_ATTACHMENTS_MAX {
        return Err(Problem::TooManyFiles);
    }
    typed.files.push(File { name, octets: Secret::new(octets) });
    Ok(())
}

/// Builds the letter, hands it to the relay, files the copy.
async fn deliver(
    site: &Arc<Site>,
    visitor: &Visitor,
    patient: &Patient<'_>,
    folder: FolderId,
    letter: &Letter,
    text: &str,
    files: Vec<File>,
) -> Result<Notice, (StatusCode, &'static str)> {
    let t = visitor.lang.texts();
    let account = patient.account;
    let temporary = |_: MailboxError| (StatusCode::SERVICE_UNAVAILABLE, t.refused_later);
    if letter.is_report || site.desk.is_closed(account, letter).await.map_err(temporary)? {
        return Err((StatusCode::FORBIDDEN, t.answer_closed));
    }
    let to = letter::answer_to(site, letter).and_then(|to| to.address);
    let Some(to) = to else { return Err((StatusCode::FORBIDDEN, t.answer_untrusted)) };

    let token = site.desk.random_token();
    let content = compose::letter(Answer {
        from: &account.address,
        from_name: &account.display_name,
        to: &to,
        subject: &letter.row.subject,
        in_reply_to: letter.header.message_id.as_deref(),
        references: &letter.header.references,
        at: site.desk.now(),
        token: token.expose(),
        text,
        files,
    });
    site.desk
        .send(account, visitor.ip, &to, content.expose())
        .await
        .map_err(|refusal| (status_of(refusal), t.refusal(refusal)))?;

    // From here on the answer is on its way: nothing may say otherwise.
    let answered = Flags { answered: true, ..Flags::default() };
    if let Err(error) = site.desk.mark(account, folder, letter.row.uid, answered).await {
        tracing::warn!(door = "https", %error, "a letter was not marked as answered");
    }
    match site.desk.file_sent(account, content).await {
        Ok(()) => Ok(Notice::Sent),
        Err(error) => {
            tracing::warn!(door = "https", %error, "the copy of an answer was not filed");
            Ok(Notice::SentWithoutCopy)
        }
    }
}

fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Busy
        | Refusal::TooManyFromPeer
        | Refusal::StoreFailed
        | Refusal::StoreFull
        | Refusal::DependencyFailed
        | Refusal::DirectoryAway
        | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}
