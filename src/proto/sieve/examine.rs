//! Tests: what they look at, and whether it fits.
use crate::proto::sieve::Circumstances;
use crate::proto::sieve::Letter;
use crate::proto::sieve::Stopped;
use crate::proto::sieve::flags;
use crate::proto::sieve::letter;
use crate::proto::sieve::matching;
use crate::proto::sieve::matching::Budget;
use crate::proto::sieve::moment;
use crate::proto::sieve::program::BodyPart;
use crate::proto::sieve::program::How;
use crate::proto::sieve::program::MatchKind;
use crate::proto::sieve::program::Test;
use crate::proto::sieve::program::Text;
use crate::proto::sieve::program::Which;
use crate::proto::sieve::program::Zone;
use crate::proto::sieve::variables::Variables;

/// The variable of imap4flags that has no name: no script can write it.
pub(super) const FLAGS: &str = "\u{0}flags";

/// A run, as far as tests know it.
pub(super) struct Examiner<'r> {
    pub(super) letter: &'r Letter<'r>,
    pub(super) around: &'r Circumstances<'r>,
    pub(super) has_variables: bool,
    pub(super) variables: Variables,
    pub(super) budget: Budget,
}

impl Examiner<'_> {
    /// Nesting is bounded by the compiler.
    pub(super) fn is_true(&mut self, test: &Test) -> Result<bool, Stopped> {
        self.budget.spend(0)?;
        match test {
            Test::Fixed(fixed) => Ok(*fixed),
            Test::Not(test) => self.is_true(test).map(|truth| !truth),
            Test::All(tests) => {
                for test in tests {
                    if !self.is_true(test)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.is_true(test)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Size { over, limit } => Ok(match over {
                true => self.letter.size() > *limit,
                false => self.letter.size() < *limit,
            }),
            Test::Exists(names) => {
                for name in self.expanded(names)? {
                    self.look_at_header()?;
                    if self.letter.raw(&name).next().is_none() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Header { names, which, how } => {
                self.name_by_name(names, how, |letter, name| chosen(letter.values(name), *which))
            }
            Test::Address { names, part, which, how } => {
                self.name_by_name(names, how, |letter, name| {
                    let fields = chosen(letter.raw(name).collect(), *which).into_iter();
                    fields.flat_map(|field| letter::addresses(field, *part)).collect()
                })
            }
            Test::Envelope { fields, part, how } => {
                let mut values = Vec::new();
                for field in self.expanded(fields)? {
                    let address = match field.to_ascii_lowercase().as_str() {
                        "from" => self.around.from,
                        "to" => self.around.to,
                        _ => continue,
                    };
                    values.extend(letter::part_of(address, *part));
                }
                self.fits(&values, how)
            }
            Test::Body { of, how } => self.body(of, how),
            Test::Strings { sources, how } => {
                let values = self.expanded(sources)?;
                // RFC 5229 §5: an empty string is not counted.
                if let MatchKind::Count(_) = how.kind {
                    let full: Vec<String> = values.into_iter().filter(|v| !v.is_empty()).collect();
                    return self.fits(&full, how);
                }
                self.fits(&values, how)
            }
            Test::HasFlag { variables, how } => {
                let lists: Vec<String> = match variables {
                    None => vec![self.variables.get(FLAGS).to_owned()],
                    Some(names) => {
                        names.iter().map(|name| self.variables.get(name).to_owned()).collect()
                    }
                };
                self.fits(&flags::words(&lists), how)
            }
            Test::Date { header, which, zone, part, how } => {
                let header = self.text(header)?;
                self.look_at_header()?;
                let fields = chosen(self.letter.values(&header), *which);
                let Some((seconds, written_in)) = fields.first().and_then(|f| moment::read(f))
                else {
                    return self.fits(&[], how);
                };
                self.date(seconds, zone, written_in, part, how)
            }
            Test::CurrentDate { zone, part, how } => {
                let seconds = i64::try_from(self.around.now.as_seconds()).unwrap_or(i64::MAX);
                self.date(seconds, zone, 0, part, how)
            }
            Test::FolderExists(names) => {
                let names = self.expanded(names)?;
                Ok(names.iter().all(|name| self.folder(name).is_some()))
            }
            Test::SpecialUseExists { folder, uses } => {
                let uses = self.expanded(uses)?;
                let Some(folder) = folder else {
                    let has = |wanted: &String| {
                        let of = |use_: &Option<&str>| {
                            use_.is_some_and(|known| known.eq_ignore_ascii_case(wanted))
                        };
                        self.around.folders.iter().any(|(_, use_)| of(use_))
                    };
                    return Ok(uses.iter().all(has));
                };
                let name = self.text(folder)?;
                let Some((_, of)) = self.folder(&name) else { return Ok(false) };
                Ok(uses.iter().all(|wanted| of.is_some_and(|of| of.eq_ignore_ascii_case(wanted))))
            }
        }
    }

    /// Values of header fields. One name at a time: a thousand names of the same thousand fields
    /// would be a million values at once.
    fn name_by_name(
        &mut self,
        names: &[Text],
        how: &How,
        values: impl Fn(&Letter<'_>, &str) -> Vec<String>,
    ) -> Result<bool, Stopped> {
        let mut count = 0;
        for name in self.expanded(names)? {
            self.look_at_header()?;
            let found = values(self.letter, &name);
            count += found.len();
            if !matches!(how.kind, MatchKind::Count(_)) && self.fits(&found, how)? {
                return Ok(true);
            }
        }
        let MatchKind::Count(relation) = how.kind else { return Ok(false) };
        let keys = self.expanded(&how.keys)?;
        Ok(matching::count_fits(count, &keys, relation, how.comparator))
    }

    fn folder(&self, name: &str) -> Option<&(String, Option<&'static str>)> {
        self.around.folders.iter().find(|(known, _)| {
            known == name || (known == "INBOX" && name.eq_ignore_ascii_case("INBOX"))
        })
    }

    fn look_at_header(&mut self) -> Result<(), Stopped> {
        self.budget.spend(self.letter.header().len())
    }

    /// A text with its variables.
    pub(super) fn text(&mut self, text: &Text) -> Result<String, Stopped> {
        self.budget.spend(text.len())?;
        if !self.has_variables {
            return Ok(text.clone());
        }
        let expanded = self.variables.expand(text);
        self.budget.spend(expanded.len())?;
        Ok(expanded)
    }

    pub(super) fn expanded(&mut self, texts: &[Text]) -> Result<Vec<String>, Stopped> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    fn date(
        &mut self,
        seconds: i64,
        zone: &Zone,
        original: i32,
        part: &Text,
        how: &How,
    ) -> Result<bool, Stopped> {
        let minutes = match zone {
            Zone::Local => None,
            Zone::Original => Some(original),
            Zone::Named(zone) => {
                let zone = self.text(zone)?;
                moment::zone_minutes(&zone)
            }
        };
        let part = self.text(part)?;
        let value = moment::on_clock(seconds, minutes).and_then(|on| moment::part(&on, &part));
        self.fits(value.as_slice(), how)
    }

    fn body(&mut self, of: &BodyPart, how: &How) -> Result<bool, Stopped> {
        self.budget.spend(self.letter.body().len())?;
        let values = match of {
            BodyPart::Raw => vec![String::from_utf8_lossy(self.letter.body()).into_owned()],
            BodyPart::Text => self.letter.parts(None),
            BodyPart::Content(kinds) => {
                let kinds = self.expanded(kinds)?;
                self.letter.parts(Some(&kinds))
            }
        };
        // RFC 5173 §6: wildcards in bodies set no variables.
        let before = self.variables.clone();
        let fits = self.fits(&values, how);
        self.variables = before;
        fits
    }

    /// True when one of the values fits one of the keys.
    fn fits(&mut self, values: &[String], how: &How) -> Result<bool, Stopped> {
        let keys = self.expanded(&how.keys)?;
        if let MatchKind::Count(relation) = how.kind {
            return Ok(matching::count_fits(values.len(), &keys, relation, how.comparator));
        }
        for value in values {
            for key in &keys {
                let found = matching::fits(value, key, how.comparator, how.kind, &mut self.budget)?;
                let Some(matched) = found else { continue };
                // RFC 5229 §3.2: set by a match that succeeds, and kept until the next one.
                if self.has_variables && how.kind == MatchKind::Matches {
                    self.variables.set_matched(matched);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// RFC 5260 §6.
fn chosen<T>(mut values: Vec<T>, which: Which) -> Vec<T> {
    let Some(index) = which.index else { return values };
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let place = match which.last {
        true => values.len().checked_sub(index),
        false => index.checked_sub(1).filter(|place| *place < values.len()),
    };
    place.map(|place| values.swap_remove(place)).into_iter().collect()
}
