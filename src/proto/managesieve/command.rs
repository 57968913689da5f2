//! Commands (RFC 5804 §2).
use crate::domain::secret::Secret;
use crate::proto::managesieve::Word;

/// What a client asks.
#[derive(Debug)]
pub enum Command {
    /// §2.1; the initial response still in base64.
    Authenticate {
        /// In upper case.
        mechanism: String,
        /// What the client said at once.
        initial: Option<Secret<Vec<u8>>>,
    },
    /// §2.2
    StartTls,
    /// §2.3
    Logout,
    /// §2.4
    Capability,
    /// §2.5
    HaveSpace {
        /// The script's name.
        name: String,
        /// Its size.
        octets: u64,
    },
    /// §2.6
    PutScript {
        /// The script's name.
        name: String,
        /// Its text.
        text: Secret<Vec<u8>>,
    },
    /// §2.7
    ListScripts,
    /// §2.8; an empty name: none is active.
    SetActive(String),
    /// §2.9
    GetScript(String),
    /// §2.10
    DeleteScript(String),
    /// §2.11
    RenameScript {
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
    /// §2.12
    CheckScript(Secret<Vec<u8>>),
    /// §2.13
    Noop(Option<Vec<u8>>),
    /// §2.14.1
    Unauthenticate,
}

/// Why words are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// There is none of that name.
    Unknown,
    /// Too few or too many words, or of another kind.
    Arguments,
    /// A name that is not UTF-8.
    NotUtf8,
}

impl Command {
    /// Reads a command.
    ///
    /// # Errors
    /// [`BadCommand`]
    pub fn parse(words: Vec<Word>) -> Result<Self, BadCommand> {
        let mut words = words.into_iter();
        let Some(Word::Atom(verb)) = words.next() else { return Err(BadCommand::Unknown) };
        let mut arguments = Arguments(words);
        let command = match verb.as_str() {
            "AUTHENTICATE" => {
                let mechanism = arguments.name()?.to_ascii_uppercase();
                let initial = arguments.optional_text()?.map(Secret::new);
                Self::Authenticate { mechanism, initial }
            }
            "STARTTLS" => Self::StartTls,
            "LOGOUT" => Self::Logout,
            "CAPABILITY" => Self::Capability,
            "HAVESPACE" => Self::HaveSpace { name: arguments.name()?, octets: arguments.number()? },
            "PUTSCRIPT" => {
                Self::PutScript { name: arguments.name()?, text: Secret::new(arguments.text()?) }
            }
            "LISTSCRIPTS" => Self::ListScripts,
            "SETACTIVE" => Self::SetActive(arguments.name()?),
            "GETSCRIPT" => Self::GetScript(arguments.name()?),
            "DELETESCRIPT" => Self::DeleteScript(arguments.name()?),
            "RENAMESCRIPT" => Self::RenameScript { from: arguments.name()?, to: arguments.name()? },
            "CHECKSCRIPT" => Self::CheckScript(Secret::new(arguments.text()?)),
            "NOOP" => Self::Noop(arguments.optional_text()?),
            "UNAUTHENTICATE" => Self::Unauthenticate,
            _ => return Err(BadCommand::Unknown),
        };
        match arguments.0.next() {
            None => Ok(command),
            Some(_) => Err(BadCommand::Arguments),
        }
    }
}

struct Arguments(std::vec::IntoIter<Word>);

impl Arguments {
    fn text(&mut self) -> Result<Vec<u8>, BadCommand> {
        self.optional_text()?.ok_or(BadCommand::Arguments)
    }

    fn optional_text(&mut self) -> Result<Option<Vec<u8>>, BadCommand> {
        match self.0.next() {
            Some(Word::Text(text)) => Ok(Some(text)),
            Some(Word::Atom(_)) => Err(BadCommand::Arguments),
            None => Ok(None),
        }
    }

    fn name(&mut self) -> Result<String, BadCommand> {
        String::from_utf8(self.text()?).map_err(|_| BadCommand::NotUtf8)
    }

    fn number(&mut self) -> Result<u64, BadCommand> {
        match self.0.next() {
            Some(Word::Atom(digits)) if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadCommand::Arguments)
            }
            _ => Err(BadCommand::Arguments),
        }
    }
}
