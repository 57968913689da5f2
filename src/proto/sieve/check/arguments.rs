//! Arguments of one command or test: tags in any order, then what has a position.
use crate::proto::sieve::Fault;
use crate::proto::sieve::check::Checker;
use crate::proto::sieve::check::fault;
use crate::proto::sieve::program::Text;
use crate::proto::sieve::syntax::Argument;
use crate::proto::sieve::syntax::Node;
use crate::proto::sieve::variables;

pub(super) struct Arguments<'n> {
    node: &'n Node,
    left: Vec<Argument>,
    has_variables: bool,
    has_encoded: bool,
}

impl<'n> Arguments<'n> {
    pub(super) fn new(checker: &Checker, node: &'n Node) -> Self {
        Self {
            node,
            left: node.arguments.clone(),
            has_variables: checker.declares("variables"),
            has_encoded: checker.declares("encoded-character"),
        }
    }

    pub(super) fn node(&self) -> &'n Node {
        self.node
    }

    fn fault(&self, why: impl Into<String>) -> Fault {
        fault(self.node.line, why)
    }

    fn place_of(&self, tag: &str) -> Option<usize> {
        self.left.iter().position(|each| matches!(each, Argument::Tag(name) if name == tag))
    }

    /// A tag without a value.
    pub(super) fn tag(&mut self, tag: &str) -> bool {
        self.place_of(tag).map(|place| self.left.remove(place)).is_some()
    }

    /// What stands behind a tag.
    fn value_of(&mut self, tag: &str) -> Result<Option<Argument>, Fault> {
        let Some(place) = self.place_of(tag) else { return Ok(None) };
        self.left.remove(place);
        if self.place_of(tag).is_some() {
            return Err(self.fault(format!(":{tag} stands there twice")));
        }
        match self.left.get(place) {
            None | Some(Argument::Tag(_)) => Err(self.fault(format!(":{tag} needs a value"))),
            Some(_) => Ok(Some(self.left.remove(place))),
        }
    }

    pub(super) fn tagged_number(&mut self, tag: &str) -> Result<Option<u64>, Fault> {
        match self.value_of(tag)? {
            None => Ok(None),
            Some(Argument::Number(number)) => Ok(Some(number)),
            Some(_) => Err(self.fault(format!(":{tag} needs a number"))),
        }
    }

    pub(super) fn tagged_text(&mut self, tag: &str) -> Result<Option<Text>, Fault> {
        match self.value_of(tag)? {
            None => Ok(None),
            Some(Argument::Text(text)) => self.checked(text).map(Some),
            Some(_) => Err(self.fault(format!(":{tag} needs a string"))),
        }
    }

    pub(super) fn tagged_texts(&mut self, tag: &str) -> Result<Option<Vec<Text>>, Fault> {
        match self.value_of(tag)? {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(vec![self.checked(text)?])),
            Some(Argument::Texts(texts)) => self.all_checked(texts).map(Some),
            Some(_) => Err(self.fault(format!(":{tag} needs strings"))),
        }
    }

    /// How many arguments are left that are no tags.
    pub(super) fn positions(&self) -> usize {
        self.left.iter().filter(|each| !matches!(each, Argument::Tag(_))).count()
    }

    fn next(&mut self, what: &str) -> Result<Argument, Fault> {
        match self.left.first() {
            Some(Argument::Tag(tag)) => Err(self.fault(format!("there is no :{tag} here"))),
            Some(_) => Ok(self.left.remove(0)),
            None => Err(self.fault(format!("{} lacks {what}", self.node.name))),
        }
    }

    pub(super) fn number(&mut self, what: &str) -> Result<u64, Fault> {
        match self.next(what)? {
            Argument::Number(number) => Ok(number),
            _ => Err(self.fault(format!("{what} is a number"))),
        }
    }

    pub(super) fn text(&mut self, what: &str) -> Result<Text, Fault> {
        let text = self.literal(what)?;
        self.checked(text)
    }

    /// A string in which nothing is expanded.
    pub(super) fn literal(&mut self, what: &str) -> Result<String, Fault> {
        match self.next(what)? {
            Argument::Text(text) => Ok(text),
            _ => Err(self.fault(format!("{what} is a string"))),
        }
    }

    pub(super) fn texts(&mut self, what: &str) -> Result<Vec<Text>, Fault> {
        match self.next(what)? {
            Argument::Text(text) => Ok(vec![self.checked(text)?]),
            Argument::Texts(texts) => self.all_checked(texts),
            _ => Err(self.fault(format!("{what}: a string or a list of them"))),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Fault> {
        match self.left.first() {
            None => Ok(()),
            Some(Argument::Tag(tag)) => {
                Err(self.fault(format!("{} has no :{tag}", self.node.name)))
            }
            Some(_) => Err(self.fault(format!("{} has too many arguments", self.node.name))),
        }
    }

    fn all_checked(&self, texts: Vec<String>) -> Result<Vec<Text>, Fault> {
        texts.into_iter().map(|text| self.checked(text)).collect()
    }

    /// Encoded characters are decoded first (RFC 5228 §2.4.2.4), then references are checked.
    fn checked(&self, text: String) -> Result<Text, Fault> {
        let text = match self.has_encoded {
            true => variables::decode_characters(&text).map_err(|why| self.fault(why))?,
            false => text,
        };
        if self.has_variables {
            variables::check(&text).map_err(|why| self.fault(why))?;
        }
        Ok(text)
    }
}
