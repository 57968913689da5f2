//! xmlsec1 (Debian package `xmlsec1`) and this relay agree on signatures, both ways.
use std::path::Path;
use std::process::Command;

use vaguemestre::proto::trust_list;

use super::HOUR;
use super::Publisher;
use super::domain;
use super::list;

fn xmlsec1(arguments: &[&str], files: &[&Path]) -> (bool, String) {
    let output = Command::new("xmlsec1")
        .args(arguments)
        .args(files)
        .output()
        .expect("xmlsec1 runs (Debian package xmlsec1)");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn xmlsec1_accepts_what_the_demonstration_signs() {
    let publisher = Publisher::new();
    let signed = publisher.pki.sign_trust_list(&list(publisher.now, &["a.test", "b.test"]));
    publisher.publish(signed.unwrap());
    let pki = publisher.folder.path().join("pki");
    let trusted = pki.join("ca-root.pem");
    let between = pki.join("ca-organisations.pem");
    let arguments = [
        "--verify",
        "--trusted-pem",
        trusted.to_str().unwrap(),
        "--untrusted-pem",
        between.to_str().unwrap(),
    ];
    let (good, said) = xmlsec1(&arguments, &[&publisher.file()]);
    assert!(good, "{said}");

    let text = std::fs::read_to_string(publisher.file()).unwrap();
    publisher.publish(text.replace("a.test", "e.test"));
    assert!(!xmlsec1(&arguments, &[&publisher.file()]).0);
}

/// The template has everything that the demonstration's own signer never writes: a comment-free
/// but pretty-printed form, empty elements, single quotes, unordered attributes, references.
const TEMPLATE: &str = "\n<ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'>
 <ds:SignedInfo>
  <ds:CanonicalizationMethod Algorithm='http://www.w3.org/2001/10/xml-exc-c14n#'/>
  <ds:SignatureMethod Algorithm='http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'/>
  <ds:Reference URI=''>
   <ds:Transforms>
    <ds:Transform Algorithm='http://www.w3.org/2000/09/xmldsig#enveloped-signature'/>
    <ds:Transform Algorithm='http://www.w3.org/2001/10/xml-exc-c14n#'/>
   </ds:Transforms>
   <ds:DigestMethod Algorithm='http://www.w3.org/2001/04/xmlenc#sha256'/>
   <ds:DigestValue/>
  </ds:Reference>
 </ds:SignedInfo>
 <ds:SignatureValue/>
 <ds:KeyInfo><ds:X509Data><ds:X509Certificate/></ds:X509Data></ds:KeyInfo>
</ds:Signature>\n";

#[test]
fn what_xmlsec1_signs_is_accepted() {
    let publisher = Publisher::new();
    let text = trust_list::write(&list(publisher.now.after(HOUR), &["a.test", "b.test"]))
        .replace("<Description>DEMO</Description>", "<Description></Description>")
        .replace("<SupportContact>DEMO", "<SupportContact>H&#244;pital &quot;X&quot; &amp; &gt; ");
    let template =
        text.replace("</ListeBlancheMSSante>", &format!("{TEMPLATE}</ListeBlancheMSSante>"));
    for (what, template) in [
        ("prefixed", template.clone()),
        ("default namespace", template.replace("ds:", "").replace("xmlns:ds", "xmlns")),
        ("CRLF line ends", template.replace('\n', "\r\n")),
        ("signature first", {
            let bare = text.replacen("\n", &format!("{TEMPLATE}\n"), 1);
            format!("<?xml version='1.0'?>{bare}")
        }),
    ] {
        let file = publisher.folder.path().join("template.xml");
        std::fs::write(&file, template).unwrap();
        let pki = publisher.folder.path().join("pki");
        let key = format!(
            "{},{}",
            pki.join("list-signer.key").display(),
            pki.join("list-signer.pem").display()
        );
        let output = publisher.file();
        let arguments = ["--sign", "--privkey-pem", &key, "--output", output.to_str().unwrap()];
        let (good, said) = xmlsec1(&arguments, &[&file]);
        assert!(good, "{what}: {said}");
        let space = publisher.load().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(space.list().lists(&domain("b.test")), "{what}");

        let text = std::fs::read_to_string(&output).unwrap();
        publisher.publish(text.replace("a.test", "e.test"));
        assert!(publisher.load().is_err(), "{what}: a changed octet was accepted");
    }
}
