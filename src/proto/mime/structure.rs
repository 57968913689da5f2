//! The MIME tree of a letter (RFC 2045, RFC 2046), read in one pass over its lines: no
//! recursion, no copy, and the exact offsets that IMAP sections need.
use crate::domain::limits;
use crate::proto::mime::describe;
use crate::proto::mime::header;
use crate::proto::mime::parameters;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;

/// Octets of a boundary. RFC 2046 §5.1.1 says 70; some programs write more.
const BOUNDARY_OCTETS_MAX: usize = 256;
/// Octets of a header over budget that the safe envelope is read from.
const SAFE_HEADER_OCTETS: usize = 65_536;

/// A letter's inside.
pub(super) struct Structure {
    pub envelope: EnvelopeFields,
    pub root: Part,
    pub attachments: u32,
    pub over_budget: bool,
}

/// Reads a letter. Never fails; see [`super::summary::summarise`].
pub(super) fn read(letter: &[u8]) -> Structure {
    let mut walk = Walk::new(letter);
    walk.run();
    walk.into_structure()
}

struct Walk<'a> {
    letter: &'a [u8],
    nodes: Vec<Node>,
    /// Entities that have begun and not ended, outermost first.
    open: Vec<Frame>,
    /// The innermost entity's header section is being read.
    in_header: bool,
    /// Line ends before the current line.
    lines: u64,
    header_octets: usize,
    over_depth: bool,
    /// The whole letter is to be one opaque part.
    over_all: bool,
}

struct Node {
    part: Part,
    parent: Option<usize>,
    /// The envelope, when this is a letter: the outermost, or one inside message/rfc822.
    envelope: Option<EnvelopeFields>,
    is_letter: bool,
    /// Somewhere inside a message/rfc822 part.
    inside_message: bool,
    lines_before_body: u64,
}

struct Frame {
    node: usize,
    boundary: Option<Vec<u8>>,
    /// Parts without Content-Type are letters (RFC 2046 §5.1.5).
    digest: bool,
}

impl<'a> Walk<'a> {
    fn new(letter: &'a [u8]) -> Self {
        Self {
            letter,
            nodes: Vec::new(),
            open: Vec::new(),
            in_header: false,
            lines: 0,
            header_octets: 0,
            over_depth: false,
            over_all: false,
        }
    }

    fn run(&mut self) {
        self.begin(None, true, 0);
        let mut place = 0;
        while place < self.letter.len() && !self.over_all {
            let end = header::line_end(self.letter, place);
            let line = &self.letter[place..end];
            if let Some((level, closing)) = self.delimiter(line) {
                self.end_down_to(level + 1, place);
                if closing {
                    // What follows is an epilogue; nothing begins in it.
                    self.open[level].boundary = None;
                } else {
                    self.lines += u64::from(line.ends_with(b"\n"));
                    self.begin(Some(self.open[level].node), false, end);
                    place = end;
                    continue;
                }
            } else if self.in_header && matches!(line, b"\r\n" | b"\n") {
                self.lines += 1;
                self.end_header(place, end);
                place = end;
                continue;
            }
            self.lines += u64::from(line.ends_with(b"\n"));
            place = end;
        }
        if !self.over_all {
            self.end_down_to(0, self.letter.len());
        }
    }

    /// The line end in front of a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
    fn before_line_end(&self, place: usize) -> usize {
        let before = &self.letter[..place];
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        before.strip_suffix(b"\r").unwrap_or(before).len()
    }

    /// Whose delimiter a line is: the innermost multipart that knows it. An outer one ends the
    /// inner ones, also when their own end is missing (RFC 2046 §5.1.2).
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?;
        self.open.iter().enumerate().rev().find_map(|(level, frame)| {
            let rest = text.strip_prefix(frame.boundary.as_deref()?)?;
            let (rest, closing) = match rest.strip_prefix(b"--") {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            rest.iter().all(u8::is_ascii_whitespace).then_some((level, closing))
        })
    }

    fn begin(&mut self, parent: Option<usize>, is_letter: bool, header_start: usize) {
        if self.nodes.len() >= limits::MIME_PARTS_MAX {
            self.over_all = true;
            return;
        }
        let inside_message =
            parent.is_some_and(|parent| is_letter || self.nodes[parent].inside_message);
        let part = Part {
            header_start: header_start as u64,
            body_start: header_start as u64,
            body_end: header_start as u64,
            ..text_plain()
        };
        self.open.push(Frame { node: self.nodes.len(), boundary: None, digest: false });
        self.nodes.push(Node {
            part,
            parent,
            envelope: None,
            is_letter,
            inside_message,
            lines_before_body: self.lines,
        });
        self.in_header = true;
    }

    /// The innermost entity's header section ends; now it shows what it is.
    fn end_header(&mut self, header_end: usize, body_start: usize) {
        self.in_header = false;
        let Some(frame) = self.open.last() else { return };
        let node_index = frame.node;
        let in_digest = self.open.len() >= 2 && self.open[self.open.len() - 2].digest;
        let node = &mut self.nodes[node_index];
        let header_start = usize::try_from(node.part.header_start).unwrap_or(header_end);
        node.part.body_start = body_start as u64;
        node.part.body_end = body_start as u64;
        node.lines_before_body = self.lines;
        let section = self.letter.get(header_start..header_end).unwrap_or_default();
        self.header_octets += section.len();
        if self.header_octets > limits::HEADER_OCTETS_MAX {
            self.over_all = true;
            if node_index == 0 {
                let safe = &section[..section.len().min(SAFE_HEADER_OCTETS)];
                node.envelope = Some(describe::envelope(safe));
            }
            return;
        }
        if node.is_letter {
            node.envelope = Some(describe::envelope(section));
        }
        describe::fill(&mut node.part, section, in_digest && !node.is_letter);
        self.open_body(node_index, body_start);
    }

    fn open_body(&mut self, node_index: usize, body_start: usize) {
        let depth = self.open.len();
        let part = &mut self.nodes[node_index].part;
        let boundary = parameters::find(&part.parameters, "boundary")
            .map(|boundary| boundary.trim_end().as_bytes().to_vec())
            .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_OCTETS_MAX);
        let is_multipart = part.kind == "multipart" && boundary.is_some();
        let is_message = part.kind == "message" && matches!(&*part.subtype, "rfc822" | "global");
        if !is_multipart && !is_message {
            return;
        }
        if depth >= limits::MIME_DEPTH_MAX {
            self.over_depth = true;
            make_opaque(part);
            return;
        }
        if is_multipart {
            let digest = part.subtype == "digest";
            if let Some(frame) = self.open.last_mut() {
                frame.boundary = boundary;
                frame.digest = digest;
            }
        } else if matches!(&*part.encoding, "7bit" | "8bit" | "binary") {
            self.begin(Some(node_index), true, body_start);
        } else {
            // RFC 2046 §5.2.1 forbids an encoded message; nobody could say what is inside.
            make_opaque(part);
        }
    }

    /// Ends the entities from `level` on, in front of the delimiter at `place` or at the end.
    fn end_down_to(&mut self, level: usize, place: usize) {
        let at_delimiter = place < self.letter.len();
        let mut end = if at_delimiter { self.before_line_end(place) } else { place };
        if self.in_header && self.open.len() > level {
            // A header section without an empty line after it.
            let start =
                self.open.last().map_or(0, |frame| self.nodes[frame.node].part.header_start);
            let header_end = end.max(usize::try_from(start).unwrap_or(end));
            self.end_header(header_end, header_end);
            self.in_header = false;
        }
        while self.open.len() > level {
            let Some(frame) = self.open.pop() else { return };
            let node = &mut self.nodes[frame.node];
            let part = &mut node.part;
            // The line end before the delimiter may be the one that ends the header; then it is
            // the header's, and the parts around hold it too.
            end = end.max(usize::try_from(part.body_start).unwrap_or(end));
            part.body_end = end as u64;
            // A line end that is the delimiter's is not in the body and not counted.
            let not_ours = u64::from(end < place);
            part.lines = self.lines.saturating_sub(node.lines_before_body + not_ours);
        }
    }

    fn into_structure(mut self) -> Structure {
        if self.over_all {
            return self.into_opaque();
        }
        let mut attachments = 0_u32;
        while self.nodes.len() > 1 {
            let Some(mut node) = self.nodes.pop() else { break };
            finish(&mut node.part);
            let is_attachment = !node.is_letter && is_attachment(&node.part);
            attachments += u32::from(is_attachment && !node.inside_message);
            // A child stands behind its parent, so the parent is still there.
            let Some(parent) = node.parent.and_then(|parent| self.nodes.get_mut(parent)) else {
                continue;
            };
            if node.is_letter {
                parent.part.message =
                    Some(Box::new((node.envelope.unwrap_or_default(), node.part)));
            } else {
                parent.part.children.push(node.part);
            }
        }
        let Some(mut root) = self.nodes.pop() else { return self.into_opaque() };
        finish(&mut root.part);
        attachments += u32::from(is_attachment(&root.part));
        Structure {
            envelope: root.envelope.unwrap_or_default(),
            root: root.part,
            attachments,
            over_budget: self.over_depth,
        }
    }

    /// The letter as one part that nobody looks into.
    fn into_opaque(mut self) -> Structure {
        let mut root = match self.nodes.is_empty() {
            true => text_plain(),
            false => std::mem::replace(&mut self.nodes[0].part, text_plain()),
        };
        let envelope = self.nodes.first_mut().and_then(|node| node.envelope.take());
        make_opaque(&mut root);
        root.parameters.clear();
        root.body_end = self.letter.len() as u64;
        let body = usize::try_from(root.body_start).ok().and_then(|at| self.letter.get(at..));
        root.lines =
            body.map_or(0, |body| body.iter().filter(|octet| **octet == b'\n').count()) as u64;
        Structure {
            envelope: envelope.unwrap_or_default(),
            root,
            attachments: 0,
            over_budget: true,
        }
    }
}

/// Children were added last first; a multipart without parts is shown as the text that it is.
fn finish(part: &mut Part) {
    part.children.reverse();
    if part.kind == "multipart" && part.children.is_empty() {
        part.kind = "text".to_owned();
        part.subtype = "plain".to_owned();
        part.parameters = vec![("charset".to_owned(), "us-ascii".to_owned())];
    }
}

fn is_attachment(part: &Part) -> bool {
    let named =
        |parameters: &[(String, String)], name| parameters::find(parameters, name).is_some();
    let by_disposition = part.disposition.as_ref().is_some_and(|(disposition, parameters)| {
        disposition == "attachment" || named(parameters, "filename")
    });
    part.children.is_empty() && (by_disposition || named(&part.parameters, "name"))
}

/// RFC 2045 §5.2: what a part is when it does not say.
pub(super) fn text_plain() -> Part {
    Part {
        kind: "text".to_owned(),
        subtype: "plain".to_owned(),
        parameters: vec![("charset".to_owned(), "us-ascii".to_owned())],
        id: None,
        description: None,
        encoding: "7bit".to_owned(),
        disposition: None,
        language: Vec::new(),
        location: None,
        md5: None,
        header_start: 0,
        body_start: 0,
        body_end: 0,
        lines: 0,
        children: Vec::new(),
        message: None,
    }
}

/// Keeps a part's offsets, name and encoding, and says nothing of what is inside.
pub(super) fn make_opaque(part: &mut Part) {
    part.kind = "application".to_owned();
    part.subtype = "octet-stream".to_owned();
    part.parameters.retain(|(name, _)| name == "name");
    part.children.clear();
    part.message = None;
}
