//! From syntax to a program: every name is known, every argument has its place, every extension
//! is declared (RFC 5228 §3.2).
mod arguments; // tags and positions
mod tests_of; // what stands behind if

use std::collections::BTreeSet;

use crate::domain::address::Address;
use crate::proto::sieve::EXTENSIONS;
use crate::proto::sieve::Fault;
use crate::proto::sieve::check::arguments::Arguments;
use crate::proto::sieve::program::Command;
use crate::proto::sieve::program::FileInto;
use crate::proto::sieve::program::FlagsChange;
use crate::proto::sieve::program::Modifier;
use crate::proto::sieve::program::Program;
use crate::proto::sieve::program::Text;
use crate::proto::sieve::program::To;
use crate::proto::sieve::program::VacationCommand;
use crate::proto::sieve::syntax::Argument;
use crate::proto::sieve::syntax::Node;
use crate::proto::sieve::variables;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// RFC 6131 §2 lets a server have a greatest value.
const VACATION_SECONDS_MAX: u64 = 365 * DAY;

/// Checks a whole script.
pub(super) fn program(nodes: &[Node]) -> Result<Program, Fault> {
    let mut checker = Checker::default();
    let requires = nodes.iter().take_while(|node| node.name == "require").count();
    for node in &nodes[..requires] {
        checker.require(node)?;
    }
    let commands = checker.commands(&nodes[requires..])?;
    Ok(Program {
        commands,
        has_variables: checker.declares("variables"),
        has_flags: checker.declares("imap4flags"),
        reads_bodies: checker.reads_bodies,
    })
}

fn fault(line: u32, why: impl Into<String>) -> Fault {
    Fault { line, why: why.into() }
}

#[derive(Default)]
struct Checker {
    declared: BTreeSet<String>,
    reads_bodies: bool,
}

impl Checker {
    fn require(&mut self, node: &Node) -> Result<(), Fault> {
        let names: &[String] = match node.arguments.as_slice() {
            [Argument::Text(name)] => std::slice::from_ref(name),
            [Argument::Texts(names)] => names,
            _ => return Err(fault(node.line, "require takes one string or list")),
        };
        if !node.tests.is_empty() || node.block.is_some() {
            return Err(fault(node.line, "require takes one string or list"));
        }
        for name in names {
            if !EXTENSIONS.contains(&name.as_str()) {
                let why = format!("the extension {name:?} is not supported here");
                return Err(fault(node.line, why));
            }
            self.declared.insert(name.clone());
        }
        // RFC 6131 §2: vacation-seconds implies vacation.
        if self.declares("vacation-seconds") {
            self.declared.insert("vacation".to_owned());
        }
        Ok(())
    }

    fn declares(&self, extension: &str) -> bool {
        self.declared.contains(extension)
    }

    /// RFC 5228 §2.10.5: what is not declared does not exist.
    fn needs(&self, extension: &str, node: &Node, what: &str) -> Result<(), Fault> {
        if self.declares(extension) {
            return Ok(());
        }
        Err(fault(node.line, format!("{what} needs require {extension:?}")))
    }

    fn commands(&mut self, nodes: &[Node]) -> Result<Vec<Command>, Fault> {
        let mut commands: Vec<Command> = Vec::new();
        // Whether an elsif or else may follow.
        let mut in_chain = false;
        for node in nodes {
            let is_branch = matches!(node.name.as_str(), "if" | "elsif" | "else");
            if !is_branch && node.block.is_some() {
                return Err(fault(node.line, format!("{} has no block", node.name)));
            }
            if !is_branch && !node.tests.is_empty() {
                let why = format!("{} takes no test; perhaps a ; is missing", node.name);
                return Err(fault(node.line, why));
            }
            if is_branch {
                let branch = self.branch(node)?;
                match (node.name.as_str(), commands.last_mut()) {
                    ("if", _) => commands.push(Command::If(vec![branch])),
                    (_, Some(Command::If(branches))) if in_chain => branches.push(branch),
                    _ => return Err(fault(node.line, format!("{} without an if", node.name))),
                }
            } else {
                commands.push(self.command(node)?);
            }
            in_chain = matches!(node.name.as_str(), "if" | "elsif");
        }
        Ok(commands)
    }

    fn branch(
        &mut self,
        node: &Node,
    ) -> Result<(Option<crate::proto::sieve::program::Test>, Vec<Command>), Fault> {
        let Some(block) = &node.block else {
            return Err(fault(node.line, format!("{} needs a block", node.name)));
        };
        if !node.arguments.is_empty() {
            return Err(fault(node.line, format!("{} takes a test, no arguments", node.name)));
        }
        let test = match (node.name.as_str(), node.tests.as_slice()) {
            ("else", []) => None,
            ("else", _) => return Err(fault(node.line, "else takes no test")),
            (_, [test]) => Some(self.test(test)?),
            _ => return Err(fault(node.line, format!("{} takes one test", node.name))),
        };
        Ok((test, self.commands(block)?))
    }

    fn command(&mut self, node: &Node) -> Result<Command, Fault> {
        let mut arguments = Arguments::new(self, node);
        let command = match node.name.as_str() {
            "stop" => Command::Stop,
            "discard" => Command::Discard,
            "keep" => Command::Keep { flags: self.flags_tag(&mut arguments)? },
            "fileinto" => Command::FileInto(self.fileinto(&mut arguments)?),
            "redirect" => {
                let copy = self.copy_tag(&mut arguments)?;
                let to = arguments.text("the address")?;
                Command::Redirect { to: self.address(node, to)?, copy }
            }
            "vacation" => Command::Vacation(Box::new(self.vacation(&mut arguments)?)),
            "set" => self.set(&mut arguments)?,
            "setflag" => self.change_flags(FlagsChange::Set, &mut arguments)?,
            "addflag" => self.change_flags(FlagsChange::Add, &mut arguments)?,
            "removeflag" => self.change_flags(FlagsChange::Remove, &mut arguments)?,
            "require" => {
                return Err(fault(node.line, "require stands before everything else"));
            }
            "reject" | "ereject" => {
                let why = "a filter does not send health letters back: reject is not supported";
                return Err(fault(node.line, why));
            }
            name => return Err(fault(node.line, format!("there is no command {name}"))),
        };
        arguments.end()?;
        Ok(command)
    }

    fn copy_tag(&self, arguments: &mut Arguments<'_>) -> Result<bool, Fault> {
        let copy = arguments.tag("copy");
        if copy {
            self.needs("copy", arguments.node(), ":copy")?;
        }
        Ok(copy)
    }

    fn flags_tag(&self, arguments: &mut Arguments<'_>) -> Result<Option<Vec<Text>>, Fault> {
        let flags = arguments.tagged_texts("flags")?;
        if flags.is_some() {
            self.needs("imap4flags", arguments.node(), ":flags")?;
        }
        Ok(flags)
    }

    fn fileinto(&self, arguments: &mut Arguments<'_>) -> Result<FileInto, Fault> {
        self.needs("fileinto", arguments.node(), "fileinto")?;
        let copy = self.copy_tag(arguments)?;
        let flags = self.flags_tag(arguments)?;
        let create = arguments.tag("create");
        if create {
            self.needs("mailbox", arguments.node(), ":create")?;
        }
        let special_use = arguments.tagged_text("specialuse")?;
        if special_use.is_some() {
            self.needs("special-use", arguments.node(), ":specialuse")?;
        }
        let folder = arguments.text("the folder")?;
        Ok(FileInto { folder, flags, copy, create, special_use })
    }

    /// An address that stands in the script is checked now, with its line.
    fn address(&self, node: &Node, written: Text) -> Result<To, Fault> {
        if self.declares("variables") && written.contains("${") {
            return Ok(To::Text(written));
        }
        match Address::parse(written.trim()) {
            Ok(address) => Ok(To::Address(address)),
            Err(_) => Err(fault(node.line, format!("{written:?} is no mail address"))),
        }
    }

    fn vacation(&self, arguments: &mut Arguments<'_>) -> Result<VacationCommand, Fault> {
        let node = arguments.node();
        self.needs("vacation", node, "vacation")?;
        let days = arguments.tagged_number("days")?;
        let seconds = arguments.tagged_number("seconds")?;
        if seconds.is_some() {
            self.needs("vacation-seconds", node, ":seconds")?;
        }
        if days.is_some() && seconds.is_some() {
            return Err(fault(node.line, "vacation takes :days or :seconds, not both"));
        }
        let seconds = seconds.or(days.map(|days| days.max(1).saturating_mul(DAY)));
        let command = VacationCommand {
            seconds: seconds.map(|seconds| seconds.min(VACATION_SECONDS_MAX)),
            subject: arguments.tagged_text("subject")?,
            from: arguments.tagged_text("from")?,
            addresses: arguments.tagged_texts("addresses")?.unwrap_or_default(),
            mime: arguments.tag("mime"),
            handle: arguments.tagged_text("handle")?,
            reason: arguments.text("the text of the answer")?,
        };
        let from = command
            .from
            .as_deref()
            .filter(|from| !(self.declares("variables") && from.contains("${")));
        if from.is_some_and(|from| !super::answer::is_one_address(from)) {
            return Err(fault(node.line, "what stands behind :from is no address"));
        }
        Ok(command)
    }

    fn set(&self, arguments: &mut Arguments<'_>) -> Result<Command, Fault> {
        const MODIFIERS: [(&str, Modifier); 6] = [
            ("lower", Modifier::Lower),
            ("upper", Modifier::Upper),
            ("lowerfirst", Modifier::LowerFirst),
            ("upperfirst", Modifier::UpperFirst),
            ("quotewildcard", Modifier::QuoteWildcard),
            ("length", Modifier::Length),
        ];
        let node = arguments.node();
        self.needs("variables", node, "set")?;
        let mut modifiers: Vec<Modifier> = Vec::new();
        for (name, modifier) in MODIFIERS {
            if arguments.tag(name) {
                if modifiers.iter().any(|other| other.precedence() == modifier.precedence()) {
                    return Err(fault(node.line, format!(":{name} contradicts another modifier")));
                }
                modifiers.push(modifier);
            }
        }
        let name = arguments.literal("the variable")?;
        if !variables::is_name(&name) {
            return Err(fault(node.line, format!("{name:?} cannot be set")));
        }
        let value = arguments.text("the value")?;
        Ok(Command::Set { name: name.to_ascii_lowercase(), modifiers, value })
    }

    fn change_flags(
        &self,
        change: FlagsChange,
        arguments: &mut Arguments<'_>,
    ) -> Result<Command, Fault> {
        let node = arguments.node();
        self.needs("imap4flags", node, &node.name)?;
        let variable = match arguments.positions() {
            2 => Some(self.flag_variable(node, arguments.literal("the variable")?)?),
            _ => None,
        };
        Ok(Command::Flags { change, variable, flags: arguments.texts("the flags")? })
    }

    fn flag_variable(&self, node: &Node, name: String) -> Result<String, Fault> {
        self.needs("variables", node, "a variable of flags")?;
        if !variables::is_name(&name) {
            return Err(fault(node.line, format!("{name:?} is no name of a variable")));
        }
        Ok(name.to_ascii_lowercase())
    }
}
