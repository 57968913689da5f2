//! The life of a mailbox, and what administrators do about it.
//!
//! ```text
//! Requested ─► Active ◄─► Suspended
//!     │          │ ▲          │
//!     │   notice ▼ │ any login│
//!     │       Notified        │
//!     ▼          ▼            ▼
//!     └───────► Closing ◄─────┘ ─► Closed
//!                  └─ undo ─► as it was
//! ```
//!
//! Nothing leads out of `Closed`, and nothing gives its address to anybody again.
use std::fmt;

use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;

/// Where a mailbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Its address is taken; nobody has opened it yet.
    Requested,
    /// In use.
    Active,
    /// In use, as far as we know not by anybody: its holder was told that it would be closed.
    Notified,
    /// Out of use until an administrator says otherwise.
    Suspended,
    /// Out of use. Its contents are kept until a day, and may come back until then.
    Closing,
    /// Contents and keys are gone. Its address belongs to nobody, for ever.
    Closed,
}

impl Stage {
    /// All, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Requested,
        Self::Active,
        Self::Notified,
        Self::Suspended,
        Self::Closing,
        Self::Closed,
    ];

    /// As lists say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Notified => "notified",
            Self::Suspended => "suspended",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }

    /// The stage of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// True when its holder may log in, and letters come and go.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Notified)
    }
}

/// What may happen to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Its address is taken.
    Request,
    /// It opens.
    Activate,
    /// The public directory shows it no longer (*liste rouge*).
    Hide,
    /// The public directory shows it.
    Show,
    /// Its holder is told that nobody has logged in for long.
    Notice,
    /// Somebody logged in, or objected: it is in use.
    Oppose,
    /// It is out of use for now.
    Suspend,
    /// It is in use again.
    Resume,
    /// It will end.
    Close,
    /// It will not end.
    UndoClose,
    /// It ends: contents and keys are destroyed.
    End,
}

impl Step {
    /// All.
    pub const ALL: [Self; 11] = [
        Self::Request,
        Self::Activate,
        Self::Hide,
        Self::Show,
        Self::Notice,
        Self::Oppose,
        Self::Suspend,
        Self::Resume,
        Self::Close,
        Self::UndoClose,
        Self::End,
    ];

    /// As it is typed and listed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Activate => "activate",
            Self::Hide => "hide",
            Self::Show => "show",
            Self::Notice => "notice",
            Self::Oppose => "oppose",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Close => "close",
            Self::UndoClose => "undo-close",
            Self::End => "delete",
        }
    }

    /// The step of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// Who makes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An administrator of the relay.
    Administrator,
    /// Whoever the mailbox belongs to: a login says that it is in use.
    Holder,
    /// The rule of inactivity and the end of the time in which a closing may be undone.
    Clock,
}

impl Actor {
    /// All.
    pub const ALL: [Self; 3] = [Self::Administrator, Self::Holder, Self::Clock];
}

/// What is known of a mailbox when a step is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub stage: Stage,
    /// What it is.
    pub kind: MailboxKind,
    /// Shown or hidden.
    pub listing: Listing,
    /// In `Closing`: when its contents go.
    pub until: Option<Timestamp>,
    /// In `Closing`: where an undo leads.
    pub before: Option<Stage>,
}

/// Why a step is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStep {
    /// The mailbox is closed: nothing happens to it any more.
    Closed,
    /// Not from here.
    NotFrom(Stage),
    /// It is so already.
    Already,
    /// Not by them.
    NotBy(Actor),
    /// The time in which a closing may be undone is not over.
    TooEarly(Timestamp),
    /// It is over.
    TooLate(Timestamp),
    /// A patient's inbox is not listed, and nobody closes it for being quiet.
    Patient,
}

impl fmt::Display for NoStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(
                "the mailbox is closed: its contents are gone, and its address is given to nobody",
            ),
            Self::NotFrom(stage) => {
                write!(f, "that does not follow: the mailbox is {}", stage.name())
            }
            Self::Already => f.write_str("it is so already"),
            Self::NotBy(Actor::Administrator) => f.write_str("no administrator does that by hand"),
            Self::NotBy(Actor::Holder) => f.write_str("only an administrator does that"),
            Self::NotBy(Actor::Clock) => f.write_str("the clock does not do that"),
            Self::TooEarly(until) => write!(f, "it may be undone until {until}"),
            Self::TooLate(until) => write!(f, "it could be undone until {until}"),
            Self::Patient => f.write_str("that is not done to a patient's inbox"),
        }
    }
}

impl Standing {
    /// What a new mailbox begins as.
    pub const fn requested(kind: MailboxKind, listing: Listing) -> Self {
        Self { stage: Stage::Requested, kind, listing, until: None, before: None }
    }

    /// What a step leads to. `retained_until` says when the contents of a mailbox that is closed
    /// now would go.
    ///
    /// # Errors
    /// Why it leads nowhere; nothing changes then.
    pub fn step(
        self,
        step: Step,
        by: Actor,
        now: Timestamp,
        retained_until: Timestamp,
    ) -> Result<Self, NoStep> {
        if self.stage == Stage::Closed {
            return Err(NoStep::Closed);
        }
        if !may(by, step) {
            return Err(NoStep::NotBy(by));
        }
        let is_patient = self.kind == MailboxKind::Citizen;
        if is_patient && matches!(step, Step::Hide | Step::Show | Step::Notice) {
            return Err(NoStep::Patient);
        }
        let at = |stage| Self { stage, until: None, before: None, ..self };
        match (step, self.stage) {
            (Step::Activate, Stage::Requested)
            | (Step::Resume, Stage::Suspended)
            | (Step::Oppose, Stage::Active | Stage::Notified) => Ok(at(Stage::Active)),
            (Step::Hide | Step::Show, stage) if stage != Stage::Closing => {
                let listing = match step {
                    Step::Hide => Listing::RedList,
                    _ => Listing::Public,
                };
                let new = Self { listing, ..self };
                if new == self { Err(NoStep::Already) } else { Ok(new) }
            }
            (Step::Notice, Stage::Active | Stage::Notified) => Ok(at(Stage::Notified)),
            (Step::Suspend, Stage::Active | Stage::Notified) => Ok(at(Stage::Suspended)),
            (Step::Close, stage) if by == Actor::Clock && stage != Stage::Notified => {
                // Nobody loses a mailbox without having been told.
                Err(NoStep::NotFrom(stage))
            }
            (Step::Close, stage) if stage != Stage::Closing => {
                // Whoever undoes it has seen it: what was told before counts no longer.
                let before = if stage == Stage::Notified { Stage::Active } else { stage };
                let (until, before) = (Some(retained_until), Some(before));
                Ok(Self { stage: Stage::Closing, until, before, ..self })
            }
            (Step::UndoClose, Stage::Closing) => match self.until {
                Some(until) if until <= now => Err(NoStep::TooLate(until)),
                _ => Ok(at(self.before.unwrap_or(Stage::Suspended))),
            },
            (Step::End, Stage::Closing) => match self.until {
                Some(until) if by == Actor::Clock && now < until => Err(NoStep::TooEarly(until)),
                _ => Ok(at(Stage::Closed)),
            },
            (Step::Activate | Step::Resume, Stage::Active | Stage::Notified)
            | (Step::Suspend, Stage::Suspended)
            | (Step::Close, Stage::Closing) => Err(NoStep::Already),
            (_, stage) => Err(NoStep::NotFrom(stage)),
        }
    }
}

/// Who may make which step at all.
const fn may(by: Actor, step: Step) -> bool {
    match by {
        Actor::Administrator => !matches!(step, Step::Request | Step::Notice),
        Actor::Holder => matches!(step, Step::Oppose),
        Actor::Clock => matches!(step, Step::Notice | Step::Oppose | Step::Close | Step::End),
    }
}

/// When somebody last logged in. What is not known is not "never": records begin some day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLogin {
    /// Not known: the mailbox is older than the records.
    Unknown,
    /// Never since the mailbox was made.
    Never,
    /// Then.
    At(Timestamp),
}

/// What may need a second administrator (`life.four_eyes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Close a mailbox.
    Close,
    /// Delete what is in a closed mailbox before its time.
    Delete,
    /// Import mailboxes from a file.
    Bulk,
    /// Let somebody read another's mailbox.
    Grant,
    /// Say which professional holds a mailbox.
    Holder,
    /// Destroy letters or a mailbox for good, at once.
    Shred,
    /// Forget the second factors of a mailbox's pages.
    Factors,
}

impl Action {
    /// All, in the order of tables.
    pub const ALL: [Self; 7] = [
        Self::Close,
        Self::Delete,
        Self::Bulk,
        Self::Grant,
        Self::Holder,
        Self::Shred,
        Self::Factors,
    ];

    /// As the configuration and lists say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Delete => "delete",
            Self::Bulk => "bulk",
            Self::Grant => "grant",
            Self::Holder => "holder",
            Self::Shred => "shred",
            Self::Factors => "factors",
        }
    }

    /// The action of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_388_399);
    const LATER: Timestamp = Timestamp::from_seconds(1_797_980_399);

    fn standing(stage: Stage, kind: MailboxKind) -> Standing {
        let is_closing = stage == Stage::Closing;
        Standing {
            stage,
            kind,
            listing: Listing::Public,
            until: is_closing.then_some(LATER),
            before: is_closing.then_some(Stage::Active),
        }
    }

    /// The whole table, written by hand: what leads where.
    #[test]
    fn each_step_leads_where_the_table_says_and_nowhere_else() {
        use Actor::Administrator;
        use Actor::Clock;
        use Actor::Holder;
        use Stage::Active;
        use Stage::Closed;
        use Stage::Closing;
        use Stage::Notified;
        use Stage::Requested;
        use Stage::Suspended;
        let mut table = vec![
            (Requested, Step::Activate, Administrator, Active),
            (Requested, Step::Hide, Administrator, Requested),
            (Requested, Step::Close, Administrator, Closing),
            (Active, Step::Hide, Administrator, Active),
            (Active, Step::Notice, Clock, Notified),
            (Active, Step::Suspend, Administrator, Suspended),
            (Active, Step::Close, Administrator, Closing),
            (Notified, Step::Hide, Administrator, Notified),
            (Notified, Step::Notice, Clock, Notified),
            (Notified, Step::Suspend, Administrator, Suspended),
            (Notified, Step::Close, Administrator, Closing),
            (Notified, Step::Close, Clock, Closing),
            (Suspended, Step::Hide, Administrator, Suspended),
            (Suspended, Step::Resume, Administrator, Active),
            (Suspended, Step::Close, Administrator, Closing),
            (Closing, Step::UndoClose, Administrator, Active),
            (Closing, Step::End, Administrator, Closed),
        ];
        for by in [Administrator, Holder, Clock] {
            table.push((Active, Step::Oppose, by, Active));
            table.push((Notified, Step::Oppose, by, Active));
        }
        for stage in Stage::ALL {
            for step in Step::ALL {
                for by in Actor::ALL {
                    let found = standing(stage, MailboxKind::Personal).step(step, by, NOW, LATER);
                    let listed =
                        table.iter().find(|row| (row.0, row.1, row.2) == (stage, step, by));
                    let stages = (found.ok().map(|new| new.stage), listed.map(|row| row.3));
                    assert_eq!(stages.0, stages.1, "{stage:?} {step:?} {by:?}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_closing_may_be_undone_until_its_time_and_ends_by_itself_after_it() {
        let closing = standing(Stage::Closing, MailboxKind::Personal);
        let step = |step, by, now| closing.step(step, by, now, LATER).map(|new| new.stage);
        assert_eq!(step(Step::End, Actor::Clock, NOW), Err(NoStep::TooEarly(LATER)));
        assert_eq!(step(Step::End, Actor::Clock, LATER), Ok(Stage::Closed));
        assert_eq!(step(Step::UndoClose, Actor::Administrator, LATER), Err(NoStep::TooLate(LATER)));
        let suspended = standing(Stage::Suspended, MailboxKind::Personal);
        let closed = suspended.step(Step::Close, Actor::Administrator, NOW, LATER).unwrap();
        let back = closed.step(Step::UndoClose, Actor::Administrator, NOW, LATER).unwrap();
        assert_eq!(back, suspended, "an undo opens nothing that was not open");
    }

    #[test]
    fn a_patients_inbox_is_neither_listed_nor_told_that_it_is_quiet() {
        let inbox = standing(Stage::Active, MailboxKind::Citizen);
        for step in [Step::Hide, Step::Show] {
            let refused = inbox.step(step, Actor::Administrator, NOW, LATER);
            assert_eq!(refused, Err(NoStep::Patient));
        }
        assert_eq!(inbox.step(Step::Notice, Actor::Clock, NOW, LATER), Err(NoStep::Patient));
        // Without a notice the clock closes nothing.
        let closed = inbox.step(Step::Close, Actor::Clock, NOW, LATER);
        assert_eq!(closed, Err(NoStep::NotFrom(Stage::Active)));
    }

    #[test]
    fn every_name_is_read_again() {
        assert!(Stage::ALL.into_iter().all(|stage| Stage::parse(stage.name()) == Some(stage)));
        assert!(Step::ALL.into_iter().all(|step| Step::parse(step.name()) == Some(step)));
        assert!(Action::ALL.into_iter().all(|one| Action::parse(one.name()) == Some(one)));
    }

    proptest! {
        #[test]
        fn whatever_happens_kind_stays_closed_stays_and_only_the_told_are_closed_by_the_clock(
            kind in 0_usize..5,
            steps in proptest::collection::vec((0_usize..11, 0_usize..3, 0_u64..100), 0..60),
        ) {
            let mut at = Standing::requested(MailboxKind::ALL[kind], Listing::Public);
            let mut now = NOW;
            for (step, by, days) in steps {
                let (step, by) = (Step::ALL[step], Actor::ALL[by]);
                now = now.after(std::time::Duration::from_secs(days * 86_400));
                let until = now.after(std::time::Duration::from_secs(30 * 86_400));
                let Ok(new) = at.step(step, by, now, until) else { continue };
                prop_assert_ne!(at.stage, Stage::Closed);
                prop_assert_eq!(new.kind, at.kind);
                prop_assert_eq!(new.until.is_some(), new.stage == Stage::Closing);
                if new.stage == Stage::Closed {
                    prop_assert_eq!(at.stage, Stage::Closing);
                }
                if new.stage == Stage::Closing && by == Actor::Clock {
                    prop_assert_eq!(at.stage, Stage::Notified);
                }
                if by == Actor::Holder {
                    prop_assert_eq!(new.stage, Stage::Active);
                }
                if at.stage == Stage::Requested && new.stage.is_open() {
                    prop_assert_eq!(step, Step::Activate);
                }
                at = new;
            }
        }
    }
}
