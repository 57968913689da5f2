//! The only place that builds things and starts tasks; graceful stop.
mod directories; // who vouches for whom
mod doors; // bound listeners
mod organisation; // the relay's own OpenPGP key
mod keyring; // the master keys of the configuration
mod watches; // what is looked at again and again

use crate::domain::address::Address;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow;
use crate::flow::alerts::Alerts;
use crate::flow::certificates::Book;
use crate::flow::contacts::Contacts;
use crate::flow::custody::escrow;
use crate::flow::custody::escrow::Escrow;
use crate::flow::decisions::Decisions;
use crate::flow::deliver::operator::Pool;
use crate::flow::filter::Filters;
use crate::flow::login::Logins;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::Rules;
use crate::flow::office::ClearMemory;
use crate::flow::office::Office;
use crate::flow::office::RefusalBudget;
use crate::flow::own::Own;
use crate::flow::publish::Publishing;
use crate::flow::published::Ends;
use crate::flow::queue::Lanes;
use crate::flow::rewrap::Rewrapping;
use crate::flow::rewrap::SPOOL;
use crate::flow::rewrap::SPOOL_WRAPPED;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::config::Config;
use crate::infra::config::RevocationMode;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::factors::Factors;
use crate::infra::dns::SystemDns;
use crate::infra::journal::Journal;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::escrow::Share;
use crate::infra::keys::smime::SmimeAnchors;
use crate::infra::ledger::Ledger;
use crate::infra::metrics::Metrics;
use crate::infra::net::Stop;
use crate::infra::net::StopHandle;
use crate::infra::net::TestAuthorities;
use crate::infra::net::TlsBook;
use crate::infra::replica::Replica;
use crate::infra::revocation;
use crate::infra::revocation::Revocation;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::blobs::Blobs;
use crate::infra::store::redb::RedbStore;
use crate::infra::trust::TrustSpace;
use crate::relay::doors::Doors;
use crate::server;
use anyhow::Context;
use bytes::Bytes;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Instrument;

const SPOOL_CERTIFICATE: &[u8] = b"K/spool/certificate";

/// Open sessions get this long to come to an end.
const GRACE: Duration = Duration::from_secs(15);

/// One running relay.
pub struct Relay {
    office: Arc<Office>,
    store: Arc<RedbStore>,
    stop: StopHandle,
    tasks: JoinSet<()>,
}

/// A store that is open, and everything that stands on it; no door is open.
pub struct Opened {
    /// The furniture.
    pub office: Arc<Office>,
    store: Arc<RedbStore>,
}

/// Runs one relay until SIGINT or SIGTERM.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut relay = Relay::start(config).await?;
    let reason = tokio::select! {
        signal = wait_for_signal() => signal,
        // A relay that says 250 and delivers nothing is worse than one that stops.
        ended = relay.tasks.join_next() => Err(match ended {
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the relay ended badly"),
            _ => anyhow::anyhow!("a part of the relay ended by itself"),
        }),
    };
    if let Err(error) = &reason {
        tracing::error!(%error, "the relay must stop");
    }
    tracing::info!("stopping: no new sessions, open ones come to an end");
    relay.stop().await;
    reason
}

/// Opens the store of a stopped relay, for the command line.
pub async fn offline(config: &Config) -> anyhow::Result<Arc<Office>> {
    Ok(open(config.clone()).await?.office)
}

/// Brings a lost master key back, from the store of a stopped relay, with a quorum of shares.
pub async fn recover_master(
    data_dir: &Path,
    shares: &[Share],
    to: &Path,
    author: &str,
) -> anyhow::Result<()> {
    let folder = data_dir.to_owned();
    let store = tokio::task::spawn_blocking(move || RedbStore::open(&folder)).await??;
    let now = SystemClock.now();
    let recovered = escrow::recover_master(&store, shares, to, author, now).await;
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    recovered.map_err(anyhow::Error::msg)
}

/// Resolves at the first SIGINT or SIGTERM.
pub async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::SignalKind;
    use tokio::signal::unix::signal;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupt = tokio::signal::ctrl_c() => interrupt.context("cannot listen for SIGINT")?,
    }
    Ok(())
}

impl Relay {
    /// Opens the store and every door of the configuration. When this returns, all listen.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let name = config.operator.name.clone();
        let span = tracing::info_span!("relay", operator = %name);
        async {
            let doors = Doors::bind(&config)?;
            let Opened { office, store } = open(config).await?;
            office.escrow.serve();
            flow::certificates::resume(&office).await;
            let (stop, listener) = Stop::new();
            let mut tasks = JoinSet::new();
            doors.open(&office, &listener, &mut tasks);
            let control = server::control::socket_path(&office.config.storage.data_dir);
            let (desk, until) = (Arc::clone(&office), listener.clone());
            let mut without_control = listener.clone();
            let control = async move {
                if let Err(error) = server::control::serve(desk, control, until).await {
                    tracing::error!(%error, "the command line cannot reach this relay");
                    without_control.stopped().await;
                }
            };
            tasks.spawn(control.in_current_span());
            tasks.spawn(flow::dispatch(Arc::clone(&office), listener.clone()).in_current_span());
            let promises = flow::promise::run(Arc::clone(&office), listener.clone());
            tasks.spawn(promises.in_current_span());
            let book = flow::addressbook::run(Arc::clone(&office), listener.clone());
            tasks.spawn(book.in_current_span());
            let post = flow::own::post::run(Arc::clone(&office), listener.clone());
            tasks.spawn(post.in_current_span());
            let publishing = flow::publish::daily(Arc::clone(&office), listener.clone());
            tasks.spawn(publishing.in_current_span());
            tasks.spawn(
                watches::refresh_trust(Arc::clone(&office), listener.clone()).in_current_span(),
            );
            let directory = flow::directory::run(Arc::clone(&office), listener.clone());
            tasks.spawn(directory.in_current_span());
            let rewrap = flow::rewrap::run(Arc::clone(&office), listener.clone());
            tasks.spawn(rewrap.in_current_span());
            let watched = Arc::clone(&office);
            tasks.spawn(watches::watch_certificates(watched, listener.clone()).in_current_span());
            let tidied = Arc::clone(&office);
            tasks.spawn(watches::tidy(tidied, listener.clone()).in_current_span());
            let asked = Arc::clone(&office);
            tasks.spawn(directories::watch(asked, listener.clone()).in_current_span());
            tasks.spawn(
                watches::keep_indexes(Arc::clone(&office), listener.clone()).in_current_span(),
            );
            tasks.spawn(watches::watch_gauges(Arc::clone(&office), listener).in_current_span());
            tracing::info!(domains = office.trust.list().domains.len(), "the relay is open");
            Ok(Self { office, store, stop, tasks })
        }
        .instrument(span)
        .await
    }

    /// The furniture, for the demonstration and tests.
    pub fn office(&self) -> &Arc<Office> {
        &self.office
    }

    /// Closes the doors, lets sessions end, closes the store.
    pub async fn stop(mut self) {
        self.stop.stop();
        let ended =
            tokio::time::timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("some sessions did not end in time and are cut");
            self.tasks.shutdown().await;
        }
        let store = Arc::clone(&self.store);
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// Builds the furniture.
async fn open(config: Config) -> anyhow::Result<Opened> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let data_dir = config.storage.data_dir.clone();
    make_private_folder(&data_dir)?;
    let sources = keyring::read(&config.storage, !data_dir.join("truth.redb").exists()).await?;
    let store = {
        let folder = data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || RedbStore::open(&folder)).await?;
        Arc::new(opening.with_context(|| format!("storage.data_dir = {}", data_dir.display()))?)
    };
    let truth: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let keys = Arc::new(keyring::open(&truth, sources, now).await?);
    let blobs = Blobs::open(Arc::clone(&truth), &data_dir).await?;
    let orphans = blobs.collect_orphans().await?;
    if orphans > 0 {
        tracing::info!(orphans, "contents that no commit named are gone");
    }
    let (spool_certificate, spool_keys) = spool(&truth, &keys, now).await?;
    let organisation = organisation::open(&truth, &keys, &config.operator.name, now).await?;
    let escrow = Escrow::load(truth.as_ref(), &keys).await?;
    let desk = Arc::new(Desk(Arc::clone(&keys), config.openpgp.validity));
    let home = config.operator.domains.first().context("operator.domains is empty")?.clone();
    let factors = Factors::new(Arc::clone(&truth), Arc::clone(&desk) as _, Arc::clone(&clock));
    let accounts = Accounts::new(Arc::clone(&truth), desk, Arc::clone(&clock), home)?;
    let accounts = Arc::new(accounts.remembering(config.login.cache)?);
    let rules = Rules {
        quota_octets: config.mailboxes.quota_octets,
        quota_messages: config.mailboxes.quota_messages,
        retention: config.mailboxes.retention,
        shared_seen: config.mailboxes.shared_seen,
    };
    let mailboxes = Mailboxes::with_rules(
        Arc::clone(&truth),
        blobs.clone(),
        Arc::clone(&keys),
        Arc::clone(&clock),
        rules,
    );
    let metrics = Arc::new(Metrics::new());
    let openid = directories::openid(&config, &clock)?;
    let directories =
        Arc::new(directories::chain(&config, &accounts, openid.as_ref(), &metrics, &clock)?);
    let failures = config.limits.logins_failed_per_minute;
    let logins = Logins::new(Arc::clone(&directories), Arc::clone(&clock), failures)
        .configured(directories::login_settings(&config, &keys))
        .counted_by(Arc::clone(&metrics));
    let revocation = revocation(&config);
    let settings = flow::listing::settings(&config);
    let trust = TrustSpace::open(settings, Arc::clone(&truth), &revocation, now).await?;
    let replica = match Replica::open(&data_dir) {
        Ok(replica) => Some(Arc::new(replica)),
        Err(error) => {
            // Disposable by design: nobody is refused for want of it.
            tracing::warn!(%error, "the directory replica does not open");
            None
        }
    };
    let lanes = Lanes::load(truth.as_ref()).await.context("holds and reroutes of the queue")?;
    let arrivals = directories::arrivals(&accounts);
    let own = Own::load(truth.as_ref(), &keys).await.context("own certificates of mailboxes")?;
    let rewrapping = Rewrapping::new(Arc::clone(&truth));
    let office = Office {
        clear_memory: ClearMemory::new(config.limits.clear_octets),
        reading_memory: ClearMemory::new(config.limits.clear_octets),
        sending_memory: ClearMemory::new(config.limits.clear_octets),
        tls: tls(&config)?,
        certificates: Book::new(),
        contacts: Contacts::asking(directories::certificates(&config, &clock)?),
        ends: Ends::default(),
        own,
        revocation,
        dns: Arc::new(SystemDns::new(&config.dns.servers)),
        journal: Journal::new(Arc::clone(&truth)),
        clock,
        blobs,
        keys,
        spool_certificate,
        spool_keys,
        organisation,
        smime_anchors: smime_anchors(&config.gateway.smime_anchors)?,
        escrow,
        accounts,
        directories,
        factors,
        openid,
        arrivals: Some(arrivals),
        logins,
        trust: Arc::new(trust),
        replica,
        addressbook: Arc::default(),
        directory: Arc::default(),
        publishing: Publishing::default(),
        mailboxes,
        ledger: Ledger::new(Arc::clone(&truth)),
        metrics,
        store: truth,
        operators: Pool::sized(config.queue.per_destination, config.queue.at_once),
        lanes,
        alerts: Alerts::default(),
        promise_bell: Notify::new(),
        answers: Default::default(),
        rewrapping,
        filters: Filters::default(),
        refusals: RefusalBudget::default(),
        decisions: Decisions::default(),
        config,
    };
    Ok(Opened { office: Arc::new(office), store })
}

/// Who vouches for signers of S/MIME.
fn smime_anchors(files: &[PathBuf]) -> anyhow::Result<Option<Arc<SmimeAnchors>>> {
    if files.is_empty() {
        return Ok(None);
    }
    if !SmimeAnchors::are_usable() {
        anyhow::bail!("openpgp.smime_anchors: this build has no OpenSSL to look at S/MIME with");
    }
    let mut anchors = SmimeAnchors::default();
    for file in files {
        let named = || format!("openpgp.smime_anchors: {}", file.display());
        let pem = std::fs::read(file).with_context(named)?;
        anchors = anchors.and(SmimeAnchors::from_pem(&pem).with_context(named)?);
    }
    Ok(Some(Arc::new(anchors)))
}

/// The relay's own keys, made at the first start.
async fn spool(
    store: &Arc<dyn Store>,
    keys: &Keyring,
    now: Timestamp,
) -> anyhow::Result<(Certificate, MailboxKeys)> {
    let stored = (store.get(SPOOL_CERTIFICATE).await?, store.get(SPOOL_WRAPPED).await?);
    let (certificate, wrapped): (Bytes, Bytes) = match stored {
        (Some(certificate), Some(wrapped)) => (certificate.value, wrapped.value),
        _ => {
            let new = keys.generate(&SPOOL, "Vaguemestre spool", now)?;
            let mut batch = Batch::new();
            batch.require_absent(SPOOL_CERTIFICATE).require_absent(SPOOL_WRAPPED);
            batch.put(SPOOL_CERTIFICATE, new.certificate.clone());
            batch.put(SPOOL_WRAPPED, new.wrapped.clone());
            store.commit(batch).await?;
            (new.certificate, new.wrapped)
        }
    };
    let unlocked = keys.unlock(&SPOOL, &wrapped).context("the spool's keys")?;
    Ok((keys.certificate(&certificate)?, unlocked))
}

fn tls(config: &Config) -> anyhow::Result<TlsBook> {
    let people = (config.tls.certificate.as_path(), config.tls.key.as_path());
    let operator = (config.mx.certificate.as_path(), config.mx.key.as_path());
    let tests = TestAuthorities::from_key(config.mx.allow_test_authorities);
    let book = TlsBook::load(people, operator, &config.mx.anchors, tests)?;
    Ok(book.with_software(&config.login.client_anchors)?)
}

fn revocation(config: &Config) -> Revocation {
    let settings = &config.revocation;
    Revocation::new(revocation::Settings {
        mode: match settings.mode {
            RevocationMode::Required => revocation::Mode::Required,
            RevocationMode::IfAvailable => revocation::Mode::IfAvailable,
            RevocationMode::Off => revocation::Mode::Off,
        },
        crl_files: settings.crl_files.clone(),
        crl: settings.crl,
        ocsp: settings.ocsp,
        timeout: settings.timeout,
        refresh: settings.refresh,
        grace: settings.grace,
        kept: config.storage.data_dir.join("crl"),
    })
}

/// The data folder is for the relay alone.
fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("storage.data_dir = {}", folder.display()))
}

/// Lends the keyring to the directory: rooms of one floor do not know each other. With how long a
/// new certificate is valid.
struct Desk(Arc<Keyring>, Option<Duration>);

impl KeyDesk for Desk {
    fn address_key(&self, address: &Address) -> [u8; 32] {
        self.0.address_key(address)
    }

    fn seal_identity(&self, clear: &[u8]) -> Vec<u8> {
        self.0.seal_small("identity", clear)
    }

    fn open_identity(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        self.0.open_small("identity", sealed).ok()
    }

    fn seal(&self, context: &[u8], clear: &[u8]) -> Vec<u8> {
        self.0.seal_login(context, clear)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        self.0.open_login(context, sealed).ok()
    }

    fn digest(&self, context: &[u8], clear: &[u8]) -> [u8; 32] {
        self.0.login_digest(context, clear)
    }

    fn mailbox_keys(
        &self,
        owner: &MailboxId,
        user_id: &str,
        has_end: bool,
        now: Timestamp,
    ) -> Result<(Bytes, Bytes), String> {
        let until = self.1.filter(|_| has_end).map(|validity| now.after(validity));
        let new = self.0.generate_until(owner, user_id, until, now);
        let new = new.map_err(|error| error.to_string())?;
        Ok((new.certificate, new.wrapped))
    }
}
