//! What is known about each recipient of one letter.
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::HandoverResult;
use crate::flow::deliver::operator::Outcome;
use crate::flow::deliver::operator::reply::Answer;
use crate::flow::deliver::operator::reply::Mask;
use crate::flow::deliver::operator::reply::Trouble;

/// What is known about each recipient so far.
pub(super) struct Outcomes {
    known: Vec<Option<Outcome>>,
    accepted: Vec<usize>,
    heard: bool,
    mask: Mask,
}

impl Outcomes {
    /// Nothing, about everybody.
    pub(super) fn of(handover: &Handover<'_>) -> Self {
        Self {
            known: vec![None; handover.recipients.len()],
            accepted: Vec::new(),
            heard: false,
            mask: Mask::of(handover.reverse_path, handover.recipients),
        }
    }

    /// Recipients about whom nothing is known.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.known.len()).filter(|place| self.known[*place].is_none()).collect()
    }

    /// True while no reply has been heard about anybody.
    pub(super) fn nothing_heard(&self) -> bool {
        self.accepted.is_empty() && !self.heard
    }

    /// True when DATA makes sense.
    pub(super) fn any_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// The reply to one RCPT. RFC 5321 §3.4: 251 accepts and forwards.
    pub(super) fn hear(&mut self, place: usize, answer: Answer) -> Result<(), Trouble> {
        self.heard = true;
        match answer.code {
            250 | 251 => {
                self.accepted.push(place);
                Ok(())
            }
            _ => match answer.negative() {
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

    /// The letter is taken for all who were accepted.
    pub(super) fn take_accepted(&mut self, answer: &Answer) {
        let reply = self.mask.clean(&answer.line());
        for place in std::mem::take(&mut self.accepted) {
            self.known[place] =
                Some(Outcome { result: HandoverResult::Taken, reply: reply.clone() });
        }
    }

    /// The end of a letter, good or bad.
    pub(super) fn conclude(&mut self, said: Result<(), Trouble>) {
        if let Err(trouble) = said {
            self.settle(trouble);
        }
    }

    /// Everybody still open meets this fate. After a doubt nobody's reply is certain, for they
    /// may have been answers to other commands.
    pub(super) fn settle(&mut self, trouble: Trouble) {
        if matches!(trouble, Trouble::Doubt(_)) {
            self.known.fill(None);
        }
        let outcome = self.outcome(&trouble);
        for known in self.known.iter_mut().filter(|known| known.is_none()) {
            *known = Some(outcome.clone());
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
