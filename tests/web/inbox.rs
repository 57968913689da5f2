//! What a patient sees and does.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use vaguemestre::domain::limits;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::status::Refusal;
use vaguemestre::proto::mime::content::Attachment;
use vaguemestre::proto::mime::content::Readable;

use super::browser::Browser;
use super::browser::Reply;
use super::paper;
use super::paper::Paper;
use super::paper::PaperLetter;

fn letter(uid: u32) -> PaperLetter {
    PaperLetter {
        uid,
        name: "Hôpital_de_Valfictif_–_Imagerie",
        address: "imagerie@hopital.mssante.test",
        subject: format!("XDM/1.0/DDM+CR d'imagerie médicale {uid}"),
        readable: Readable {
            text: "Bonjour Madame,\r\nVoir pièce jointe.".to_owned(),
            ..Readable::default()
        },
        ..PaperLetter::default()
    }
}

async fn logged_in(letters: Vec<PaperLetter>) -> (Browser, Arc<Paper>) {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = letters;
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    browser.log_in().await;
    (browser, paper)
}

#[tokio::test]
async fn wrong_name_and_wrong_password_read_the_same() {
    let paper = Arc::new(Paper::default());
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    let form = browser.get("/inbox/login").await.hidden("form");
    let mut bodies = Vec::new();
    for (name, password) in [(paper::INS, "faux"), ("115067599000279", paper::PASSWORD), ("x", "y")]
    {
        let fields = [("form", form.as_str()), ("name", name), ("password", password)];
        let reply = browser.post("/inbox/login", &fields).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.body.contains("role=\"alert\""));
        assert!(!reply.body.contains(name) || name == "x", "the matricule came back");
        bodies.push(reply.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    *paper.refusal.lock().unwrap() = Some(Refusal::TooManyFromPeer);
    let fields = [("form", form.as_str()), ("name", paper::INS), ("password", "x")];
    let reply = browser.post("/inbox/login", &fields).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(reply.body.contains("Attendez une minute"));
}

#[tokio::test]
async fn a_professional_is_sent_to_their_mail_software() {
    let paper = Arc::new(Paper::default());
    *paper.kind.lock().unwrap() = MailboxKind::Personal;
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    let form = browser.get("/inbox/login").await.hidden("form");
    let fields = [("form", form.as_str()), ("name", paper::INS), ("password", paper::PASSWORD)];
    let reply = browser.post("/inbox/login", &fields).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.body.contains("IMAP"), "{}", reply.body);
    assert!(!browser.cookies.contains_key("__Host-vaguemestre"));
}

#[tokio::test]
async fn nobody_reads_without_a_login() {
    let paper = Arc::new(Paper::default());
    *paper.letters.lock().unwrap() = vec![letter(1)];
    let mut browser = Browser::new(paper::site(&paper, paper::house()));
    for path in ["/inbox", "/inbox/1/1", "/inbox/1/1/attachment/0"] {
        let reply = browser.get(path).await;
        assert_eq!(reply.header("location"), "/inbox/login", "{path}");
    }
    let reply = browser.post_parts("/inbox/1/1/answer", &[("csrf", "x")], &[]).await;
    assert_eq!(reply.header("location"), "/inbox/login");
    browser.log_in().await;
    let later = limits::WEB_SESSION_IDLE.as_millis() as u64;
    paper.clock.fetch_add(later, Ordering::SeqCst);
    assert_eq!(browser.get("/inbox").await.header("location"), "/inbox/login?ended=1");
}

#[tokio::test]
async fn the_list_shows_people_addresses_and_hides_the_mark_of_documents() {
    let mut read = letter(2);
    read.flags.seen = true;
    read.readable.attachments = vec![Attachment::default(), Attachment::default()];
    let (mut browser, _) = logged_in(vec![letter(1), read]).await;
    let page = browser.get("/inbox").await;
    assert!(page.body.contains("Hôpital de Valfictif – Imagerie"));
    assert!(page.body.contains("imagerie@hopital.mssante.test"));
    assert!(page.body.contains("CR d&#39;imagerie médicale 1"), "{}", page.body);
    assert!(!page.body.contains("XDM/1.0"));
    assert!(page.body.contains(">Non lu<") && page.body.contains(">Lu<"));
    assert!(page.body.contains("1 message non lu") && page.body.contains("2 pièces jointes"));
    assert!(!page.body.contains(paper::INS), "the matricule is on the page");
}

#[tokio::test]
async fn the_list_turns_pages_of_fifty_both_ways() {
    let (mut browser, _) = logged_in((1..=120).map(letter).collect()).await;
    let uids = |page: &Reply| -> Vec<u32> {
        let links = page.body.split("href=\"/inbox/1/").skip(1);
        links.map(|link| link.split('"').next().unwrap().parse().unwrap()).collect()
    };
    let first = browser.get("/inbox").await;
    assert_eq!(uids(&first), (71..=120).rev().collect::<Vec<_>>());
    assert!(first.body.contains("/inbox?before=71") && !first.body.contains("rel=\"prev\""));
    let second = browser.get("/inbox?before=71").await;
    assert_eq!(uids(&second), (21..=70).rev().collect::<Vec<_>>());
    let third = browser.get("/inbox?before=21").await;
    assert_eq!(uids(&third).len(), 20);
    assert!(!third.body.contains("rel=\"next\""));
    assert_eq!(uids(&browser.get("/inbox?after=20").await), uids(&second));
    assert!(browser.get("/inbox?before=1").await.body.contains("pas d’autre message"));
}

#[tokio::test]
async fn reading_marks_as_read_and_shows_harmless_html() {
    let mut html = letter(1);
    html.readable.html = Some(
        "<p>Bonjour <b>Ada</b></p><img src=\"https://tracker.example/x.png\"><script>alert(1)</script>\
         <a href=\"https://evil.example/\">https://ameli.fr</a><form action=x><input></form>"
            .to_owned(),
    );
    let (mut browser, paper) = logged_in(vec![html]).await;
    let page = browser.get("/inbox/1/1").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("<p>Bonjour <b>Ada</b></p>"), "{}", page.body);
    for trace in ["tracker.example", "alert(1)", "<script", "<input></form>"] {
        assert!(!page.body.contains(trace), "{trace}");
    }
    assert!(page.body.contains("https://ameli.fr [https://evil.example/]"));
    assert!(page.body.contains("Les images de ce message ne sont pas affichées"));
    assert!(
        page.body.contains("dimanche 15 novembre 2026") || page.body.contains("novembre 2026 à")
    );
    assert!(paper.letters.lock().unwrap()[0].flags.seen);
    for path in ["/inbox/1/2", "/inbox/2/1", "/inbox/2/1/attachment/0", "/inbox/1/-1"] {
        let reply = browser.get(path).await;
        assert!(reply.status.is_client_error(), "{path}: {}", reply.status);
    }
}

#[tokio::test]
async fn text_is_text() {
    let mut text = letter(1);
    text.readable.text = "1 < 2 & <b>x</b>\n\n<script>alert(1)</script>".to_owned();
    text.subject = "<i>objet</i>".to_owned();
    text.name = "<u>nom</u>";
    let (mut browser, _) = logged_in(vec![text]).await;
    for path in ["/inbox", "/inbox/1/1"] {
        let body = browser.get(path).await.body;
        for trace in ["<i>", "<u>", "<script", "<b>"] {
            assert!(!body.contains(trace), "{path}: {trace}");
        }
    }
}

#[tokio::test]
async fn an_attachment_is_saved_and_never_opened_in_our_name() {
    let mut with_file = letter(1);
    let file = |index, name: &str, kind: &str| Attachment {
        name: name.to_owned(),
        media_type: kind.to_owned(),
        octets: 25,
        index,
    };
    with_file.readable.attachments = vec![
        file(0, "Résumé.pdf", "application/pdf"),
        file(1, "page.html", "text/html"),
        file(2, "évil\".svg", "image/svg+xml"),
        file(3, "page.pdf", "text/html"),
    ];
    let (mut browser, _) = logged_in(vec![with_file]).await;
    let page = browser.get("/inbox/1/1").await;
    assert!(page.body.contains("Résumé.pdf") && page.body.contains("25\u{a0}octets"));
    for (index, kind) in [
        (0, "application/pdf"),
        (1, "application/octet-stream"),
        (2, "application/octet-stream"),
        (3, "application/octet-stream"),
    ] {
        let reply = browser.get(&format!("/inbox/1/1/attachment/{index}")).await;
        assert_eq!(reply.header("content-type"), kind, "{index}");
        assert_eq!(reply.header("content-security-policy"), "sandbox");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert!(reply.header("content-disposition").starts_with("attachment; "));
    }
    let reply = browser.get("/inbox/1/1/attachment/0").await;
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename=\"R_sum_.pdf\"; filename*=UTF-8''R%C3%A9sum%C3%A9.pdf"
    );
    assert_eq!(browser.get("/inbox/1/1/attachment/9").await.status, StatusCode::NOT_FOUND);
}

async fn form(browser: &mut Browser) -> (String, String) {
    let page = browser.get("/inbox/1/1").await;
    (page.hidden("csrf"), page.hidden("ticket"))
}

#[tokio::test]
async fn an_answer_goes_out_once_and_is_filed() {
    let (mut browser, paper) = logged_in(vec![letter(1)]).await;
    let (csrf, ticket) = form(&mut browser).await;
    let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Merci, à demain.")];
    let files: [(&str, &[u8]); 1] = [("photo.jpg", &[1, 2, 3])];
    for _ in 0..2 {
        let reply = browser.post_parts("/inbox/1/1/answer", &fields, &files).await;
        assert_eq!(reply.header("location"), "/inbox", "{}", reply.body);
    }
    {
        let sent = paper.sent.lock().unwrap();
        assert_eq!(sent.len(), 1, "pressed twice, sent twice");
        assert_eq!(sent[0].to.to_string(), "imagerie@hopital.mssante.test");
        assert!(sent[0].letter.contains("In-Reply-To: <1@hopital.mssante.test>\r\n"));
        assert!(sent[0].letter.contains("Merci, =C3=A0 demain."), "{}", sent[0].letter);
        assert!(sent[0].letter.contains("filename=\"photo.jpg\""));
    }
    assert_eq!(paper.filed.load(Ordering::SeqCst), 1);
    assert!(paper.letters.lock().unwrap()[0].flags.answered);
    assert!(browser.get("/inbox").await.body.contains("Votre réponse est envoyée"));
    assert!(!browser.get("/inbox").await.body.contains("Votre réponse est envoyée"), "said twice");
}

#[tokio::test]
async fn the_answer_goes_to_reply_to_only_inside_the_trust_space() {
    for (reply_to, expected) in [
        (Some("secretariat@cabinet.mssante.test"), "secretariat@cabinet.mssante.test"),
        (Some("docteur@gmail.example"), "imagerie@hopital.mssante.test"),
        (None, "imagerie@hopital.mssante.test"),
    ] {
        let (mut browser, paper) = logged_in(vec![PaperLetter { reply_to, ..letter(1) }]).await;
        let (csrf, ticket) = form(&mut browser).await;
        let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "x")];
        browser.post_parts("/inbox/1/1/answer", &fields, &[]).await;
        assert_eq!(paper.sent.lock().unwrap()[0].to.to_string(), expected);
    }
}

#[tokio::test]
async fn a_closed_exchange_says_so_and_takes_no_answer() {
    let closed = PaperLetter { closed: true, ..letter(1) };
    let report = PaperLetter { report: true, ..letter(2) };
    let outside = PaperLetter { address: "docteur@gmail.example", ..letter(3) };
    let (mut browser, paper) = logged_in(vec![closed, report, outside, letter(4)]).await;
    let csrf = browser.get("/inbox/1/4").await.hidden("csrf");
    for (uid, sentence) in [(1, "échange est clos"), (2, "automatique"), (3, "espace de confiance")]
    {
        let page = browser.get(&format!("/inbox/1/{uid}")).await;
        assert!(page.body.contains(sentence), "{uid}: {}", page.body);
        assert!(!page.body.contains("<textarea"), "{uid}");
        let fields = [("csrf", csrf.as_str()), ("ticket", "t"), ("text", "x")];
        let reply = browser.post_parts(&format!("/inbox/1/{uid}/answer"), &fields, &[]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{uid}");
    }
    assert_eq!(paper.sent.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_refused_answer_keeps_the_text() {
    for (refusal, status, sentence) in [
        (Refusal::StoreFull, StatusCode::SERVICE_UNAVAILABLE, "dans quelques minutes"),
        (Refusal::MailboxUnknown, StatusCode::FORBIDDEN, "n’existe plus"),
        (Refusal::PatientMayOnlyAnswer, StatusCode::FORBIDDEN, "échange est clos"),
        (Refusal::MessageTooLarge, StatusCode::PAYLOAD_TOO_LARGE, "taille permise"),
    ] {
        let (mut browser, paper) = logged_in(vec![letter(1)]).await;
        let (csrf, ticket) = form(&mut browser).await;
        *paper.refusal.lock().unwrap() = Some(refusal);
        let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Mon long texte <3")];
        let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("a.txt", b"x")]).await;
        assert_eq!(reply.status, status, "{refusal}");
        assert!(reply.body.contains("role=\"alert\"") && reply.body.contains(sentence));
        assert!(reply.body.contains("Mon long texte &#60;3</textarea>"), "{}", reply.body);
        assert!(reply.body.contains("Choisissez de nouveau vos pièces jointes"));
        *paper.refusal.lock().unwrap() = None;
        let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Encore")];
        let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[]).await;
        assert_eq!(reply.header("location"), "/inbox", "the second try went nowhere");
        assert_eq!(paper.sent.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said_in_words_and_the_text_stays() {
    let (mut browser, paper) = logged_in(vec![letter(1)]).await;
    let (csrf, ticket) = form(&mut browser).await;
    let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Texte gardé")];
    let big = vec![0; 800_000];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("a", &big)]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(reply.body.contains("dépassent la taille") && reply.body.contains("Texte gardé"));
    let half: &[u8] = &big[..400_000];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("a", half), ("b", half)]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "two that are too large together");
    let huge = vec![0; 3_000_000];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("a", &huge)]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "over the limit of the request");
    assert!(reply.body.contains("Envoi trop volumineux"), "the whole came in one piece");
    let many: Vec<(&str, &[u8])> = vec![("a", b"x"); 11];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &many).await;
    assert!(reply.body.contains("trop de pièces jointes"));
    let long = "é".repeat(limits::WEB_ANSWER_CHARACTERS_MAX + 1);
    let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", &long)];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[]).await;
    assert!(reply.body.contains("trop long") && reply.body.contains(&long));
    let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", " \r\n ")];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("", b"")]).await;
    assert!(reply.body.contains("Écrivez votre message"));
    assert_eq!(paper.sent.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_text_that_took_longer_than_the_session_is_not_lost() {
    let (mut browser, paper) = logged_in(vec![letter(1)]).await;
    let (csrf, ticket) = form(&mut browser).await;
    paper.clock.fetch_add(limits::WEB_SESSION_IDLE.as_millis() as u64, Ordering::SeqCst);
    let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Long <texte>")];
    let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[("a.txt", b"x")]).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.body.contains("Long &#60;texte&#62;</textarea>"), "{}", reply.body);
    assert_eq!(paper.sent.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_answer_without_its_token_is_refused() {
    let (mut browser, paper) = logged_in(vec![letter(1)]).await;
    let (_, ticket) = form(&mut browser).await;
    for csrf in ["", "token-token-token-9999"] {
        let fields = [("csrf", csrf), ("ticket", &ticket), ("text", "x")];
        let reply = browser.post_parts("/inbox/1/1/answer", &fields, &[]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    let reply = browser.post("/inbox/1/1/answer", &[("text", "x")]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "not multipart");
    assert_eq!(paper.sent.lock().unwrap().len(), 0);
}
