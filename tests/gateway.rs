//! Letters that only their reader opens: GnuPG, Postfix and curl against the real program.
#[path = "gateway/directory.rs"]
mod directory;
#[path = "gateway/gpg.rs"]
mod gpg;
#[path = "gateway/inbound.rs"]
mod inbound;
#[path = "gateway/outbound.rs"]
mod outbound;
#[path = "gateway/own.rs"]
mod own;
#[path = "gateway/signed.rs"]
mod signed;

use std::sync::Arc;

use vaguemestre::domain::address::Address;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::keys::peers::PeerCertificate;
use vaguemestre::relay;

use crate::support::serving::Serving;

const OURS: &str = "hopital.mssante.test";
const THEIRS: &str = "chu-postfix.mssante.test";
const DOCTOR: &str = "dr.martin@hopital.mssante.test";
const NURSE: &str = "ide.petit@hopital.mssante.test";
const PEER: &str = "dr.durand@chu-postfix.mssante.test";
const QUICK: &str = "[revocation]\nmode = \"off\"\n[queue]\nretry_seconds = [1, 1, 2]\n";

/// The store of a relay that does not run.
async fn office(relay: &Serving<'_>) -> Arc<Office> {
    let config = Config::load(&relay.config()).unwrap_or_else(|errors| panic!("{errors:?}"));
    relay::offline(&config).await.unwrap()
}

async fn account(office: &Office, address: &str) -> Account {
    office.accounts.find(&Address::parse(address).unwrap()).await.unwrap().unwrap()
}

/// The certificate that others know of a mailbox here.
async fn published(relay: &Serving<'_>, address: &str) -> String {
    let office = office(relay).await;
    let account = account(&office, address).await;
    PeerCertificate::read(&account.certificate).unwrap().to_armour().unwrap()
}

/// A letter whose words must not be seen on the wire.
fn letter(from: &str, to: &str, id: &str) -> String {
    format!(
        "From: Expéditeur <{from}>\r\nTo: {to}\r\nSubject: Sérologie de M. Untel\r\n\
         Message-ID: {id}\r\nDate: Fri, 20 Nov 2026 14:36:00 +0100\r\nX-MSS-NIL: DEV935997\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nLe résultat est négatif.\r\n"
    )
    .replace("Expéditeur", "Expediteur")
    .replace("Sérologie", "Serologie")
}
