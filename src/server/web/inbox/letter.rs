//! One letter on a page, and its attachments.
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::Path;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;

use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::ClearPermit;
use crate::proto::mime::content::Readable;
use crate::server::web::desk::Correspondent;
use crate::server::web::desk::Download;
use crate::server::web::desk::Letter;
use crate::server::web::guard;
use crate::server::web::inbox;
use crate::server::web::inbox::Patient;
use crate::server::web::inbox::compose;
use crate::server::web::language;
use crate::server::web::pages::AnswerForm;
use crate::server::web::pages::AnswerPart;
use crate::server::web::pages::Body;
use crate::server::web::pages::ErrorPage;
use crate::server::web::pages::LetterAttachment;
use crate::server::web::pages::LetterPage;
use crate::server::web::pages::Made;
use crate::server::web::pages::page;
use crate::server::web::sanitise::sanitise;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Lang;

/// `GET /inbox/{folder}/{uid}`
pub async fn read(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path((folder, uid)): Path<(u32, u32)>,
) -> Response {
    let Some(patient) = Patient::of(&visitor) else { return inbox::to_login(&visitor) };
    let (folder, uid) = (FolderId(folder), Uid(uid));
    if !inbox::has_pages(folder) {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, "/inbox");
    }
    let letter = match site.desk.letter(patient.account, folder, uid).await {
        Ok(letter) => letter,
        Err(MailboxError::Unreadable(_)) => return unreadable(&visitor, &patient),
        Err(error) => return inbox::mailbox_error(&error, visitor.lang, &visitor.path),
    };
    if !letter.row.flags.seen {
        let seen = Flags { seen: true, ..Flags::default() };
        // The letter can be read all the same; it stays marked as unread.
        match site.desk.mark(patient.account, folder, uid, seen).await {
            Ok(()) => site.desk.note_read(patient.account, &letter).await,
            Err(error) => {
                tracing::warn!(door = "https", %error, "a letter was not marked as read");
            }
        }
    }
    show(&site, &visitor, &patient, folder, letter, Draft::default(), StatusCode::OK).await
}

/// What a patient has typed already, and what was wrong with it.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) error: Option<&'static str>,
    pub(super) files_again: bool,
}

/// The letter's page, with the form to answer or the reason why there is none.
pub(super) async fn show(
    site: &Arc<Site>,
    visitor: &Visitor,
    patient: &Patient<'_>,
    folder: FolderId,
    letter: Letter,
    draft: Draft,
    status: StatusCode,
) -> Response {
    let closed = match site.desk.is_closed(patient.account, &letter).await {
        Ok(closed) => closed,
        Err(error) => return inbox::mailbox_error(&error, visitor.lang, &visitor.path),
    };
    let (lang, t) = (visitor.lang, visitor.lang.texts());
    let path = inbox::letter_path(folder, letter.row.uid);
    let answer = answer_part(site, patient, &letter, closed, draft, &path, lang);
    let Letter { row, to, readable, memory, is_sealed, .. } = letter;
    let attachments = readable.attachments.iter().map(|attachment| LetterAttachment {
        href: format!("{path}/attachment/{}", attachment.index),
        name: compose::file_name(&attachment.name),
        kind: attachment.media_type.clone(),
        size: language::size(attachment.octets, lang),
    });
    let attachments = attachments.collect();
    let has_error = matches!(&answer, AnswerPart::Open(form) if form.error.is_some());
    // Parsing strangers' HTML is work for a thread that may be busy for a while.
    let Ok((body, mut remarks)) = tokio::task::spawn_blocking(move || body(readable, lang)).await
    else {
        return guard::error(StatusCode::INTERNAL_SERVER_ERROR, lang, &path);
    };
    if is_sealed {
        remarks.push(t.letter_sealed);
    }
    let subject = inbox::subject(&row.subject, lang);
    let template = LetterPage {
        frame: patient.frame(visitor, t.letter_body, &path).with_error(has_error),
        subject,
        from: inbox::sender(row.from.as_ref(), lang),
        to: recipients(&to, patient, lang),
        at: language::spoken(row.at, lang),
        body,
        remarks,
        attachments,
        answer,
    };
    let response = page(status, &template);
    drop(memory);
    response
}

/// The recipients; the reader is `you` and not their matricule.
fn recipients(to: &[Correspondent], patient: &Patient<'_>, lang: Lang) -> String {
    let shown = to.iter().take(20).map(|correspondent| {
        if correspondent.address.as_ref() == Some(&patient.account.address) {
            return lang.texts().letter_to_me.to_owned();
        }
        correspondent.shown.clone()
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { lang.texts().letter_to_me.to_owned() } else { shown.join(", ") }
}

/// The body as it is shown, and remarks on what is not.
fn body(readable: Readable, lang: Lang) -> (Body, Vec<&'static str>) {
    let t = lang.texts();
    let mut remarks = Vec::new();
    if let Some(html) = readable.html.filter(|html| html.len() <= limits::WEB_HTML_OCTETS_MAX) {
        let has_images = html.to_ascii_lowercase().contains("<img");
        if let Some(clean) = sanitise(&html).filter(|clean| !clean.is_blank()) {
            if has_images {
                remarks.push(t.letter_images);
            }
            return (Body::Html(clean), remarks);
        }
    }
    let mut text = readable.text;
    if text.trim().is_empty() {
        return (Body::Empty, remarks);
    }
    if text.len() > limits::WEB_TEXT_OCTETS_MAX {
        let end = (0..=limits::WEB_TEXT_OCTETS_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        remarks.push(t.letter_long);
    }
    (Body::Text(text.replace("\r\n", "\n")), remarks)
}

/// To whom an answer goes: Reply-To when it lies in the trust space, else From (MES rule §9).
pub(super) fn answer_to(site: &Site, letter: &Letter) -> Option<Correspondent> {
    let trusted = |correspondent: &&Correspondent| {
        correspondent.address.as_ref().is_some_and(|address| site.desk.trusts(address.domain()))
    };
    letter.reply_to.iter().find(trusted).or(letter.row.from.as_ref().filter(trusted)).cloned()
}

fn answer_part(
    site: &Site,
    patient: &Patient<'_>,
    letter: &Letter,
    closed: bool,
    draft: Draft,
    path: &str,
    lang: Lang,
) -> AnswerPart {
    let t = lang.texts();
    let no = |heading, text| AnswerPart::Closed { heading, text };
    if letter.is_report {
        return no(t.answer_heading, t.answer_automatic);
    }
    if closed {
        return no(t.answer_closed_heading, t.answer_closed);
    }
    let Some(to) = answer_to(site, letter) else {
        return no(t.answer_heading, t.answer_untrusted);
    };
    AnswerPart::Open(AnswerForm {
        action: format!("{path}/answer"),
        csrf: patient.session.csrf.expose().clone(),
        ticket: site.desk.random_token().expose().clone(),
        to: inbox::sender(Some(&to), lang),
        text: draft.text,
        size_max: language::size(room_for_files(site), lang),
        text_max: limits::WEB_ANSWER_CHARACTERS_MAX,
        error: draft.error,
        files_again: draft.files_again,
    })
}

/// Octets of attached files that still fit in a letter: base64 with its line ends needs 78
/// characters for 57 octets; 64 KiB are for header fields and text.
pub(super) fn room_for_files(site: &Site) -> u64 {
    site.house.message_octets.saturating_sub(65_536) / 78 * 57
}

fn unreadable(visitor: &Visitor, patient: &Patient<'_>) -> Response {
    let t = visitor.lang.texts();
    let frame = patient.frame(visitor, t.error_500_title, &visitor.path);
    page(StatusCode::OK, &ErrorPage { frame, text: t.letter_unreadable })
}

/// `GET /inbox/{folder}/{uid}/attachment/{index}`
pub async fn attachment(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path((folder, uid, index)): Path<(u32, u32, usize)>,
) -> Response {
    let Some(patient) = Patient::of(&visitor) else { return inbox::to_login(&visitor) };
    if !inbox::has_pages(FolderId(folder)) {
        return guard::error(StatusCode::NOT_FOUND, visitor.lang, "/inbox");
    }
    let found = site.desk.attachment(patient.account, FolderId(folder), Uid(uid), index).await;
    match found {
        Ok(Some(download)) => send_file(download),
        Ok(None) => guard::error(StatusCode::NOT_FOUND, visitor.lang, "/inbox"),
        Err(MailboxError::Unreadable(_)) => unreadable(&visitor, &patient),
        Err(error) => inbox::mailbox_error(&error, visitor.lang, "/inbox"),
    }
}

/// A stranger's file: saved, never opened in our name. The sandbox holds even in a browser that
/// shows it all the same.
fn send_file(download: Download) -> Response {
    let name = compose::file_name(&download.attachment.name);
    let claimed = download.attachment.media_type.as_str();
    let kind = match (compose::media_type(&name), claimed) {
        (by_name, claimed) if by_name == claimed => by_name,
        _ => "application/octet-stream",
    };
    let disposition = format!(
        "attachment; filename=\"{}\"; filename*=UTF-8''{}",
        compose::ascii_name(&name),
        compose::percent_encoded(&name),
    );
    let held = Held { octets: download.octets, _memory: download.memory };
    let mut response = HttpBody::from(Bytes::from_owner(held)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    // Both forms of the name are ASCII without quotes and controls by construction.
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response.extensions_mut().insert(Made);
    response
}

/// Octets on their way to a browser: wiped, and their memory given back, when they are sent.
struct Held {
    octets: Secret<Vec<u8>>,
    _memory: Option<ClearPermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.octets.expose()
    }
}
