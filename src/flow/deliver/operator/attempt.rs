//! Host after host, address after address, until one has the letter or says what is wrong with it.
//!
//! What is about the host (no connection, no TLS, a certificate that does not count, 421, a
//! connection that breaks before anything of the letter left) sends us to the next one. What is
//! about the letter or a recipient is final for this attempt: another host of the same operator
//! would only be asked to overrule its colleague.
use std::net::SocketAddr;

use crate::domain::delivery::MailHost;
use crate::domain::limits::OPENING_TIMEOUT;
use crate::domain::status::EnhancedStatus;
use crate::flow::deliver::operator::HandedOver;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::HandoverResult;
use crate::flow::deliver::operator::Pool;
use crate::flow::deliver::operator::commands;
use crate::flow::deliver::operator::contact::Contact;
use crate::flow::deliver::operator::contact::Meetings;
use crate::flow::deliver::operator::contact::Said;
use crate::flow::deliver::operator::outcomes::Outcomes;
use crate::flow::deliver::operator::reply::Trouble;
use crate::flow::deliver::operator::session::Session;

/// Hosts whose failure is told; with ten hosts of ten addresses the rest says nothing new.
const TOLD_MAX: usize = 8;
/// Characters of each.
const REASON_CHARACTERS_MAX: usize = 200;

/// One attempt at one operator. What is known is in here at every moment, so that an attempt
/// that is cut keeps what was certain.
pub(super) struct Attempt<'a> {
    handover: &'a Handover<'a>,
    pool: Option<&'a Pool>,
    outcomes: Outcomes,
    contact: Contact,
    meetings: Meetings,
    in_vain: InVain,
}

impl<'a> Attempt<'a> {
    /// Nothing was tried yet.
    pub(super) fn new(handover: &'a Handover<'a>, pool: Option<&'a Pool>) -> Self {
        let outcomes = Outcomes::of(handover);
        let (contact, meetings, in_vain) = Default::default();
        Self { handover, pool, outcomes, contact, meetings, in_vain }
    }

    /// Tries, for as long as there is time.
    pub(super) async fn run(mut self) -> HandedOver {
        match tokio::time::timeout(self.handover.timeout, self.every_host()).await {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => self.outcomes.settle(trouble),
            Err(_) => {
                self.in_vain.add(&self.contact.host, &Trouble::lost("no answer in time"));
                self.outcomes.settle(self.in_vain.verdict());
            }
        }
        let (outcomes, met) = (self.outcomes.close(), self.meetings.met());
        HandedOver { outcomes, contact: self.contact, met }
    }

    async fn every_host(&mut self) -> Result<(), Trouble> {
        commands::check_content(self.handover.content)?;
        for host in self.handover.hosts {
            if host.addresses.is_empty() {
                self.in_vain.add(&host.to_string(), &Trouble::later(4, 4, &host.trouble));
                continue;
            }
            if self.on_a_waiting_connection(host).await {
                return Ok(());
            }
            for address in &host.addresses {
                let address = SocketAddr::new(*address, host.port);
                let Err(trouble) = self.on_a_new_connection(host, address).await else {
                    return Ok(());
                };
                self.in_vain.add(&told(host, address), &trouble);
            }
        }
        Err(self.in_vain.verdict())
    }

    /// True when that settled the letter. A server may close a connection that waits whenever it
    /// likes; then a new one may say it all.
    async fn on_a_waiting_connection(&mut self, host: &MailHost) -> bool {
        let waiting = self.pool.and_then(|pool| pool.take(self.handover, host));
        let Some(mut session) = waiting else { return false };
        if session.check_again(self.handover, &mut self.contact).await.is_err() {
            session.quit().await;
            return false;
        }
        let is_settled = self.converse(host, session).await.is_ok();
        if is_settled {
            self.meetings.note(host, Said::Ehlo);
        }
        is_settled
    }

    async fn on_a_new_connection(
        &mut self,
        host: &MailHost,
        address: SocketAddr,
    ) -> Result<(), Trouble> {
        let opening = Session::open(self.handover, host, address, &mut self.contact);
        let patience = self.handover.share_of_time(OPENING_TIMEOUT);
        let opened = tokio::time::timeout(patience, opening).await;
        let opened = opened.unwrap_or_else(|_| Err(Trouble::lost("no answer in time")));
        self.meetings.note(host, self.contact.said);
        let session = opened?;
        self.converse(host, session).await
    }

    /// An error is a reason to ask another host; everything else is settled.
    async fn converse(&mut self, host: &MailHost, mut session: Session) -> Result<(), Trouble> {
        self.outcomes.begin();
        let said = session.letter(self.handover, &mut self.outcomes, &mut self.contact).await;
        if let Err(trouble) = said {
            if self.outcomes.may_go_elsewhere(&trouble) {
                session.quit().await;
                return Err(trouble);
            }
            self.outcomes.settle(trouble);
        }
        // The outcomes are certain before this: it may be cut short.
        match self.pool {
            Some(pool) if session.may_carry_more() => pool.put(host, session),
            _ => session.quit().await,
        }
        Ok(())
    }
}

/// Which hosts were tried, and why none of them has the letter.
#[derive(Default)]
struct InVain {
    status: Option<EnhancedStatus>,
    told: Vec<String>,
    untold: usize,
}

impl InVain {
    fn add(&mut self, host: &str, trouble: &Trouble) {
        let (result, text) = trouble.verdict();
        let status = match result {
            HandoverResult::PutOff(status) => status,
            // No host is left for a reason that is final.
            HandoverResult::Taken | HandoverResult::Refused(_) => EnhancedStatus(4, 0, 0),
        };
        // The first one that was more than "no connection" tells most.
        if self.status.is_none_or(|known| known == EnhancedStatus(4, 4, 1)) {
            self.status = Some(status);
        }
        if self.told.len() == TOLD_MAX {
            self.untold += 1;
            return;
        }
        let text: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
        self.told.push(if host.is_empty() { text } else { format!("{host}: {text}") });
    }

    fn verdict(&self) -> Trouble {
        let status = self.status.unwrap_or(EnhancedStatus(4, 4, 4));
        let mut text = self.told.join("; ");
        if self.untold > 0 {
            text.push_str(&format!("; and {} more", self.untold));
        }
        if text.is_empty() {
            text.push_str("there is no host to try");
        }
        Trouble::Later(status, text)
    }
}

/// `mx.test:25 [192.0.2.1]`; a literal address is not said twice.
fn told(host: &MailHost, address: SocketAddr) -> String {
    if host.name == address.ip().to_string() {
        return host.to_string();
    }
    format!("{host} [{}]", address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_that_failed_is_told_and_the_list_is_bounded() {
        let mut in_vain = InVain::default();
        in_vain.add("a:25", &Trouble::later(4, 1, "no connection"));
        in_vain.add("b:25", &Trouble::later(7, 5, "revoked"));
        in_vain.add("c:25", &Trouble::lost("gone"));
        let expected = "a:25: no connection; b:25: revoked; c:25: gone";
        let status = EnhancedStatus(4, 7, 5);
        assert_eq!(in_vain.verdict(), Trouble::Later(status, expected.to_owned()));
        for _ in 0..100 {
            in_vain.add("d:25", &Trouble::later(4, 1, &"x".repeat(1_000)));
        }
        let Trouble::Later(_, text) = in_vain.verdict() else { panic!("not later") };
        assert!(text.len() < 2_000 && text.ends_with("and 95 more"), "{text}");
    }

    #[test]
    fn nobody_reached_is_about_the_connection() {
        let mut in_vain = InVain::default();
        in_vain.add("a:25", &Trouble::later(4, 1, "no connection"));
        in_vain.add("b:25", &Trouble::later(4, 1, "no connection"));
        assert_eq!(in_vain.verdict().verdict().0, HandoverResult::PutOff(EnhancedStatus(4, 4, 1)));
    }
}
