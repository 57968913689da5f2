//! The trust list, asked for again and again: where from, how often, and whether its signer is
//! revoked.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use crate::domain::certificate::RevocationEvidence;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::office::Office;
use crate::infra::config::Config;
use crate::infra::config::ListSource;
use crate::infra::net::TestAuthorities;
use crate::infra::revocation::Revocation;
use crate::infra::trust::Age;
use crate::infra::trust::Refreshed;
use crate::infra::trust::Settings;
use crate::infra::trust::SignerRule;
use crate::infra::trust::SignerWatch;
use crate::infra::trust::Source;
use crate::infra::trust::TrustError;

/// Waits differ by so much, so that relays do not all ask in the same second of each hour.
const JITTER_PERCENT: u64 = 10;

/// What the configuration says about the list.
pub fn settings(config: &Config) -> Settings {
    let trust = &config.trust;
    let source = match &trust.list {
        ListSource::File(file) => Source::File(file.clone()),
        ListSource::Url(url) => {
            Source::Url { url: url.clone(), anchors: trust.server_anchors.clone() }
        }
    };
    Settings {
        source,
        signer: SignerRule {
            anchors: trust.signer_anchors.clone(),
            common_name: trust.signer_common_name.clone(),
            email: trust.signer_email.clone(),
            tests: TestAuthorities::from_key(config.mx.allow_test_authorities),
        },
        accept_expired_signer: trust.accept_expired_signer,
        removals_percent: trust.removals_percent,
        age_warning: trust.age_warning,
        age_alarm: trust.age_alarm,
        age_limit: trust.age_limit,
        folder: config.storage.data_dir.join("trust"),
        plain_copy: config.storage.data_dir.join("trust-list.xml"),
    }
}

/// Where the list comes from, for people.
pub fn source_name(config: &Config) -> String {
    match &config.trust.list {
        ListSource::File(file) => file.display().to_string(),
        ListSource::Url(url) => url.clone(),
    }
}

/// Asks the source now.
///
/// # Errors
/// [`TrustError`] says why the list was not taken; the active one stays.
pub async fn refresh(office: &Office) -> Result<Refreshed, TrustError> {
    office.trust.refresh(&office.revocation, office.clock.now()).await
}

/// Says what about the list needs a human: removals or a whole list that wait, and its age.
pub fn alert(office: &Arc<Office>) {
    let state = office.trust.state(office.clock.now());
    if let Some(waiting) = &state.waiting {
        let text = format!(
            "The trust list {} waits for approval: it takes {} (domain, certificate) pairs of {} \
             domains away, or follows a rollback. `vaguemestre trust diff` shows what it means, \
             `vaguemestre trust approve` lets it count.",
            waiting.version, waiting.pairs, waiting.domains
        );
        alerts::raise(office, "trust list waits for approval", &text);
    }
    if matches!(state.age_level, Age::Alarm | Age::Expired) {
        let text = format!(
            "The trust list {} is {} hours old. `vaguemestre trust status` says why none comes.",
            state.active,
            state.age.as_secs() / 3_600
        );
        alerts::raise(office, "trust list is too old", &text);
    }
}

/// How long a relay that has just started waits before it asks.
pub fn first_wait() -> Duration {
    limits::TRUST_FIRST_FETCH_SPREAD.mul_f64(f64::from(chance()) / f64::from(u16::MAX))
}

/// How long until it asks again.
pub fn next_wait(refresh: Duration) -> Duration {
    spread(refresh, chance())
}

/// Between nine and eleven tenths of `refresh`.
fn spread(refresh: Duration, chance: u16) -> Duration {
    let percent = JITTER_PERCENT as f64 / 100.0;
    let part = f64::from(chance) / f64::from(u16::MAX);
    refresh.mul_f64(1.0 - percent + 2.0 * percent * part)
}

fn chance() -> u16 {
    let random = uuid::Uuid::new_v4().into_bytes();
    u16::from_be_bytes([random[0], random[1]])
}

/// Lends the room that knows revocations to the room that knows lists.
#[async_trait]
impl SignerWatch for Revocation {
    async fn evidence(
        &self,
        path: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> RevocationEvidence {
        self.check(path, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_around_the_configured_one() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(spread(hour, 0).as_secs(), 3_240);
        assert_eq!(spread(hour, u16::MAX).as_secs(), 3_960);
        assert!(first_wait() <= limits::TRUST_FIRST_FETCH_SPREAD);
    }
}
