//! What the demonstration tells: a table for people, `demo.json` for programs.
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::demo::Options;
use crate::demo::people::OPERATORS;
use crate::demo::people::PEOPLE;
use crate::demo::people::Person;
use crate::demo::set_up;
use crate::demo::set_up::Demo;
use crate::demo::set_up::PORTS;
use crate::domain::mailbox::MailboxKind;

const FILE: &str = "demo.json";

/// The running demonstration, described.
pub(super) struct Description {
    json: Value,
    table: String,
}

impl Description {
    pub(super) fn of(demo: &Demo, options: &Options) -> Self {
        let url = |operator, path| {
            let address = std::net::SocketAddr::new(demo.host, demo.port(operator, "https"));
            format!("https://{address}{path}")
        };
        let ca_file = demo.pki.ca_file();
        let json = json!({
            "ca_file": ca_file,
            "trust_list": {
                "file": set_up::trust_list_file(&demo.folder),
                "url": url(0, "/trust/liste-blanche.xml"),
            },
            "operators": (0..OPERATORS.len()).map(|n| operator(demo, n)).collect::<Vec<_>>(),
            "accounts": accounts(demo, options.accounts),
            "patients": PEOPLE
                .iter()
                .filter(|person| person.kind == MailboxKind::Citizen)
                .map(|person| json!({
                    "address": person.address(),
                    "ins": person.local_part,
                    "operator": OPERATORS[person.operator].name,
                    "password": demo.password(person),
                }))
                .collect::<Vec<_>>(),
            "admin": {
                "url": url(0, "/admin"),
                "user": "admin",
                "password": demo.admin_password(),
            },
        });
        let table = table(demo, &url(0, "/"), &url(0, "/admin"), &ca_file);
        Self { json, table }
    }

    /// Writes `demo.json`: everything listens now.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        // A script that waits for the file never reads half of it.
        set_up::write_whole(&folder.join(FILE), &serde_json::to_vec_pretty(&self.json)?)
    }

    pub(super) fn remove(folder: &Path) {
        let _ = std::fs::remove_file(folder.join(FILE));
    }

    pub(super) fn table(&self) -> String {
        self.table.clone()
    }
}

fn operator(demo: &Demo, number: usize) -> Value {
    let operator = &OPERATORS[number];
    let config = &demo.office(number).config;
    let ports: serde_json::Map<String, Value> = PORTS
        .iter()
        .map(|(door, _)| ((*door).to_owned(), json!(demo.port(number, door))))
        .collect();
    json!({
        "name": operator.name,
        "domain": operator.domain,
        "host": demo.host.to_string(),
        "data_dir": config.storage.data_dir,
        "config": demo.folder.join(operator.name).join("vaguemestre.toml"),
        "ports": ports,
        "mx_cert": config.mx.certificate,
        "mx_key": config.mx.key,
    })
}

fn accounts(demo: &Demo, extra: u32) -> Vec<Value> {
    let account = |address: &str, kind: MailboxKind, operator: &str, password: &str| {
        json!({
            "address": address, "kind": kind.code(), "operator": operator,
            "password": password, "cert": null, "key": null,
        })
    };
    let named = PEOPLE.iter().filter(|person| person.kind != MailboxKind::Citizen).map(|person| {
        let address = person.address();
        let operator = OPERATORS[person.operator].name;
        account(&address, person.kind, operator, demo.password(person))
    });
    let numbered = (0..extra).map(|number| {
        let address = format!("u{number}@{}", OPERATORS[0].domain);
        account(&address, MailboxKind::Personal, OPERATORS[0].name, "secret")
    });
    named.chain(numbered).collect()
}

fn table(demo: &Demo, portal: &str, admin: &str, ca_file: &Path) -> String {
    let mut text = String::from("\nThe demonstration runs. Stop it with Ctrl-C.\n\n");
    let row = |person: &Person| {
        let address = person.address();
        let password = demo.password(person).to_owned();
        format!("  {:<42} {:<4} {password}", address, person.kind.code())
    };
    let _ = writeln!(text, "  {:<42} {:<4} password", "address", "kind");
    for person in &PEOPLE {
        let _ = writeln!(text, "{}", row(person));
    }
    for (number, operator) in OPERATORS.iter().enumerate() {
        let port = |door| demo.port(number, door);
        let _ = writeln!(
            text,
            "\n  {}  (host {})\n    SMTP {} STARTTLS, {} TLS   IMAP {} STARTTLS, {} TLS   \
             filters {}   between operators {}   pages {}   metrics {}",
            operator.domain,
            demo.host,
            port("submission"),
            port("submissions"),
            port("imap"),
            port("imaps"),
            port("managesieve"),
            port("mx"),
            port("https"),
            port("metrics"),
        );
    }
    let _ = writeln!(
        text,
        "\n  Patients' inbox   {portal}\n  Dashboard         {admin}   user admin, password {}\n  \
         CA certificate    {}\n  For scripts       {}",
        demo.admin_password(),
        ca_file.display(),
        demo.folder.join(FILE).display(),
    );
    let _ = writeln!(
        text,
        "\n  Thunderbird: 1. Settings, Privacy & Security, Certificates: import the CA certificate.\n  \
         2. New account: an address and password above; configure manually: IMAP {host} port {imaps} \
         SSL/TLS,\n     SMTP {host} port {submissions} SSL/TLS, user name = the whole address, normal \
         password.\n  3. Open the inbox; write to another address of the table.",
        host = demo.host,
        imaps = demo.port(0, "imaps"),
        submissions = demo.port(0, "submissions"),
    );
    text
}
