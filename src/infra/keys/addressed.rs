//! For whom a message was sealed, as far as it says so itself.
use sequoia_openpgp::Packet;
use sequoia_openpgp::parse::PacketParser;
use sequoia_openpgp::parse::PacketParserResult;
use sequoia_openpgp::parse::Parse;

use crate::infra::keys::peers::PeerCertificate;

/// Packets that are looked at before the encrypted one.
const PACKETS_MAX: usize = 1_024;

/// True when this is an encrypted message with protection of its integrity (RFC 9580 §5.13), and
/// one of its session keys is sealed to a key of this certificate. Nothing is opened.
pub fn is_addressed_to(message: &[u8], certificate: &PeerCertificate) -> bool {
    let Ok(mut parsed) = PacketParser::from_bytes(message) else { return false };
    let mut is_addressed = false;
    for _ in 0..PACKETS_MAX {
        let PacketParserResult::Some(parser) = parsed else { return false };
        match &parser.packet {
            Packet::PKESK(pkesk) => {
                is_addressed |= pkesk.recipient().is_some_and(|id| {
                    certificate.0.keys().any(|key| id.aliases(key.key().key_handle()))
                });
            }
            Packet::SKESK(_) | Packet::Marker(_) | Packet::Padding(_) => {}
            Packet::SEIP(_) => return is_addressed,
            _ => return false,
        }
        match parser.next() {
            Ok((_, next)) => parsed = next,
            Err(_) => return false,
        }
    }
    false
}
