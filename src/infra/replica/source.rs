//! The published file: plain or in a ZIP archive, line by line, within bounds.
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::replica::ReplicaError;
use crate::proto::extraction;

/// Entries of the archive: the real one has one.
const ENTRIES_MAX: usize = 16;
/// Octets that one octet of the archive may become: the real one makes four or five.
const RATIO_MAX: u64 = 100;
const BUFFER_OCTETS: usize = 262_144;

/// Opens the file and lends the lines of its only text to `action`. An archive is known by its
/// first octets, not by its name.
pub(super) fn with_lines<T>(
    path: &Path,
    mut action: impl FnMut(&mut Lines<'_>) -> Result<T, ReplicaError>,
) -> Result<T, ReplicaError> {
    let mut answer = None;
    with_texts(path, 1, limits::EXTRACTION_OCTETS_MAX, |lines| {
        answer = Some(action(lines)?);
        Ok(())
    })?;
    answer.ok_or_else(|| ReplicaError::Engine("a file without a text".to_owned()))
}

/// The same for each of up to `texts_max` texts, in the order of the archive.
pub(super) fn with_texts(
    path: &Path,
    texts_max: usize,
    octets_max: u64,
    mut action: impl FnMut(&mut Lines<'_>) -> Result<(), ReplicaError>,
) -> Result<(), ReplicaError> {
    let refused = |reason: String| ReplicaError::Source { file: name_of(path), reason };
    let mut file = File::open(path).map_err(|error| refused(error.to_string()))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(refused("not a file".to_owned()));
    }
    let mut magic = [0; 4];
    let is_archive = match file.read_exact(&mut magic) {
        Ok(()) => magic == *b"PK\x03\x04",
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(refused(error.to_string())),
    };
    io::Seek::rewind(&mut file).map_err(|error| refused(error.to_string()))?;
    if !is_archive {
        return action(&mut Lines::new(path, &mut file, octets_max));
    }
    let bad_archive = |error: zip::result::ZipError| refused(format!("bad archive: {error}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(bad_archive)?;
    for index in text_entries(&archive, texts_max).map_err(refused)? {
        let mut entry = archive.by_index(index).map_err(bad_archive)?;
        // The sizes that an archive declares may lie; what comes out is counted.
        let packed = entry.compressed_size().saturating_mul(RATIO_MAX).saturating_add(65_536);
        action(&mut Lines::new(path, &mut entry, octets_max.min(packed)))?;
    }
    Ok(())
}

/// The `.txt` files of the archive.
fn text_entries(
    archive: &ZipArchive<BufReader<File>>,
    texts_max: usize,
) -> Result<Vec<usize>, String> {
    if archive.len() > ENTRIES_MAX {
        return Err(format!("an archive of {} files", archive.len()));
    }
    let is_text = |index: &usize| {
        archive.name_for_index(*index).and_then(Result::ok).is_some_and(|name| {
            Path::new(name.as_ref()).extension().is_some_and(|it| it.eq_ignore_ascii_case("txt"))
        })
    };
    let texts: Vec<usize> = (0..archive.len()).filter(is_text).collect();
    match texts.len() {
        0 => Err("an archive without a .txt file".to_owned()),
        many if many > texts_max => {
            Err(format!("an archive with several .txt files: {many}, where {texts_max} may be"))
        }
        _ => Ok(texts),
    }
}

/// The name without its directory, which is nobody's business.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The moment in a name like `Extraction_Correspondance_MSSante_202611210730.zip`.
pub(super) fn made(name: &str) -> Option<Timestamp> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    let digits = stem.get(stem.len().checked_sub(12)?..)?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits[range].parse::<i8>().ok();
    let year = digits[..4].parse().ok()?;
    let (month, day) = (part(4..6)?, part(6..8)?);
    let (hour, minute) = (part(8..10)?, part(10..12)?);
    let moment = jiff::civil::DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
    let zone = jiff::tz::TimeZone::get("Europe/Paris").ok()?;
    let millis = moment.to_zoned(zone).ok()?.timestamp().as_millisecond();
    u64::try_from(millis).ok().map(Timestamp::from_millis)
}

/// Reads lines of bounded length.
pub(super) struct Lines<'a> {
    file: String,
    reader: BufReader<io::Take<&'a mut dyn Read>>,
    line: Vec<u8>,
    was_ended: bool,
}

impl<'a> Lines<'a> {
    fn new(path: &Path, reader: &'a mut dyn Read, octets_max: u64) -> Self {
        // One octet more than allowed: so its arrival shows that there are too many.
        let reader = BufReader::with_capacity(BUFFER_OCTETS, reader.take(octets_max + 1));
        Self { file: name_of(path), reader, line: Vec::new(), was_ended: true }
    }

    /// The next line with its ending, or `None` behind the last one. A line over the limit
    /// comes as an empty one, which no reader takes for a good one.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, ReplicaError> {
        self.line.clear();
        let mut octets_sum = 0;
        loop {
            let piece = match self.reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) => {
                    return Err(self.refused(format!("it cannot be read to its end: {error}")));
                }
            };
            let end = piece.iter().position(|octet| *octet == b'\n').map(|at| at + 1);
            let octets = end.unwrap_or(piece.len());
            octets_sum += octets;
            if octets_sum <= extraction::LINE_OCTETS_MAX {
                self.line.extend_from_slice(&piece[..octets]);
            }
            self.reader.consume(octets);
            if self.reader.get_ref().limit() == 0 {
                return Err(self.refused("it is larger than any real extraction".to_owned()));
            }
            if end.is_none() && octets > 0 {
                continue;
            }
            if octets_sum > 0 {
                self.was_ended = end.is_some();
            }
            if octets_sum > extraction::LINE_OCTETS_MAX {
                self.line.clear();
            }
            return Ok((octets_sum > 0).then_some(self.line.as_slice()));
        }
    }

    /// False when the last line had no line ending.
    pub(super) fn was_ended(&self) -> bool {
        self.was_ended
    }

    /// An error about this file.
    pub(super) fn refused(&self, reason: String) -> ReplicaError {
        ReplicaError::Source { file: self.file.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_when_it_was_made_in_french_time() {
        let winter = made("Extraction_Correspondance_MSSante_202611210730.zip").unwrap();
        // 06:30 UTC.
        assert_eq!(winter.as_seconds(), 1_795_242_600);
        assert_eq!(made("PS_LibreAcces_202607010000.txt").unwrap().as_seconds() % 86_400, 79_200);
        for name in ["Extraction.txt", "", "202613010000.txt", "20261101é000.txt", "12345.txt"] {
            assert_eq!(made(name), None, "{name}");
        }
    }
}
