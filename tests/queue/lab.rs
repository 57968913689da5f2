//! One relay's office without doors: a real store in a folder of its own, a clock that stands
//! still, and as many domains of other operators as a test wants.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::door::Door;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::QueueId;
use vaguemestre::domain::envelope::RcptParameters;
use vaguemestre::domain::envelope::Recipient;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow;
use vaguemestre::flow::accept;
use vaguemestre::flow::accept::Caller;
use vaguemestre::flow::accept::Credentials;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::trust::TrustSpace;
use vaguemestre::relay;

pub(crate) const SENDER: &str = "dr.lune@hopital.mssante.test";

/// See the module's text.
pub(crate) struct Lab {
    office: Option<Arc<Office>>,
    pub(crate) clock: Arc<ManualClock>,
    config: Config,
    list: TrustList,
    folder: PathBuf,
    _keep: Arc<tempfile::TempDir>,
}

impl Lab {
    /// Other operators' domains; mail for them has no host to go to unless `routes` names one.
    pub(crate) async fn new(domains: &[&str], routes: &[(&str, &str)], queue: &str) -> Self {
        let keep = Arc::new(tempfile::tempdir().unwrap());
        let folder = keep.path().to_owned();
        let operator = DemoOperator {
            name: "hopital".to_owned(),
            hostname: Domain::parse("hopital.mssante.test").unwrap(),
            structure: "1990000101".to_owned(),
            organisation: "HOPITAL DEMO".to_owned(),
        };
        let now = SystemClock.now();
        let host = IpAddr::from([127, 0, 0, 1]);
        let pki = DemoPki::create(&folder, std::slice::from_ref(&operator), host, now).unwrap();
        let dn = DemoPki::mx_dn(&operator);
        let listed = |name: &str| (Domain::parse(name).unwrap(), BTreeSet::from([dn.clone()]));
        let ours = TrustList { generated: now, domains: [listed("hopital.mssante.test")].into() };
        fs::write(folder.join("list.xml"), pki.sign_trust_list(&ours).unwrap()).unwrap();
        let domains: BTreeMap<_, _> =
            domains.iter().copied().chain(["hopital.mssante.test"]).map(listed).collect();
        let list = TrustList { generated: now, domains };
        let routes: Vec<String> =
            routes.iter().map(|(domain, host)| format!("{domain:?} = {host:?}")).collect();
        let (people, mx, ca) = (pki.people(&operator), pki.mx(&operator), pki.ca_file());
        let text = format!(
            "[operator]\nname = \"hopital\"\nhostname = \"hopital.mssante.test\"\n\
             domains = [\"hopital.mssante.test\"]\npatient_domains = [\"patient.mssante.test\"]\n\
             [listen]\nsubmissions = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\n\
             [mx]\ncertificate = {:?}\nkey = {:?}\nanchors = [{ca:?}]\nlookup = true\n\
             [mx.routes]\n{}\n\
             [trust]\nlist = {:?}\nsigner_anchors = [{ca:?}]\nsigner_common_name = {:?}\n\
             [limits]\nrecipients = 10000\n\
             [storage]\ndata_dir = {:?}\nmaster_key = {:?}\n\
             [revocation]\nmode = \"off\"\n[queue]\n{queue}\n\
             [admin]\nalerts_to = {SENDER:?}\n",
            people.certificate,
            people.key,
            mx.certificate,
            mx.key,
            routes.join("\n"),
            folder.join("list.xml"),
            pki.signer_rule().common_name.unwrap_or_default(),
            folder.join("data"),
            folder.join("master.key"),
        );
        let file = folder.join("vaguemestre.toml");
        fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap_or_else(|errors| panic!("{errors:?}"));
        let clock = Arc::new(ManualClock::new(now));
        let office = open(&config, &clock, &list).await;
        Self { office: Some(office), clock, config, list, folder, _keep: keep }
    }

    pub(crate) fn office(&self) -> &Arc<Office> {
        self.office.as_ref().unwrap()
    }

    /// Changes the furniture. Nobody else may hold the office.
    pub(crate) fn office_mut(&mut self) -> &mut Office {
        Arc::get_mut(self.office.as_mut().unwrap()).unwrap()
    }

    /// As if the process had died and was started again. Nothing may hold the office any more.
    pub(crate) async fn restart(&mut self) {
        let gone = self.office.take().unwrap();
        assert_eq!(Arc::strong_count(&gone), 1, "something of the old process still runs");
        drop(gone);
        self.office = Some(open(&self.config, &self.clock, &self.list).await);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().after(time));
    }

    /// Where the store lies.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The sender's account, made at the first call.
    pub(crate) async fn sender(&self) -> Account {
        let address = Address::parse(SENDER).unwrap();
        if let Some(account) = self.office().accounts.find(&address).await.unwrap() {
            return account;
        }
        let new = NewAccount {
            address,
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            display_name: "Dr Lune".to_owned(),
            password: Some(&Secret::new("a long password".to_owned())),
        };
        let account = self.office().accounts.add(new).await.unwrap();
        self.office().mailboxes.create(&account).await.unwrap();
        account
    }

    /// The trust list, with more domains.
    #[allow(dead_code, reason = "for the benchmark, which shares this file")]
    pub(crate) fn list(&mut self, domains: &[String]) {
        let dn = self.list.domains.values().next().unwrap().clone();
        for domain in domains {
            self.list.domains.insert(Domain::parse(domain).unwrap(), dn.clone());
        }
        let trust = Arc::new(TrustSpace::fixed(self.list.clone()));
        self.office_mut().trust = trust;
    }

    /// A letter of the relay's own, to these recipients.
    pub(crate) async fn letter(&self, to: &[&str]) -> QueueId {
        self.letter_from(Credentials::House, ReversePath::Null, to).await
    }

    /// A letter of the sender's.
    pub(crate) async fn letter_of_sender(&self, to: &[&str]) -> QueueId {
        let account = self.sender().await;
        let from = ReversePath::Address(account.address.clone());
        let letter = self.letter_from(Credentials::Login(account), from, to).await;
        // What is noted beside a letter holds the office for a moment longer.
        for _ in 0..100 {
            if Arc::strong_count(self.office()) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        letter
    }

    async fn letter_from(
        &self,
        credentials: Credentials,
        reverse_path: ReversePath,
        to: &[&str],
    ) -> QueueId {
        let door = match credentials {
            Credentials::House => Door::House,
            _ => Door::Submission,
        };
        let caller = Caller {
            ip: None,
            client_name: "client.test".to_owned(),
            protocol: "ESMTPSA",
            tls: None,
            credentials,
        };
        let accepted = accept::accept(door, caller);
        let parameters = MailParameters { smtputf8: true, ..MailParameters::default() };
        let office = self.office();
        let sender = flow::sender(office, accepted, reverse_path, parameters).await.unwrap();
        let mut recipients = Vec::new();
        for address in to {
            let address = Address::parse(address).unwrap();
            let recipient = Recipient { address, parameters: RcptParameters::default() };
            recipients.push(flow::recipient(office, &sender, recipient).await.unwrap());
        }
        let mut sealing = flow::begin(office, sender, recipients).await.unwrap();
        let letter = format!(
            "From: {SENDER}\r\nTo: somebody@cabinet.mssante.test\r\nSubject: CR\r\n\
             Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nMessage-ID: <{}@client.test>\r\n\r\nBonjour\r\n",
            uuid::Uuid::new_v4().simple()
        );
        sealing.write(letter.as_bytes()).unwrap();
        flow::finish(office, sealing).await.unwrap().queue_id()
    }

    /// What lies in the sender's inbox.
    pub(crate) async fn inbox(&self) -> Vec<String> {
        let account = self.sender().await;
        let mailbox = self.office().mailboxes.open(&account).await.unwrap();
        let entries = mailbox.entries(FolderId::INBOX, 1..=u32::MAX, 1_000).await.unwrap();
        let mut texts = Vec::new();
        for entry in entries {
            let content = mailbox.content(&entry).await.unwrap();
            texts.push(String::from_utf8_lossy(content.expose()).into_owned());
        }
        texts
    }
}

async fn open(config: &Config, clock: &Arc<ManualClock>, list: &TrustList) -> Arc<Office> {
    let mut office = relay::offline(config).await.unwrap();
    let furniture = Arc::get_mut(&mut office).unwrap();
    furniture.clock = Arc::clone(clock) as Arc<dyn Clock>;
    furniture.trust = Arc::new(TrustSpace::fixed(list.clone()));
    office
}
