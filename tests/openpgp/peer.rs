//! A program of others behind one command line (`peers/`), and what it does not do, in its own
//! words.
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa3072,
    Cv25519,
    V6,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Rsa3072, Self::Cv25519, Self::V6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rsa3072 => "rsa3072",
            Self::Cv25519 => "cv25519",
            Self::V6 => "v6",
        }
    }
}

/// What a message is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) aead: bool,
    pub(super) signed: bool,
    pub(super) compressed: bool,
}

/// What becomes of AEAD when a peer writes.
#[derive(Clone, Copy)]
pub(super) enum Aead {
    /// SEIPD version 2.
    Written,
    /// It has nothing like it, and says this.
    Refused(&'static str),
    /// It writes SEIPD version 1, although our certificate reads both.
    Version1,
    /// It writes the packet of LibrePGP, which is answered as not read here.
    LibrePgp,
}

/// A program, and what it can and cannot.
pub(super) struct Peer {
    pub(super) name: &'static str,
    command: &'static [&'static str],
    /// The `gpg` to take, below the root of the sources; the system's if there is none.
    gpg: Option<&'static str>,
    /// What it says when it is asked for a key of version 6; `None`: it makes one.
    pub(super) no_v6: Option<&'static str>,
    pub(super) aead: Aead,
    /// Its certificates say that SEIPD version 2 is read.
    pub(super) reads_aead: bool,
}

pub(super) const PEERS: [Peer; 6] = [
    Peer {
        name: "GnuPG 2.2",
        command: &["sh", "gpg.sh"],
        gpg: None,
        no_v6: Some("Key generation failed: Unknown elliptic curve"),
        aead: Aead::Refused("invalid option \"--force-ocb\""),
        reads_aead: false,
    },
    Peer {
        name: "GnuPG 2.4",
        command: &["sh", "gpg.sh"],
        gpg: Some("target/gnupg24/bin/gpg"),
        no_v6: Some("Key generation failed: Unknown elliptic curve"),
        aead: Aead::LibrePgp,
        reads_aead: false,
    },
    Peer {
        name: "sq",
        command: &["sh", "sq.sh"],
        gpg: None,
        no_v6: Some("\"v6\" isn't a valid value for '--cipher-suite"),
        aead: Aead::Version1,
        reads_aead: false,
    },
    Peer {
        name: "RNP",
        command: &["sh", "rnp.sh"],
        gpg: None,
        no_v6: Some("RNP makes no keys of version 6"),
        aead: Aead::LibrePgp,
        reads_aead: false,
    },
    Peer {
        name: "PGPy",
        // The system's Python: python3-pgpy is Debian's.
        command: &["/usr/bin/python3", "pgpy_peer.py"],
        gpg: None,
        no_v6: Some("PGPy makes no keys of version 6"),
        aead: Aead::Refused("PGPy writes no AEAD"),
        reads_aead: false,
    },
    Peer {
        name: "OpenPGP.js",
        command: &["node", "openpgpjs.mjs"],
        gpg: None,
        no_v6: None,
        aead: Aead::Written,
        reads_aead: true,
    },
];

/// A key of a peer, in a folder of its own.
pub(super) struct Key<'a> {
    peer: &'a Peer,
    folder: TempDir,
}

impl Peer {
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("tests/openpgp/peers");
        let (program, script) = (self.command[0], folder.join(self.command[1]));
        let output = Command::new(program)
            .arg(script)
            .args(arguments)
            .env("OPENPGPJS", root.join("target/openpgpjs"))
            .env("GPG", self.gpg.map_or("gpg".into(), |path| root.join(path)))
            .output()
            .unwrap_or_else(|error| panic!("{program} (scripts/need test says more): {error}"));
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(format!("{said}\n{}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    pub(super) fn version(&self) -> String {
        self.run(&["version"]).unwrap()
    }

    /// Makes a key, or says why not.
    pub(super) fn make(&self, kind: Kind) -> Result<Key<'_>, String> {
        let folder = tempfile::tempdir().unwrap();
        self.run(&["make", kind.name(), folder.path().to_str().unwrap()])?;
        Ok(Key { peer: self, folder })
    }
}

impl Key<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, octets: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, octets).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(super) fn certificate(&self) -> Vec<u8> {
        fs::read(self.path("cert.pgp")).unwrap()
    }

    /// Seals to a certificate.
    pub(super) fn seal(&self, to: &[u8], form: Form, clear: &[u8]) -> Result<Vec<u8>, String> {
        let (to, clear) = (self.put("to.pgp", to), self.put("clear", clear));
        let sealed = self.path("sealed.pgp");
        let _ = fs::remove_file(&sealed);
        let word = |is, yes, no| if is { yes } else { no };
        self.peer.run(&[
            "seal",
            self.folder.path().to_str().unwrap(),
            &to,
            word(form.aead, "aead", "v1"),
            word(form.signed, "signed", "plain"),
            word(form.compressed, "compressed", "none"),
            &clear,
            sealed.to_str().unwrap(),
        ])?;
        Ok(fs::read(sealed).unwrap())
    }

    /// Opens a message: its clear text, and `good`, `bad` or `unsigned`.
    pub(super) fn open(
        &self,
        message: &[u8],
        signer: Option<&[u8]>,
    ) -> Result<(Vec<u8>, String), String> {
        let signer = signer.map(|signer| self.put("signer.pgp", signer));
        let (message, clear) = (self.put("message.pgp", message), self.path("opened"));
        let _ = fs::remove_file(&clear);
        let folder = self.folder.path().to_str().unwrap();
        let signer = signer.as_deref().unwrap_or("-");
        let said = self.peer.run(&["open", folder, signer, &message, clear.to_str().unwrap()])?;
        Ok((fs::read(clear).unwrap(), said))
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // Only GnuPG leaves something running.
        if self.peer.name.starts_with("GnuPG") {
            let _ = self.peer.run(&["stop", self.folder.path().to_str().unwrap()]);
        }
    }
}
