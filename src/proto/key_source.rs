//! Where a master key lies, as administrators write it: a path, `credential:NAME`, or the URI of
//! an object in a hardware token (RFC 7512).
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

/// Characters of a URI, and of a credential's name.
const TEXT_MAX: usize = 1_024;
/// Begins the URI of an object in a token (RFC 7512 §2.3).
const TOKEN_SCHEME: &str = "pkcs11:";
/// Begins the name of a credential of systemd.
const CREDENTIAL_SCHEME: &str = "credential:";

/// Where a master key lies. `Display` is the form that was read; it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that only its owner reads.
    File(PathBuf),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An AES key inside a token, which wraps the key that we use.
    Token(Box<TokenUri>),
}

/// A secret key in a token, and how it is reached. What is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// Label of the token.
    pub token: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Number of its slot.
    pub slot_id: Option<u64>,
    /// Label of the key.
    pub object: Option<String>,
    /// CKA_ID of the key.
    pub id: Option<Vec<u8>>,
    /// The vendor's library.
    pub module_path: PathBuf,
    /// The file with the PIN; `None` for a token that wants none.
    pub pin_source: Option<PathBuf>,
    text: String,
}

/// Why a text is no source of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    /// Nothing there, or too much.
    #[error(
        "a path, credential:NAME or a pkcs11: URI of at most {TEXT_MAX} characters is expected"
    )]
    Length,
    /// The name must be that of a file.
    #[error("credential:NAME: a name has letters, digits, dots, dashes and underscores")]
    CredentialName,
    /// No `attribute=value`, or a bad percent encoding.
    #[error("pkcs11: {0:?} is not attribute=value in UTF-8 with %XX escapes")]
    Attribute(String),
    /// RFC 7512 §2.3: an attribute stands once.
    #[error("pkcs11: {0} stands twice")]
    Twice(String),
    /// We would look at another key than is meant.
    #[error("pkcs11: the attribute {0:?} is not known here")]
    Unknown(String),
    /// A secret in the configuration.
    #[error(
        "pkcs11: pin-value would be a secret in the configuration: write the PIN to a file of mode \
         600 and name it with pin-source=file:/path"
    )]
    PinValue,
    /// RFC 7512 §2.4 knows commands too.
    #[error("pkcs11: pin-source is a file here: pin-source=file:/path")]
    PinSource,
    /// Only the path says which code runs in our process.
    #[error("pkcs11: module-path=/path/of/the/library.so is missing, or not absolute")]
    ModulePath,
    /// Any key of any token would do.
    #[error(
        "pkcs11: name the key by object=LABEL or id=%XX…, and its token by token=LABEL or serial=…"
    )]
    TooWide,
    /// Not a key that encrypts by itself.
    #[error("pkcs11: type is secret-key here")]
    Type,
}

impl KeySource {
    /// Reads the form of the configuration. A path stays as it is written.
    pub fn parse(text: &str) -> Result<Self, KeySourceError> {
        if text.is_empty() || text.len() > TEXT_MAX {
            return Err(KeySourceError::Length);
        }
        if let Some(name) = text.strip_prefix(CREDENTIAL_SCHEME) {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            return match !name.is_empty() && name.chars().all(fits) && !name.starts_with('.') {
                true => Ok(Self::Credential(name.to_owned())),
                false => Err(KeySourceError::CredentialName),
            };
        }
        match text.strip_prefix(TOKEN_SCHEME) {
            Some(rest) => TokenUri::parse(text, rest).map(Box::new).map(Self::Token),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }

    /// The same, with a relative path in this folder.
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }

    /// `file`, `credential`, `pkcs11`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Credential(_) => "credential",
            Self::Token(_) => "pkcs11",
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Credential(name) => write!(f, "{CREDENTIAL_SCHEME}{name}"),
            Self::Token(uri) => f.write_str(&uri.text),
        }
    }
}

impl TokenUri {
    fn parse(text: &str, rest: &str) -> Result<Self, KeySourceError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { text: text.to_owned(), ..Self::default() };
        let mut seen = Vec::new();
        for pair in path.split(';').filter(|pair| !pair.is_empty()) {
            let (name, octets) = attribute(pair, &mut seen)?;
            let value = || text_of(pair, &octets);
            match name {
                "token" => uri.token = Some(value()?),
                "manufacturer" => uri.manufacturer = Some(value()?),
                "serial" => uri.serial = Some(value()?),
                "model" => uri.model = Some(value()?),
                "object" => uri.object = Some(value()?),
                "id" => uri.id = Some(octets),
                "slot-id" => {
                    let number = value()?.parse();
                    let number = number.map_err(|_| KeySourceError::Attribute(pair.to_owned()))?;
                    uri.slot_id = Some(number);
                }
                "type" if octets == b"secret-key" => {}
                "type" => return Err(KeySourceError::Type),
                _ => return Err(KeySourceError::Unknown(name.to_owned())),
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // Before anything of it is quoted in an error.
            if pair.starts_with("pin-value") {
                return Err(KeySourceError::PinValue);
            }
            let (name, octets) = attribute(pair, &mut seen)?;
            match name {
                "module-path" => uri.module_path = PathBuf::from(text_of(pair, &octets)?),
                "pin-source" => uri.pin_source = Some(pin_file(&text_of(pair, &octets)?)?),
                _ => return Err(KeySourceError::Unknown(name.to_owned())),
            }
        }
        if !uri.module_path.is_absolute() {
            return Err(KeySourceError::ModulePath);
        }
        let names_token = uri.token.is_some() || uri.serial.is_some() || uri.slot_id.is_some();
        match names_token && (uri.object.is_some() || uri.id.is_some()) {
            true => Ok(uri),
            false => Err(KeySourceError::TooWide),
        }
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// RFC 7512 §2.4: `file:/path`, `file:///path`, or a plain path.
fn pin_file(text: &str) -> Result<PathBuf, KeySourceError> {
    let path = match text.strip_prefix("file:") {
        Some(path) => path.strip_prefix("//").unwrap_or(path),
        None => text,
    };
    match path.starts_with('/') {
        true => Ok(PathBuf::from(path)),
        false => Err(KeySourceError::PinSource),
    }
}

/// The name, and the value without its escapes (RFC 3986 §2.1).
fn attribute<'t>(
    pair: &'t str,
    seen: &mut Vec<&'t str>,
) -> Result<(&'t str, Vec<u8>), KeySourceError> {
    let bad = || KeySourceError::Attribute(pair.to_owned());
    let (name, value) = pair.split_once('=').ok_or_else(bad)?;
    if seen.contains(&name) {
        return Err(KeySourceError::Twice(name.to_owned()));
    }
    seen.push(name);
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
                u8::try_from(high << 4 | low).map_err(|_| bad())?
            }
            other => other,
        });
    }
    Ok((name, octets))
}

fn text_of(pair: &str, octets: &[u8]) -> Result<String, KeySourceError> {
    let bad = |_| KeySourceError::Attribute(pair.to_owned());
    let text = std::str::from_utf8(octets).map_err(bad)?;
    match text.is_empty() || text.contains('\0') {
        true => Err(KeySourceError::Attribute(pair.to_owned())),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "pkcs11:token=Vaguemestre%20HSM;object=master;id=%01%ff;type=secret-key\
        ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/vaguemestre/pin";

    fn refused(text: &str) -> KeySourceError {
        KeySource::parse(text).unwrap_err()
    }

    #[test]
    fn a_path_a_credential_and_a_token_are_told_apart_and_written_back() {
        let file = KeySource::parse("/etc/vaguemestre/master.key").unwrap();
        assert_eq!(file, KeySource::File("/etc/vaguemestre/master.key".into()));
        assert_eq!(
            KeySource::parse("master.key").unwrap().within(Path::new("/etc")),
            KeySource::File("/etc/master.key".into())
        );
        let credential = KeySource::parse("credential:master-key").unwrap();
        assert_eq!(credential, KeySource::Credential("master-key".to_owned()));
        let KeySource::Token(uri) = KeySource::parse(URI).unwrap() else { panic!("no token") };
        assert_eq!(uri.token.as_deref(), Some("Vaguemestre HSM"));
        assert_eq!(uri.object.as_deref(), Some("master"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xff][..]));
        assert_eq!(uri.module_path, Path::new("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("/etc/vaguemestre/pin")));
        for text in ["/etc/vaguemestre/master.key", "credential:master-key", URI] {
            assert_eq!(KeySource::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_pin_in_the_configuration_is_refused_and_not_repeated() {
        let error = refused("pkcs11:token=a;object=b?module-path=/m.so&pin-value=1234");
        assert_eq!(error, KeySourceError::PinValue);
        assert!(!error.to_string().contains("1234"));
    }

    #[test]
    fn a_uri_that_says_too_little_too_much_or_something_unknown_is_refused() {
        let of = |path: &str| refused(&format!("pkcs11:{path}"));
        assert_eq!(of("token=a;object=b"), KeySourceError::ModulePath);
        assert_eq!(of("token=a;object=b?module-path=m.so"), KeySourceError::ModulePath);
        assert_eq!(of("token=a?module-path=/m.so"), KeySourceError::TooWide);
        assert_eq!(of("object=a?module-path=/m.so"), KeySourceError::TooWide);
        assert_eq!(of("token=a;token=b"), KeySourceError::Twice("token".to_owned()));
        assert_eq!(of("token=a;colour=b"), KeySourceError::Unknown("colour".to_owned()));
        assert_eq!(of("token=a;type=private"), KeySourceError::Type);
        for bad in ["token", "token=%", "token=%4", "token=%zz", "token=", "token=%00", "token=%ff"]
        {
            assert_eq!(of(bad), KeySourceError::Attribute(bad.to_owned()), "{bad}");
        }
        let of = |source: &str| {
            refused(&format!("pkcs11:token=a;object=b?module-path=/m.so&pin-source={source}"))
        };
        assert_eq!(of("|cat /pin"), KeySourceError::PinSource);
        assert_eq!(of("file:pin"), KeySourceError::PinSource);
        assert_eq!(of("https://pin"), KeySourceError::PinSource);
    }

    #[test]
    fn a_credential_cannot_name_a_file_elsewhere() {
        for name in ["", "../key", "a/b", ".hidden", "a b"] {
            assert_eq!(refused(&format!("credential:{name}")), KeySourceError::CredentialName);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fall_over(text in ".{0,200}") {
            let _ = KeySource::parse(&text);
            let _ = KeySource::parse(&format!("pkcs11:{text}"));
        }
    }
}
