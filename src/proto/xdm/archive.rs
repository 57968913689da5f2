//! The zip archive of a structured letter, read octet by octet from memory.
//!
//! Not with a library for archives: those open what they can, and here it matters what cannot
//! be opened, twice or differently by another reader. Only the directory decides what is a
//! file; each local header must say the same; stored and deflated files only. Nothing inside
//! an archive is opened as an archive.
use std::collections::BTreeSet;

use flate2::Decompress;
use flate2::FlushDecompress;
use flate2::Status;
use zeroize::Zeroizing;

use crate::domain::document::Finding;
use crate::domain::document::Findings;
use crate::domain::limits;

/// `PK\5\6`: the end of the directory (APPNOTE 4.3.16).
const END: u32 = 0x0605_4b50;
/// `PK\1\2`: one file in the directory (APPNOTE 4.3.12).
const CENTRAL: u32 = 0x0201_4b50;
/// `PK\3\4`: the header before a file (APPNOTE 4.3.7).
const LOCAL: u32 = 0x0403_4b50;
const END_OCTETS: usize = 22;
const CENTRAL_OCTETS: usize = 46;
const LOCAL_OCTETS: usize = 30;
/// Octets that are unpacked at a time.
const PIECE_OCTETS: usize = 32_768;
/// A file may have so many octets whatever its packed form has.
const ANY_RATIO_OCTETS: u64 = 1_048_576;
/// Bit of the flags: the file is encrypted. Bit 6: strongly; bit 13: even the directory is.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Bit of the flags: sizes follow the file.
const SIZES_FOLLOW: u16 = 1 << 3;
/// Octets that may follow a file whose sizes follow it, with 8-octet sizes.
const DESCRIPTOR_OCTETS_MAX: u64 = 24;

/// An archive whose directory has been read.
pub(super) struct Archive<'a> {
    octets: &'a [u8],
    entries: Vec<Entry>,
    /// What the directory shows.
    pub(super) findings: Findings,
}

/// One file of the directory.
pub(super) struct Entry {
    /// Path with `/`, as it is written.
    pub(super) name: String,
    /// Octets when unpacked, as the directory says.
    pub(super) size: u64,
    packed: u64,
    crc: u32,
    deflated: bool,
    /// Where its packed octets begin.
    start: usize,
}

impl Entry {
    /// True when it has this path, in any letter case: ISO 9660 knows upper case only.
    pub(super) fn is(&self, path: &str) -> bool {
        self.name.eq_ignore_ascii_case(path)
    }
}

impl<'a> Archive<'a> {
    /// Reads the directory. What is wrong with it is in `findings`; files that may be read are
    /// in `entries`, perhaps none.
    pub(super) fn open(octets: &'a [u8]) -> Self {
        let mut archive = Self { octets, entries: Vec::new(), findings: Findings::NONE };
        if archive.read_directory().is_none() {
            archive.findings.add(Finding::ArchiveDamaged);
        }
        archive
    }

    /// Files that may be read.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// `None` when the archive contradicts itself; files read so far stay.
    fn read_directory(&mut self) -> Option<()> {
        let end = self.find_end()?;
        let count = usize::from(short(self.octets, end + 10)?);
        let size = usize::try_from(long(self.octets, end + 12)?).ok()?;
        let start = usize::try_from(long(self.octets, end + 16)?).ok()?;
        let disks = [short(self.octets, end + 4)?, short(self.octets, end + 6)?];
        if disks != [0, 0] || start.checked_add(size)? > end {
            return None;
        }
        if count > limits::ARCHIVE_ENTRIES_MAX {
            self.findings.add(Finding::TooLarge);
            return Some(());
        }
        // Between directory and end there is at most the 64-bit form of the same (56 + 20).
        self.findings.add_if(end - (start + size) > 96, Finding::HiddenOctets);
        let mut names = BTreeSet::new();
        let mut spans = Vec::new();
        let mut at = start;
        for _ in 0..count {
            at = self.read_entry(at, start, &mut names, &mut spans)?;
        }
        if at != start + size {
            return None;
        }
        self.judge_spans(spans, start);
        Some(())
    }

    /// The end record that reaches to the end of the octets, the last one if several do.
    fn find_end(&mut self) -> Option<usize> {
        let last = self.octets.len().checked_sub(END_OCTETS)?;
        let first = last.saturating_sub(usize::from(u16::MAX));
        let is_end = |at: &usize| long(self.octets, *at) == Some(END);
        let comment = |at: usize| short(self.octets, at + 20).map(usize::from);
        let whole = |at: &usize| {
            comment(*at).is_some_and(|comment| at + END_OCTETS + comment <= last + END_OCTETS)
        };
        let found = (first..=last).rev().filter(is_end).find(whole)?;
        let reaches = found + END_OCTETS + comment(found)? == self.octets.len();
        self.findings.add_if(!reaches, Finding::HiddenOctets);
        Some(found)
    }

    /// Reads one file of the directory; answers where the next one begins.
    fn read_entry(
        &mut self,
        at: usize,
        directory: usize,
        names: &mut BTreeSet<String>,
        spans: &mut Vec<(u64, u64, u64)>,
    ) -> Option<usize> {
        let octets = self.octets;
        if long(octets, at)? != CENTRAL {
            return None;
        }
        let (made_by, flags, method) =
            (short(octets, at + 4)?, short(octets, at + 8)?, short(octets, at + 10)?);
        let crc = long(octets, at + 16)?;
        let name_octets = usize::from(short(octets, at + 28)?);
        let extra_octets = usize::from(short(octets, at + 30)?);
        let comment_octets = usize::from(short(octets, at + 32)?);
        let attributes = long(octets, at + 38)?;
        let raw = octets.get(at + CENTRAL_OCTETS..at + CENTRAL_OCTETS + name_octets)?;
        let extra_start = at + CENTRAL_OCTETS + name_octets;
        let extra = octets.get(extra_start..extra_start + extra_octets)?;
        let next = extra_start + extra_octets + comment_octets;
        let (size, packed, local) = Self::sizes(octets, at, extra)?;

        let local_at = usize::try_from(local).ok().filter(|local| *local < directory)?;
        let start = self.local_agrees(local_at, raw, flags, method)?;
        let local_packed = long(octets, local_at + 18)?;
        let told = flags & SIZES_FOLLOW == 0 && local_packed != u32::MAX;
        self.findings.add_if(told && u64::from(local_packed) != packed, Finding::ArchiveDamaged);
        let finish = (start as u64).checked_add(packed)?;
        if finish > directory as u64 {
            return None;
        }
        let follows = if flags & SIZES_FOLLOW != 0 { DESCRIPTOR_OCTETS_MAX } else { 0 };
        spans.push((local, finish, follows));
        if name_octets == 0 || name_octets > limits::ARCHIVE_NAME_OCTETS_MAX {
            self.findings.add(if name_octets == 0 {
                Finding::ArchiveDamaged
            } else {
                Finding::TooLarge
            });
            return Some(next);
        }
        let name = String::from_utf8_lossy(raw).into_owned();
        if escapes(&name) || is_link(made_by, attributes) {
            self.findings.add(Finding::PathEscape);
            return Some(next);
        }
        if !names.insert(name.to_lowercase()) {
            self.findings.add(Finding::NameTwice);
            return Some(next);
        }
        if name.ends_with('/') {
            // A folder has no octets.
            self.findings.add_if(size != 0, Finding::ArchiveDamaged);
        } else if flags & ENCRYPTED != 0 || !matches!(method, 0 | 8) {
            self.findings.add(Finding::NotReadable);
        } else if size > limits::ARCHIVE_ENTRY_OCTETS_MAX || is_a_bomb(size, packed) {
            self.findings.add(Finding::TooLarge);
        } else {
            self.entries.push(Entry { name, size, packed, crc, deflated: method == 8, start });
        }
        Some(next)
    }

    /// Unpacked size, packed size and place; from the 64-bit field where the plain ones are
    /// full (APPNOTE 4.5.3).
    fn sizes(octets: &[u8], at: usize, extra: &[u8]) -> Option<(u64, u64, u64)> {
        let plain = [long(octets, at + 24)?, long(octets, at + 20)?, long(octets, at + 42)?];
        let mut large = field(extra, 1).unwrap_or_default();
        let mut sizes = [0; 3];
        for (size, plain) in sizes.iter_mut().zip(plain) {
            *size = match plain {
                u32::MAX => {
                    let (eight, rest) = large.split_first_chunk::<8>()?;
                    large = rest;
                    u64::from_le_bytes(*eight)
                }
                plain => u64::from(plain),
            };
        }
        let [size, packed, local] = sizes;
        Some((size, packed, local))
    }

    /// Where the packed octets begin. The header before them must tell the same file: a reader
    /// that walks over those headers would otherwise see other files than one that does not.
    fn local_agrees(&self, at: usize, name: &[u8], flags: u16, method: u16) -> Option<usize> {
        let octets = self.octets;
        let same = long(octets, at)? == LOCAL
            && short(octets, at + 6)? & ENCRYPTED == flags & ENCRYPTED
            && short(octets, at + 8)? == method;
        let name_octets = usize::from(short(octets, at + 26)?);
        let extra_octets = usize::from(short(octets, at + 28)?);
        let found = octets.get(at + LOCAL_OCTETS..at + LOCAL_OCTETS + name_octets)?;
        (same && found == name).then_some(at + LOCAL_OCTETS + name_octets + extra_octets)
    }

    /// Files lie one behind the other, from the first octet to the directory.
    fn judge_spans(&mut self, mut spans: Vec<(u64, u64, u64)>, directory: usize) {
        spans.sort_unstable();
        let mut reached = 0;
        let mut slack = 0;
        for (start, finish, follows) in spans {
            self.findings.add_if(start < reached, Finding::FilesOverlap);
            self.findings.add_if(start > reached + slack, Finding::HiddenOctets);
            reached = reached.max(finish);
            slack = follows;
        }
        self.findings.add_if(directory as u64 > reached + slack, Finding::HiddenOctets);
        if self.findings.has(Finding::FilesOverlap) {
            // The same packed octets again and again are how small archives unpack without end.
            self.entries.clear();
        }
    }

    /// Unpacks a file piece by piece into `take`, at most `octets_left` octets. The finding says
    /// why it did not come whole.
    pub(super) fn unpack(
        &self,
        entry: &Entry,
        octets_left: &mut u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Finding> {
        if entry.size > *octets_left {
            return Err(Finding::TooLarge);
        }
        let packed = usize::try_from(entry.packed).map_err(|_| Finding::ArchiveDamaged)?;
        let packed = self.octets.get(entry.start..entry.start + packed);
        let mut packed = packed.ok_or(Finding::ArchiveDamaged)?;
        let mut crc = flate2::Crc::new();
        let mut unpacked = 0_u64;
        let mut give = |piece: &[u8]| {
            unpacked += piece.len() as u64;
            *octets_left = octets_left.saturating_sub(piece.len() as u64);
            // The directory told the size; whoever unpacks more than it says is a bomb.
            if unpacked > entry.size {
                return Err(Finding::ArchiveDamaged);
            }
            crc.update(piece);
            take(piece);
            Ok(())
        };
        if entry.deflated {
            inflate(&mut packed, &mut give)?;
        } else {
            packed.chunks(PIECE_OCTETS).try_for_each(&mut give)?;
        }
        let whole = unpacked == entry.size && crc.sum() == entry.crc;
        if whole { Ok(()) } else { Err(Finding::ArchiveDamaged) }
    }
}

/// Unpacks deflated octets, all of them and no more.
fn inflate(
    packed: &mut &[u8],
    give: &mut impl FnMut(&[u8]) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let mut inflater = Decompress::new(false);
    let mut piece = Zeroizing::new(vec![0; PIECE_OCTETS]);
    loop {
        let before = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(packed, &mut piece, FlushDecompress::None)
            .map_err(|_| Finding::ArchiveDamaged)?;
        let eaten = usize::try_from(inflater.total_in() - before.0).unwrap_or(packed.len());
        let filled = usize::try_from(inflater.total_out() - before.1).unwrap_or(0);
        *packed = packed.get(eaten..).unwrap_or_default();
        give(piece.get(..filled).unwrap_or_default())?;
        match status {
            Status::StreamEnd if packed.is_empty() => return Ok(()),
            Status::StreamEnd => return Err(Finding::ArchiveDamaged),
            // Neither in nor out: it ends in the middle.
            Status::Ok | Status::BufError if eaten == 0 && filled == 0 => {
                return Err(Finding::ArchiveDamaged);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

fn is_a_bomb(size: u64, packed: u64) -> bool {
    size > ANY_RATIO_OCTETS + packed.saturating_mul(limits::ARCHIVE_RATIO_MAX)
}

/// A name that would leave the folder into which somebody unpacks the archive.
pub(super) fn escapes(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':');
    let absolute = name.starts_with('/');
    let strange = name.contains(['\\', '\0']) || name.chars().any(char::is_control);
    absolute || drive || strange || name.split('/').any(|step| matches!(step, ".." | "."))
}

/// A symbolic link, as archives made under Unix say it (upper half of the attributes).
fn is_link(made_by: u16, attributes: u32) -> bool {
    let unix = matches!(made_by >> 8, 3 | 19);
    unix && (attributes >> 16) & 0o170_000 == 0o120_000
}

/// The extra field of this number.
fn field(mut extra: &[u8], number: u16) -> Option<&[u8]> {
    loop {
        let found = short(extra, 0)?;
        let octets = usize::from(short(extra, 2)?);
        let value = extra.get(4..4 + octets)?;
        if found == number {
            return Some(value);
        }
        extra = &extra[4 + octets..];
    }
}

fn short(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two))
}

fn long(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}
