//! The octets of a letter, as DATA (RFC 5321 §4.5.2) or BDAT (RFC 3030 §2) brings them.
//!
//! A content ends at CRLF `.` CRLF and nowhere else. Whoever takes another sequence for the end
//! lets one letter hide a second one (SMTP smuggling, CVE-2023-51764 and its kin). So a bare CR,
//! a bare LF or a NUL anywhere refuses the letter, and the reader goes on to the real end.
use crate::domain::limits;
use crate::domain::status::Refusal;

/// Reads one content: finds its end, takes the stuffed dots out, checks every line.
///
/// It lends slices of its input; nothing is copied. After a fault it lends nothing more and
/// [`ContentReader::finish`] tells the refusal.
#[derive(Debug)]
pub struct ContentReader {
    framing: Framing,
    at: At,
    /// Octets of the line so far.
    line: usize,
    /// Octets of the content so far, without stuffed dots (RFC 1870 §5 counts them so).
    octets: u64,
    octets_max: u64,
    /// Octets that came in, good or bad.
    seen: u64,
    refusal: Option<Refusal>,
}

/// How the end is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// By a line of one dot.
    Dotted,
    /// By the count that BDAT gives.
    Counted,
}

/// Where in a line the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After CRLF, or before the first octet.
    LineStart,
    /// Inside a line.
    Middle,
    /// After a CR.
    Cr,
    /// After a dot at the start of a line. It is no content, whatever follows.
    Dot,
    /// After a dot and a CR at the start of a line.
    DotCr,
}

/// What [`ContentReader::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<'a> {
    /// Octets of the input that are done with.
    pub used: usize,
    /// The content among them; empty once the letter is refused.
    pub content: &'a [u8],
    /// The content has ended; the rest of the input is commands.
    pub ended: bool,
}

impl ContentReader {
    /// For DATA.
    pub fn dotted(octets_max: u64) -> Self {
        Self::new(Framing::Dotted, octets_max)
    }

    /// For all the chunks of one transaction; a line may go on from chunk to chunk.
    pub fn counted(octets_max: u64) -> Self {
        Self::new(Framing::Counted, octets_max)
    }

    fn new(framing: Framing, octets_max: u64) -> Self {
        let at = At::LineStart;
        Self { framing, at, line: 0, octets: 0, octets_max, seen: 0, refusal: None }
    }

    /// Takes from the front of `input` as much as one slice of content can hold: up to a stuffed
    /// dot, the end of the content or the end of the input.
    pub fn take<'a>(&mut self, input: &'a [u8]) -> Taken<'a> {
        let (mut begin, mut place) = (0, 0);
        let mut ended = false;
        while let Some(&octet) = input.get(place) {
            match (self.at, octet) {
                (At::LineStart, b'.') if self.framing == Framing::Dotted => {
                    if begin < place {
                        break; // Hand out what stands before the dot; come back for it.
                    }
                    (self.at, begin) = (At::Dot, place + 1);
                }
                (At::Dot, b'\r') => (self.at, begin) = (At::DotCr, place + 1),
                (At::DotCr, b'\n') => {
                    (begin, place, ended) = (place + 1, place + 1, true);
                    break;
                }
                // RFC 5321 §4.5.2: a dot before other characters is not content. Look again
                // at this octet as one inside the line.
                (At::Dot, _) => {
                    self.at = At::Middle;
                    continue;
                }
                (At::DotCr | At::Cr, _) if octet != b'\n' => {
                    self.refuse(Refusal::ContentMalformed);
                    self.at = At::Middle;
                    continue;
                }
                (At::Cr, _) => (self.at, self.line) = (At::LineStart, 0),
                (_, b'\r') => self.at = At::Cr,
                // A bare LF does not start a line: the dot behind it would be taken for the end.
                (_, b'\n' | 0) => {
                    self.refuse(Refusal::ContentMalformed);
                    self.at = At::Middle;
                }
                _ => {
                    let run = ordinary_run(&input[place..]);
                    self.at = At::Middle;
                    self.grow_line(run);
                    place += run;
                    continue;
                }
            }
            place += 1;
        }
        self.count(place, place - begin);
        let content = if self.refusal.is_none() { &input[begin..place] } else { &[] };
        Taken { used: place, content, ended }
    }

    /// The end of the content: was every octet as it should be?
    pub fn finish(self) -> Result<(), Refusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            // A chunk's last octet was a CR.
            None if self.at == At::Cr => Err(Refusal::ContentMalformed),
            None => Ok(()),
        }
    }

    /// Why the letter is refused already, if it is.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Refuses the letter, unless it is refused already: the first reason is the one to tell.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// So much came after the refusal that nobody need read on to the end.
    pub fn is_out_of_bounds(&self) -> bool {
        let bound = self.octets_max.saturating_mul(limits::SMTP_DISCARDED_LETTERS_MAX);
        self.refusal.is_some() && self.seen > bound
    }

    fn grow_line(&mut self, octets: usize) {
        self.line += octets;
        if self.line > limits::CONTENT_LINE_OCTETS_MAX - 2 {
            self.refuse(Refusal::ContentMalformed);
            // Stays over the limit, and cannot overflow however long the line goes on.
            self.line = limits::CONTENT_LINE_OCTETS_MAX;
        }
    }

    fn count(&mut self, seen: usize, content: usize) {
        self.seen = self.seen.saturating_add(seen as u64);
        self.octets = self.octets.saturating_add(content as u64);
        if self.octets > self.octets_max {
            self.refuse(Refusal::MessageTooLarge);
        }
    }
}

/// Octets before the first CR, LF or NUL.
fn ordinary_run(octets: &[u8]) -> usize {
    // Whole blocks first, with a test that the compiler turns into vector instructions: most of
    // a letter is base64, and this is the one loop that looks at each of its octets.
    let special = |octet: u8| octet == 0 || octet == b'\n' || octet == b'\r';
    let (blocks, _) = octets.as_chunks::<32>();
    let ordinary =
        |block: &&[u8; 32]| !block.iter().fold(false, |found, octet| found | special(*octet));
    let run = blocks.iter().take_while(ordinary).count() * 32;
    let rest = &octets[run..];
    run + rest.iter().position(|octet| special(*octet)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
