//! Who answers whom? THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256 §3) over summaries.
//!
//! Only numbers and digests of texts are kept: threads ask whether two Message-IDs, or two
//! subjects, are the same, and nothing else. Nothing recurses: a thread may be as deep as a
//! folder is long.
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::proto::imap::casemap;
use crate::proto::imap::command::ThreadAlgorithm;
use crate::proto::imap::sorting;
use crate::proto::imap::sorting::TooMany;
use crate::proto::imap::subject;
use crate::proto::imap::write;
use crate::proto::mime::content;
use crate::proto::mime::summary::Summary;

/// No parent, or no child.
const NONE: u32 = u32::MAX;

/// Gathers messages, in the order of their sequence numbers, and makes threads.
pub struct Threader {
    algorithm: ThreadAlgorithm,
    digests: Digests,
    messages: Vec<Message>,
    ids: HashMap<Digest, u32>,
    /// Who is whose parent among nodes: messages, and those that are only referred to.
    parents: Vec<u32>,
    /// The message of a node; [`NONE`] for one that nobody has.
    owners: Vec<u32>,
    has_children: Vec<bool>,
    steps: usize,
}

/// A 128-bit keyed digest: two texts of the same digest are the same text.
type Digest = [u64; 2];

struct Digests([RandomState; 2]);

struct Message {
    uid: u32,
    sent: i64,
    /// Its base subject; `None` when that is empty.
    subject: Option<Digest>,
    is_reply: bool,
    node: u32,
}

/// Threads: who is below whom, siblings in their order.
#[derive(Debug, PartialEq, Eq)]
pub struct Threads {
    /// UIDs; `None` for a parent that is not there.
    nodes: Vec<Option<u32>>,
    /// The first child of each node, and its next sibling.
    children: Vec<u32>,
    siblings: Vec<u32>,
    first: u32,
}

impl Threader {
    /// Nothing so far.
    pub fn new(algorithm: ThreadAlgorithm) -> Self {
        Self {
            algorithm,
            digests: Digests([RandomState::new(), RandomState::new()]),
            messages: Vec::new(),
            ids: HashMap::new(),
            parents: Vec::new(),
            owners: Vec::new(),
            has_children: Vec::new(),
            steps: 0,
        }
    }

    /// One more message. Call it in the order of sequence numbers.
    pub fn add(
        &mut self,
        uid: u32,
        internal_date: Timestamp,
        summary: &Summary,
    ) -> Result<(), TooMany> {
        if self.messages.len() >= limits::ORDERED_MESSAGES_MAX {
            return Err(TooMany);
        }
        let envelope = &summary.envelope;
        let subject = envelope.subject.as_deref().unwrap_or_default();
        let base = subject::base(&content::decoded_header(subject));
        let key = casemap::collation_key(&base.text);
        let message = Message {
            uid,
            sent: sorting::sent_seconds(envelope, internal_date),
            subject: (!key.is_empty()).then(|| self.digests.of(key.as_bytes())),
            is_reply: base.is_reply,
            node: NONE,
        };
        self.messages.push(message);
        match self.algorithm {
            ThreadAlgorithm::OrderedSubject => Ok(()),
            ThreadAlgorithm::References => self.link(summary),
        }
    }

    /// Step 1 of REFERENCES for the newest message.
    fn link(&mut self, summary: &Summary) -> Result<(), TooMany> {
        let envelope = &summary.envelope;
        let number = self.messages.len() - 1;
        let id = envelope.message_id.as_deref().and_then(first_id);
        let node = match id {
            Some(id) => self.node_of(&id)?,
            None => self.new_node()?,
        };
        // Of two messages with one Message-ID the first one has it.
        let node = if self.owners[node as usize] == NONE { node } else { self.new_node()? };
        self.owners[node as usize] = number as u32;
        self.messages[number].node = node;
        let mut references: Vec<Vec<u8>> =
            summary.references.iter().filter_map(|reference| first_id(reference)).collect();
        if references.is_empty() {
            references.extend(envelope.in_reply_to.as_deref().and_then(first_id));
        }
        // (A) each reference is the parent of the next one, unless that has a parent.
        let mut last = NONE;
        for reference in &references {
            let reference = self.node_of(reference)?;
            if last != NONE && self.parents[reference as usize] == NONE {
                self.make_parent(last, reference)?;
            }
            last = reference;
        }
        // (B) the last reference is the message's parent, whatever others said.
        self.parents[node as usize] = NONE;
        if last != NONE {
            self.make_parent(last, node)?;
        }
        Ok(())
    }

    fn node_of(&mut self, id: &[u8]) -> Result<u32, TooMany> {
        let digest = self.digests.of(id);
        if let Some(node) = self.ids.get(&digest) {
            return Ok(*node);
        }
        let node = self.new_node()?;
        self.ids.insert(digest, node);
        Ok(node)
    }

    fn new_node(&mut self) -> Result<u32, TooMany> {
        if self.parents.len() >= limits::THREAD_IDS_MAX {
            return Err(TooMany);
        }
        self.parents.push(NONE);
        self.owners.push(NONE);
        self.has_children.push(false);
        Ok(self.parents.len() as u32 - 1)
    }

    /// False, and nothing is done, when `child` is `parent` or above it.
    fn make_parent(&mut self, parent: u32, child: u32) -> Result<bool, TooMany> {
        if parent == child {
            return Ok(false);
        }
        // Who has no children is above nobody.
        if self.has_children[child as usize] {
            let mut above = parent;
            while above != NONE {
                if above == child {
                    return Ok(false);
                }
                above = self.parents[above as usize];
                self.steps += 1;
            }
            if self.steps > limits::THREAD_STEPS_MAX {
                return Err(TooMany);
            }
        }
        self.parents[child as usize] = parent;
        self.has_children[parent as usize] = true;
        Ok(true)
    }

    /// The threads.
    pub fn threads(self) -> Threads {
        match self.algorithm {
            ThreadAlgorithm::OrderedSubject => self.by_subject(),
            ThreadAlgorithm::References => self.by_references(),
        }
    }

    /// The first message of a subject, and below it the others, in the order of their dates.
    fn by_subject(self) -> Threads {
        let mut order: Vec<u32> = (0..self.messages.len() as u32).collect();
        order.sort_unstable_by_key(|message| self.age(*message));
        let mut parents = vec![NONE; self.messages.len()];
        let mut firsts: HashMap<Option<Digest>, u32> = HashMap::new();
        let mut tops = Vec::new();
        for message in order {
            match firsts.get(&self.messages[message as usize].subject) {
                Some(first) => parents[message as usize] = *first,
                None => {
                    firsts.insert(self.messages[message as usize].subject, message);
                    tops.push(Top::Message(message));
                }
            }
        }
        self.grow(&parents, tops)
    }

    /// Steps 2 to 6 of REFERENCES.
    fn by_references(self) -> Threads {
        let (mut parents, mut tops) = self.pruned();
        self.sort(&mut tops);
        self.merge_subjects(&mut parents, &mut tops);
        self.sort(&mut tops);
        self.grow(&parents, tops)
    }

    /// Steps 2 and 3: the parent of each message among messages, and what has none. Children of
    /// somebody who is not there go up to the next who is; where nobody is, two or more of them
    /// keep an empty parent.
    fn pruned(&self) -> (Vec<u32>, Vec<Top>) {
        // For a node without a message: the nearest above with one, or the topmost without.
        let mut nearest: Vec<u32> = vec![NONE; self.parents.len()];
        let mut path = Vec::new();
        let mut parents = vec![NONE; self.messages.len()];
        let mut groups: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut tops = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            let mut above = self.parents[message.node as usize];
            if above == NONE {
                tops.push(Top::Message(number as u32));
                continue;
            }
            path.clear();
            while self.owners[above as usize] == NONE {
                if nearest[above as usize] != NONE {
                    above = nearest[above as usize];
                    break;
                }
                path.push(above);
                match self.parents[above as usize] {
                    NONE => break,
                    next => above = next,
                }
            }
            path.iter().for_each(|node| nearest[*node as usize] = above);
            match self.owners[above as usize] {
                NONE => groups.entry(above).or_default().push(number as u32),
                owner => parents[number] = owner,
            }
        }
        tops.extend(groups.into_values().map(|group| match group[..] {
            [only] => Top::Message(only),
            _ => Top::Empty(group),
        }));
        (parents, tops)
    }

    /// Steps 4 and 6, the topmost: by date, an empty parent by its first child.
    fn sort(&self, tops: &mut [Top]) {
        for top in tops.iter_mut() {
            if let Top::Empty(children) = top {
                children.sort_unstable_by_key(|child| self.age(*child));
            }
        }
        tops.sort_by_key(|top| self.age(top.first()));
    }

    /// Step 5.
    fn merge_subjects(&self, parents: &mut [u32], tops: &mut Vec<Top>) {
        let subject_of = |top: &Top| self.messages[top.first() as usize].subject;
        let is_reply = |top: &Top| self.messages[top.first() as usize].is_reply;
        // (B)
        let mut table: HashMap<Digest, usize> = HashMap::new();
        for (place, top) in tops.iter().enumerate() {
            let Some(subject) = subject_of(top) else { continue };
            let known = table.entry(subject).or_insert(place);
            let before = &tops[*known];
            let is_better = top.is_empty() || is_reply(before) && !is_reply(top);
            if !before.is_empty() && is_better {
                *known = place;
            }
        }
        // (C)
        for place in 0..tops.len() {
            let Some(target) = subject_of(&tops[place]).and_then(|subject| table.get(&subject))
            else {
                continue;
            };
            let target = *target;
            if target == place {
                continue;
            }
            let current = std::mem::replace(&mut tops[place], Top::Taken);
            match (&mut tops[target], current) {
                (Top::Empty(children), Top::Empty(more)) => children.extend(more),
                (Top::Empty(children), Top::Message(message)) => children.push(message),
                (Top::Message(above), Top::Message(message)) => {
                    let above = *above;
                    let [one, other] = [above, message].map(|m| self.messages[m as usize].is_reply);
                    if other && !one {
                        parents[message as usize] = above;
                    } else {
                        tops[target] = Top::Empty(vec![above, message]);
                    }
                }
                // Where an empty parent has a subject, the table names an empty parent.
                (_, current) => tops[place] = current,
            }
        }
        tops.retain(|top| !matches!(top, Top::Taken));
    }

    /// By what siblings are sorted.
    fn age(&self, message: u32) -> (i64, u32) {
        (self.messages[message as usize].sent, message)
    }

    /// Links children and siblings, each set in the order of dates.
    fn grow(&self, parents: &[u32], tops: Vec<Top>) -> Threads {
        let mut nodes: Vec<Option<u32>> = self.messages.iter().map(|m| Some(m.uid)).collect();
        let mut children = vec![NONE; nodes.len()];
        let mut siblings = vec![NONE; nodes.len()];
        let mut order: Vec<u32> = (0..parents.len() as u32).collect();
        order.sort_unstable_by_key(|message| self.age(*message));
        // Each is put before those that were put there: so from the youngest to the oldest.
        for message in order.into_iter().rev() {
            let parent = parents[message as usize];
            if parent != NONE {
                siblings[message as usize] = children[parent as usize];
                children[parent as usize] = message;
            }
        }
        let mut first = NONE;
        for top in tops.into_iter().rev() {
            let node = match top {
                Top::Taken => continue,
                Top::Message(message) => message,
                Top::Empty(below) => {
                    let node = nodes.len() as u32;
                    nodes.push(None);
                    children.push(NONE);
                    siblings.push(NONE);
                    for child in below.into_iter().rev() {
                        siblings[child as usize] = children[node as usize];
                        children[node as usize] = child;
                    }
                    node
                }
            };
            siblings[node as usize] = first;
            first = node;
        }
        Threads { nodes, children, siblings, first }
    }
}

/// What is below the root.
enum Top {
    Message(u32),
    /// A parent that is not there, with its children; at least two.
    Empty(Vec<u32>),
    /// Merged into another.
    Taken,
}

impl Top {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Empty(_))
    }

    /// The message that speaks for it.
    fn first(&self) -> u32 {
        match self {
            Self::Message(message) => *message,
            Self::Empty(children) => children[0],
            Self::Taken => 0,
        }
    }
}

impl Digests {
    fn of(&self, text: &[u8]) -> Digest {
        [self.0[0].hash_one(text), self.0[1].hash_one(text)]
    }
}

impl Threads {
    /// True when there is no message.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Writes `(2)(3 6 (4 23)(44 7 96))` (RFC 5256 §4), with `number` of each UID.
    pub fn print(&self, out: &mut Vec<u8>, number: impl Fn(u32) -> u32) {
        /// What is still to be written.
        enum Step {
            /// A thread in parentheses, and then its siblings.
            Thread(u32),
            /// The end of a thread.
            End,
        }
        let mut steps = Vec::new();
        if self.first != NONE {
            steps.push(Step::Thread(self.first));
        }
        while let Some(step) = steps.pop() {
            let Step::Thread(start) = step else {
                out.push(b')');
                continue;
            };
            if self.siblings[start as usize] != NONE {
                steps.push(Step::Thread(self.siblings[start as usize]));
            }
            out.push(b'(');
            steps.push(Step::End);
            // Only children follow in one row.
            let mut node = start;
            loop {
                if let Some(uid) = self.nodes[node as usize] {
                    write::text(out, format_args!("{}", number(uid)));
                }
                let child = self.children[node as usize];
                if child == NONE {
                    break;
                }
                if self.nodes[node as usize].is_some() {
                    out.push(b' ');
                }
                if self.siblings[child as usize] != NONE {
                    steps.push(Step::Thread(child));
                    break;
                }
                node = child;
            }
        }
    }
}

/// The first Message-ID in a field, without angle brackets; one with a quoted local part is the
/// same as without quotes (RFC 5256 §3, REFERENCES). `None` when there is none.
fn first_id(field: &[u8]) -> Option<Vec<u8>> {
    let mut id = Vec::new();
    let mut rest = field;
    loop {
        let start = rest.iter().position(|octet| *octet == b'<')?;
        rest = &rest[start + 1..];
        id.clear();
        let (mut is_quoted, mut has_at) = (false, false);
        let mut octets = rest.iter();
        while let Some(octet) = octets.next() {
            match octet {
                b'"' => is_quoted = !is_quoted,
                b'\\' if is_quoted => id.extend(octets.next()),
                b'>' if !is_quoted => {
                    if has_at && id.len() > 1 {
                        return Some(id);
                    }
                    break;
                }
                b'<' if !is_quoted => break,
                b' ' | b'\t' | b'\r' | b'\n' if !is_quoted => {}
                octet => {
                    has_at |= *octet == b'@' && !is_quoted;
                    id.push(*octet);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
