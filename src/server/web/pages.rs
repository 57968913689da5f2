//! The pages as templates see them: plain values, ready to print.
#![allow(missing_docs, reason = "the fields are named after the places that they fill")]
use askama::Template;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::server::web::admin::chart::Chart;
use crate::server::web::admin::figures::Table;
use crate::server::web::guard;
use crate::server::web::language::Spoken;
use crate::server::web::sanitise::SafeHtml;
use crate::server::web::site;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

/// What is around every page.
pub struct Frame {
    /// Language.
    pub lang: Lang,
    /// Sentences.
    pub t: &'static Texts,
    /// What the tab says.
    pub title: String,
    /// The same page in the other language.
    pub switch: String,
    /// Who is logged in.
    pub signed_in: Option<SignedIn>,
}

/// Who is logged in, and what logs them out.
pub struct SignedIn {
    /// A name for people.
    pub name: String,
    /// Where the form that logs out goes.
    pub log_out: &'static str,
    /// The session's token.
    pub csrf: String,
    /// Where the name of the site leads.
    pub home: &'static str,
}

impl Frame {
    /// Says in the title that something is wrong: it is the first thing that is read out.
    #[must_use]
    pub fn with_error(mut self, error: bool) -> Self {
        if error {
            self.title.insert_str(0, self.t.error_prefix);
        }
        self
    }

    /// A frame for somebody who is not logged in. `path`: where the page is.
    pub fn new(lang: Lang, title: &str, path: &str) -> Self {
        Self {
            lang,
            t: lang.texts(),
            title: title.to_owned(),
            switch: site::in_language(path, lang.other()),
            signed_in: None,
        }
    }
}

/// `/`
#[derive(Template)]
#[template(path = "landing.html")]
pub struct LandingPage {
    pub frame: Frame,
    pub house: String,
    /// Programs can be set up by what we serve.
    pub setup: bool,
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub frame: Frame,
    pub text: &'static str,
}

/// The login form of patients or administrators.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    pub frame: Frame,
    pub heading: &'static str,
    pub intro: &'static str,
    pub action: &'static str,
    pub name_label: &'static str,
    pub name_hint: Option<&'static str>,
    /// Bound to the browser by a cookie.
    pub form_token: String,
    /// What went wrong.
    pub error: Option<&'static str>,
    /// What went well.
    pub notice: Option<&'static str>,
    /// False when nobody can log in here.
    pub open: bool,
    /// The OpenID provider vouches for people here: where its button leads, and what it says.
    pub provider: Option<(&'static str, &'static str)>,
    /// A one-time code is asked for in the same form.
    pub code: bool,
}

/// Asks for a second factor.
#[derive(Template)]
#[template(path = "second.html")]
pub struct SecondPage {
    pub frame: Frame,
    pub csrf: String,
    pub error: Option<&'static str>,
    pub text: &'static str,
    pub passkey: Option<PasskeyAsk>,
    /// Codes are taken here; without, where one begins anew.
    pub code: bool,
}

/// Second factors of a mailbox.
#[derive(Template)]
#[template(path = "factors.html")]
pub struct FactorsPage {
    pub frame: Frame,
    pub csrf: String,
    pub error: Option<&'static str>,
    /// What a change must carry: nobody has one yet, or the old one.
    pub on: bool,
    /// One was shown a moment ago, and changes need no other.
    pub shown_again: bool,
    pub removable: bool,
    pub codes_left: usize,
    pub proposal: Option<ProposalView>,
    pub passkeys: PasskeysView,
}

/// Passkeys of a professional or an administrator.
#[derive(Default)]
pub struct PasskeysView {
    pub rows: Vec<PasskeyRow>,
    /// Where one is removed.
    pub remove: &'static str,
    /// They may be removed now.
    pub removable: bool,
    /// Where one is added, if that may be now.
    pub add: Option<&'static str>,
    pub name_max: usize,
    /// They are offered, and whoever shows a factor may change them.
    pub manage: bool,
    /// To show one.
    pub ask: Option<PasskeyAsk>,
}

/// A passkey of a list.
pub struct PasskeyRow {
    pub handle: String,
    pub name: String,
    pub since: Spoken,
    pub used: Option<Spoken>,
    pub is_copied: bool,
}

/// What the script asks the browser for.
pub struct PasskeyAsk {
    pub action: &'static str,
    /// For `navigator.credentials`, as JSON.
    pub options: String,
}

/// Where a passkey is made.
#[derive(Template)]
#[template(path = "passkey-make.html")]
pub struct PasskeyMakePage {
    pub frame: Frame,
    pub csrf: String,
    pub name: String,
    pub back: &'static str,
    pub ask: PasskeyAsk,
}

/// Passkeys of an administrator.
#[derive(Template)]
#[template(path = "admin-passkeys.html")]
pub struct AdminPasskeysPage {
    pub frame: Frame,
    pub csrf: String,
    pub error: Option<&'static str>,
    /// A one-time code shows who it is.
    pub code: bool,
    pub passkeys: PasskeysView,
}

/// A secret that is shown once.
pub struct ProposalView {
    pub intro: &'static str,
    pub secret: String,
    pub address: String,
    pub side: usize,
    /// The dark squares of the QR code, as an SVG path.
    pub squares: String,
}

/// Recovery codes, shown once.
#[derive(Template)]
#[template(path = "codes.html")]
pub struct CodesPage {
    pub frame: Frame,
    pub codes: Vec<String>,
}

/// A professional's own page.
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub frame: Frame,
    pub notice: Option<&'static str>,
    pub address: String,
    pub name: String,
    pub kind: &'static str,
    pub listing: &'static str,
    /// Where another mailbox is chosen, when there is another.
    pub choice: Option<&'static str>,
    /// Where second factors are set up.
    pub second: Option<&'static str>,
    pub csrf: String,
    pub sessions: Vec<SessionRow>,
    pub last_login: String,
    /// Where app passwords are.
    pub programs: &'static str,
}

/// The own certificate of a mailbox, and the form for one.
#[derive(Template)]
#[template(path = "certificate.html")]
pub struct CertificatePage {
    pub frame: Frame,
    pub csrf: String,
    /// Where the page is.
    pub home: &'static str,
    /// From where one came.
    pub back: &'static str,
    pub notice: Option<&'static str>,
    /// In which field, and what.
    pub error: Option<(&'static str, &'static str)>,
    /// The fingerprint, and since when.
    pub registered: Option<(String, Spoken)>,
    pub until: Option<Spoken>,
    /// Nothing can be sealed to it any more.
    pub is_bad: bool,
    pub challenge: Option<CertificateChallenge>,
}

/// What the owner of a certificate opens.
#[derive(Default)]
pub struct CertificateChallenge {
    pub fingerprint: String,
    pub message: String,
}

/// App passwords, and the form for one more.
#[derive(Template)]
#[template(path = "programs.html")]
pub struct ProgramsPage {
    pub frame: Frame,
    pub csrf: String,
    pub notice: Option<&'static str>,
    /// In which field, and what.
    pub error: Option<(&'static str, &'static str)>,
    pub rows: Vec<ProgramRow>,
    pub name: String,
    pub network: String,
    pub scope: String,
    /// Days, their name, and whether they are chosen.
    pub days: Vec<(u32, String, bool)>,
    pub name_max: usize,
}

/// An app password, without the password.
pub struct ProgramRow {
    pub name: String,
    pub scope: &'static str,
    pub network: Option<String>,
    pub created: Spoken,
    pub until: Option<Spoken>,
    pub is_over: bool,
    pub used: Option<ProgramUse>,
}

/// The last use of an app password.
pub struct ProgramUse {
    pub at: Spoken,
    pub peer: String,
    pub door: &'static str,
}

/// A new app password, this once.
#[derive(Template)]
#[template(path = "program-made.html")]
pub struct ProgramMadePage {
    pub frame: Frame,
    pub name: String,
    pub address: String,
    pub password: String,
}

/// A program that is in the mailbox at this moment.
pub struct SessionRow {
    pub id: String,
    pub door: &'static str,
    pub peer: String,
    pub means: String,
    pub since: Spoken,
}

/// The search box, and what it found.
#[derive(Template)]
#[template(path = "finder.html")]
pub struct FinderPage {
    pub frame: Frame,
    pub action: &'static str,
    pub words: String,
    pub notice: Option<&'static str>,
    pub rows: Vec<FinderRow>,
}

/// A mailbox that was found.
pub struct FinderRow {
    pub address: String,
    pub name: String,
    pub profession: String,
    pub place: String,
    pub paper_free: bool,
    /// Letters came from it.
    pub answers: bool,
}

/// Which of a person's mailboxes.
#[derive(Template)]
#[template(path = "choice.html")]
pub struct ChoicePage {
    pub frame: Frame,
    pub csrf: String,
    pub mailboxes: Vec<ChoiceRow>,
}

/// A mailbox to choose.
pub struct ChoiceRow {
    pub address: String,
    pub current: bool,
}

/// A page from which the browser goes on by itself: a redirection after another site's would
/// leave our own cookies behind.
#[derive(Template)]
#[template(path = "onward.html")]
pub struct OnwardPage {
    pub frame: Frame,
    pub text: &'static str,
    pub link: &'static str,
    pub to: String,
}

/// `/setup`
#[derive(Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    pub frame: Frame,
    pub house: String,
    pub domains: Vec<String>,
    /// What somebody typed that was wrong.
    pub address: String,
    pub error: Option<&'static str>,
    pub host: String,
    pub doors: Vec<SetupDoor>,
    /// A profile for Apple's devices can be made.
    pub apple: bool,
    /// Tokens are taken.
    pub token: bool,
    /// Search base of the LDAP address book.
    pub address_book: Option<String>,
}

/// A door of mail programs.
pub struct SetupDoor {
    pub name: &'static str,
    pub purpose: &'static str,
    pub port: u16,
    pub security: &'static str,
}

/// The list of letters.
#[derive(Template)]
#[template(path = "inbox.html")]
pub struct InboxPage {
    pub frame: Frame,
    pub notice: Option<&'static str>,
    pub unread: String,
    pub rows: Vec<InboxRow>,
    pub newer: Option<String>,
    pub older: Option<String>,
    /// True on the first page of an empty inbox.
    pub empty: bool,
}

/// One letter of the list.
pub struct InboxRow {
    pub href: String,
    pub sender: Sender,
    pub subject: String,
    pub at: Spoken,
    pub unread: bool,
    pub answered: bool,
    /// `2 pièces jointes`; empty without.
    pub attachments: String,
}

/// A correspondent: the name that they chose, and the address that is true.
pub struct Sender {
    pub name: String,
    pub address: String,
}

/// One letter.
#[derive(Template)]
#[template(path = "letter.html")]
pub struct LetterPage {
    pub frame: Frame,
    pub subject: String,
    pub from: Sender,
    pub to: String,
    pub at: Spoken,
    pub body: Body,
    /// Remarks on what is not shown.
    pub remarks: Vec<&'static str>,
    pub attachments: Vec<LetterAttachment>,
    pub answer: AnswerPart,
}

/// What a letter says.
pub enum Body {
    Html(SafeHtml),
    Text(String),
    Empty,
}

/// One attachment.
pub struct LetterAttachment {
    pub href: String,
    pub name: String,
    pub kind: String,
    pub size: String,
}

/// What stands under a letter.
pub enum AnswerPart {
    /// Nobody may answer, and why.
    Closed { heading: &'static str, text: &'static str },
    /// The form.
    Open(AnswerForm),
}

/// The form of an answer.
pub struct AnswerForm {
    pub action: String,
    pub csrf: String,
    pub ticket: String,
    pub to: Sender,
    pub text: String,
    pub size_max: String,
    pub text_max: usize,
    pub error: Option<&'static str>,
    /// The files must be chosen again.
    pub files_again: bool,
}

/// An answer that came after its session had ended: the text is not lost.
#[derive(Template)]
#[template(path = "kept.html")]
pub struct KeptPage {
    pub frame: Frame,
    pub text: String,
}

/// The dashboard.
#[derive(Template)]
#[template(path = "admin.html")]
pub struct AdminPage {
    pub frame: Frame,
    /// Where an administrator's own passkeys are.
    pub passkeys: Option<&'static str>,
    pub house: String,
    pub periods: Vec<Period>,
    pub totals: Vec<(&'static str, String)>,
    pub chart: Chart,
    pub tables: Vec<Table>,
    pub csv: String,
    pub state: Vec<StateRow>,
    /// The copy of the national directory.
    pub directory: Vec<StateRow>,
    /// Logins of the last hours.
    pub logins: Table,
}

/// A link to a period.
pub struct Period {
    pub label: &'static str,
    pub href: String,
    pub current: bool,
}

/// A line about the relay.
pub struct StateRow {
    pub label: String,
    pub value: String,
    /// Something to do, in words.
    pub warning: Option<&'static str>,
}

/// The list of mailboxes.
#[derive(Template)]
#[template(path = "mailboxes.html")]
pub struct MailboxesPage {
    pub frame: Frame,
    pub csrf: String,
    /// What came of a form, and whether that is bad.
    pub told: Option<(String, bool)>,
    pub text: String,
    pub stages: Vec<StageChoice>,
    pub rows: Vec<MailboxRow>,
    pub more: Option<String>,
    pub petitions: Vec<PetitionRow>,
}

/// A state that may be searched for.
pub struct StageChoice {
    pub value: &'static str,
    pub label: &'static str,
    pub selected: bool,
}

/// A mailbox of the list.
pub struct MailboxRow {
    pub href: String,
    pub address: String,
    pub name: String,
    pub kind: &'static str,
    pub stage: &'static str,
    pub is_warning: bool,
    pub listing: &'static str,
    pub last_login: String,
    pub notices: usize,
}

/// What waits for a second administrator.
pub struct PetitionRow {
    pub action: String,
    pub what: String,
    pub author: String,
    pub reason: String,
}

/// One mailbox.
#[derive(Template)]
#[template(path = "mailbox.html")]
pub struct MailboxPage {
    pub frame: Frame,
    pub csrf: String,
    pub told: Option<(String, bool)>,
    pub action: String,
    pub name: String,
    pub kind: &'static str,
    pub stage: &'static str,
    pub listing: &'static str,
    pub since: String,
    pub until: Option<String>,
    pub last_login: String,
    pub notices: Vec<String>,
    /// Which second factors there are, if any.
    pub factors: Option<String>,
    pub buttons: Vec<MailboxButton>,
    pub history: Vec<MailboxStep>,
}

/// A step that may be made.
pub struct MailboxButton {
    pub step: &'static str,
    pub label: &'static str,
    pub is_final: bool,
}

/// A step that was made.
pub struct MailboxStep {
    pub at: String,
    pub author: String,
    pub step: &'static str,
    pub to: &'static str,
    pub reason: String,
}

/// Marks a response that needs no other page.
#[derive(Clone, Copy, Debug)]
pub struct Made;

/// Renders a page.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        // Writing into memory does not fail; were it to, an empty page tells nothing wrong.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, html).into_response();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response.extensions_mut().insert(Made);
    response
}

/// Renders a page that asks an authenticator: our one script may run on it.
pub fn page_with_script(status: StatusCode, template: &impl Template) -> Response {
    let mut response = page(status, template);
    let policy = HeaderValue::from_static(guard::POLICY_WITH_SCRIPT);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
