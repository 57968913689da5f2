//! Asking for a password without showing it, making one, and hashing the administrator's.
use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::bail;
use argon2::Argon2;
use argon2::PasswordHasher;
use zeroize::Zeroize;

use crate::cli::arguments::PasswordSource;
use crate::cli::output;
use crate::domain::limits;
use crate::domain::secret::Secret;

/// Letters and digits that are not taken for one another: 32, so that a random octet's low five
/// bits choose one without preference.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a made password: 20 of five bits, which nobody guesses.
const LETTERS: usize = 20;
/// Octets of a line that is read from standard input.
const LINE_OCTETS_MAX: u64 = 4_096;

/// A password, and whether it was made here and must be shown.
pub(super) struct Chosen {
    pub(super) password: Secret<String>,
    pub(super) made: bool,
}

/// No password: the empty one, which nobody can choose.
pub(super) fn none() -> Chosen {
    Chosen { password: Secret::new(String::new()), made: false }
}

/// Asks, reads or makes, as the options say.
pub(super) fn choose(source: PasswordSource) -> anyhow::Result<Chosen> {
    if source.generate {
        return Ok(Chosen { password: generate()?, made: true });
    }
    if source.password_stdin {
        let password = read_line().context("no password on standard input")?;
        return Ok(Chosen { password, made: false });
    }
    if !io::stdin().is_terminal() {
        bail!(
            "standard input is not a terminal: use --password-stdin to read the password from it, \
             or --generate"
        );
    }
    let password = ask("New password: ")?;
    if *ask("Once more: ")?.expose() != *password.expose() {
        bail!("the two passwords differ");
    }
    Ok(Chosen { password, made: false })
}

/// Reads a line of standard input, without its end and without reading further.
pub(super) fn read_line() -> anyhow::Result<Secret<String>> {
    let mut line = String::new();
    // The lock is the process's one buffer, so that a second call goes on behind this line.
    io::Read::take(&mut io::stdin().lock(), LINE_OCTETS_MAX).read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    if line.is_empty() {
        bail!("the line is empty");
    }
    Ok(Secret::new(line))
}

fn ask(question: &str) -> anyhow::Result<Secret<String>> {
    let _quiet = Quiet::begin()?;
    let _ = write!(io::stderr(), "{question}");
    let _ = io::stderr().flush();
    let line = read_line();
    output::tell("");
    line
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet;

impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        if !stty("-echo") {
            bail!("cannot make the terminal hide what is typed; use --password-stdin");
        }
        Ok(Self)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        stty("echo");
    }
}

/// coreutils' `stty` does what would need `unsafe` here.
fn stty(setting: &str) -> bool {
    Command::new("stty").arg(setting).stdin(Stdio::inherit()).status().is_ok_and(|s| s.success())
}

pub(super) fn generate() -> anyhow::Result<Secret<String>> {
    let mut random = [0_u8; LETTERS];
    aws_lc_rs::rand::fill(&mut random).ok().context("the system gave no random numbers")?;
    let mut password = String::with_capacity(LETTERS + LETTERS / 4);
    for (place, octet) in random.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(octet % 32)]));
    }
    random.zeroize();
    Ok(Secret::new(password))
}

/// The hash of an administrator's password.
pub(super) fn hash(password: &Secret<String>) -> anyhow::Result<String> {
    let length = password.expose().chars().count();
    if !(limits::PASSWORD_CHARACTERS_MIN..=limits::PASSWORD_CHARACTERS_MAX).contains(&length) {
        bail!(
            "a password has {} to {} characters",
            limits::PASSWORD_CHARACTERS_MIN,
            limits::PASSWORD_CHARACTERS_MAX
        );
    }
    let hash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(hash.to_string())
}

/// What a file of lines holds; nothing when there is none yet.
pub(super) fn read_private(file: &Path) -> anyhow::Result<Secret<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Secret::new(String::new())),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes lines for their owner alone, whole or not at all.
pub(super) fn write_private(file: &Path, line: &Secret<String>) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = file.file_name().context("--file names no file")?.to_string_lossy();
    let new = folder.join(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    // `create_new` does not follow a link that somebody put there.
    let mut paper = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    writeln!(paper, "{}", line.expose())?;
    paper.sync_all()?;
    fs::rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use argon2::PasswordVerifier;
    use argon2::password_hash::phc::PasswordHash;

    use super::*;

    #[test]
    fn a_made_password_is_long_and_new_each_time() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.expose().len(), 24);
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn the_administrators_password_is_kept_as_an_argon2id_hash_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin.passwd");
        assert!(read_private(&file).unwrap().expose().is_empty());
        for password in ["first password", "second password"] {
            let hash = hash(&Secret::new(password.to_owned())).unwrap();
            write_private(&file, &Secret::new(hash)).unwrap();
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("$argon2id$"), "{text}");
        let hash = PasswordHash::new(text.trim()).unwrap();
        assert!(Argon2::default().verify_password(b"second password", &hash).is_ok());
        assert!(Argon2::default().verify_password(b"first password", &hash).is_err());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
