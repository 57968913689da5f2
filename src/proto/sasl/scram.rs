//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677).
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::proto::sasl::names;

/// What a server keeps of a password, and what it can be checked against (RFC 5802 §3).
#[derive(Debug)]
pub struct Keys {
    /// The salt.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: Secret<[u8; 32]>,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Secret<[u8; 32]>,
    /// Keys of other passwords of the same name, with the same salt and rounds. A client cannot
    /// tell, and need not, which one it was asked for.
    pub others: Vec<Pair>,
}

/// Stored key and server key of one password.
#[derive(Debug)]
pub struct Pair {
    /// As of [`Keys`].
    pub stored_key: Secret<[u8; 32]>,
    /// As of [`Keys`].
    pub server_key: Secret<[u8; 32]>,
}

impl Keys {
    /// The keys of a password. Slow, as it must be.
    pub fn derive(password: &Secret<String>, salt: &[u8], iterations: NonZeroU32) -> Self {
        let prepared = names::prepared(password.expose()).map(Secret::new);
        let password = prepared.as_ref().unwrap_or(password);
        let mut salted = [0; 32];
        let secret = password.expose().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, secret, &mut salted);
        let salted = Secret::new(salted);
        let client_key = Secret::new(mac(salted.expose(), b"Client Key"));
        Self {
            salt: salt.to_vec(),
            iterations: iterations.get(),
            stored_key: Secret::new(hash(client_key.expose())),
            server_key: Secret::new(mac(salted.expose(), b"Server Key")),
            others: Vec::new(),
        }
    }

    /// Keys for a name that nobody has. They follow from the name and a key of the relay, so that
    /// asking again gives the same salt, as it does for a name that somebody has. No proof fits.
    pub fn of_nobody(relay_key: &[u8; 32], name: &str) -> Self {
        let part = |what: &[u8]| mac(relay_key, &[what, name.as_bytes()].concat());
        Self {
            salt: part(b"salt\0")[..limits::SCRAM_SALT_OCTETS].to_vec(),
            iterations: limits::SCRAM_ITERATIONS,
            stored_key: Secret::new(part(b"stored\0")),
            server_key: Secret::new(part(b"server\0")),
            others: Vec::new(),
        }
    }
}

/// How a client may begin.
#[derive(Debug)]
pub struct Offer(Channel);

#[derive(Debug)]
enum Channel {
    /// SCRAM-SHA-256; whether PLUS was offered, too.
    Unbound { plus_is_offered: bool },
    /// SCRAM-SHA-256-PLUS, over this channel.
    Bound(Option<[u8; 32]>),
}

/// The client's first message.
#[derive(Debug)]
pub struct ClientFirst {
    act_as: String,
    name: String,
    nonce: String,
    /// What `c=` must say in the last message.
    channel: Vec<u8>,
    bare: String,
}

/// Between our first message and the client's last one.
#[derive(Debug)]
pub struct Waiting {
    first: ClientFirst,
    nonce: String,
    server_first: String,
    keys: Keys,
}

/// A proof that was right.
#[derive(Debug)]
pub struct Proven {
    /// Who they want to be; empty: themselves.
    pub act_as: String,
    /// The login name.
    pub name: String,
    /// Which password it was: `None` for the first keys, or a place in [`Keys::others`].
    pub other: Option<usize>,
    /// Our last message: it proves to the client that we know its keys.
    pub last: Secret<Vec<u8>>,
}

/// Why the exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProof {
    /// Not of the form, or of another exchange.
    Malformed(&'static str),
    /// Another password, or another channel: somebody may sit in between.
    Wrong,
}

impl Offer {
    /// SCRAM-SHA-256.
    pub fn unbound(plus_is_offered: bool) -> Self {
        Self(Channel::Unbound { plus_is_offered })
    }

    /// SCRAM-SHA-256-PLUS.
    pub fn bound(exporter: Option<[u8; 32]>) -> Self {
        Self(Channel::Bound(exporter))
    }

    /// RFC 5802 §7: `gs2-header client-first-message-bare`.
    pub(super) fn first(self, message: &str) -> Result<ClientFirst, &'static str> {
        let (flag, rest) = message.split_once(',').ok_or("a GS2 header was expected")?;
        let (identity, bare) = rest.split_once(',').ok_or("a GS2 header has two commas")?;
        let exporter = self.agreed(flag)?;
        let act_as = match identity.strip_prefix("a=") {
            Some(name) => names::unescaped(name).ok_or("that is no authorisation identity")?,
            None if identity.is_empty() => String::new(),
            None => return Err("an authorisation identity was expected"),
        };
        let mut attributes = bare.split(',');
        // RFC 5802 §5.1: an extension that must be understood ("m=") stands in front.
        let name = attributes.next().and_then(|first| first.strip_prefix("n="));
        let name = names::unescaped(name.ok_or("n= was expected")?);
        let name = name.and_then(|name| names::prepared(&name)).ok_or("that is no login name")?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).ok_or("r= was expected")?.to_owned();
        let header = &message[..message.len() - bare.len()];
        let channel = [header.as_bytes(), exporter.as_ref().map_or(&[], |octets| octets)].concat();
        Ok(ClientFirst { act_as, name, nonce, channel, bare: bare.to_owned() })
    }

    /// RFC 5802 §6: what the client says of channel binding, against what we offered it.
    fn agreed(&self, flag: &str) -> Result<Option<[u8; 32]>, &'static str> {
        match (&self.0, flag) {
            (Channel::Bound(Some(exporter)), "p=tls-exporter") => Ok(Some(*exporter)),
            (Channel::Bound(None), _) => Err("this channel cannot be bound to"),
            (Channel::Bound(_), _) if flag.starts_with("p=") => {
                Err("only tls-exporter is known here")
            }
            (Channel::Bound(_), _) => Err("-PLUS binds to the channel"),
            // It would have bound, and believes that we cannot: somebody took the offer away.
            (Channel::Unbound { plus_is_offered: true }, "y") => {
                Err("SCRAM-SHA-256-PLUS was offered here; somebody may sit in between")
            }
            (Channel::Unbound { .. }, "n" | "y") => Ok(None),
            (Channel::Unbound { .. }, _) => Err("binding to the channel is for -PLUS"),
        }
    }
}

impl ClientFirst {
    /// Whose keys are needed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Our first message, and the state that waits for its answer. `nonce` is ours: random,
    /// printable, without a comma.
    pub fn challenge(self, keys: Keys, nonce: &str) -> (Waiting, Vec<u8>) {
        let nonce = format!("{}{nonce}", self.nonce);
        let (salt, rounds) = (STANDARD.encode(&keys.salt), keys.iterations);
        let server_first = format!("r={nonce},s={salt},i={rounds}");
        let challenge = server_first.clone().into_bytes();
        (Waiting { first: self, nonce, server_first, keys }, challenge)
    }
}

impl Waiting {
    /// Who wants to come in.
    pub fn name(&self) -> &str {
        &self.first.name
    }

    /// RFC 5802 §7 client-final-message: `c=…,r=…,[extensions,]p=…`.
    ///
    /// # Errors
    /// [`NoProof`]
    pub fn proof(self, message: &[u8]) -> Result<Proven, NoProof> {
        let malformed = NoProof::Malformed;
        if message.len() > limits::SASL_RESPONSE_OCTETS_MAX {
            return Err(malformed("the response is too long"));
        }
        let message = std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(malformed("p= was expected"))?;
        let mut attributes = without_proof.split(',');
        let channel = attributes.next().and_then(|first| first.strip_prefix("c="));
        let channel = channel.and_then(|channel| STANDARD.decode(channel).ok());
        let channel = channel.ok_or(malformed("c= was expected"))?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r="));
        let nonce = nonce.ok_or(malformed("r= was expected"))?;
        if attributes.any(|extension| extension.starts_with("m=")) {
            return Err(malformed("an extension that nobody knows here"));
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| <[u8; 32]>::try_from(proof).ok());
        let proof = Secret::new(proof.ok_or(malformed("a proof has 32 octets"))?);
        if nonce != self.nonce {
            return Err(malformed("that is the nonce of another exchange"));
        }
        let is_this_channel = verify_slices_are_equal(&channel, &self.first.channel).is_ok();
        let signed = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let fits = |stored_key: &Secret<[u8; 32]>| {
            let signature = Secret::new(mac(stored_key.expose(), signed.as_bytes()));
            let pairs = proof.expose().iter().zip(signature.expose());
            let mut client_key = [0; 32];
            client_key.iter_mut().zip(pairs).for_each(|(octet, (a, b))| *octet = a ^ b);
            let client_key = Secret::new(client_key);
            verify_slices_are_equal(&hash(client_key.expose()), stored_key.expose()).is_ok()
        };
        // All are tried, whichever fits.
        let mut right = fits(&self.keys.stored_key).then_some((None, &self.keys.server_key));
        for (place, pair) in self.keys.others.iter().enumerate() {
            if fits(&pair.stored_key) {
                right = Some((Some(place), &pair.server_key));
            }
        }
        let Some((other, server_key)) = right.filter(|_| is_this_channel) else {
            return Err(NoProof::Wrong);
        };
        let verifier = mac(server_key.expose(), signed.as_bytes());
        let last = Secret::new(format!("v={}", STANDARD.encode(verifier)).into_bytes());
        Ok(Proven { act_as: self.first.act_as, name: self.first.name, other, last })
    }
}

/// RFC 5802 §7: printable, without a comma.
fn is_nonce(text: &str) -> bool {
    let is_printable = text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',');
    !text.is_empty() && text.len() <= limits::SCRAM_NONCE_OCTETS_MAX && is_printable
}

fn mac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut octets = [0; 32];
    octets.copy_from_slice(tag.as_ref());
    octets
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, text).as_ref());
    octets
}
