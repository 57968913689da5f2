//! Debian's slapd in a temporary folder, with its own authority, and a proxy before it that
//! behaves badly.
use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

pub(crate) const SUFFIX: &str = "dc=hopital,dc=test";
pub(crate) const SERVICE: &str = "cn=relay,ou=services,dc=hopital,dc=test";
pub(crate) const SERVICE_PASSWORD: &str = "service secret";

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of a hospital.
pub(crate) const PEOPLE: &str = r#"dn: dc=hopital,dc=test
objectClass: dcObject
objectClass: organization
o: Hopital
dc: hopital

dn: ou=people,dc=hopital,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=hopital,dc=test
objectClass: organizationalUnit
ou: groups

dn: ou=services,dc=hopital,dc=test
objectClass: organizationalUnit
ou: services

dn: cn=relay,ou=services,dc=hopital,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: relay
userPassword: service secret

dn: uid=hugo,ou=people,dc=hopital,dc=test
objectClass: inetOrgPerson
uid: hugo
cn: Hugo Le Gall
sn: Le Gall
displayName: Dr Hugo LE GALL
mail: hugo@hopital.mssante.test
mail: cardiologie@hopital.mssante.test
mail: not an address
employeeNumber: 10001234567
userPassword: hugo's password

dn: cn=Martin\, Claire (1),ou=people,dc=hopital,dc=test
objectClass: inetOrgPerson
uid: claire
cn: Martin, Claire (1)
sn: Martin
mail: claire@hopital.mssante.test
userPassword: claire's password

dn: uid=twin1,ou=people,dc=hopital,dc=test
objectClass: inetOrgPerson
uid: twin1
uid: twin
cn: Twin
sn: Twin
mail: twin@hopital.mssante.test
userPassword: twin's password

dn: uid=twin2,ou=people,dc=hopital,dc=test
objectClass: inetOrgPerson
uid: twin2
uid: twin
cn: Twin
sn: Twin
mail: twin@hopital.mssante.test
userPassword: twin's password

dn: uid=left,ou=people,dc=hopital,dc=test
objectClass: inetOrgPerson
uid: left
cn: Left
sn: Left
employeeType: left
mail: left@hopital.mssante.test
userPassword: left's password

dn: cn=mss,ou=groups,dc=hopital,dc=test
objectClass: groupOfNames
cn: mss
member: cn=cardiology,ou=groups,dc=hopital,dc=test

dn: cn=cardiology,ou=groups,dc=hopital,dc=test
objectClass: groupOfNames
cn: cardiology
member: cn=doctors\, all (1),ou=groups,dc=hopital,dc=test
member: cn=mss,ou=groups,dc=hopital,dc=test

dn: cn=doctors\, all (1),ou=groups,dc=hopital,dc=test
objectClass: groupOfNames
cn: doctors, all (1)
member: cn=Martin\, Claire (1),ou=people,dc=hopital,dc=test
member: cn=cardiology,ou=groups,dc=hopital,dc=test

dn: cn=circle,ou=groups,dc=hopital,dc=test
objectClass: groupOfNames
cn: circle
member: cn=round,ou=groups,dc=hopital,dc=test
member: uid=hugo,ou=people,dc=hopital,dc=test

dn: cn=round,ou=groups,dc=hopital,dc=test
objectClass: groupOfNames
cn: round
member: cn=circle,ou=groups,dc=hopital,dc=test
"#;

/// An authority and a certificate for 127.0.0.1, as PEM files.
pub(crate) struct Pki {
    pub(crate) anchors: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "AC DU TEST LDAP");
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let server =
            rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let written = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            file
        };
        Self {
            anchors: written("ldap-ca.pem", authority_certificate.pem()),
            certificate: written("ldap.pem", server.pem()),
            key: written("ldap.key", key.serialize_pem()),
        }
    }
}

/// A running slapd. Killed when dropped.
pub(crate) struct Slapd {
    folder: PathBuf,
    pub(crate) ldap: u16,
    pub(crate) ldaps: u16,
    child: Option<Child>,
}

impl Slapd {
    pub(crate) fn start(folder: &Path, pki: &Pki) -> Self {
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let config = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             attributetype ( 1.3.6.1.4.1.3401.8.2.11 NAME 'pgpKey' EQUALITY caseIgnoreMatch \
             SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n\
             attributetype ( 1.3.6.1.4.1.3401.8.2.99 NAME 'pgpKeyBinary' \
             SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n\
             objectclass ( 1.3.6.1.4.1.3401.8.2.24 NAME 'pgpKeyInfo' SUP top AUXILIARY \
             MAY ( pgpKey $ pgpKeyBinary ) )\n\
             pidfile {folder}/slapd.pid\n\
             modulepath /usr/lib/ldap\n\
             moduleload back_mdb\n\
             TLSCertificateFile {certificate}\n\
             TLSCertificateKeyFile {key}\n\
             TLSVerifyClient never\n\
             database mdb\n\
             maxsize 16777216\n\
             suffix \"{SUFFIX}\"\n\
             directory {folder}/data\n\
             rootdn \"cn=admin,{SUFFIX}\"\n\
             rootpw admin\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"{SERVICE}\" read by * none\n",
            folder = folder.display(),
            certificate = pki.certificate.display(),
            key = pki.key.display(),
        );
        fs::write(folder.join("slapd.conf"), config).unwrap();
        fs::write(folder.join("people.ldif"), PEOPLE).unwrap();
        let loaded = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(folder.join("slapd.conf"))
            .arg("-l")
            .arg(folder.join("people.ldif"))
            .output()
            .expect("slapadd (package slapd)");
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let (ldap, ldaps) = (free_port(), free_port());
        let mut slapd = Self { folder: folder.to_owned(), ldap, ldaps, child: None };
        slapd.begin();
        slapd
    }

    /// Starts (again).
    pub(crate) fn begin(&mut self) {
        let log = fs::File::create(self.folder.join("slapd.log")).unwrap();
        let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.ldap, self.ldaps);
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &urls, "-f"])
            .arg(self.folder.join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("slapd (package slapd)");
        self.child = Some(child);
        let mut waited = Duration::ZERO;
        let open = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(open(self.ldap) && open(self.ldaps)) {
            let log = || fs::read_to_string(self.folder.join("slapd.log")).unwrap_or_default();
            assert!(waited < PATIENCE, "slapd does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
    }

    /// SIGKILL: connections break, the port is closed.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Changes entries as their administrator does.
    pub(crate) fn modify(&self, ldif: &str) {
        let file = self.folder.join("change.ldif");
        fs::write(&file, ldif).unwrap();
        let changed = Command::new("ldapmodify")
            .args(["-x", "-H", &self.plain(), "-D", &format!("cn=admin,{SUFFIX}"), "-w", "admin"])
            .arg("-f")
            .arg(file)
            .output()
            .expect("ldapmodify (package ldap-utils)");
        assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    }

    pub(crate) fn plain(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ldap)
    }

    pub(crate) fn tls(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ldaps)
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// How a proxy treats what the server says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// As it comes.
    Honest,
    /// Connects and says nothing.
    Silent,
    /// An octet each 300 ms.
    Slow,
    /// So many octets, then nothing.
    Halfway(usize),
    /// Answers StartTLS, and everything else, with these octets.
    Says(&'static [u8]),
}

/// A proxy on a free port; how many connections it took.
pub(crate) async fn proxy(to: u16, manner: Manner) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(client, to, manner));
        }
    });
    (address, taken)
}

async fn serve(mut client: TcpStream, to: u16, manner: Manner) {
    if let Manner::Says(octets) = manner {
        let mut question = [0; 1_024];
        let _ = client.read(&mut question).await;
        let _ = client.write_all(octets).await;
        // What comes next must be nothing: a password would be seen here.
        let next = client.read(&mut question).await.unwrap_or(0);
        assert_eq!(next, 0, "something was said in clear");
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let (mut octets, mut left) = ([0; 1], usize::MAX);
        if let Manner::Halfway(some) = manner {
            left = some;
        }
        loop {
            if left == 0 || matches!(manner, Manner::Silent) {
                std::future::pending::<()>().await;
            }
            if from_server.read_exact(&mut octets).await.is_err() {
                return;
            }
            if matches!(manner, Manner::Slow) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            if to_client.write_all(&octets).await.is_err() {
                return;
            }
            left -= 1;
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}
