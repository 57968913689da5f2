//! The first entries of each letter: how it came, and where each recipient's copy went at once.
use crate::domain::certificate::CertificateFacts;
use crate::domain::decision::SessionId;
use crate::domain::door::Door;
use crate::flow::accept::Credentials;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::flow::timeline;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::store::Batch;

/// Begins the timeline of a letter in the commit that takes it in. `fresh` tells, mailbox here by
/// mailbox here, whether the letter is more than a second copy.
pub fn taken_in(office: &Office, sealed: &Sealed, fresh: &[bool], batch: &mut Batch) {
    let at = sealed.accepted_at();
    let mut entries = vec![Entry { at, recipient: None, step: accepted(sealed) }];
    let mut here = fresh.iter();
    for approved in sealed.cleared().approved() {
        let address = &approved.recipient().address;
        let step = match approved.home() {
            None => Step::Queued { domain: address.domain().to_string() },
            Some(_) if here.next().copied().unwrap_or(true) => Step::Delivered,
            Some(_) => Step::KnownAlready,
        };
        entries.push(Entry { at, recipient: Some(address.clone()), step });
    }
    let written = sealed.header().message_id.clone();
    let message_id = written.or_else(|| given_id(office, sealed));
    timeline::begin(office, sealed.queue_id(), message_id.as_deref(), &entries, batch);
}

/// The Message-ID that the seal gives to a submitted letter that has none.
fn given_id(office: &Office, sealed: &Sealed) -> Option<String> {
    let door = sealed.cleared().authenticated().accepted().door();
    let hostname = &office.config.operator.hostname;
    matches!(door, Door::Submission | Door::Portal)
        .then(|| format!("{}@{hostname}", sealed.queue_id()))
}

fn accepted(sealed: &Sealed) -> Step {
    let accepted = sealed.cleared().authenticated().accepted();
    let peer = operator(&accepted.caller().credentials);
    let (certificate, session) = peer.unzip();
    let door = match accepted.door() {
        Door::Submission => "submission",
        Door::Mx => "operators",
        Door::Portal => "page",
        Door::House => "house",
    };
    Step::Accepted {
        door: door.to_owned(),
        session: session.flatten(),
        peer: certificate
            .map(|certificate| certificate.subject.to_string())
            .or_else(|| login_behind(sealed)),
        size: sealed.size(),
        keys: u32::try_from(sealed.keys()).unwrap_or(u32::MAX),
    }
}

/// The login that sent with another mailbox's address, which it may.
fn login_behind(sealed: &Sealed) -> Option<String> {
    let by = sealed.cleared().authenticated();
    let (account, path) = (by.account()?, by.reverse_path().address());
    let shown = path.into_iter().chain(&sealed.header().from);
    let other = shown.into_iter().find(|address| **address != account.address)?;
    Some(format!("{} as {other}", account.address))
}

/// The other operator's certificate, and the connection on which it was shown.
pub(super) fn operator(
    credentials: &Credentials,
) -> Option<(&CertificateFacts, Option<SessionId>)> {
    match credentials {
        Credentials::Operator(grounds) => {
            grounds.certificate().map(|facts| (facts, Some(grounds.session())))
        }
        _ => None,
    }
}
