//! What is in hand: CRLs of files, CRLs that were fetched, OCSP answers. It asks nobody.
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::limits::CRL_HELD_OCTETS_MAX;
use crate::domain::limits::CRLS_HELD_MAX;
use crate::domain::limits::OCSP_ANSWERS_MAX;
use crate::domain::limits::REVOCATION_SKEW;
use crate::domain::time::Timestamp;
use crate::infra::net::fetch::Validators;
use crate::infra::revocation::card::Card;
use crate::infra::revocation::crl::Crl;
use crate::infra::revocation::files::CrlFile;
use crate::infra::revocation::kept;
use crate::infra::revocation::ocsp::Answer;
use crate::infra::revocation::ocsp::Says;

/// A CRL of one URL under one issuer's key. The key is part of it because certificates of two
/// authorities may name the same URL, and because an authority that changes its key keeps the URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    pub(super) url: String,
    pub(super) issuer: [u8; 32],
}

/// An OCSP answer about one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AnswerKey {
    pub(super) issuer: [u8; 32],
    pub(super) serial: Vec<u8>,
}

/// A fetched CRL.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) crl: Arc<Crl>,
    pub(super) fetched: Timestamp,
    pub(super) validators: Validators,
    used: Timestamp,
}

impl Held {
    pub(super) fn new(crl: Crl, fetched: Timestamp, validators: Validators) -> Self {
        Self { crl: Arc::new(crl), fetched, validators, used: fetched }
    }
}

#[derive(Clone, Debug)]
struct HeldAnswer {
    answer: Answer,
    url: String,
    fetched: Timestamp,
}

/// Where a statement comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    List(ListKey),
    Responder(String),
}

/// What one source says of one certificate.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) revoked: Option<Timestamp>,
    pub(super) origin: Origin,
    source: String,
    made: Timestamp,
    ends: Option<Timestamp>,
    /// The same, with an end in any case.
    counts_until: Timestamp,
    pub(super) fetched: Timestamp,
}

impl Said {
    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        now <= self.counts_until
    }

    fn is_in_grace(&self, now: Timestamp, grace: Duration) -> bool {
        now <= self.counts_until.after(grace)
    }

    pub(super) fn evidence(self, now: Timestamp, trouble: String) -> RevocationEvidence {
        let late = !self.is_current(now);
        RevocationEvidence {
            standing: self.revoked.map_or(Standing::Good, Standing::Revoked),
            source: self.source,
            made: Some(self.made),
            ends: self.ends,
            fetched: Some(self.fetched),
            in_grace: late && self.revoked.is_none(),
            trouble: if late { trouble } else { String::new() },
        }
    }
}

/// Everything that sources say of one certificate, and why some say nothing.
#[derive(Debug, Default)]
pub(super) struct Heard {
    said: Vec<Said>,
    pub(super) troubles: Vec<String>,
}

impl Heard {
    /// True when nobody said anything, not even something that has ended.
    pub(super) fn is_silent(&self) -> bool {
        self.said.is_empty()
    }

    /// The answer that needs no question: revoked first, then good and not ended.
    pub(super) fn current(&self, now: Timestamp, grace: Duration) -> Option<&Said> {
        let counting = |said: &&Said| said.revoked.is_some() && said.is_in_grace(now, grace);
        let good = |said: &&Said| said.revoked.is_none() && said.is_current(now);
        let youngest = |filter: &dyn Fn(&&Said) -> bool| {
            self.said.iter().filter(filter).max_by_key(|said| said.made)
        };
        youngest(&counting).or_else(|| youngest(&good))
    }

    /// The answer when nobody could be asked. An old list that revokes still does: somebody who
    /// silences the sources must not bring a certificate back.
    pub(super) fn late(&self, now: Timestamp, grace: Duration) -> Option<&Said> {
        let youngest = |filter: &dyn Fn(&&Said) -> bool| {
            self.said.iter().filter(filter).max_by_key(|said| said.made)
        };
        youngest(&|said| said.revoked.is_some())
            .or_else(|| youngest(&|said| said.is_in_grace(now, grace)))
    }
}

/// See the module.
pub(super) struct Hand {
    files: ArcSwap<Vec<CrlFile>>,
    /// One reading of the files at a time.
    reading: Mutex<()>,
    lists: Mutex<HashMap<ListKey, Held>>,
    answers: Mutex<HashMap<AnswerKey, HeldAnswer>>,
    folder: PathBuf,
    refresh: Duration,
}

impl Hand {
    pub(super) fn new(files: Vec<PathBuf>, folder: PathBuf, refresh: Duration) -> Self {
        let files = files.into_iter().map(CrlFile::new).collect();
        Self {
            files: ArcSwap::from_pointee(files),
            reading: Mutex::default(),
            lists: Mutex::new(kept::read_all(&folder).into_iter().collect()),
            answers: Mutex::default(),
            folder,
            refresh,
        }
    }

    pub(super) fn reload(&self) {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::clone(&self.files.load());
        let changed = files.iter_mut().map(CrlFile::read_if_changed).filter(|changed| *changed);
        if changed.count() > 0 {
            self.files.store(Arc::new(files));
        }
    }

    pub(super) fn files(&self) -> Arc<Vec<CrlFile>> {
        self.files.load_full()
    }

    pub(super) fn fetched_lists(&self) -> Vec<(ListKey, Held)> {
        self.lists().iter().map(|(key, held)| (key.clone(), held.clone())).collect()
    }

    /// All that is said of a certificate by what lies here.
    pub(super) fn hear(&self, card: &Card, issuer: &Card, now: Timestamp) -> Heard {
        let mut heard = Heard::default();
        for file in self.files.load().iter() {
            for crl in file.lists.iter().filter(|crl| crl.issuer() == issuer.subject) {
                let source = file.path.display().to_string();
                heard.list(crl, card, issuer, (Origin::File, source, file.brought), now);
            }
        }
        for url in &card.list_urls {
            let key = ListKey { url: url.clone(), issuer: issuer.key.name };
            let held = self.lists().get_mut(&key).map(|held| {
                held.used = now;
                (Arc::clone(&held.crl), held.fetched)
            });
            if let Some((crl, fetched)) = held {
                let source = url.clone();
                heard.list(&crl, card, issuer, (Origin::List(key), source, fetched), now);
            }
        }
        let key = AnswerKey { issuer: issuer.key.name, serial: card.serial.clone() };
        // An answer of the future is there when the clock was set back.
        if let Some(held) = self.answers().get(&key)
            && held.answer.made <= now.after(REVOCATION_SKEW)
        {
            heard.said.push(self.said(held));
        }
        heard
    }

    /// True when some list in hand says that this certificate of this issuer is revoked.
    pub(super) fn is_listed(&self, card: &Card, issuer: &Card) -> bool {
        let files = self.files.load();
        let of_files = files.iter().flat_map(|file| file.lists.iter().map(Arc::clone));
        let fetched: Vec<Arc<Crl>> =
            self.lists().values().map(|held| Arc::clone(&held.crl)).collect();
        of_files.chain(fetched).any(|crl| {
            crl.issuer() == issuer.subject
                && crl.revoked(&card.serial).is_some()
                && crl.judge(issuer).is_ok()
        })
    }

    /// Lists of this size or more that a question under this issuer would have to verify first.
    pub(super) fn unjudged(&self, issuer: &Card, octets_min: usize) -> Vec<Arc<Crl>> {
        let waits = |crl: &&Arc<Crl>| {
            crl.octets().len() >= octets_min
                && crl.issuer() == issuer.subject
                && !crl.is_judged(issuer)
        };
        let files = self.files.load();
        let of_files = files.iter().flat_map(|file| &file.lists).filter(waits).cloned();
        let mut found: Vec<Arc<Crl>> = of_files.collect();
        found.extend(self.lists().values().map(|held| &held.crl).filter(waits).cloned());
        found
    }

    /// True when asking this source again would bring nothing new yet.
    pub(super) fn is_fresh_list(&self, key: &ListKey, issuer: &Card, now: Timestamp) -> bool {
        self.held(key, issuer)
            .is_some_and(|held| now <= held.crl.ends && now.since(held.fetched) <= self.refresh)
    }

    /// The same of an answer.
    pub(super) fn is_fresh_answer(&self, key: &AnswerKey, now: Timestamp) -> bool {
        self.answers().get(key).is_some_and(|held| {
            now <= self.end_of(&held.answer) && now.since(held.fetched) <= self.refresh
        })
    }

    /// What is held for a URL, if its issuer did sign it.
    pub(super) fn held(&self, key: &ListKey, issuer: &Card) -> Option<Held> {
        let held = self.lists().get(key).cloned()?;
        held.crl.judge(issuer).is_ok().then_some(held)
    }

    /// Takes a verified list, and writes it to disk: call it where blocking is allowed.
    pub(super) fn take_list(&self, key: ListKey, held: Held) {
        if let Err(error) = kept::write(&self.folder, &key, &held) {
            tracing::error!(url = key.url, %error, "a fetched CRL cannot be kept");
        }
        let mut lists = self.lists();
        lists.insert(key, held);
        let octets = |lists: &HashMap<ListKey, Held>| -> usize {
            lists.values().map(|held| held.crl.octets().len()).sum()
        };
        while lists.len() > 1
            && (lists.len() > CRLS_HELD_MAX || octets(&lists) > CRL_HELD_OCTETS_MAX)
        {
            let oldest = lists.iter().min_by_key(|(_, held)| held.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            lists.remove(&oldest);
            kept::remove(&self.folder, &oldest);
        }
    }

    /// The server still has the same list.
    pub(super) fn touch_list(&self, key: &ListKey, now: Timestamp) {
        let touched = self.lists().get_mut(key).map(|held| {
            held.fetched = now;
            held.clone()
        });
        if let Some(held) = touched
            && let Err(error) = kept::write(&self.folder, key, &held)
        {
            tracing::error!(url = key.url, %error, "a fetched CRL cannot be kept");
        }
    }

    /// Takes a verified answer.
    ///
    /// # Errors
    /// When it is older than the one in hand, has ended, or is no answer.
    pub(super) fn take_answer(
        &self,
        key: AnswerKey,
        url: &str,
        answer: Answer,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut answers = self.answers();
        if answer.says == Says::Unknown {
            // Said by the right responder just now: that it was good does not count any more. That
            // it is revoked does: whoever forgets a certificate must not bring it back.
            if answers.get(&key).is_some_and(|held| {
                held.answer.made <= answer.made && held.answer.says == Says::Good
            }) {
                answers.remove(&key);
            }
            return Err("the responder does not know the certificate".to_owned());
        }
        let end = self.end_of(&answer);
        if now > end {
            return Err(format!("an OCSP answer that ended on {end}"));
        }
        if answers.get(&key).is_some_and(|held| held.answer.made > answer.made) {
            return Err("an OCSP answer older than the one before".to_owned());
        }
        if answers.len() >= OCSP_ANSWERS_MAX && !answers.contains_key(&key) {
            forget_oldest(&mut answers);
        }
        answers.insert(key, HeldAnswer { answer, url: url.to_owned(), fetched: now });
        Ok(())
    }

    /// An answer without an end counts for as long as one with an end is not renewed.
    fn end_of(&self, answer: &Answer) -> Timestamp {
        answer.ends.unwrap_or(answer.made.after(self.refresh))
    }

    fn said(&self, held: &HeldAnswer) -> Said {
        Said {
            revoked: match held.answer.says {
                Says::Revoked(since) => Some(since),
                Says::Good | Says::Unknown => None,
            },
            origin: Origin::Responder(held.url.clone()),
            source: held.url.clone(),
            made: held.answer.made,
            ends: held.answer.ends,
            counts_until: self.end_of(&held.answer),
            fetched: held.fetched,
        }
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<ListKey, Held>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<AnswerKey, HeldAnswer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn list(
        &mut self,
        crl: &Crl,
        card: &Card,
        issuer: &Card,
        (origin, source, fetched): (Origin, String, Timestamp),
        now: Timestamp,
    ) {
        let usable = crl.judge(issuer).and_then(|()| crl.covers(card)).and_then(|()| {
            let early = crl.is_of_the_future(now);
            if early { Err(format!("a CRL of the future, {}", crl.made)) } else { Ok(()) }
        });
        match usable {
            Ok(()) => {
                if now > crl.ends {
                    self.troubles.push(format!("{source}: the CRL ended on {}", crl.ends));
                }
                self.said.push(Said {
                    revoked: crl.revoked(&card.serial),
                    origin,
                    source,
                    made: crl.made,
                    ends: Some(crl.ends),
                    counts_until: crl.ends,
                    fetched,
                });
            }
            Err(reason) => self.troubles.push(format!("{source}: {reason}")),
        }
    }
}

/// A tenth at once, so that a full map is not sorted for each new answer. Those that revoke go
/// last.
fn forget_oldest(answers: &mut HashMap<AnswerKey, HeldAnswer>) {
    let mut ages: Vec<(bool, Timestamp, AnswerKey)> = answers
        .iter()
        .map(|(key, held)| {
            let revoked = matches!(held.answer.says, Says::Revoked(_));
            (revoked, held.fetched, key.clone())
        })
        .collect();
    ages.sort_unstable_by_key(|(revoked, fetched, _)| (*revoked, *fetched));
    for (_, _, key) in ages.into_iter().take(OCSP_ANSWERS_MAX / 10) {
        answers.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_responder_that_forgets_a_certificate_takes_back_good_and_never_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3_600);
        let hand = Hand::new(Vec::new(), folder.path().to_owned(), hour);
        let now = Timestamp::from_seconds(1_795_300_000);
        let take = |serial: u8, says| {
            let key = AnswerKey { issuer: [0; 32], serial: vec![serial] };
            let answer = Answer { says, made: now, ends: None };
            hand.take_answer(key, "http://ocsp.test", answer, now)
        };
        for (serial, says, stays) in [(1, Says::Good, false), (2, Says::Revoked(now), true)] {
            take(serial, says).unwrap();
            assert!(take(serial, Says::Unknown).is_err());
            let key = AnswerKey { issuer: [0; 32], serial: vec![serial] };
            assert_eq!(hand.is_fresh_answer(&key, now), stays, "{says:?}");
        }
    }
}
