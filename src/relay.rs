//! The only place that builds things and starts tasks; graceful stop.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::address::Address;
use crate::domain::life::LastLogin;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow;
use crate::flow::addressbook::AddressBook;
use crate::flow::alerts::Alerts;
use crate::flow::certificates::Book;
use crate::flow::decisions::Decisions;
use crate::flow::deliver::operator::Pool;
use crate::flow::filter::Filters;
use crate::flow::login;
use crate::flow::login::Logins;
use crate::flow::login::live::TokenTimes;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::Rules;
use crate::flow::office::ClearMemory;
use crate::flow::office::Office;
use crate::flow::office::RefusalBudget;
use crate::flow::publish::Publishing;
use crate::flow::queue::Lanes;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::config::Config;
use crate::infra::config::RevocationMode;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::arrivals;
use crate::infra::directory::chain::Chain;
use crate::infra::directory::chain::Observer;
use crate::infra::directory::factors::Factors;
use crate::infra::directory::ldap;
use crate::infra::directory::ldap::Ldap;
use crate::infra::directory::oidc;
use crate::infra::directory::oidc::Oidc;
use crate::infra::dns::SystemDns;
use crate::infra::journal::Journal;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::ledger::Ledger;
use crate::infra::metrics::Metrics;
use crate::infra::net;
use crate::infra::net::Identity;
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
use crate::server;
use crate::server::imap::ImapDoor;
use crate::server::ldap::LdapDoor;
use crate::server::pop3::Pop3Door;
use crate::server::pop3::Pop3Locks;
use crate::server::smtp::SmtpDoor;

/// The spool's keys are wrapped for an owner that no mailbox can be.
const SPOOL: MailboxId = MailboxId::from_bytes([0; 16]);
const SPOOL_CERTIFICATE: &[u8] = b"K/spool/certificate";
const SPOOL_WRAPPED: &[u8] = b"K/spool/wrapped";

/// Open sessions get this long to come to an end.
const GRACE: Duration = Duration::from_secs(15);
const GAUGES_EVERY: Duration = Duration::from_secs(15);
/// How often what is too old is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// Certificates that end are looked for so often; each is told once a day.
const ALARMS_EVERY: Duration = Duration::from_secs(3_600);
/// Certificates of others that are long over are forgotten so often.
const SEEN_SWEPT_EVERY: Duration = Duration::from_secs(86_400);
const GAUGES_SOON: Duration = Duration::from_millis(500);
/// Directories that went away are looked for so often; each is left alone for longer.
const DIRECTORIES_TRIED_EVERY: Duration = Duration::from_secs(1);

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
            let publishing = flow::publish::daily(Arc::clone(&office), listener.clone());
            tasks.spawn(publishing.in_current_span());
            tasks.spawn(refresh_trust(Arc::clone(&office), listener.clone()).in_current_span());
            let directory = flow::directory::run(Arc::clone(&office), listener.clone());
            tasks.spawn(directory.in_current_span());
            let watched = Arc::clone(&office);
            tasks.spawn(watch_certificates(watched, listener.clone()).in_current_span());
            let tidied = Arc::clone(&office);
            tasks.spawn(tidy(tidied, listener.clone()).in_current_span());
            let asked = Arc::clone(&office);
            tasks.spawn(watch_directories(asked, listener.clone()).in_current_span());
            tasks.spawn(keep_indexes(Arc::clone(&office), listener.clone()).in_current_span());
            tasks.spawn(watch_gauges(Arc::clone(&office), listener).in_current_span());
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
    // First, because everything else is pointless without it, and its message is the clearest.
    let keys = Arc::new(
        Keyring::open(&config.storage.master_key, !data_dir.join("truth.redb").exists())
            .with_context(|| {
                format!("storage.master_key = {}", config.storage.master_key.display())
            })?,
    );
    let store = {
        let folder = data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || RedbStore::open(&folder)).await?;
        Arc::new(opening.with_context(|| format!("storage.data_dir = {}", data_dir.display()))?)
    };
    let truth: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let blobs = Blobs::open(Arc::clone(&truth), &data_dir).await?;
    let orphans = blobs.collect_orphans().await?;
    if orphans > 0 {
        tracing::info!(orphans, "contents that no commit named are gone");
    }
    let (spool_certificate, spool_keys) = spool(&truth, &keys, now).await?;
    let desk = Arc::new(Desk(Arc::clone(&keys)));
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
    let openid = openid(&config, &clock)?;
    let directories = Arc::new(directories(&config, &accounts, openid.as_ref(), &metrics, &clock)?);
    let failures = config.limits.logins_failed_per_minute;
    let logins = Logins::new(Arc::clone(&directories), Arc::clone(&clock), failures)
        .configured(login_settings(&config, &keys))
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
    let arrivals = Arc::new(Records(Arc::clone(&accounts)));
    let office = Office {
        clear_memory: ClearMemory::new(config.limits.clear_octets),
        reading_memory: ClearMemory::new(config.limits.clear_octets),
        sending_memory: ClearMemory::new(config.limits.clear_octets),
        tls: tls(&config)?,
        certificates: Book::new(),
        revocation,
        dns: Arc::new(SystemDns::new(&config.dns.servers)),
        journal: Journal::new(Arc::clone(&truth)),
        clock,
        blobs,
        keys,
        spool_certificate,
        spool_keys,
        accounts,
        directories,
        factors,
        openid,
        arrivals: Some(arrivals),
        logins,
        trust: Arc::new(trust),
        replica,
        addressbook: AddressBook::default(),
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
        filters: Filters::default(),
        refusals: RefusalBudget::default(),
        decisions: Decisions::default(),
        config,
    };
    Ok(Opened { office: Arc::new(office), store })
}

/// Everybody of `login.directories`, in that order.
fn directories(
    config: &Config,
    accounts: &Arc<Accounts>,
    openid: Option<&Arc<Oidc>>,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Chain> {
    let mut directories: Vec<Arc<dyn Directory>> = Vec::new();
    for source in &config.login.directories {
        match source {
            Source::Local => directories.push(Arc::clone(accounts) as _),
            Source::Ldap => directories.push(Arc::new(ldap(config, clock)?)),
            Source::Oidc => directories.extend(openid.map(|openid| Arc::clone(openid) as _)),
        }
    }
    let login = &config.login;
    Ok(Chain::new(directories, Arc::clone(accounts) as _)
        .remembering(login.cache, login.directory_grace, Arc::clone(clock))?
        .observed_by(Arc::new(Counted(Arc::clone(metrics)))))
}

fn ldap(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Ldap> {
    let settings =
        config.ldap.as_ref().context("ldap.servers: none, but login.directories has \"ldap\"")?;
    let tls = match settings.anchors.as_slice() {
        [] => None,
        anchors => {
            let identity = settings.identity.as_ref();
            let ours = identity.map(|(certificate, key)| Identity::load(certificate, key));
            Some(net::towards_servers_tls(ours.transpose()?, &net::load_anchors(anchors)?)?)
        }
    };
    let settings = ldap::Settings {
        servers: settings.servers.clone(),
        start_tls: settings.start_tls,
        tls,
        bind: settings.bind_dn.clone().zip(settings.bind_password_file.clone()),
        base: settings.base.clone(),
        filter: settings.filter.clone(),
        groups: settings.groups.clone(),
        member_attribute: settings.member_attribute.clone(),
        address_attribute: settings.address_attribute.clone(),
        name_attribute: settings.name_attribute.clone(),
        national_id_attribute: settings.national_id_attribute.clone(),
        timeout: settings.timeout,
        connections: settings.connections,
    };
    Ldap::new(settings, Arc::clone(clock)).map_err(anyhow::Error::msg)
}

/// Lends the record of logins to the lives of mailboxes.
struct Records(Arc<Accounts>);

#[async_trait::async_trait]
impl flow::life::Arrivals for Records {
    async fn last_login(&self, id: &MailboxId) -> Result<LastLogin, String> {
        let last = match self.0.last_login(id).await {
            // Of a closed mailbox nothing is kept.
            Err(DirectoryError::Unknown) => arrivals::LastLogin::Unknown,
            last => last.map_err(|error| error.to_string())?,
        };
        Ok(match last {
            arrivals::LastLogin::Unknown => LastLogin::Unknown,
            arrivals::LastLogin::Never => LastLogin::Never,
            arrivals::LastLogin::At { at, .. } => LastLogin::At(at),
        })
    }
}

/// Lends the metrics to the directories.
struct Counted(Arc<Metrics>);

impl Observer for Counted {
    fn asked(&self, directory: Source, result: &'static str, took: Duration) {
        self.0.directory_asked(directory.name(), result, took);
    }

    fn away(&self, directory: Source, since: Option<Timestamp>) {
        self.0.directory_away(directory.name(), since);
    }
}

/// Tells at the start what is wrong with directories outside, and tries those that went away, so
/// that no login has to. Neither keeps the relay from opening its doors.
async fn watch_directories(office: Arc<Office>, mut stop: Stop) {
    let watch = async {
        for finding in office.directories.probe().await {
            tracing::warn!(finding, "a directory of login.directories does not serve as it should");
        }
        loop {
            office.directories.revive().await;
            tokio::time::sleep(DIRECTORIES_TRIED_EVERY).await;
        }
    };
    tokio::select! {
        () = watch => {}
        () = stop.stopped() => {}
    }
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
    let unlocked = keys
        .unlock(&SPOOL, &wrapped)
        .context("storage.master_key: this is not the master key with which the data was sealed")?;
    Ok((keys.certificate(&certificate)?, unlocked))
}

fn tls(config: &Config) -> anyhow::Result<TlsBook> {
    let people = (config.tls.certificate.as_path(), config.tls.key.as_path());
    let operator = (config.mx.certificate.as_path(), config.mx.key.as_path());
    let tests = TestAuthorities::from_key(config.mx.allow_test_authorities);
    let book = TlsBook::load(people, operator, &config.mx.anchors, tests)?;
    Ok(book.with_software(&config.login.client_anchors)?)
}

fn login_settings(config: &Config, keys: &Keyring) -> login::Settings {
    let settings = &config.login;
    // Where an address would be found that nobody can have: the hash is the keyring's, so what
    // follows from it is the relay's own and stays the same for ever.
    let nobody = Address::parse("scram@nobody.invalid").expect("an address");
    login::Settings {
        mechanisms: settings.mechanisms.clone(),
        passwords_on_clients: settings.passwords_on_clients,
        home: config.operator.domains.first().cloned(),
        relay_key: Secret::new(keys.address_key(&nobody)),
        openid_configuration: config.oidc.as_ref().map(|oidc| {
            match oidc.discovery.starts_with('/') {
                true => format!("{}{}", oidc.issuer.trim_end_matches('/'), oidc.discovery),
                false => oidc.discovery.clone(),
            }
        }),
        token_times: TokenTimes { session: settings.token_session, idle: settings.token_idle },
    }
}

/// The OpenID provider, of the configuration; nothing is asked of it yet.
fn openid(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Oidc>>> {
    let Some(it) = &config.oidc else { return Ok(None) };
    let client_secret = it.client_secret_file.as_deref().map(|file| {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("oidc.client_secret_file = {}", file.display()))?;
        let text = Secret::new(text);
        anyhow::Ok(Secret::new(text.expose().trim().to_owned()))
    });
    let settings = oidc::Settings {
        issuer: it.issuer.clone(),
        discovery: it.discovery.clone(),
        anchors: it.anchors.clone(),
        client_id: it.client_id.clone(),
        client_secret: client_secret.transpose()?,
        audiences: it.audiences.clone(),
        clients: it.clients.clone(),
        algorithms: it.algorithms.clone(),
        acr: it.acr.clone(),
        types: it.types.clone(),
        by_signature: it.by_signature,
        by_introspection: it.by_introspection,
        subject_claim: it.subject_claim.clone(),
        scope: it.scope.clone(),
        acr_values: it.acr_values.clone(),
        skew: it.skew,
        timeout: it.timeout,
    };
    Ok(Some(Arc::new(Oidc::new(settings, Arc::clone(clock)).context("oidc.anchors")?)))
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

/// Bound listeners: an address in use is told before the store is opened.
struct Doors {
    smtp: Vec<(SmtpDoor, TcpListener)>,
    imap: Vec<(ImapDoor, TcpListener)>,
    pop3: Vec<(Pop3Door, TcpListener)>,
    ldap: Vec<(LdapDoor, TcpListener)>,
    managesieve: Option<TcpListener>,
    https: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Doors {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let bind = |address: Option<SocketAddr>| address.map(net::listen).transpose();
        let mut smtp = Vec::new();
        for (door, address) in [
            (SmtpDoor::Submission, listen.submission),
            (SmtpDoor::Submissions, listen.submissions),
            (SmtpDoor::Mx, listen.mx),
        ] {
            smtp.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut imap = Vec::new();
        for (door, address) in [(ImapDoor::Imap, listen.imap), (ImapDoor::Imaps, listen.imaps)] {
            imap.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut pop3 = Vec::new();
        for (door, address) in [(Pop3Door::Pop3, listen.pop3), (Pop3Door::Pop3s, listen.pop3s)] {
            pop3.extend(bind(address)?.map(|listener| (door, listener)));
        }
        let mut ldap = Vec::new();
        for (door, address) in [(LdapDoor::Ldap, listen.ldap), (LdapDoor::Ldaps, listen.ldaps)] {
            ldap.extend(bind(address)?.map(|listener| (door, listener)));
        }
        Ok(Self {
            smtp,
            imap,
            pop3,
            ldap,
            managesieve: bind(listen.managesieve)?,
            https: bind(listen.https)?,
            metrics: bind(listen.metrics)?,
        })
    }

    fn open(self, office: &Arc<Office>, stop: &Stop, tasks: &mut JoinSet<()>) {
        let shared = || (Arc::clone(office), stop.clone());
        for (door, listener) in self.smtp {
            let (office, stop) = shared();
            tasks.spawn(server::smtp::serve(office, listener, door, stop).in_current_span());
        }
        for (door, listener) in self.imap {
            let (office, stop) = shared();
            tasks.spawn(server::imap::serve(office, listener, door, stop).in_current_span());
        }
        let locks = Pop3Locks::default();
        for (door, listener) in self.pop3 {
            let (office, stop) = shared();
            let serving = server::pop3::serve(office, Arc::clone(&locks), listener, door, stop);
            tasks.spawn(serving.in_current_span());
        }
        for (door, listener) in self.ldap {
            let (office, stop) = shared();
            tasks.spawn(server::ldap::serve(office, listener, door, stop).in_current_span());
        }
        if let Some(listener) = self.managesieve {
            let (office, stop) = shared();
            tasks.spawn(server::managesieve::serve(office, listener, stop).in_current_span());
        }
        if let Some(listener) = self.https {
            let (office, stop) = shared();
            tasks.spawn(server::web::serve(office, listener, stop).in_current_span());
        }
        if let Some(listener) = self.metrics {
            let (office, stop) = shared();
            tasks.spawn(server::web::serve_metrics(office, listener, stop).in_current_span());
        }
    }
}

/// Asks for the trust list again and again; a bad one is refused and the active one stays.
async fn refresh_trust(office: Arc<Office>, mut stop: Stop) {
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
async fn tidy(office: Arc<Office>, mut stop: Stop) {
    flow::life::resume(&office).await;
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
        match office.mailboxes.collect_held().await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "gone after mailboxes.retention_seconds"),
            Err(error) => tracing::warn!(%error, "expunged messages cannot be let go now"),
        }
    }
}

/// Lets search indexes catch up with mailboxes that are quiet.
async fn keep_indexes(office: Arc<Office>, mut stop: Stop) {
    tokio::select! {
        () = stop.stopped() => {}
        () = office.mailboxes.keep_indexes() => {}
    }
}

/// Looks at the files of certificates, keys, anchors and CRLs every `certs.watch_seconds` and on
/// SIGHUP, and speaks of certificates that end.
async fn watch_certificates(office: Arc<Office>, mut stop: Stop) {
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
fn hangup() -> Option<tokio::signal::unix::Signal> {
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

async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
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

async fn watch_gauges(office: Arc<Office>, mut stop: Stop) {
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

/// Lends the keyring to the directory: rooms of one floor do not know each other.
struct Desk(Arc<Keyring>);

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
        now: Timestamp,
    ) -> Result<(Bytes, Bytes), String> {
        let new = self.0.generate(owner, user_id, now).map_err(|error| error.to_string())?;
        Ok((new.certificate, new.wrapped))
    }
}
