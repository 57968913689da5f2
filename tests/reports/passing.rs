//! Reports, receipts and odd letters pass byte for byte, and are read on their way.
use super::*;
use crate::support::chromium::Chromium;
use crate::support::letters;

/// A read receipt with everything that a relay could be tempted to tidy up.
fn receipt(about: &str, of: &str) -> Vec<u8> {
    let mut letter = format!(
        "Received: from pc.cabinet.test by mx.cabinet.test;\r\n\t Sun, 22 Nov 2026 08:00:00 +0100\r\n\
         From: =?utf-8?Q?=C3=89lo=C3=AFse?=\r\n <{of}>\r\nTo: {HUGO}\r\n\
         X-MSS-NIL:   Produit\t;1.0  \r\nX-MSS-CODECDA: 34112-3,\r\n\t11502-2\r\nX-MSS-INS:O\r\n\
         x-mss-mes: autre\r\nSubject: Lu :\r\n \t\r\n =?utf-8?q?r=C3=A9sultat?=\r\n\
         Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nMessage-ID: {}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=disposition-notification;\r\n \
         boundary=\"=_x\"\r\n\r\nPr\u{e9}ambule\r\n--=_x\r\n\
         Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        letters::message_id()
    )
    .into_bytes();
    letter.extend(b"Lu \xe0 l'instant.  \r\n.\r\n..point\r\n\t\r\n--=_x\r\n");
    letter.extend(
        format!(
            "Content-Type: message/disposition-notification\r\n\r\n\
             Reporting-UA: pc.cabinet.test; Logiciel\r\nFinal-Recipient: rfc822;{of}\r\n\
             Original-Message-ID:\r\n {about}\r\n\
             Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--=_x--\r\n\
             \u{e9}pilogue sans fin de ligne\r\n"
        )
        .into_bytes(),
    );
    letter
}

async fn content_of(demo: &Running, operator: usize, user: &str, holds: &str) -> Vec<u8> {
    let mut imap = demo.imap(operator, user).await;
    for _ in 0..300 {
        imap.command("SELECT INBOX").await.unwrap();
        let found =
            imap.command(&format!("UID SEARCH HEADER Message-ID \"{holds}\"")).await.unwrap();
        let line = String::from_utf8(found.concat()).unwrap();
        let line = line.lines().find(|line| line.starts_with("* SEARCH")).unwrap().to_owned();
        if let Some(uid) = line.split_whitespace().nth(2) {
            let fetched = imap.command(&format!("UID FETCH {uid} BODY.PEEK[]")).await.unwrap();
            return literal(&fetched.concat());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{holds} does not arrive");
}

fn message_id_of(letter: &[u8]) -> String {
    let text = String::from_utf8_lossy(letter).into_owned();
    let line = text.lines().find(|line| line.starts_with("Message-ID: ")).unwrap();
    line["Message-ID: ".len()..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_passes_byte_for_byte_and_is_noted_where_its_letter_is_traced() {
    let demo = Running::new(&[]);
    let id = letters::message_id();
    let to: &[(&str, &str)] = &[(PAUL, ""), (CLAIRE, "")];
    let content = letters::letter(HUGO, PAUL, &id, 1_000);
    Sending { from: HUGO, mail: "", to, content: &content }.submit(&demo, 0);
    step_comes(&demo, 0, &id, PAUL, "attempt relayed").await;
    // Éloïse got nothing of Hugo; her operator may speak for Paul, not for Claire.
    for of in [CLAIRE, PAUL] {
        let letter = receipt(&id, of);
        Sending { from: "", mail: " BODY=8BITMIME", to: &[(HUGO, "")], content: &letter }
            .relay(&demo, 1, 0);
        let there = content_of(&demo, 0, HUGO, &message_id_of(&letter)).await;
        let trace_fields = there.len() - letter.len();
        assert_eq!(&there[trace_fields..], letter.as_slice(), "not a byte may change");
        let head = String::from_utf8(there[..trace_fields].to_vec()).unwrap();
        let own: Vec<&str> = head.lines().filter(|line| !line.starts_with('\t')).collect();
        assert_eq!(own.len(), 2, "{head}");
    }
    let traced = trace(&demo, 0, &id);
    assert_eq!(steps(&traced, PAUL), ["queued", "attempt relayed", "receipt-came displayed"]);
    assert_eq!(steps(&traced, CLAIRE), ["delivered"]);
    // Between two operators: what one's user submits is what the other's user gets.
    let letter = receipt(&id, PAUL);
    let letter = [b"X-Before: y\r\n".as_slice(), &letter].concat();
    Sending { from: "", mail: " BODY=8BITMIME", to: &[(ELOISE, "")], content: &letter }
        .relay(&demo, 0, 1);
    let there = content_of(&demo, 1, ELOISE, &message_id_of(&letter)).await;
    assert!(there.ends_with(&letter), "not a byte may change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_who_opens_a_letter_on_the_page_is_in_its_timeline() {
    let demo = Running::new(&[]);
    let id = letters::message_id();
    let content = letters::letter(HUGO, ADA, &id, 1_000);
    Sending { from: HUGO, mail: "", to: &[(ADA, "")], content: &content }.submit(&demo, 0);
    let masked = "***@patient.mssante.test";
    assert_eq!(steps(&trace(&demo, 0, &id), masked), ["delivered"]);
    let site = format!("https://127.0.0.1:{}", demo.port(0, "https"));
    let mut browser = Chromium::open();
    browser.go(&format!("{site}/inbox?lang=fr"));
    browser.wait_for("location.pathname == '/inbox/login'");
    browser.log_in(ADA.split('@').next().unwrap(), &demo.password(ADA));
    browser.wait_for("document.querySelector('.letters')");
    browser.value("document.querySelector('.subject a').click()");
    browser.wait_for("document.querySelector('article.letter')");
    step_comes(&demo, 0, &id, masked, "read-on-page").await;
    browser.value("location.reload()");
    browser.wait_for("document.querySelector('article.letter')");
    let traced = trace(&demo, 0, &id);
    assert_eq!(steps(&traced, masked), ["delivered", "read-on-page"]);
    assert!(!traced.to_string().contains(ADA.split('@').next().unwrap()), "{traced:#}");
}
