//! Certification authorities made of the `openssl` program, each in a folder of its own.
use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub(super) const USERS: &str = "basicConstraints=critical,CA:FALSE\n\
     keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n";
const AUTHORITIES: &str = "basicConstraints=critical,CA:TRUE\n\
     keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";

/// An authority: `ca.pem`, `ca.key`, and OpenSSL's own book of what it issued.
pub(super) struct Authority {
    pub(super) folder: PathBuf,
}

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Issued {
    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).unwrap()
    }
}

/// Runs OpenSSL and shows what it says when it fails.
pub(super) fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let run = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "openssl {}: {said}", arguments.join(" "));
    run.stdout
}

impl Authority {
    /// A root that signs itself.
    pub(super) fn root(parent: &Path, folder: &str, common_name: &str) -> Self {
        Self::root_with(parent, folder, common_name, AUTHORITIES)
    }

    pub(super) fn root_with(parent: &Path, folder: &str, name: &str, extensions: &str) -> Self {
        let authority = Self::empty(parent.join(folder));
        let inside = &authority.folder;
        fs::write(inside.join("ca.ext"), extensions).unwrap();
        request(inside, "ca", name);
        let sign = "x509 -req -in ca.csr -signkey ca.key -days 3000 -extfile ca.ext -out ca.pem";
        openssl(inside, &sign.split(' ').collect::<Vec<_>>());
        authority
    }

    /// An authority below this one.
    pub(super) fn below(&self, common_name: &str, extensions: &str) -> Self {
        let below = Self::empty(self.folder.join(common_name));
        let issued = self.issue(common_name, &format!("{AUTHORITIES}{extensions}"));
        fs::copy(issued.certificate, below.folder.join("ca.pem")).unwrap();
        fs::copy(issued.key, below.folder.join("ca.key")).unwrap();
        below
    }

    fn empty(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.txt"), "").unwrap();
        fs::write(folder.join("serial"), "00F0A1\n").unwrap();
        fs::write(folder.join("crlnumber"), "01\n").unwrap();
        let authority = Self { folder };
        authority.configure("crl_extensions = list", "authorityKeyIdentifier = keyid");
        authority
    }

    fn configure(&self, lists: &str, extensions: &str) {
        let text = format!(
            "[ca]\ndefault_ca = me\n[me]\ndatabase = index.txt\nnew_certs_dir = .\n\
             serial = serial\ncrlnumber = crlnumber\ncertificate = ca.pem\nprivate_key = ca.key\n\
             default_md = sha256\ndefault_days = 1000\ndefault_crl_days = 1\npolicy = any\n\
             unique_subject = no\n{lists}\n[any]\ncommonName = supplied\n[list]\n{extensions}\n"
        );
        fs::write(self.folder.join("ca.cnf"), text).unwrap();
    }

    pub(super) fn issue(&self, common_name: &str, extensions: &str) -> Issued {
        let folder = &self.folder;
        request(folder, common_name, common_name);
        fs::write(folder.join("leaf.ext"), extensions).unwrap();
        let (asked, given) = (format!("{common_name}.csr"), format!("{common_name}.pem"));
        let fixed = "ca -batch -notext -config ca.cnf -extfile leaf.ext";
        let mut arguments: Vec<&str> = fixed.split(' ').collect();
        arguments.extend(["-in", &asked, "-out", &given]);
        openssl(folder, &arguments);
        let key = folder.join(format!("{common_name}.key"));
        Issued { certificate: folder.join(given), key }
    }

    pub(super) fn revoke(&self, issued: &Issued) {
        let certificate = issued.certificate.to_str().unwrap();
        openssl(&self.folder, &["ca", "-config", "ca.cnf", "-revoke", certificate]);
    }

    /// A list of a day, in PEM.
    pub(super) fn list(&self) -> Vec<u8> {
        self.list_with("authorityKeyIdentifier = keyid", &[])
    }

    /// A list with these extensions, and these arguments for `openssl ca`.
    pub(super) fn list_with(&self, extensions: &str, more: &[&str]) -> Vec<u8> {
        self.configure("crl_extensions = list", extensions);
        let fixed = "ca -config ca.cnf -gencrl -out list.pem";
        let mut arguments: Vec<&str> = fixed.split(' ').collect();
        arguments.extend(more);
        openssl(&self.folder, &arguments);
        fs::read(self.folder.join("list.pem")).unwrap()
    }

    /// A list as a file of its own.
    pub(super) fn list_file(&self, name: &str) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, self.list()).unwrap();
        file
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join("ca.pem")).unwrap()
    }

    /// Its own certificate and key, for a responder that is the authority itself.
    pub(super) fn itself(&self) -> Issued {
        Issued { certificate: self.folder.join("ca.pem"), key: self.folder.join("ca.key") }
    }

    /// The path of a certificate that it issued, when it is the anchor.
    pub(super) fn path(&self, issued: &Issued) -> Vec<CertificateDer<'static>> {
        vec![issued.der(), self.der()]
    }
}

fn request(folder: &Path, stem: &str, common_name: &str) {
    let (key, asked, name) =
        (format!("{stem}.key"), format!("{stem}.csr"), format!("/C=FR/CN={common_name}"));
    let fixed = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let mut arguments: Vec<&str> = fixed.split(' ').collect();
    arguments.extend(["-keyout", &key, "-out", &asked, "-subj", &name]);
    openssl(folder, &arguments);
}

/// In PEM given, in DER back.
pub(super) fn to_der(folder: &Path, list: &[u8]) -> Vec<u8> {
    fs::write(folder.join("to-der.pem"), list).unwrap();
    openssl(folder, &["crl", "-in", "to-der.pem", "-outform", "DER"])
}

/// A place that is free now.
pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// `openssl ocsp` as a responder.
pub(super) struct Responder(Child);

impl Responder {
    /// Answers from the book of `authority` and signs as `signer`.
    pub(super) fn start(
        authority: &Authority,
        address: SocketAddr,
        signer: &Issued,
        more: &[&str],
    ) -> Self {
        let port = address.port().to_string();
        let log = authority.folder.join("responder.log");
        let said = fs::File::create(&log).unwrap();
        let child = Command::new("openssl")
            .args(["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-port", &port])
            .arg("-rsigner")
            .arg(&signer.certificate)
            .arg("-rkey")
            .arg(&signer.key)
            .args(more)
            .current_dir(&authority.folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let responder = Self(child);
        // Not by connecting: it answers one after the other, and waits for what a probe will ask.
        for _ in 0..500 {
            if fs::read_to_string(&log).unwrap().contains("waiting for OCSP client") {
                return responder;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("openssl ocsp does not listen: {}", fs::read_to_string(&log).unwrap());
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
