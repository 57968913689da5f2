//! OpenPGP and S/MIME, custody of keys, and the ledger of their use.
use std::time::Duration;

/// Administrators with a share of the escrow.
pub const ESCROW_HOLDERS_MAX: usize = 16;
/// How long shares that were given for the escrow are kept in memory until the quorum is reached.
pub const ESCROW_SHARES_KEPT: Duration = Duration::from_secs(900);
/// Characters of a name, a door or a reason in the ledger of key uses.
pub const AUDIT_WORDS_MAX: usize = 200;
/// Entries that one commit removes from the front of the ledger of key uses.
pub const AUDIT_PRUNED_AT_ONCE: usize = 10_000;
/// Entries in one exported file of the ledger of key uses: some 35 MB. A longer one is exported
/// in parts, each with a signature of its own.
pub const AUDIT_EXPORTED_AT_ONCE: u64 = 100_000;
/// Octets of an OpenPGP certificate that is kept, without what others signed on it: two of them
/// must fit in one value of the store.
pub const OPENPGP_KEPT_OCTETS_MAX: usize = 24_576;
/// Octets of certificates that come from outside at once: a key ring, the answer of a directory.
pub const OPENPGP_RING_OCTETS_MAX: usize = 1_048_576;
/// Certificates in one key ring.
pub const OPENPGP_RING_MAX: usize = 2_000;
/// User ids and subkeys of one certificate: a person has a handful.
pub const OPENPGP_PARTS_MAX: usize = 64;
/// Signatures by its owner that are kept of each part of a certificate: an extension a month for a
/// year and more.
pub const OPENPGP_SIGNATURES_MAX: usize = 16;
/// How long a host outside may take to answer with a certificate.
pub const WKD_TIMEOUT: Duration = Duration::from_secs(10);
/// Hosts outside that are asked for certificates at the same time.
pub const WKD_AT_ONCE: usize = 16;
/// How long it is remembered that an address has no certificate.
pub const WKD_NONE_FOR: Duration = Duration::from_secs(3_600);
/// How long a host that did not answer is not asked for the same address again.
pub const WKD_AWAY_FOR: Duration = Duration::from_secs(60);
/// Addresses without a certificate that are remembered.
pub const WKD_NONE_REMEMBERED_MAX: usize = 100_000;
/// Octets of a mailbox's wrapped keys: each revocation and each rotation adds to them, and the
/// account must fit in one value of the store.
pub const WRAPPED_KEYS_OCTETS_MAX: usize = 40_960;
/// Look-ups of certificates that one network address makes in a minute: a mail server of a
/// hospital asks for many, somebody who lists names for thousands.
pub const KEY_LOOKUPS_A_MINUTE: u32 = 300;
/// Own certificates that wait for the proof that their key is there.
pub const CHALLENGES_MAX: usize = 10_000;
/// Accounts that one commit of a rewrap changes: few enough that a letter beside it waits for some
/// hundredths of a second, many enough that commits are not what takes the time.
pub const REWRAP_ROWS_AT_ONCE: usize = 500;
/// Octets of an OpenPGP message of another program: more than any letter that is taken.
pub const OPENPGP_MESSAGE_OCTETS_MAX: usize = 67_108_864;
/// Octets of the clear text of such a message; compression would have it without end.
pub const OPENPGP_CLEAR_OCTETS_MAX: usize = 67_108_864;
/// How many times longer than its message a clear text may be, over
/// [`OPENPGP_EXPANSION_FREE_OCTETS`]. Texts shrink to a tenth, logs to a fiftieth, a bomb to a
/// thousandth and less.
pub const OPENPGP_EXPANSION_MAX: usize = 200;
/// Octets of clear text that a message of any length may have.
pub const OPENPGP_EXPANSION_FREE_OCTETS: usize = 1_048_576;
/// Octets that are asked of the OpenPGP library at a time.
pub const OPENPGP_PIECE_OCTETS: usize = 65_536;
/// Recipients of one message of another program, and passwords.
pub const OPENPGP_KEY_PACKETS_MAX: usize = 1_000;
/// Recipients of one message that our secret keys are tried on: hidden ones name no key.
pub const OPENPGP_TRIES_MAX: usize = 64;
/// Packets that mean nothing (markers, padding) in one message.
pub const OPENPGP_IDLE_PACKETS_MAX: usize = 16;
/// Octets of a packet that is no container: a signature with much to say has some thousands.
pub const OPENPGP_PACKET_OCTETS_MAX: usize = 65_536;
/// Lines of the header of an armour.
pub const OPENPGP_ARMOUR_HEADERS_MAX: usize = 16;
/// Octets of one of them.
pub const OPENPGP_ARMOUR_HEADER_OCTETS_MAX: usize = 1_000;
/// Octets of a certificate. Those of people have some kilobytes; floods of signatures have
/// hundreds of megabytes.
pub const OPENPGP_CERTIFICATE_OCTETS_MAX: usize = 1_048_576;
/// User ids of a certificate, pictures included.
pub const OPENPGP_USER_IDS_MAX: usize = 64;
/// Octets of one user id; GnuPG has the same limit.
pub const OPENPGP_USER_ID_OCTETS_MAX: usize = 2_048;
/// Subkeys of a certificate: one a year makes them last.
pub const OPENPGP_SUBKEYS_MAX: usize = 32;
/// Signatures in a certificate. Each misplaced one is tried on every part of it.
pub const OPENPGP_CERTIFICATE_SIGNATURES_MAX: usize = 512;
/// Octets of a public key packet: those after quantum computers have some thousands.
pub const OPENPGP_KEY_OCTETS_MAX: usize = 4_096;
/// Bits of a number in a key. OpenSSL takes ten milliseconds for one operation with 16,384.
pub const OPENPGP_NUMBER_BITS_MAX: usize = 8_192;
/// Bits of an RSA key's public exponent; everybody's has 17.
pub const OPENPGP_EXPONENT_BITS_MAX: usize = 64;
/// Octets of a file with several certificates.
pub const OPENPGP_KEY_RING_OCTETS_MAX: usize = 16_777_216;
/// Certificates in such a file.
pub const OPENPGP_KEY_RING_CERTIFICATES_MAX: usize = 1_000;
/// Octets of the text that says why a certificate was revoked, as it is shown.
pub const OPENPGP_REASON_OCTETS_MAX: usize = 200;
/// Octets of an S/MIME signature: certificates of a chain, and one signature.
pub const SMIME_SIGNATURE_OCTETS_MAX: usize = 262_144;
/// Octets of an S/MIME letter that holds its content inside the signature.
pub const SMIME_MESSAGE_OCTETS_MAX: usize = 67_108_864;
/// Certificates that come with an S/MIME signature.
pub const SMIME_CERTIFICATES_MAX: usize = 16;
/// Signatures of one message; each may want its own digest over the whole.
pub const OPENPGP_MESSAGE_SIGNATURES_MAX: usize = 8;
/// Parts of one packet: GnuPG and others write 8 KiB at a time, and 512 octets are the least.
pub const OPENPGP_PACKET_PARTS_MAX: usize = 131_072;
/// Letters that one step of `keys own reseal` works on, in octets: a step is over in seconds, and
/// its answer comes before whoever asked gives up.
pub const RESEALED_OCTETS_AT_ONCE: u64 = 8_388_608;
/// What each letter counts for besides its own octets: a row to read, and maybe a commit.
pub const RESEALED_OCTETS_EACH: u64 = 8_192;
/// Characters of a signer's name (S/MIME) that a verdict shows.
pub const SIGNER_NAME_CHARACTERS_MAX: usize = 64;
/// Contents that a session remembers to have opened, so that one that is read in pieces is counted
/// once in the ledger of key uses.
pub const AUDIT_CONTENTS_KNOWN_MAX: usize = 4_096;
/// Mailboxes whose keys do not open that `keys master status` names.
pub const FAILING_SHOWN_MAX: usize = 20;
/// How long the verdict on a signature of S/MIME waits to hear whether its signer is revoked.
pub const SMIME_REVOCATION_WAIT: Duration = Duration::from_secs(10);
