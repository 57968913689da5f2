//! The row that names a content.
use aws_lc_rs::digest;
use bytes::Bytes;

/// First octet: the version of this format.
const FORMAT: u8 = 1;
const OCTETS: usize = 1 + 4 + 8 + CHECKSUM_OCTETS + 1;
const CHECKSUM_OCTETS: usize = 8;
/// In the place of a number of chunks.
const IN_A_FILE: u8 = u8::MAX;

/// Where the content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In so many chunk rows.
    Chunks(u8),
    /// In a file.
    File,
}

/// What is known of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Owners; the last one to leave takes the content away.
    pub(super) references: u32,
    /// Octets of the content.
    pub(super) length: u64,
    /// See [`checksum`].
    pub(super) checksum: [u8; CHECKSUM_OCTETS],
    /// Where it lies.
    pub(super) place: Place,
}

impl Row {
    /// As it is stored.
    pub(super) fn encode(&self) -> Bytes {
        let mut octets = Vec::with_capacity(OCTETS);
        octets.push(FORMAT);
        octets.extend(self.references.to_be_bytes());
        octets.extend(self.length.to_be_bytes());
        octets.extend(self.checksum);
        octets.push(match self.place {
            Place::Chunks(count) => count,
            Place::File => IN_A_FILE,
        });
        octets.into()
    }

    /// `None` when these are not the octets of a row.
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let (format, rest) = octets.split_first()?;
        let (references, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let &[place] = rest else { return None };
        (*format == FORMAT).then_some(Self {
            references: u32::from_be_bytes(*references),
            length: u64::from_be_bytes(*length),
            checksum: *checksum,
            place: if place == IN_A_FILE { Place::File } else { Place::Chunks(place) },
        })
    }
}

/// The first octets of SHA-256: enough to notice damage. It proves nothing against people; the
/// encryption's own check does that.
pub(super) fn checksum(content: &[u8]) -> [u8; CHECKSUM_OCTETS] {
    let digest = digest::digest(&digest::SHA256, content);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        for place in [Place::File, Place::Chunks(0), Place::Chunks(3)] {
            let row = Row { references: 7, length: 1 << 40, checksum: [9; 8], place };
            assert_eq!(Row::decode(&row.encode()), Some(row));
        }
    }

    #[test]
    fn a_row_of_another_form_is_not_understood_as_a_row() {
        let good = Row { references: 1, length: 1, checksum: [0; 8], place: Place::File }.encode();
        assert_eq!(Row::decode(b""), None);
        assert_eq!(Row::decode(&good[..good.len() - 1]), None);
        assert_eq!(Row::decode(&[&good[..], b"x"].concat()), None);
        assert_eq!(Row::decode(&[&[2], &good[1..]].concat()), None);
    }
}
