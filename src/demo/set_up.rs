//! Certificates, trust list, configuration, mailboxes: made at the first start, found again at
//! the next.
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinSet;

use crate::demo::Options;
use crate::demo::people;
use crate::demo::people::OPERATORS;
use crate::demo::people::PEOPLE;
use crate::demo::people::Person;
use crate::demo::pki::DemoOperator;
use crate::demo::pki::DemoPki;
use crate::demo::pki::SIGNER_COMMON_NAME;
use crate::demo::pki::SIGNER_EMAIL;
use crate::demo::say;
use crate::demo::step;
use crate::demo::tour;
use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::operator::TrustList;
use crate::domain::secret::Secret;
use crate::flow::office::Office;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::config::Config;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::NewAccount;
use crate::infra::directory::accounts;
use crate::relay::Relay;

/// Lies in the folder when the letters of the scenario were sent and checked.
const PLAYED: &str = "scenario.done";
/// Extra mailboxes that are made at the same time.
const ADDED_AT_ONCE: usize = 4;
/// After so many of them a line says how far we are.
const PROGRESS_EVERY: u32 = 50;

/// The running demonstration.
pub(super) struct Demo {
    pub(super) folder: PathBuf,
    pub(super) pki: DemoPki,
    pub(super) relays: Vec<Relay>,
    pub(super) passwords: BTreeMap<String, String>,
    pub(super) host: IpAddr,
    pub(super) port_base: u16,
}

/// The ports of an operator, above its base.
pub(super) const PORTS: [(&str, u16); 12] = [
    ("submission", 587),
    ("submissions", 465),
    ("mx", 25),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
    ("managesieve", 4190),
    ("ldap", 389),
    ("ldaps", 636),
    ("https", 443),
    ("metrics", 90),
];

impl Demo {
    /// Everything that lies in the folder; no relay runs yet.
    pub(super) async fn set_up(options: &Options) -> anyhow::Result<Self> {
        say("Vaguemestre demonstration: fictional people, real relays.\n");
        fs::create_dir_all(&options.data_dir)
            .with_context(|| format!("--data-dir {}", options.data_dir.display()))?;
        let folder = options.data_dir.canonicalize()?;
        anyhow::ensure!(
            options.port_base <= u16::MAX - 5200,
            "--port-base {}: at most {}, because ports up to N+5190 are used",
            options.port_base,
            u16::MAX - 5200
        );
        let operators = demo_operators()?;
        // The tour's rogue has a good certificate too: only the list tells them apart.
        let certified = [operators.as_slice(), &[tour::rogue()]].concat();
        let pki = step("certificate authority (DEMO, after IGC-Santé)", async {
            DemoPki::create(&folder.join("pki"), &certified, options.host, SystemClock.now())
        })
        .await?;
        step("signed trust list of two operators", async {
            write_trust_list(&folder, &pki, &operators)
        })
        .await?;
        let passwords = step("passwords", async { load_passwords(&folder) }).await?;
        let (host, port_base) = (options.host, options.port_base);
        Ok(Self { folder, pki, relays: Vec::new(), passwords, host, port_base })
    }

    /// Starts the relays and fills their mailboxes and directories. Each relay is kept as soon
    /// as it runs, so that [`Demo::stop`] stops it when this is given up half-way.
    pub(super) async fn open(&mut self, options: &Options) -> anyhow::Result<()> {
        for (number, operator) in demo_operators()?.iter().enumerate() {
            let what = format!("operator {}", OPERATORS[number].domain);
            let relay = step(&what, async {
                let (folder, passwords) = (&self.folder, &self.passwords);
                let file = write_config(folder, number, &self.pki, operator, options, passwords)?;
                let config = Config::load(&file).map_err(|errors| {
                    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    anyhow::anyhow!(all.join("\n"))
                })?;
                Relay::start(config).await
            })
            .await?;
            self.relays.push(relay);
        }
        step("mailboxes, each with an OpenPGP key", self.add_people()).await?;
        if options.accounts > 0 {
            let what = format!("{} extra mailboxes", options.accounts);
            step(&what, self.add_extra(options.accounts)).await?;
        }
        step("directory replica from a national extraction", self.import_directory()).await
    }

    /// True once the letters of the scenario were sent and checked in this folder.
    pub(super) fn has_played(&self) -> bool {
        self.folder.join(PLAYED).exists()
    }

    pub(super) fn mark_played(&self) -> anyhow::Result<()> {
        write_whole(&self.folder.join(PLAYED), b"")
    }

    pub(super) fn office(&self, operator: usize) -> &Arc<Office> {
        self.relays[operator].office()
    }

    pub(super) fn port(&self, operator: usize, door: &str) -> u16 {
        let above = PORTS.iter().find(|(name, _)| *name == door).map_or(0, |(_, port)| *port);
        self.port_base + OPERATORS[operator].port_offset + above
    }

    pub(super) fn password(&self, person: &Person) -> &str {
        self.passwords.get(&person.password_name()).map_or("", String::as_str)
    }

    pub(super) fn admin_password(&self) -> &str {
        self.passwords.get("admin").map_or("", String::as_str)
    }

    pub(super) async fn stop(self) {
        for relay in self.relays {
            relay.stop().await;
        }
    }

    async fn add_people(&self) -> anyhow::Result<()> {
        for person in &PEOPLE {
            let password = Secret::new(self.password(person).to_owned());
            let (address, name) = (person.address(), person.display_name);
            add(self.office(person.operator), &address, person.kind, name, &password).await?;
        }
        Ok(())
    }

    /// Several at a time: making a key and hashing a password take a processor for a while.
    async fn add_extra(&self, extra: u32) -> anyhow::Result<()> {
        let mut adding = JoinSet::new();
        let mut done = 0;
        for number in 0..extra {
            let office = Arc::clone(self.office(0));
            adding.spawn(async move {
                let address = format!("u{number}@{}", OPERATORS[0].domain);
                let name = format!("Dr Numéro {number}");
                let password = Secret::new("secret".to_owned());
                add(&office, &address, MailboxKind::Personal, &name, &password).await
            });
            if adding.len() >= ADDED_AT_ONCE {
                finish_one(&mut adding, &mut done, extra).await?;
            }
        }
        while !adding.is_empty() {
            finish_one(&mut adding, &mut done, extra).await?;
        }
        Ok(())
    }

    async fn import_directory(&self) -> anyhow::Result<()> {
        let folder = self.folder.join("annuaire");
        fs::create_dir_all(&folder)?;
        let file = folder.join("Extraction_Correspondance_MSSante_202611210730.txt");
        let mut extraction = include_str!("extraction.txt").trim_end().to_owned();
        for row in PEOPLE.iter().filter_map(Person::extraction_row) {
            extraction.push('\n');
            extraction.push_str(&row);
        }
        extraction.push('\n');
        fs::write(&file, extraction)?;
        for relay in &self.relays {
            let Some(replica) = relay.office().replica.clone() else {
                anyhow::bail!("the directory replica does not open");
            };
            let file = file.clone();
            let import = tokio::task::spawn_blocking(move || replica.import(&file, &mut |_| {}));
            import.await??;
        }
        Ok(())
    }
}

async fn finish_one(
    adding: &mut JoinSet<anyhow::Result<()>>,
    done: &mut u32,
    of: u32,
) -> anyhow::Result<()> {
    if let Some(added) = adding.join_next().await {
        added??;
        *done += 1;
        if done.is_multiple_of(PROGRESS_EVERY) && *done < of {
            say(&format!("\n    {done} of {of}"));
        }
    }
    Ok(())
}

async fn add(
    office: &Office,
    address: &str,
    kind: MailboxKind,
    display_name: &str,
    password: &Secret<String>,
) -> anyhow::Result<()> {
    let address = Address::parse(address)?;
    let account = match office.accounts.find(&address).await? {
        Some(account) => account,
        None => {
            let new = NewAccount {
                address,
                kind,
                listing: Listing::Public,
                display_name: display_name.to_owned(),
                password: Some(password),
            };
            office.accounts.add(new).await?
        }
    };
    office.mailboxes.create(&account).await?;
    Ok(())
}

fn demo_operators() -> anyhow::Result<Vec<DemoOperator>> {
    OPERATORS
        .iter()
        .map(|operator| {
            Ok(DemoOperator {
                name: operator.name.to_owned(),
                hostname: Domain::parse(operator.domain)?,
                structure: operator.structure.to_owned(),
                organisation: operator.organisation.to_owned(),
            })
        })
        .collect()
}

/// One of them.
pub(super) fn operator(number: usize) -> anyhow::Result<DemoOperator> {
    demo_operators()?.into_iter().nth(number).context("no such operator in the demonstration")
}

fn write_trust_list(
    folder: &Path,
    pki: &DemoPki,
    operators: &[DemoOperator],
) -> anyhow::Result<()> {
    let mut domains = BTreeMap::new();
    for operator in operators {
        domains.insert(operator.hostname.clone(), [DemoPki::mx_dn(operator)].into());
    }
    let citizens = Domain::parse(people::CITIZEN_DOMAIN)?;
    domains.insert(citizens, [DemoPki::mx_dn(&operators[0])].into());
    let list = TrustList { generated: SystemClock.now(), domains };
    Ok(fs::write(trust_list_file(folder), pki.sign_trust_list(&list)?)?)
}

pub(super) fn trust_list_file(folder: &Path) -> PathBuf {
    folder.join("listeblanchemssante.xml")
}

/// One password a mailbox, and the administrators'; made once, readable by the owner only.
fn load_passwords(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let file = folder.join("passwords.json");
    let mut passwords: BTreeMap<String, String> = match fs::read(&file) {
        Ok(octets) => serde_json::from_slice(&octets)
            .with_context(|| format!("{} is not what this demo wrote", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("{}", file.display())),
    };
    let names = PEOPLE.iter().map(Person::password_name).chain(["admin".to_owned()]);
    for name in names {
        passwords.entry(name).or_insert_with(random_password);
    }
    let octets = serde_json::to_vec_pretty(&passwords)?;
    write_whole(&file, &octets)?;
    Ok(passwords)
}

/// Twelve characters that nobody confuses when typing.
fn random_password() -> String {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let random = uuid::Uuid::new_v4().into_bytes();
    let letter = |octet: &u8| char::from(ALPHABET[usize::from(*octet) % ALPHABET.len()]);
    let all: String = random.iter().filter(|octet| **octet < 248).take(12).map(letter).collect();
    all
}

/// Under another name first: whoever finds the file finds all of it.
pub(super) fn write_whole(file: &Path, octets: &[u8]) -> anyhow::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    write_private(&draft, octets)?;
    fs::rename(&draft, file).with_context(|| format!("{}", file.display()))
}

fn write_private(file: &Path, octets: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let opened =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| opened.write_all(octets))
        .with_context(|| format!("{}", file.display()))
}

/// The same file that an operator would write by hand.
fn write_config(
    folder: &Path,
    number: usize,
    pki: &DemoPki,
    operator: &DemoOperator,
    options: &Options,
    passwords: &BTreeMap<String, String>,
) -> anyhow::Result<PathBuf> {
    let home = folder.join(&operator.name);
    fs::create_dir_all(&home)?;
    let admin = Secret::new(passwords.get("admin").cloned().unwrap_or_default());
    let hash = accounts::hash_password(&admin)?;
    write_private(&home.join("admin.password"), hash.as_bytes())?;
    let other = &OPERATORS[1 - number];
    let base = |operator: &people::Operator| options.port_base + operator.port_offset;
    let mut routes = vec![(other.domain, base(other) + 25)];
    if number == 1 {
        routes.push((people::CITIZEN_DOMAIN, base(other) + 25));
    }
    let routes: Vec<String> = routes
        .iter()
        .map(|(domain, port)| {
            format!("{domain:?} = {:?}", std::net::SocketAddr::new(options.host, *port).to_string())
        })
        .collect();
    let listen: Vec<String> = PORTS
        .iter()
        .map(|(door, above)| {
            let port = base(&OPERATORS[number]) + above;
            format!("{door} = \"{}\"", std::net::SocketAddr::new(options.host, port))
        })
        .collect();
    let citizens =
        if number == 0 { format!("{:?}", people::CITIZEN_DOMAIN) } else { String::new() };
    let (people, mx) = (pki.people(operator), pki.mx(operator));
    let (ca, crl) = (pki.ca_file(), pki.crl_file());
    let text = format!(
        "# Written by `vaguemestre demo`; every key is explained in config/vaguemestre.toml.\n\
         [operator]\nname = {name:?}\nhostname = \"{host}\"\ndomains = [\"{host}\"]\n\
         citizen_domains = [{citizens}]\npatient_domains = [{patients:?}]\n\n\
         [listen]\n{listen}\n\n\
         [tls]\ncertificate = {people_cert:?}\nkey = {people_key:?}\n\n\
         [mx]\ncertificate = {mx_cert:?}\nkey = {mx_key:?}\nanchors = [{ca:?}]\n\
         lookup = false\n\n\
         [mx.routes]\n{routes}\n\n\
         [trust]\nlist = {list:?}\nsigner_anchors = [{ca:?}]\n\
         signer_common_name = {signer:?}\nsigner_email = {email:?}\nrefresh_seconds = 60\n\n\
         [storage]\ndata_dir = {data:?}\nmaster_key = {master:?}\n\n\
         # High enough for a load test from one address.\n\
         [limits]\nconnections = 10000\nconnections_per_address = 10000\n\
         logins_failed_per_minute = 100000\n\n\
         [revocation]\nmode = \"required\"\ncrl_files = [{crl:?}]\n\n\
         [queue]\nretry_seconds = [2, 5, 10, 30, 60]\n\n\
         [admin]\nuser = \"admin\"\npassword_file = {admin:?}\n",
        name = operator.name,
        host = operator.hostname,
        patients = people::CITIZEN_DOMAIN,
        listen = listen.join("\n"),
        people_cert = people.certificate,
        people_key = people.key,
        mx_cert = mx.certificate,
        mx_key = mx.key,
        routes = routes.join("\n"),
        list = trust_list_file(folder),
        signer = SIGNER_COMMON_NAME,
        email = SIGNER_EMAIL,
        data = home.join("data"),
        master = home.join("master.key"),
        admin = home.join("admin.password"),
    );
    let file = home.join("vaguemestre.toml");
    fs::write(&file, text)?;
    Ok(file)
}
