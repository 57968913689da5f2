//! What a client has switched on with ENABLE (RFC 5161), and so how it is spoken to.
use crate::proto::imap::feature::Feature;
use crate::proto::imap::name;
use crate::proto::imap::name::Mode;
use crate::proto::imap::write;
use crate::server::imap::capabilities::Offer;

/// How a client is spoken to. Nothing is on in the beginning, and nothing goes off again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dialect {
    /// RFC 7162 §3.1: every FETCH response that tells marks tells MODSEQ and UID.
    pub(super) condstore: bool,
    /// RFC 7162 §3.2: VANISHED instead of EXPUNGE. Never without `condstore`.
    pub(super) qresync: bool,
    /// RFC 6855 §3: UTF-8 in names and strings.
    pub(super) utf8: bool,
    /// RFC 9051: no RECENT, ESEARCH instead of SEARCH, names in UTF-8.
    pub(super) rev2: bool,
}

impl Dialect {
    /// Switches on what `names` say; answers those that were off before, as they are written in
    /// the ENABLED response. RFC 5161 §3.1: what is unknown is passed over.
    pub(super) fn enable(&mut self, offer: Offer, names: &[String]) -> Vec<&'static str> {
        let mut enabled = Vec::new();
        let before = *self;
        for feature in names.iter().filter_map(|name| Feature::parse(name)) {
            if !offer.has(feature) {
                continue;
            }
            let was_on = match feature {
                Feature::Condstore => std::mem::replace(&mut self.condstore, true),
                Feature::Qresync => {
                    self.condstore = true;
                    std::mem::replace(&mut self.qresync, true)
                }
                Feature::Utf8Accept => std::mem::replace(&mut self.utf8, true),
                Feature::Imap4Rev2 => std::mem::replace(&mut self.rev2, true),
                _ => continue,
            };
            // QRESYNC may have stood before CONDSTORE in one command.
            let is_new = !was_on || (feature == Feature::Condstore && !before.condstore);
            if is_new && !enabled.contains(&feature.name()) {
                enabled.push(feature.name());
            }
        }
        enabled
    }

    /// How mailbox names are written (RFC 6855 §3, RFC 9051 §5.1).
    pub(super) fn mode(self) -> Mode {
        if self.utf8 || self.rev2 { Mode::Utf8 } else { Mode::Utf7 }
    }

    /// Writes a mailbox name as this client reads it.
    pub(super) fn write_name(self, out: &mut Vec<u8>, name: &str) {
        // A control character needs a literal, which writes the octets as they are.
        if self.mode() == Mode::Utf8 && name.len() <= 1_024 && !name.contains(char::is_control) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            write::text(out, format_args!("\"{quoted}\""));
        } else if self.mode() == Mode::Utf8 {
            write::string(out, name.as_bytes());
        } else {
            write::string(out, name::encode(name).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_off_is_told_to_be_enabled() {
        let offer = Offer::new(&[], false, 1);
        let mut dialect = Dialect::default();
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        assert!(dialect.enable(offer, &names("X-UNKNOWN IDLE")).is_empty());
        assert_eq!(dialect.enable(offer, &names("qresync condstore")), ["QRESYNC", "CONDSTORE"]);
        assert!(dialect.condstore && dialect.qresync);
        assert!(dialect.enable(offer, &names("CONDSTORE QRESYNC")).is_empty());
        let without = Offer::new(&["QRESYNC".to_owned()], false, 1);
        assert!(Dialect::default().enable(without, &names("QRESYNC")).is_empty());
    }
}
