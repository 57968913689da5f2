//! Signatures of S/MIME letters (RFC 8551 §3.5), looked at and never made; encrypted S/MIME is not
//! opened. Why: decision 17.
//!
//! With the feature `pgp-rust` there is no OpenSSL, and the answer is that nobody looked.
#[cfg(feature = "pgp-openssl")]
mod cms;

use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;

/// What an S/MIME signature says, in the words of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmimeVerdict {
    /// The octets are what the holder of this certificate signed, and one of our anchors vouches
    /// for it now. Whether the certificate was revoked is not asked here: whoever wants to know has
    /// the path.
    Good(SmimeSigner),
    /// The octets are what the holder of the certificate signed, and nobody here vouches for it:
    /// the names are what it says itself. The reason, for people.
    Untrusted(SmimeSigner, String),
    /// The signature is not good; the reason, for people.
    Bad(&'static str),
    /// This build has no OpenSSL.
    NotLooked,
}

/// Who signed, as the certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmimeSigner {
    /// Common name or organisation, on one line.
    pub subject: String,
    /// Its addresses (rfc822Name), to be compared with who the letter is from.
    pub addresses: Vec<Address>,
    /// The certificate (DER).
    pub certificate: Vec<u8>,
    /// How an anchor vouches for it (DER): the certificate first, the anchor last. Empty when none
    /// does.
    pub path: Vec<Vec<u8>>,
}

/// The authorities that vouch for S/MIME certificates. None is built in.
#[derive(Clone, Default)]
pub struct SmimeAnchors {
    #[cfg(feature = "pgp-openssl")]
    certificates: Vec<openssl::x509::X509>,
}

impl SmimeAnchors {
    /// Reads certificates of authorities (PEM, any number).
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when this is no PEM of certificates, or there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        #[cfg(feature = "pgp-openssl")]
        {
            let read = openssl::x509::X509::stack_from_pem(pem);
            let certificates = read.map_err(|error| KeyError::Certificate(error.to_string()))?;
            if certificates.is_empty() {
                return Err(KeyError::Certificate("no certificate in the file".to_owned()));
            }
            Ok(Self { certificates })
        }
        #[cfg(not(feature = "pgp-openssl"))]
        {
            let _ = pem;
            Ok(Self {})
        }
    }

    /// These, and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        #[cfg(feature = "pgp-openssl")]
        {
            let mut certificates = self.certificates;
            certificates.extend(others.certificates);
            Self { certificates }
        }
        #[cfg(not(feature = "pgp-openssl"))]
        others
    }

    /// Whether this build can look at signatures of S/MIME.
    pub const fn are_usable() -> bool {
        cfg!(feature = "pgp-openssl")
    }
}

/// Looks at the signature of a `multipart/signed` letter (RFC 8551 §3.5.3). `signed_part` is the
/// first part with its header fields and CRLF line ends, as it came; `signature_der` the second
/// one, decoded.
pub fn verify_smime(
    signed_part: &[u8],
    signature_der: &[u8],
    anchors: &SmimeAnchors,
    now: Timestamp,
) -> SmimeVerdict {
    #[cfg(feature = "pgp-openssl")]
    return cms::verify_detached(signed_part, signature_der, anchors, now);
    #[cfg(not(feature = "pgp-openssl"))]
    {
        let _ = (signed_part, signature_der, anchors, now);
        SmimeVerdict::NotLooked
    }
}

/// Looks at a letter that lies inside its signature (`application/pkcs7-mime`, `signed-data`; RFC
/// 8551 §3.5.2). With the verdict comes the part that was signed: with [`SmimeVerdict::Bad`] there
/// is none.
pub fn open_smime_signed(
    message_der: &[u8],
    anchors: &SmimeAnchors,
    now: Timestamp,
) -> (Option<Vec<u8>>, SmimeVerdict) {
    #[cfg(feature = "pgp-openssl")]
    return cms::open_signed(message_der, anchors, now);
    #[cfg(not(feature = "pgp-openssl"))]
    {
        let _ = (message_der, anchors, now);
        (None, SmimeVerdict::NotLooked)
    }
}

#[cfg(feature = "pgp-openssl")]
#[cfg(test)]
mod tests;
