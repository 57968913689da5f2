//! Every TLS configuration of a relay, and how it changes while the relay runs.
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::Context;
use aws_lc_rs::digest::SHA256;
use rustls::ClientConfig;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroize;

use crate::domain::time::Timestamp;
use crate::infra::net::Identity;
use crate::infra::net::Judged;
use crate::infra::net::Judgements;
use crate::infra::net::NetError;
use crate::infra::net::Purpose;
use crate::infra::net::TestAuthorities;
use crate::infra::net::load_anchors_except;
use crate::infra::net::operators_tls;
use crate::infra::net::people_tls_asking;
use crate::infra::net::towards_operators_tls;

/// The doors where people log in, by the names under which they ask for their TLS.
const PEOPLE_DOORS: [&str; 10] = [
    "submission",
    "submissions",
    "imap",
    "imaps",
    "pop3",
    "pop3s",
    "managesieve",
    "ldap",
    "ldaps",
    "https",
];
/// What is spoken behind TLS at the door of pages. Mail doors name no protocol.
const HTTPS: &str = "https";
const HTTP_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Every TLS configuration of a relay. Asked anew for each handshake, because certificates, keys
/// and anchors change while the relay runs. An open session keeps what it began with.
///
/// # Who judges certificates
/// The operators' door asks for a certificate and checks that the peer holds its key, and no
/// more: a handshake takes a missing, a self-signed or an expired one. Whoever serves that door
/// must judge the peer before it listens to it, with [`TlsBook::judge`]. Towards operators the handshake judges, because there *we* leave.
pub struct TlsBook {
    files: Files,
    current: ArcSwap<Current>,
    /// Two changes at once would lose one.
    changing: Mutex<()>,
}

/// Where everything lies.
struct Files {
    people: (PathBuf, PathBuf),
    operator: (PathBuf, PathBuf),
    anchors: Vec<PathBuf>,
    software: Vec<PathBuf>,
    tests: TestAuthorities,
}

/// What the files hold. The key of each certificate is there and fits.
#[derive(Debug)]
pub struct Material {
    /// For the doors where people log in.
    pub people: Identity,
    /// Between operators.
    pub operator: Identity,
    /// The CA certificates under which operators stand.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The CA certificates of software that logs in at people's doors; mostly none.
    pub software: Vec<CertificateDer<'static>>,
}

/// One state, replaced as a whole.
struct Current {
    material: Material,
    people: BTreeMap<&'static str, Arc<ServerConfig>>,
    operators: Arc<ServerConfig>,
    towards_operators: Arc<ClientConfig>,
    judgements: Arc<Judgements>,
    software: Arc<Judgements>,
}

impl TlsBook {
    /// Reads all files. `tests`: whether anchors of the TEST hierarchy are taken, now and at each
    /// later reading.
    ///
    /// # Errors
    /// [`NetError`] names the file.
    pub fn load(
        people: (&Path, &Path),
        operator: (&Path, &Path),
        anchors: &[PathBuf],
        tests: TestAuthorities,
    ) -> Result<Self, NetError> {
        let owned = |pair: (&Path, &Path)| (pair.0.to_owned(), pair.1.to_owned());
        let files = Files {
            people: owned(people),
            operator: owned(operator),
            anchors: anchors.to_vec(),
            software: Vec::new(),
            tests,
        };
        let current = Current::new(files.read()?, None)?;
        Ok(Self { files, current: ArcSwap::from_pointee(current), changing: Mutex::new(()) })
    }

    /// The same book, whose people's doors of mail ask for certificates of these authorities. The
    /// pages do not ask: a browser would ask whoever sits there, at each visit.
    ///
    /// # Errors
    /// [`NetError`] names the file.
    pub fn with_software(mut self, anchors: &[PathBuf]) -> Result<Self, NetError> {
        self.files.software = anchors.to_vec();
        self.current = ArcSwap::from_pointee(Current::new(self.files.read()?, None)?);
        Ok(self)
    }

    /// For a door where people log in. Each listener has its own keys for tickets and its own
    /// memory of sessions, so that a session of one door is never resumed at another.
    pub fn people(&self, listener: &'static str) -> Arc<ServerConfig> {
        let current = self.current.load();
        let known = current.people.get(listener).or_else(|| current.people.get(HTTPS));
        debug_assert!(current.people.contains_key(listener), "{listener} is no door of people");
        Arc::clone(known.expect("every state is built with all doors"))
    }

    /// For the operators' door. See [`TlsBook`] for what its handshake does not judge.
    pub fn operators(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().operators)
    }

    /// Towards other operators. Another `Arc` after each change of our certificate or of the
    /// anchors, and only then.
    pub fn towards_operators(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().towards_operators)
    }

    /// The CA certificates under which operators stand.
    pub fn anchors(&self) -> Arc<Vec<CertificateDer<'static>>> {
        self.current.load().judgements.anchors()
    }

    /// Judges what a peer has shown, leaf first, under the anchors that count now: its path, dates
    /// and purpose. Who was judged before with the same certificates is known again, so ask here
    /// for each connection rather than [`verified_path`](super::verified_path).
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn judge(
        &self,
        shown: &[CertificateDer<'_>],
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Arc<Judged>, String> {
        let judgements = Arc::clone(&self.current.load().judgements);
        judgements.judge(shown, purpose, now)
    }

    /// Judges what software has shown at a people's door, leaf first, under the anchors that count
    /// now: its path, dates and purpose.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn judge_software(
        &self,
        shown: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Arc<Judged>, String> {
        let judgements = Arc::clone(&self.current.load().software);
        judgements.judge(shown, Purpose::Client { or_server: false }, now)
    }

    /// The chain that people's programs see, leaf first.
    pub fn people_chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().material.people.chain.clone()
    }

    /// The chain that other operators see, leaf first.
    pub fn operator_chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().material.operator.chain.clone()
    }

    /// The certificate and key between operators that are in use: what stays when new ones wait.
    pub fn operator_identity(&self) -> Identity {
        self.current.load().material.operator.duplicate()
    }

    /// The same for the doors of people.
    pub fn people_identity(&self) -> Identity {
        self.current.load().material.people.duplicate()
    }

    /// What lies in the files now; nothing is changed by reading it. Blocks for the disk.
    ///
    /// # Errors
    /// [`NetError`] names the first file that cannot be used: missing, not PEM, a key that does
    /// not belong to its certificate.
    pub fn read(&self) -> Result<Material, NetError> {
        self.files.read()
    }

    /// SHA-256 over the content of all files: another value means that somebody changed one.
    /// Content and not dates, because a renewal may come as a swapped link or with old dates.
    /// Blocks for the disk.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.files.fingerprint()
    }

    /// Puts this in the place of what is in use, all of it or nothing. Open sessions go on.
    /// Where a certificate stays the same, its door's tickets go on counting; a ticket that was
    /// given under a certificate that is gone is not taken any more, and costs its bearer one
    /// whole handshake.
    ///
    /// # Errors
    /// [`NetError::Tls`] when the library refuses a part; everything stays as it was.
    pub fn apply(&self, material: Material) -> Result<(), NetError> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        self.current.store(Arc::new(Current::new(material, Some(&before))?));
        Ok(())
    }
}

impl Current {
    /// Keeps those parts of the state before that nothing has changed.
    fn new(material: Material, before: Option<&Self>) -> Result<Self, NetError> {
        let same = |is_same: fn(&Material, &Material) -> bool| {
            before.filter(|before| is_same(&before.material, &material))
        };
        let of_people = |old: &Material, new: &Material| {
            old.people.chain == new.people.chain && old.software == new.software
        };
        let (people, software) = match same(of_people) {
            Some(before) => (before.people.clone(), Arc::clone(&before.software)),
            None => (
                doors(&material.people, &material.software)?,
                Arc::new(Judgements::new(Arc::new(material.software.clone()))),
            ),
        };
        let of_operators = |old: &Material, new: &Material| {
            old.operator.chain == new.operator.chain && old.anchors == new.anchors
        };
        let (operators, towards_operators, judgements) = match same(of_operators) {
            Some(before) => (
                Arc::clone(&before.operators),
                Arc::clone(&before.towards_operators),
                Arc::clone(&before.judgements),
            ),
            None => (
                operators_tls(material.operator.duplicate(), &material.anchors)?,
                towards_operators_tls(material.operator.duplicate(), &material.anchors)?,
                Arc::new(Judgements::new(Arc::new(material.anchors.clone()))),
            ),
        };
        Ok(Self { material, people, operators, towards_operators, judgements, software })
    }
}

/// One configuration a door: what they share is the certificate, and nothing that resumes.
fn doors(
    identity: &Identity,
    software: &[CertificateDer<'static>],
) -> Result<BTreeMap<&'static str, Arc<ServerConfig>>, NetError> {
    let door = |name: &'static str| {
        // Nobody logs in to the address book by certificate either.
        let asks = ![HTTPS, "ldap", "ldaps"].contains(&name);
        let asked_for = if asks { software } else { &[] };
        let mut config = people_tls_asking(identity.duplicate(), asked_for)?;
        if name == HTTPS {
            Arc::make_mut(&mut config).alpn_protocols = HTTP_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        }
        Ok((name, config))
    };
    PEOPLE_DOORS.into_iter().map(door).collect()
}

impl Files {
    fn read(&self) -> Result<Material, NetError> {
        Ok(Material {
            people: Identity::load(&self.people.0, &self.people.1)?,
            operator: Identity::load(&self.operator.0, &self.operator.1)?,
            anchors: load_anchors_except(&self.anchors, self.tests)?,
            software: match self.software.as_slice() {
                [] => Vec::new(),
                files => load_anchors_except(files, self.tests)?,
            },
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut whole = Context::new(&SHA256);
        let pairs = [&self.people.0, &self.people.1, &self.operator.0, &self.operator.1];
        for file in pairs.into_iter().chain(&self.anchors).chain(&self.software) {
            match super::material::read(file, "a PEM file") {
                Ok(mut content) => {
                    whole.update(&[1]);
                    whole.update(aws_lc_rs::digest::digest(&SHA256, &content).as_ref());
                    content.zeroize();
                }
                // A file that is gone is a change, and one that comes back another.
                Err(_) => whole.update(&[0]),
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(whole.finish().as_ref());
        fingerprint
    }
}
