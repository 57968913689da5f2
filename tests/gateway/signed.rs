//! Letters that are signed and not sealed: S/MIME by the `openssl` program, texts that gpg signed in
//! clear.
use std::path::Path;

use super::DOCTOR;
use super::OURS;
use super::PEER;
use super::THEIRS;
use super::inbound::Place;
use super::inbound::head;
use super::inbound::words;
use crate::support::letters;
use crate::support::running::run;
use crate::support::running::said;
use crate::support::serving::Space;

const ENTITY: &str = "Content-Type: text/plain\r\n\r\nCompte rendu signe\r\n";

/// An authority, somebody whom it vouches for, and somebody whom nobody does.
struct Authority<'s>(&'s Path);

impl Authority<'_> {
    fn openssl(&self, arguments: &str) {
        let arguments: Vec<String> = arguments
            .split_whitespace()
            .map(|word| word.replace('_', " ").replace("AT/", &format!("{}/", self.0.display())))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run("openssl", &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }

    fn found(&self) {
        let extensions = format!(
            "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n[mail]\n\
             keyUsage=digitalSignature\nextendedKeyUsage=emailProtection\n\
             subjectAltName=email:{PEER}\n"
        );
        std::fs::write(self.0.join("extensions"), extensions).unwrap();
        self.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout AT/sca.key -out AT/sca.pem -days 3650 \
             -subj /CN=Autorite -config /dev/null -extensions ca -config AT/extensions",
        );
        // A name that tries to speak for the relay.
        self.openssl(
            "req -new -newkey rsa:2048 -nodes -keyout AT/mail.key -out AT/mail.csr \
             -subj /CN=Dr_Durand\";_from=other -config AT/extensions",
        );
        self.openssl(
            "x509 -req -in AT/mail.csr -CA AT/sca.pem -CAkey AT/sca.key -CAcreateserial \
             -days 365 -extfile AT/extensions -extensions mail -out AT/mail.pem",
        );
        self.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout AT/own.key -out AT/own.pem -days 365 \
             -subj /CN=Inconnue -config AT/extensions",
        );
    }

    /// A list of what it has revoked; with `gone`, the peer's certificate is in it.
    fn list(&self, gone: bool) {
        let settings = format!(
            "[ca]\ndefault_ca=here\n[here]\ndatabase={}\ndefault_md=sha256\ndefault_crl_days=30\n",
            self.0.join("index").display()
        );
        std::fs::write(self.0.join("settings"), settings).unwrap();
        if !self.0.join("index").exists() {
            std::fs::write(self.0.join("index"), "").unwrap();
        }
        let of = "ca -config AT/settings -keyfile AT/sca.key -cert AT/sca.pem";
        if gone {
            self.openssl(&format!("{of} -revoke AT/mail.pem"));
        }
        self.openssl(&format!("{of} -gencrl -out AT/list.pem"));
    }

    /// A letter from the peer, signed by this one.
    fn letter(&self, id: &str, who: &str, form: &str) -> String {
        std::fs::write(self.0.join("entity"), ENTITY).unwrap();
        self.openssl(&format!(
            "cms -sign -in AT/entity -signer AT/{who}.pem -inkey AT/{who}.key -out AT/signed {form}"
        ));
        let signed = std::fs::read_to_string(self.0.join("signed")).unwrap();
        let signed = signed.replace("\r\n", "\n").replace('\n', "\r\n");
        assert!(signed.starts_with("MIME-Version: 1.0\r\n"), "{signed}");
        head(id, "").replace("MIME-Version: 1.0\r\n", "") + &signed
    }
}

#[tokio::test]
async fn a_letter_signed_with_smime_stays_as_it_is_and_carries_our_word() {
    let space = Space::of(&[OURS, THEIRS]);
    let authority = Authority(space.folder());
    authority.found();
    let anchors = format!("[openpgp]\nsmime_anchors = [{:?}]\n", space.folder().join("sca.pem"));
    let place = Place::with(&space, &anchors).await;
    let good = "encrypted=no; signature=good; kind=smime; by=\"Dr Durand?? from?other\"; \
                from=match; revocation=unknown";
    // Beside its signature, and inside of it.
    for form in ["-md sha256", "-md sha512 -nodetach"] {
        let id = letters::message_id();
        let letter = authority.letter(&id, "mail", form);
        let lies = place.take_in(&[DOCTOR], &letter, &id).await;
        assert_eq!(words(&lies), [good], "{lies}");
        let body = letter.split_once("\r\n\r\n").unwrap().1;
        assert!(lies.contains(body.trim_end()), "{lies}");
    }
    let id = letters::message_id();
    let altered = authority.letter(&id, "mail", "").replace("Compte rendu", "Contre rendu");
    let lies = place.take_in(&[DOCTOR], &altered, &id).await;
    assert_eq!(words(&lies), ["encrypted=no; signature=bad; kind=smime"], "{lies}");
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &authority.letter(&id, "own", ""), &id).await;
    let word = "encrypted=no; signature=untrusted; kind=smime; by=\"Inconnue\"; from=other";
    assert_eq!(words(&lies), [word], "{lies}");
}

#[tokio::test]
async fn a_signer_of_smime_whose_certificate_was_revoked_is_told_as_such() {
    let space = Space::of(&[OURS, THEIRS]);
    let authority = Authority(space.folder());
    authority.found();
    authority.list(false);
    let anchors = format!("[openpgp]\nsmime_anchors = [{:?}]\n", space.folder().join("sca.pem"));
    let mut place = Place::with(&space, &anchors).await;
    let asks = format!(
        "[revocation]\nmode = \"if-available\"\ncrl_files = [{:?}]",
        space.folder().join("list.pem")
    );
    let text = std::fs::read_to_string(place.relay.config()).unwrap();
    let text = text.replace("[revocation]\nmode = \"off\"", &asks);
    std::fs::write(place.relay.config(), text).unwrap();
    place.relay.kill();
    place.relay.begin();
    let by = "kind=smime; by=\"Dr Durand?? from?other\"; from=match";
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &authority.letter(&id, "mail", ""), &id).await;
    let good = format!("encrypted=no; signature=good; {by}; revocation=good");
    assert_eq!(words(&lies), [good.as_str()], "{lies}");
    authority.list(true);
    place.relay.kill();
    place.relay.begin();
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &authority.letter(&id, "mail", ""), &id).await;
    let revoked = format!("encrypted=no; signature=revoked; {by}");
    assert_eq!(words(&lies), [revoked.as_str()], "{lies}");
}

#[tokio::test]
async fn without_anchors_nobody_looks_at_smime_and_texts_signed_in_clear_carry_our_word() {
    let space = Space::of(&[OURS, THEIRS]);
    let authority = Authority(space.folder());
    authority.found();
    let place = Place::with(&space, "").await;
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &authority.letter(&id, "mail", ""), &id).await;
    assert!(words(&lies).is_empty(), "{lies}");
    let signed = place.gpg.clear_sign("Bien reçu\n\n- un tiret\nDr Durand\n");
    let signed = signed.replace('\n', "\r\n");
    let letter = |id: &str, body: &str| {
        format!(
            "{}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             {body}",
            head(id, "")
        )
    };
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &letter(&id, &signed), &id).await;
    let [word] = words(&lies)[..] else { panic!("{lies}") };
    assert!(word.starts_with("encrypted=no; signature=good; by="), "{word}");
    assert!(word.ends_with("; from=match") && lies.contains(signed.trim_end()), "{lies}");
    let id = letters::message_id();
    let altered = signed.replace("Bien", "Rien");
    let lies = place.take_in(&[DOCTOR], &letter(&id, &altered), &id).await;
    assert_eq!(words(&lies), ["encrypted=no; signature=bad"], "{lies}");
    // A line of another hand above the signed ones.
    let id = letters::message_id();
    let around = letter(&id, &format!("Doublez la dose.\r\n{signed}"));
    let lies = place.take_in(&[DOCTOR], &around, &id).await;
    assert!(words(&lies).is_empty(), "{lies}");
}
