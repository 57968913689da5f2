//! Actions (RFC 5228 §4): what a script wants done with a letter.
use crate::domain::address::Address;
use crate::domain::limits;
use crate::proto::sieve::Circumstances;
use crate::proto::sieve::Filing;
use crate::proto::sieve::Folder;
use crate::proto::sieve::Letter;
use crate::proto::sieve::Stopped;
use crate::proto::sieve::Vacation;
use crate::proto::sieve::Verdict;
use crate::proto::sieve::examine::Examiner;
use crate::proto::sieve::examine::FLAGS;
use crate::proto::sieve::flags;
use crate::proto::sieve::matching::Budget;
use crate::proto::sieve::program::Command;
use crate::proto::sieve::program::FileInto;
use crate::proto::sieve::program::Program;
use crate::proto::sieve::program::Text;
use crate::proto::sieve::program::To;
use crate::proto::sieve::program::VacationCommand;
use crate::proto::sieve::variables;
use crate::proto::sieve::variables::Variables;

/// Runs a script to its end.
pub(super) fn run(
    program: &Program,
    letter: &Letter<'_>,
    around: &Circumstances<'_>,
) -> Result<Verdict, Stopped> {
    let examiner = Examiner {
        letter,
        around,
        has_variables: program.has_variables,
        variables: Variables::default(),
        budget: Budget::new(),
    };
    let mut run = Run {
        examiner,
        has_flags: program.has_flags,
        verdict: Verdict::default(),
        keeps: true,
        actions: 0,
    };
    run.commands(&program.commands)?;
    if run.keeps {
        // RFC 5228 §2.10.2: the implicit keep, with the marks that were set.
        let flags = run.marks(&None)?;
        run.file(None, flags)?;
    }
    Ok(run.verdict)
}

struct Run<'r> {
    examiner: Examiner<'r>,
    has_flags: bool,
    verdict: Verdict,
    /// The implicit keep is not cancelled.
    keeps: bool,
    actions: usize,
}

/// Whether the script goes on.
#[derive(PartialEq, Eq)]
enum Way {
    On,
    Stop,
}

impl Run<'_> {
    fn commands(&mut self, commands: &[Command]) -> Result<Way, Stopped> {
        for command in commands {
            self.examiner.budget.spend(0)?;
            if self.command(command)? == Way::Stop {
                return Ok(Way::Stop);
            }
        }
        Ok(Way::On)
    }

    fn command(&mut self, command: &Command) -> Result<Way, Stopped> {
        match command {
            Command::If(branches) => {
                for (test, block) in branches {
                    let is_true = match test {
                        Some(test) => self.examiner.is_true(test)?,
                        None => true,
                    };
                    if is_true {
                        return self.commands(block);
                    }
                }
            }
            Command::Stop => return Ok(Way::Stop),
            Command::Keep { flags } => {
                self.keeps = false;
                let marks = self.marks(flags)?;
                self.file(None, marks)?;
            }
            Command::Discard => self.keeps = false,
            Command::FileInto(fileinto) => self.fileinto(fileinto)?,
            Command::Redirect { to, copy } => {
                self.keeps &= *copy;
                self.redirect(to)?;
            }
            Command::Vacation(vacation) => self.vacation(vacation)?,
            Command::Set { name, modifiers, value } => {
                let value = self.examiner.text(value)?;
                self.examiner.variables.set(name, variables::modified(value, modifiers));
            }
            Command::Flags { change, variable, flags: texts } => {
                let name = variable.as_deref().unwrap_or(FLAGS);
                let texts = self.examiner.expanded(texts)?;
                let list = flags::changed(self.examiner.variables.get(name), *change, &texts);
                self.examiner.variables.set(name, list);
            }
        }
        Ok(Way::On)
    }

    fn count_action(&mut self) -> Result<(), Stopped> {
        self.actions += 1;
        match self.actions > limits::SIEVE_ACTIONS_MAX {
            true => Err(Stopped::TooManyActions),
            false => Ok(()),
        }
    }

    /// What `:flags` says, or else what was set before (RFC 5232 §5).
    fn marks(
        &mut self,
        tagged: &Option<Vec<Text>>,
    ) -> Result<crate::domain::folder::Flags, Stopped> {
        let texts = match tagged {
            Some(texts) => self.examiner.expanded(texts)?,
            None if self.has_flags => vec![self.examiner.variables.get(FLAGS).to_owned()],
            None => Vec::new(),
        };
        Ok(flags::marks(&flags::words(&texts)))
    }

    /// RFC 5228 §2.10.3: one place gets the letter once; the marks of the last action count.
    fn file(
        &mut self,
        folder: Option<Folder>,
        flags: crate::domain::folder::Flags,
    ) -> Result<(), Stopped> {
        let name = |folder: &Option<Folder>| match folder {
            Some(folder) if folder.special_use.is_some() => None,
            Some(folder) if !folder.name.eq_ignore_ascii_case("INBOX") => Some(folder.name.clone()),
            _ => Some(String::new()),
        };
        let wanted = name(&folder);
        let known = self.verdict.filed.iter_mut().find(|filing| {
            (wanted.is_some() && name(&filing.folder) == wanted) || filing.folder == folder
        });
        if let Some(filing) = known {
            filing.flags = flags;
            return Ok(());
        }
        self.count_action()?;
        self.verdict.filed.push(Filing { folder, flags });
        Ok(())
    }

    fn fileinto(&mut self, fileinto: &FileInto) -> Result<(), Stopped> {
        self.keeps &= fileinto.copy;
        let name = self.examiner.text(&fileinto.folder)?;
        let special_use = match &fileinto.special_use {
            Some(special_use) => Some(self.examiner.text(special_use)?),
            None => None,
        };
        let marks = self.marks(&fileinto.flags)?;
        self.file(Some(Folder { name, create: fileinto.create, special_use }), marks)
    }

    fn redirect(&mut self, to: &To) -> Result<(), Stopped> {
        let address = match to {
            To::Address(address) => address.clone(),
            To::Text(text) => {
                let written = self.examiner.text(text)?;
                Address::parse(written.trim()).map_err(|_| Stopped::BadAddress)?
            }
        };
        if self.verdict.redirects.contains(&address) {
            return Ok(());
        }
        if self.verdict.redirects.len() >= self.examiner.around.redirects_max {
            return Err(Stopped::TooManyActions);
        }
        self.count_action()?;
        self.verdict.redirects.push(address);
        Ok(())
    }

    fn vacation(&mut self, command: &VacationCommand) -> Result<(), Stopped> {
        if self.verdict.vacation.is_some() {
            return Err(Stopped::TwoAnswers);
        }
        let mut optional = |text: &Option<Text>| match text {
            Some(text) => self.examiner.text(text).map(Some),
            None => Ok(None),
        };
        let (subject, from, handle) =
            (optional(&command.subject)?, optional(&command.from)?, optional(&command.handle)?);
        let reason = self.examiner.text(&command.reason)?;
        let addresses = self.examiner.expanded(&command.addresses)?;
        // RFC 5230 §4.2: without a handle, what the answer says is the handle.
        let handle = handle.unwrap_or_else(|| {
            let (subject, from) = (subject.as_deref(), from.as_deref());
            format!("{}\0{}\0{}\0{reason}", subject.unwrap_or(""), from.unwrap_or(""), command.mime)
        });
        self.verdict.vacation = Some(Vacation {
            seconds: command.seconds,
            subject,
            from,
            addresses,
            mime: command.mime,
            handle,
            reason,
        });
        Ok(())
    }
}
