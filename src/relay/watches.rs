//! What is looked at again and again while the relay runs.
use crate::domain::time::Timestamp;
use crate::flow;
use crate::flow::office::Office;
use crate::infra::net::Stop;
use std::sync::Arc;
use std::time::Duration;

const GAUGES_EVERY: Duration = Duration::from_secs(15);
/// How often what is too old is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// Certificates that end are looked for so often; each is told once a day.
const ALARMS_EVERY: Duration = Duration::from_secs(3_600);
/// Certificates of others that are long over are forgotten so often.
const SEEN_SWEPT_EVERY: Duration = Duration::from_secs(86_400);
const GAUGES_SOON: Duration = Duration::from_millis(500);

/// Asks for the trust list again and again; a bad one is refused and the active one stays.
pub(super) async fn refresh_trust(office: Arc<Office>, mut stop: Stop) {
    let mut wait = flow::listing::first_wait();
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = stop.stopped() => return,
            // What came of it is logged, counted and kept in the trust space's state.
            _ = flow::listing::refresh(&office) => flow::listing::alert(&office),
        }
        wait = flow::listing::next_wait(office.config.trust.refresh);
    }
}

/// Forgets timelines, decisions and expunged messages that were kept for long enough.
pub(super) async fn tidy(office: Arc<Office>, mut stop: Stop) {
    flow::life::resume(&office).await;
    let mut told = None;
    flow::custody::tidy(&office, &mut told).await;
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(TIDY_EVERY) => {}
        }
        match flow::team::sweep(&office).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "delegations are over"),
            Err(error) => tracing::warn!(%error, "delegations that are over cannot be removed"),
        }
        match flow::life::sweep(&office).await {
            Ok(swept) if swept == Default::default() => {}
            Ok(swept) => tracing::info!(?swept, "mailboxes that nobody uses"),
            Err(error) => tracing::warn!(%error, "mailboxes that nobody uses are left for now"),
        }
        if let Err(error) = flow::approval::sweep(&office).await {
            tracing::warn!(%error, "petitions that are over cannot be forgotten now");
        }
        for (what, swept) in [
            ("timelines", flow::timeline::sweep(&office).await),
            ("decisions", flow::decisions::sweep(&office).await),
        ] {
            match swept {
                Ok(0) => {}
                Ok(rows) => tracing::info!(what, rows, "forgotten after trace.keep_days"),
                Err(refusal) => tracing::warn!(what, %refusal, "cannot be forgotten now"),
            }
        }
        flow::custody::tidy(&office, &mut told).await;
        match office.mailboxes.collect_held().await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "gone after mailboxes.retention_seconds"),
            Err(error) => tracing::warn!(%error, "expunged messages cannot be let go now"),
        }
    }
}

/// Lets search indexes catch up with mailboxes that are quiet.
pub(super) async fn keep_indexes(office: Arc<Office>, mut stop: Stop) {
    tokio::select! {
        () = stop.stopped() => {}
        () = office.mailboxes.keep_indexes() => {}
    }
}

/// Looks at the files of certificates, keys, anchors and CRLs every `certs.watch_seconds` and on
/// SIGHUP, and speaks of certificates that end.
pub(super) async fn watch_certificates(office: Arc<Office>, mut stop: Stop) {
    if let Err(error) = flow::certificates::load(&office).await {
        tracing::error!(%error, "certificates that were seen earlier cannot be read");
    }
    let mut hangup = hangup();
    let mut fingerprint = None;
    let mut told: Option<Timestamp> = None;
    let mut swept = office.clock.now();
    loop {
        flow::certificates::look(&office, &mut fingerprint).await;
        // Reads files, so not on a thread that serves sessions.
        let reading = Arc::clone(&office);
        let read = tokio::task::spawn_blocking(move || reading.revocation.reload()).await;
        if let Err(error) = read {
            tracing::error!(%error, "reading the CRLs ended badly");
        }
        let now = office.clock.now();
        if told.is_none_or(|told| now.since(told) >= ALARMS_EVERY) {
            flow::certificates::tell(&office).await;
            told = Some(now);
        }
        if now.since(swept) >= SEEN_SWEPT_EVERY {
            if let Err(error) = flow::certificates::load(&office).await {
                tracing::error!(%error, "certificates that are over cannot be forgotten");
            }
            swept = now;
        }
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(office.config.certs.watch) => {}
            () = hung_up(&mut hangup) => {
                tracing::info!("SIGHUP: certificates are read again");
                // Without waiting for a change of content: somebody asks, so somebody is told.
                fingerprint = None;
            }
        }
    }
}

/// SIGHUP, unless somebody sits at a terminal: there it says that the terminal is gone, and ends
/// the program as it ends every other.
pub(super) fn hangup() -> Option<tokio::signal::unix::Signal> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() {
        return None;
    }
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP; files are looked at all the same");
            None
        }
    }
}

pub(super) async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            // `None` would mean that no more can come; then nobody is to be woken again and again.
            if signal.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

pub(super) async fn watch_gauges(office: Arc<Office>, mut stop: Stop) {
    loop {
        // Rows are counted in the background after the start, and then kept count of.
        let rows = office.lanes.rows();
        if let Some(rows) = rows {
            office.metrics.queue_rows(rows);
        }
        if let Ok(oldest) = flow::queue::oldest(&office).await {
            office.metrics.queue_oldest(oldest);
        }
        let pause = if rows.is_some() { GAUGES_EVERY } else { GAUGES_SOON };
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
