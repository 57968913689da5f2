//! What a search finds: a name, and values by attribute.
use crate::domain::folding::folded;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    attributes: Vec<(&'static str, Vec<String>)>,
}

/// The values of an entry as a filter compares them.
#[derive(Debug)]
pub struct Folded<'e>(Vec<(&'e str, Vec<String>)>);

impl Entry {
    /// An entry without attributes.
    pub const fn new(dn: String) -> Self {
        Self { dn, attributes: Vec::new() }
    }

    /// Adds an attribute; empty values, and an attribute without any, are left out.
    pub fn with<V: Into<String>>(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let mut kept: Vec<String> = Vec::new();
        for value in values.into_iter().map(Into::into) {
            let value = value.trim().to_owned();
            if !value.is_empty() && !kept.contains(&value) {
                kept.push(value);
            }
        }
        if !kept.is_empty() {
            self.attributes.push((name, kept));
        }
        self
    }

    /// All attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.attributes.iter().map(|(name, values)| (*name, values.as_slice()))
    }

    /// Ready for a filter.
    pub fn folded(&self) -> Folded<'_> {
        let folded = |values: &Vec<String>| values.iter().map(|value| folded(value)).collect();
        Folded(self.attributes.iter().map(|(name, values)| (*name, folded(values))).collect())
    }
}

impl Folded<'_> {
    /// The values of an attribute, by its name in the schema.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.iter().find(|(known, _)| *known == name).map_or(&[], |(_, values)| values)
    }

    /// Whether there is such an attribute.
    pub fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }
}
