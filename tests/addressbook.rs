//! Clinicians find each other in their mail programs: the LDAP doors, asked by OpenLDAP's tools.
use std::fs;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use vaguemestre::domain::address::Address;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::replica::Replica;

use crate::support::running::said;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

const HOST: &str = "hopital.mssante.test";
const BASE: &str = "dc=mssante,dc=fr";

/// What Thunderbird 140 and Outlook send for one word (see proto::ldap::filter).
const PROGRAMS: [&str; 4] = [
    "(|(cn=*WORD*)(givenName=*WORD*)(sn=*WORD*)(mozillaNickname=*WORD*)(mail=*WORD*)\
     (mozillaSecondEmail=*WORD*)(&(description=*WORD*)))",
    "(&(mail=*)(|(mail=WORD*)(|(cn=WORD*)(|(sn=WORD*)(givenName=WORD*)))))",
    "(&(mail=*)(|(mail=WORD*)(cn=WORD*)(sn=WORD*)(givenName=WORD*)(displayName=WORD*)))",
    "(anr=WORD)",
];

/// A relay with three mailboxes and the sample of the national directory.
fn house<'s>(space: &'s Space, more: &str) -> Serving<'s> {
    let relay = space.relay(0).with("[revocation]\nmode = \"off\"\n").with(more);
    let mut relay = relay.start(&[
        "marie.martin@hopital.mssante.test",
        "jean.martin@hopital.mssante.test",
        "hidden.martin@hopital.mssante.test",
    ]);
    relay.kill();
    // As published yesterday, when the last one was not hidden yet.
    let stale = SAMPLE
        .lines()
        .nth(2)
        .unwrap()
        .replace(
            "eloise.lumier@ch-valfictif.exemple.mssante.fr",
            "hidden.martin@hopital.mssante.test",
        )
        .replace("LUMIER|Eloïse", "MARTIN|Hidden");
    let extraction = relay.folder.join("Extraction.txt");
    fs::write(&extraction, format!("{}{stale}\n", SAMPLE.replace("\r\n", "\n"))).unwrap();
    let replica = Replica::open(&relay.data_dir()).unwrap();
    replica.import(&extraction, &mut |_| ()).unwrap();
    drop(replica);
    relay.begin();
    relay
}

const SAMPLE: &str =
    include_str!("vectors/annuaire/Extraction_Correspondance_MSSante_202611210730.txt");

/// `ldapsearch` with these arguments, which looks at the certificate as its users would; its exit code is LDAP's result code.
fn search(relay: &Serving<'_>, door: &str, arguments: &[&str]) -> (i32, String) {
    let scheme = if door == "ldaps" { "ldaps" } else { "ldap" };
    let output = Command::new("ldapsearch")
        .args(["-x", "-LLL", "-o", "ldif-wrap=no", "-o", "nettimeout=20"])
        .args(["-H", &format!("{scheme}://127.0.0.1:{}", relay.port(door))])
        .args(arguments)
        .env("LDAPTLS_CACERT", relay.ca_file())
        .env("LDAPTLS_REQCERT", "demand")
        .env("LDAPCONF", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("ldapsearch (make deps installs it): {error}"));
    (output.status.code().unwrap(), said(&output))
}

const MARIE: &str = "mail=marie.martin@hopital.mssante.test,dc=mssante,dc=fr";

/// Somebody who logged in over TLS.
fn found(relay: &Serving<'_>, arguments: &[&str]) -> (i32, String) {
    search(relay, "ldaps", &[&["-D", MARIE, "-w", PASSWORD, "-b", BASE], arguments].concat())
}

fn entries(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("dn:")).count()
}

#[test]
fn mail_programs_find_mailboxes_of_this_relay_and_of_the_national_directory() {
    let space = Space::of(&[HOST]);
    let relay = house(&space, "");
    for program in PROGRAMS {
        let (code, text) = found(&relay, &[&program.replace("WORD", "lumi")]);
        // Thunderbird looks inside addresses: the practice `cabinet.lumier` is meant as well.
        let expected = if program.contains("mozilla") { 3 } else { 2 };
        assert_eq!((code, entries(&text)), (0, expected), "{program}: {text}");
        assert!(text.contains("mail: eloise.lumier@medecin.exemple.mssante.fr"), "{text}");
        assert!(text.contains("sn: LUMIER"), "{text}");
        let (code, text) = found(&relay, &[&program.replace("WORD", "marie.m")]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(entries(&text), 1, "{program}: {text}");
    }
    // One attribute, names only, and an entry by its name.
    let (code, text) = found(&relay, &["(sn=lumier)", "mail"]);
    assert_eq!(code, 0);
    assert!(!text.contains("sn:") && text.contains("mail:"), "{text}");
    let (_, text) = found(&relay, &["-A", "(sn=lumier)", "mail"]);
    assert!(text.contains("mail:") && !text.contains("@medecin.exemple.mssante.fr\n"), "{text}");
    let lumier = "mail=ELOISE.lumier@medecin.exemple.mssante.fr,dc=mssante,dc=fr";
    let (code, text) = found(&relay, &["-b", lumier, "-s", "base", "title", "l"]);
    assert_eq!((code, entries(&text)), (0, 1), "{text}");
    let (code, _) = found(&relay, &["-b", "mail=nobody@x.fr,dc=mssante,dc=fr", "-s", "base"]);
    assert_eq!(code, 32);
    // What has no word to look up is no walk through everything.
    let (code, text) = found(&relay, &["(objectClass=*)"]);
    assert_eq!(code, 4, "{text}");
    assert!(!text.contains("lumier"), "{text}");
    assert_eq!(found(&relay, &["(mozillaNickname=*a*)"]).0, 0);
}

#[test]
fn a_page_and_a_size_limit_end_where_they_must() {
    let space = Space::of(&[HOST]);
    let relay = house(&space, "[addressbook]\nresults_max = 2\n");
    let (code, text) = found(&relay, &["(mail=*mssante*)"]);
    assert_eq!((code, entries(&text)), (4, 2), "{text}");
    let (code, text) = found(&relay, &["-z", "1", "(mail=*mssante*)"]);
    assert_eq!((code, entries(&text)), (4, 1), "{text}");
    let (code, text) = found(&relay, &["-E", "!pr=1/noprompt", "(sn=lumier)"]);
    assert_eq!((code, entries(&text)), (0, 2), "{text}");
    // Order is not ours: a program that can do without gets its answer.
    let (code, text) = found(&relay, &["-E", "sss=sn", "(sn=lumier)"]);
    assert_eq!((code, entries(&text)), (0, 2), "{text}");
    let (code, _) = found(&relay, &["-E", "!sss=sn", "(sn=lumier)"]);
    assert_eq!(code, 12);
}

#[test]
fn a_hidden_mailbox_never_appears_in_the_address_book() {
    let space = Space::of(&[HOST]);
    let mut relay = house(&space, "");
    assert_eq!(entries(&found(&relay, &["(mail=hidden*)"]).1), 1);
    relay.kill();
    let loaded = Config::load(&relay.config()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let office = vaguemestre::relay::offline(&loaded).await.unwrap();
        let address = Address::parse("hidden.martin@hopital.mssante.test").unwrap();
        office.accounts.set_suspended(&address, true).await.unwrap();
        let secret = Address::parse("secret.martin@hopital.mssante.test").unwrap();
        let new = NewAccount {
            address: secret,
            kind: MailboxKind::Personal,
            listing: Listing::RedList,
            display_name: "Dr Secret MARTIN".to_owned(),
            password: Some(&Secret::new(PASSWORD.to_owned())),
        };
        office.accounts.add(new).await.unwrap();
    });
    relay.begin();
    for filter in ["(mail=hidden*)", "(sn=*martin*)", "(mail=hidden.martin@hopital.mssante.test)"] {
        let (_, text) = found(&relay, &[filter]);
        assert!(!text.contains("hidden") && !text.contains("secret"), "{filter}: {text}");
    }
    for name in ["hidden", "secret"] {
        let name = format!("mail={name}.martin@hopital.mssante.test,dc=mssante,dc=fr");
        assert_eq!(found(&relay, &["-b", &name, "-s", "base"]).0, 32, "{name}");
    }
}

#[test]
fn nobody_searches_without_tls_and_strangers_only_where_they_may() {
    let space = Space::of(&[HOST]);
    let closed = house(&space, "");
    let filter = "(sn=lumier)";
    // In clear: the server says what it is, and nothing else; a password is refused unread.
    let (code, text) = search(&closed, "ldap", &["-b", "", "-s", "base", "(objectClass=*)", "+"]);
    assert_eq!(code, 0, "{text}");
    for fact in
        ["namingContexts: dc=mssante,dc=fr", "supportedLDAPVersion: 3", "1.3.6.1.4.1.1466.20037"]
    {
        assert!(text.contains(fact), "{text}");
    }
    assert_eq!(search(&closed, "ldap", &["-b", BASE, filter]).0, 13);
    assert_eq!(search(&closed, "ldap", &["-D", MARIE, "-w", PASSWORD, "-b", BASE, filter]).0, 13);
    // StartTLS.
    let (code, text) =
        search(&closed, "ldap", &["-ZZ", "-D", MARIE, "-w", PASSWORD, "-b", BASE, filter]);
    assert_eq!((code, entries(&text)), (0, 2), "{text}");
    // The address alone is a name as well.
    let address = "marie.martin@hopital.mssante.test";
    assert_eq!(search(&closed, "ldaps", &["-D", address, "-w", PASSWORD, "-b", BASE, filter]).0, 0);
    // Strangers, wrong passwords, names without one.
    assert_eq!(search(&closed, "ldaps", &["-b", BASE, filter]).0, 50);
    assert_eq!(search(&closed, "ldaps", &["-D", MARIE, "-w", "wrong", "-b", BASE, filter]).0, 49);
    assert_eq!(search(&closed, "ldaps", &["-D", MARIE, "-w", "", "-b", BASE, filter]).0, 53);
    let outside = "cn=admin,dc=other";
    assert_eq!(search(&closed, "ldaps", &["-D", outside, "-w", "x", "-b", BASE, filter]).0, 49);
    assert!(!closed.log().contains(PASSWORD), "a password is in the log");
    drop(closed);
    let open = house(&space, "[addressbook]\nanonymous = true\n");
    let (code, text) = search(&open, "ldaps", &["-b", BASE, filter]);
    assert_eq!((code, entries(&text)), (0, 2), "{text}");
    assert_eq!(search(&open, "ldap", &["-b", BASE, filter]).0, 13);
}

#[test]
fn other_tools_of_openldap_are_answered_as_the_standard_says() {
    let space = Space::of(&[HOST]);
    let relay = house(&space, "");
    let tool = |program: &str, arguments: &[&str], input: &str| {
        use std::io::Write;
        let mut child = Command::new(program)
            .args(["-x", "-H", &format!("ldaps://127.0.0.1:{}", relay.port("ldaps"))])
            .args(["-D", MARIE, "-w", PASSWORD])
            .args(arguments)
            .env("LDAPTLS_CACERT", relay.ca_file())
            .env("LDAPTLS_REQCERT", "demand")
            .env("LDAPCONF", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (make deps installs it): {error}"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    let (code, text) = tool("ldapwhoami", &[], "");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("dn:{MARIE}")), "{text}");
    assert_eq!(tool("ldapcompare", &[MARIE, "mail:MARIE.martin@hopital.mssante.test"], "").0, 6);
    assert_eq!(tool("ldapcompare", &[MARIE, "mail:other@hopital.mssante.test"], "").0, 5);
    assert_eq!(tool("ldapcompare", &[MARIE, "nonsense:x"], "").0, 17);
    assert_eq!(tool("ldapdelete", &[MARIE], "").0, 53);
    let change = format!("dn: {MARIE}\nchangetype: modify\nreplace: sn\nsn: x\n\n");
    assert_eq!(tool("ldapmodify", &[], &change).0, 53);
    let (code, text) = tool("ldappasswd", &["-s", "x"], "");
    assert!(code != 0 && text.contains("(2)"), "{code}: {text}");
}

#[test]
fn octets_that_are_no_ldap_end_the_connection_and_nothing_else() {
    use std::io::Read;
    use std::io::Write;
    let space = Space::of(&[HOST]);
    let relay = house(&space, "");
    for octets in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"0\x84\xff\xff\xff\xff",
        b"0\x80\x02\x01\x01",
        b"0\x03\x02\x01\x00",
        b"0\x05\x02\x01\x01\x7f\x00",
        // StartTLS with something behind it in the same packet.
        b"0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.200370\x05\x02\x01\x02B\x00",
    ] {
        let mut stream = std::net::TcpStream::connect(relay.door("ldap")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(octets).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // protocolError, unasked or as an answer.
        assert!(answer.windows(3).any(|at| at == b"\x0a\x01\x02"), "{octets:?}: {answer:?}");
    }
    assert_eq!(found(&relay, &["(sn=lumier)"]).0, 0);
}

#[test]
fn a_professional_searches_the_directory_on_their_page() {
    let space = Space::of(&[HOST]);
    let relay = house(&space, "");
    let jar = relay.folder.join("cookies");
    let curl = |path: &str, more: &[&str]| {
        let output = Command::new("curl")
            .args(["-sSk", "--max-time", "30", "-L", "-b", jar.to_str().unwrap()])
            .args(["-c", jar.to_str().unwrap()])
            .args(more)
            .arg(format!("https://localhost:{}{path}", relay.port("https")))
            .output()
            .unwrap_or_else(|error| panic!("curl (make deps installs it): {error}"));
        said(&output)
    };
    // Strangers are sent to the login.
    assert!(!curl("/account/directory?q=lumi", &[]).contains("LUMIER"));
    let page = curl("/account/login?lang=en", &[]);
    let token = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("form={token}");
    let name = "name=marie.martin@hopital.mssante.test";
    let password = format!("password={PASSWORD}");
    let fields = ["--data-urlencode", &form, "--data-urlencode", name, "--data-urlencode"];
    curl("/account/login", &[&fields[..], &[&password]].concat());
    let found = curl("/account/directory?q=%C3%89lo+m%C3%A9dec", &[]);
    assert!(found.contains("eloise.lumier@medecin.exemple.mssante.fr"), "{found}");
    assert!(found.contains("Paper-free exchange") && found.contains("Médecin"), "{found}");
    let nobody = curl("/account/directory?q=%3Cscript%3E", &[]);
    assert!(!nobody.contains("<script>") && nobody.contains("No published mailbox"), "{nobody}");
    assert!(curl("/account", &[]).contains("action=\"/account/directory\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_cut_off_when_its_session_is_ended() {
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    let space = Space::of(&[HOST]);
    let relay = tokio::task::block_in_place(|| house(&space, ""));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let socket = socket.connect(relay.door("ldaps")).await.unwrap();
    let name = ServerName::from(relay.door("ldaps").ip());
    let connector = tokio_rustls::TlsConnector::from(relay.tls());
    let (mut read, mut write) = tokio::io::split(connector.connect(name, socket).await.unwrap());
    let tlv = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content].concat()
    };
    let (dn, password) = (tlv(4, MARIE.as_bytes()), tlv(0x80, PASSWORD.as_bytes()));
    let bind = tlv(0x60, &[&b"\x02\x01\x03"[..], &dn, &password].concat());
    write.write_all(&tlv(0x30, &[&b"\x02\x01\x01"[..], &bind].concat())).await.unwrap();
    let mut answer = [0; 14];
    read.read_exact(&mut answer).await.unwrap();
    // Everything that begins with m, again and again, and nobody reads what comes.
    let filter = tlv(0xa4, &[tlv(4, b"mail"), tlv(0x30, &tlv(0x80, b"m"))].concat());
    let search = [
        tlv(4, BASE.as_bytes()),
        b"\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00".to_vec(),
        filter,
        tlv(0x30, b""),
    ];
    let search = tlv(0x30, &[b"\x02\x01\x02".to_vec(), tlv(0x63, &search.concat())].concat());
    let many = search.repeat(100);
    // It is stuck when it takes no more of our questions.
    let stuck = async {
        loop {
            let sent = write.write_all(&many);
            if tokio::time::timeout(Duration::from_secs(3), sent).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), stuck)
        .await
        .expect("it takes questions for ever");
    let killed = relay.said(&[
        "session",
        "kill",
        "--mailbox",
        "marie.martin@hopital.mssante.test",
        "--reason",
        "it hangs",
    ]);
    assert!(killed.contains("One session"), "{killed}");
    let gone = async {
        let mut room = vec![0; 65_536];
        while read.read(&mut room).await.is_ok_and(|octets| octets > 0) {}
    };
    tokio::time::timeout(Duration::from_secs(40), gone)
        .await
        .expect("the connection is still open");
    assert_eq!(found(&relay, &["(sn=lumier)"]).0, 0);
}
