//! Who vouches for whom: the directories of the configuration, in their order.
use crate::domain::address::Address;
use crate::domain::life::LastLogin;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow;
use crate::flow::login;
use crate::flow::login::live::TokenTimes;
use crate::flow::office::Office;
use crate::infra::clock::Clock;
use crate::infra::config::Config;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::arrivals;
use crate::infra::directory::chain::Chain;
use crate::infra::directory::chain::Observer;
use crate::infra::directory::ldap;
use crate::infra::directory::ldap::Ldap;
use crate::infra::directory::oidc;
use crate::infra::directory::oidc::Oidc;
use crate::infra::keys::Keyring;
use crate::infra::metrics::Metrics;
use crate::infra::net;
use crate::infra::net::Identity;
use crate::infra::net::Stop;
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;

/// Directories that went away are looked for so often; each is left alone for longer.
const DIRECTORIES_TRIED_EVERY: Duration = Duration::from_secs(1);

/// Everybody of `login.directories`, in that order.
pub(super) fn chain(
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

/// The directory of `[ldap]`, asked for certificates of people outside, if it shows any.
pub(super) fn certificates(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Ldap>> {
    let Some(shown) = &config.openpgp.ldap else { return Ok(None) };
    let people = ldap_settings(config)?;
    let settings = ldap::Settings {
        base: shown.base.clone().unwrap_or(people.base),
        // An entry is somebody outside: nothing of what is asked of our people holds for them.
        filter: format!("({}={{name}})", shown.address_attribute),
        groups: Vec::new(),
        ..people
    };
    let ldap = Ldap::new(settings, Arc::clone(clock)).map_err(anyhow::Error::msg);
    ldap.context("openpgp.ldap_attribute").map(Some)
}

pub(super) fn ldap(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Ldap> {
    Ldap::new(ldap_settings(config)?, Arc::clone(clock)).map_err(anyhow::Error::msg)
}

fn ldap_settings(config: &Config) -> anyhow::Result<ldap::Settings> {
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
    Ok(ldap::Settings {
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
    })
}

/// The record of logins, for the lives of mailboxes.
pub(super) fn arrivals(accounts: &Arc<Accounts>) -> Arc<dyn flow::life::Arrivals> {
    Arc::new(Records(Arc::clone(accounts)))
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
pub(super) async fn watch(office: Arc<Office>, mut stop: Stop) {
    let watch = async {
        for finding in office.directories.probe().await {
            tracing::warn!(finding, "a directory of login.directories does not serve as it should");
        }
        for finding in office.contacts.probe().await {
            tracing::warn!(finding, "the directory of openpgp.ldap_attribute does not serve");
        }
        loop {
            office.directories.revive().await;
            office.contacts.revive().await;
            tokio::time::sleep(DIRECTORIES_TRIED_EVERY).await;
        }
    };
    tokio::select! {
        () = watch => {}
        () = stop.stopped() => {}
    }
}

pub(super) fn login_settings(config: &Config, keys: &Keyring) -> login::Settings {
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
pub(super) fn openid(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Oidc>>> {
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
