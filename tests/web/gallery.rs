//! Every page with something on it, in both languages, written where a person can look at it:
//! `target/tmp/gallery`.
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use vaguemestre::domain::fact::Counterpart;
use vaguemestre::domain::folder::Flags;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Day;
use vaguemestre::infra::ledger::StatRow;
use vaguemestre::proto::mime::content::Attachment;
use vaguemestre::proto::mime::content::Readable;

use super::admin;
use super::browser::Browser;
use super::browser::Reply;
use super::paper;
use super::paper::Paper;
use super::paper::PaperLetter;

pub(super) fn letters() -> Vec<PaperLetter> {
    let plain = Readable {
        text: "Bonjour Madame,\n\nVotre compte rendu est joint. Votre médecin en a reçu une copie.\n\n\
               Cordialement,\nLe service d’imagerie\n\n-- \nHôpital de Valfictif – 1 rue des Essais"
            .to_owned(),
        html: None,
        attachments: vec![
            Attachment {
                name: "20261120_CR d'imagerie médicale_EXEMPLIER_ADA.pdf".to_owned(),
                media_type: "application/pdf".to_owned(),
                octets: 284_112,
                index: 0,
            },
            Attachment {
                name: "IHE_XDM.zip".to_owned(),
                media_type: "application/zip".to_owned(),
                octets: 1_884_112,
                index: 1,
            },
        ],
    };
    let html = Readable {
        html: Some(
            "<h1>Votre rendez-vous</h1><p>Bonjour <b>Ada</b>,</p><p>Merci de confirmer :</p><ul>\
             <li>mardi 1er décembre, 9 h</li><li>jeudi 3 décembre, 14 h</li></ul>\
             <table><tr><th>Examen</th><td>Radio</td></tr></table><img src=https://x.example/a>\
             <p>Plan d’accès : <a href=\"https://plan.example/valfictif?x=1\">voir le plan</a></p>\
             <blockquote>Bonjour, quand puis-je venir ?</blockquote>"
                .to_owned(),
        ),
        ..Readable::default()
    };
    let seen = Flags { seen: true, ..Flags::default() };
    let answered = Flags { seen: true, answered: true, ..Flags::default() };
    let letter =
        |uid, name, address, subject: &str, readable: &Readable, flags: &Flags| PaperLetter {
            uid,
            name,
            address,
            subject: subject.to_owned(),
            readable: readable.clone(),
            flags: flags.clone(),
            ..PaperLetter::default()
        };
    let unread = Flags::default();
    let mut letters = vec![
        letter(
            9,
            "Hôpital de Valfictif – Imagerie",
            "imagerie.org@hopital.mssante.test",
            "XDM/1.0/DDM+CR d'imagerie médicale EXEMPLIER ADA 03/02/1988",
            &plain,
            &unread,
        ),
        letter(
            8,
            "Dr_Éloïse_LUMIER_Cabinet Lumier",
            "eloise.lumier@cabinet.mssante.test",
            "Votre rendez-vous",
            &html,
            &unread,
        ),
        letter(
            7,
            "Laboratoire des Trois Rivières",
            "resultats@hopital.mssante.test",
            "[Annule et remplace] XDM/1.0/DDM+CR d'examens biologiques EXEMPLIER ADA 03/02/1988",
            &plain,
            &answered,
        ),
        letter(6, "", "hugo.oreade@hopital.mssante.test", "", &Readable::default(), &seen),
    ];
    letters[3].closed = true;
    letters
}

pub(super) fn figures() -> Vec<StatRow> {
    let mut rows = Vec::new();
    for back in 0..30_i8 {
        let date = if back < 22 { (11, 22 - back) } else { (10, 53 - back) };
        let day = Day { year: 2026, month: date.0, day: date.1 };
        let weekend = (back % 7) < 2;
        let scale = if weekend { 40 } else { 310 + u64::from(back.unsigned_abs()) * 7 % 90 };
        for (domain, kind, counterpart, event, reason, part) in [
            (
                "hopital.mssante.test",
                MailboxKind::Applicative,
                Counterpart::OtherOperator,
                "sent",
                "",
                5,
            ),
            ("hopital.mssante.test", MailboxKind::Personal, Counterpart::Here, "sent", "", 2),
            ("hopital.mssante.test", MailboxKind::Applicative, Counterpart::Patient, "sent", "", 1),
            (
                "hopital.mssante.test",
                MailboxKind::Personal,
                Counterpart::OtherOperator,
                "received",
                "",
                3,
            ),
            ("patient.mssante.test", MailboxKind::Citizen, Counterpart::Here, "received", "", 1),
            (
                "hopital.mssante.test",
                MailboxKind::Applicative,
                Counterpart::Unknown,
                "refused",
                "domain-not-trusted",
                0,
            ),
        ] {
            let count = if part == 0 { scale / 60 } else { scale * part / 4 };
            rows.push(paper::stat(day, domain, kind, counterpart, event, reason, count));
        }
    }
    rows
}

fn keep(name: &str, reply: &Reply) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gallery");
    fs::create_dir_all(&folder).unwrap();
    assert!(reply.body.ends_with("</html>\n") || reply.body.ends_with("</html>"), "{name}");
    let style = include_str!("../../src/server/web/style.css");
    fs::write(folder.join("style.css"), style).unwrap();
    let page = reply.body.replace("href=\"/style.css\"", "href=\"style.css\"");
    fs::write(folder.join(format!("{name}.html")), page).unwrap();
}

#[tokio::test]
async fn every_page_renders_in_both_languages() {
    let file = admin::password_file();
    for lang in ["fr", "en"] {
        let paper = Arc::new(Paper::default());
        let mut browser = Browser::new(paper::site(&paper, admin::house(&file)));
        keep(&format!("landing-{lang}"), &browser.get(&format!("/?lang={lang}")).await);
        keep(&format!("login-{lang}"), &browser.get("/inbox/login").await);
        keep(&format!("missing-{lang}"), &browser.get("/nothing").await);
        let form = browser.get("/inbox/login").await.hidden("form");
        let wrong = [("form", form.as_str()), ("name", "x"), ("password", "y")];
        keep(&format!("login-wrong-{lang}"), &browser.post("/inbox/login", &wrong).await);
        browser.log_in().await;
        keep(&format!("inbox-empty-{lang}"), &browser.get("/inbox").await);
        *paper.letters.lock().unwrap() = letters();
        keep(&format!("inbox-{lang}"), &browser.get("/inbox").await);
        keep(&format!("letter-{lang}"), &browser.get("/inbox/1/9").await);
        keep(&format!("letter-html-{lang}"), &browser.get("/inbox/1/8").await);
        keep(&format!("letter-closed-{lang}"), &browser.get("/inbox/1/6").await);
        let page = browser.get("/inbox/1/9").await;
        *paper.refusal.lock().unwrap() = Some(Refusal::StoreFull);
        let (csrf, ticket) = (page.hidden("csrf"), page.hidden("ticket"));
        let fields = [("csrf", csrf.as_str()), ("ticket", &ticket), ("text", "Merci beaucoup.")];
        let refused = browser.post_parts("/inbox/1/9/answer", &fields, &[("a.pdf", b"x")]).await;
        keep(&format!("answer-refused-{lang}"), &refused);
        *paper.refusal.lock().unwrap() = None;
        *paper.rows.lock().unwrap() = figures();
        browser.cookies.remove("__Host-vaguemestre");
        admin::log_in(&mut browser, "admin", "tableau").await;
        keep(&format!("admin-{lang}"), &browser.get("/admin?days=7").await);
        keep(&format!("admin-month-{lang}"), &browser.get("/admin?days=30").await);
    }
}
