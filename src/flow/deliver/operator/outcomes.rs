//! What is known about each recipient of one letter.
use crate::domain::status::EnhancedStatus;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::HandoverResult;
use crate::flow::deliver::operator::Outcome;
use crate::flow::deliver::operator::contact::remote_id;
use crate::flow::deliver::operator::reply::Answer;
use crate::flow::deliver::operator::reply::Mask;
use crate::flow::deliver::operator::reply::Trouble;

/// What is known about each recipient so far.
pub(super) struct Outcomes {
    known: Vec<Option<Outcome>>,
    /// Known before this conversation began: no doubt of this one touches them.
    certain: Vec<bool>,
    accepted: Vec<usize>,
    /// Octets of the letter may be on the way.
    content_begun: bool,
    mask: Mask,
}

impl Outcomes {
    /// Nothing, about everybody.
    pub(super) fn of(handover: &Handover<'_>) -> Self {
        Self {
            known: vec![None; handover.recipients.len()],
            certain: vec![false; handover.recipients.len()],
            accepted: Vec::new(),
            content_begun: false,
            mask: Mask::of(handover.reverse_path, handover.recipients),
        }
    }

    /// A conversation with another host, or on another connection, begins.
    pub(super) fn begin(&mut self) {
        self.certain = self.known.iter().map(Option::is_some).collect();
        self.accepted.clear();
        self.content_begun = false;
    }

    /// From here on, the letter may arrive.
    pub(super) fn content_begins(&mut self) {
        self.content_begun = true;
    }

    /// Whether another host may be asked after this trouble: nothing of the letter left, or the
    /// server itself said that it does not have it. What this host said in doubt is forgotten.
    pub(super) fn may_go_elsewhere(&mut self, trouble: &Trouble) -> bool {
        match trouble {
            Trouble::Elsewhere(..) => true,
            Trouble::Lost(..) => !self.content_begun,
            Trouble::Doubt(_) if !self.content_begun => {
                self.forget();
                true
            }
            Trouble::Doubt(_) | Trouble::Later(..) | Trouble::Never(..) => false,
        }
    }

    /// Recipients about whom nothing is known.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.known.len()).filter(|place| self.known[*place].is_none()).collect()
    }

    /// True when DATA makes sense.
    pub(super) fn any_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// The reply to one RCPT. RFC 5321 §3.4: 251 accepts and forwards.
    pub(super) fn hear(&mut self, place: usize, answer: Answer) -> Result<(), Trouble> {
        match answer.code {
            250 | 251 => {
                self.accepted.push(place);
                Ok(())
            }
            _ => match answer.negative() {
                Some(gone @ Trouble::Elsewhere(..)) => Err(gone),
                Some(Trouble::Never(status, text)) if is_too_many(answer.code, status) => {
                    let status = match status {
                        EnhancedStatus(_, 0, 0) => EnhancedStatus(4, 5, 3),
                        EnhancedStatus(_, subject, detail) => EnhancedStatus(4, subject, detail),
                    };
                    self.refuse(place, Trouble::Later(status, text));
                    Ok(())
                }
                Some(refusal) => {
                    self.refuse(place, refusal);
                    Ok(())
                }
                None => Err(Trouble::doubt(&format!("{} to RCPT", answer.code))),
            },
        }
    }

    /// This recipient's fate, whatever becomes of the others.
    pub(super) fn refuse(&mut self, place: usize, trouble: Trouble) {
        self.known[place] = Some(self.outcome(&trouble));
    }

    /// The letter is taken for all who were accepted. Answers what the server calls it.
    pub(super) fn take_accepted(&mut self, answer: &Answer) -> Option<String> {
        let reply = self.mask.clean(&answer.line());
        for place in std::mem::take(&mut self.accepted) {
            self.known[place] =
                Some(Outcome { result: HandoverResult::Taken, reply: reply.clone() });
        }
        remote_id(&reply)
    }

    /// Everybody still open meets this fate. After a doubt nobody's reply is certain, for they
    /// may have been answers to other commands.
    pub(super) fn settle(&mut self, trouble: Trouble) {
        if matches!(trouble, Trouble::Doubt(_)) {
            self.forget();
        }
        let outcome = self.outcome(&trouble);
        for known in self.known.iter_mut().filter(|known| known.is_none()) {
            *known = Some(outcome.clone());
        }
    }

    fn forget(&mut self) {
        for (known, certain) in self.known.iter_mut().zip(&self.certain) {
            if !certain {
                *known = None;
            }
        }
    }

    fn outcome(&self, trouble: &Trouble) -> Outcome {
        let (result, text) = trouble.verdict();
        Outcome { result, reply: self.mask.clean(text) }
    }

    /// A recipient that was forgotten would be lost mail, so it is tried again instead.
    pub(super) fn close(mut self) -> Vec<Outcome> {
        self.settle(Trouble::later(5, 0, "the conversation ended too soon"));
        self.known.into_iter().flatten().collect()
    }
}

/// RFC 5321 §4.5.3.1.10: 552 to RCPT is an old word for 452, too many recipients, and the rest of
/// them may come with the next attempt; unless the server says that it means something else by
/// it (RFC 3463 §3.3 and §3.4): the letter is too large, now and later.
fn is_too_many(code: u16, status: EnhancedStatus) -> bool {
    let is_about_the_size = matches!(status, EnhancedStatus(5, 2, 3) | EnhancedStatus(5, 3, 4));
    code == 552 && !is_about_the_size
}
