//! A client that does random things and believes what it is told.
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use rustls::ClientConfig;
use vaguemestre::demo::client::Submission;

use super::model::Folder;
use super::model::Model;
use super::model::Place;
use super::model::SYSTEM_FLAGS;
use super::model::keyword;
use super::view::Cache;
use super::view::Numbers;
use super::view::View;
use crate::support::imap;
use crate::support::imap::Answer;
use crate::support::imap::Client;
use crate::support::imap::Status;
use crate::support::imap::Value;
use crate::support::letters;
use crate::support::letters::Dice;
use crate::support::serving::PASSWORD;

/// Folders of everybody, and where clients make their own; one has an accent.
pub(super) const SHARED: [&str; 4] = ["Dossiers", "Dossiers/&AMk-t&AOk-", "Archive", "Clients"];

/// What a failure shows of each client.
const REMEMBERED: usize = 60;

/// What all clients of a run share.
pub(super) struct Stage {
    pub(super) model: Mutex<Model>,
    pub(super) stop: AtomicBool,
    pub(super) imaps: SocketAddr,
    pub(super) submissions: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) users: [&'static str; 2],
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    Condstore,
    Qresync,
}

/// A client of one mailbox.
pub(super) struct Actor {
    number: usize,
    mailbox: usize,
    stage: Arc<Stage>,
    dice: Dice,
    client: Option<Client>,
    manner: Manner,
    pub(super) view: Option<View>,
    /// UIDVALIDITY of what was opened last, even if it is being left.
    last_selected: Option<u32>,
    caches: BTreeMap<u32, Cache>,
    submission: Option<Submission>,
    made: usize,
    said: VecDeque<String>,
}

impl Actor {
    pub(super) fn new(number: usize, stage: &Arc<Stage>, dice: Dice) -> Self {
        Self {
            number,
            mailbox: number % stage.users.len(),
            stage: Arc::clone(stage),
            dice,
            client: None,
            manner: Manner::Plain,
            view: None,
            last_selected: None,
            caches: BTreeMap::new(),
            submission: None,
            made: 0,
            said: VecDeque::new(),
        }
    }

    /// Acts until it is told to stop; then comes to rest.
    pub(super) async fn act(mut self) -> anyhow::Result<Self> {
        match self.acts().await {
            Ok(()) => Ok(self),
            Err(error) => {
                let said: Vec<String> = self.said.into_iter().collect();
                bail!("client {}: {error:#}\n{}", self.number, said.join("\n"))
            }
        }
    }

    async fn acts(&mut self) -> anyhow::Result<()> {
        while !self.stage.stop.load(Ordering::Relaxed) {
            self.acts_once().await?;
        }
        self.rest().await
    }

    async fn acts_once(&mut self) -> anyhow::Result<()> {
        // No step begins with a command that cannot be said any more.
        if let Some(bye) = self.client.as_ref().and_then(Client::closing) {
            let error = anyhow::anyhow!("the server closes: {bye}");
            if !self.was_deleted(&error) {
                return Err(error);
            }
            self.leave();
        }
        if self.client.is_none() {
            self.connect().await?;
        }
        let done = async {
            self.step().await?;
            self.learn().await
        };
        if let Err(error) = done.await {
            if !self.was_deleted(&error) {
                return Err(error);
            }
            self.leave();
        }
        Ok(())
    }

    /// RFC 3501 has no word for "your mailbox was deleted": the server may hang up.
    fn was_deleted(&self, error: &anyhow::Error) -> bool {
        let Some(validity) = self.last_selected else { return false };
        self.is_gone(validity) && error.to_string().contains("closes")
    }

    fn is_gone(&self, uid_validity: u32) -> bool {
        let model = self.stage.model.lock().unwrap();
        let folder = model.folders.get(&(self.mailbox, uid_validity));
        folder.is_none_or(|folder| folder.is_gone)
    }

    fn leave(&mut self) {
        self.client = None;
        self.view = None;
    }

    /// The relay was killed.
    pub(super) fn lost(&mut self) {
        self.client = None;
        self.submission = None;
        if let Some(view) = self.view.take() {
            self.keep(view);
        }
    }

    fn keep(&mut self, view: View) {
        let validity = view.uid_validity;
        if let Some(cache) = view.cache() {
            self.caches.insert(validity, cache);
        }
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        let user = self.stage.users[self.mailbox];
        let mut client = Client::open(self.stage.imaps, &self.stage.tls, user, PASSWORD).await?;
        self.manner = match self.number % 3 {
            1 if client.can("CONDSTORE") => Manner::Condstore,
            2 if client.can("QRESYNC") => Manner::Qresync,
            _ => Manner::Plain,
        };
        if self.manner == Manner::Qresync {
            client.ok("ENABLE QRESYNC").await?;
        }
        self.client = Some(client);
        self.note(format!("connected, {:?}", self.manner));
        Ok(())
    }

    fn note(&mut self, text: String) {
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back(text.chars().take(400).collect());
    }

    fn count(&self, what: &'static str) {
        self.stage.model.lock().unwrap().count(what);
    }

    /// Says a command, and believes what comes of it.
    async fn say(&mut self, command: &str, numbers: Numbers) -> anyhow::Result<Answer> {
        self.say_octets(command.as_bytes(), numbers).await
    }

    async fn say_octets(&mut self, command: &[u8], numbers: Numbers) -> anyhow::Result<Answer> {
        let first = command.split(|octet| *octet == b'\r').next().unwrap_or_default();
        self.note(format!("> {}", String::from_utf8_lossy(first)));
        let client = self.client.as_mut().context("not connected")?;
        let answer = client.say_octets(command).await?;
        self.hear(&answer, numbers)?;
        // RFC 5530 §3: whoever was at work in a folder that somebody deletes hears so, and then
        // the connection closes.
        let is_told = answer.status == Status::No && answer.text.contains("[NONEXISTENT]");
        if is_told && self.view.as_ref().is_some_and(|view| self.is_gone(view.uid_validity)) {
            bail!("the server closes: {}", answer.text);
        }
        Ok(answer)
    }

    fn hear(&mut self, answer: &Answer, numbers: Numbers) -> anyhow::Result<()> {
        for response in &answer.untagged {
            self.note(format!("< {}", response.raw.trim_end()));
        }
        self.note(format!("< {:?} {}", answer.status, answer.text));
        ensure!(answer.status != Status::Bad, "BAD: {}", answer.text);
        let Some(view) = &mut self.view else { return Ok(()) };
        let gone = view.hear(&answer.untagged, numbers)?;
        let validity = view.uid_validity;
        let mut model = self.stage.model.lock().unwrap();
        for uid in gone {
            model.heard_gone((self.mailbox, validity, uid), self.number);
        }
        Ok(())
    }

    /// Asks for what the view does not know yet.
    async fn learn(&mut self) -> anyhow::Result<()> {
        while let Some(view) = &self.view {
            let Some(set) = view.unknown() else { break };
            let items = if self.manner == Manner::Plain { "UID FLAGS" } else { "UID FLAGS MODSEQ" };
            self.say(&format!("FETCH {set} ({items})"), Numbers::MustStay).await?;
            // What was asked for may have gone; then it is told now.
            if self.view.as_ref().is_some_and(|view| view.unknown().is_some()) {
                self.say("NOOP", Numbers::MayChange).await?;
            }
        }
        Ok(())
    }

    /// Nothing is under way any more, and everything was told.
    async fn rest(&mut self) -> anyhow::Result<()> {
        if self.client.is_none() || self.view.is_none() {
            return Ok(());
        }
        for _ in 0..2 {
            let rested = async {
                self.say("NOOP", Numbers::MayChange).await?;
                self.learn().await
            };
            if let Err(error) = rested.await {
                if !self.was_deleted(&error) {
                    return Err(error);
                }
                self.leave();
                return Ok(());
            }
        }
        Ok(())
    }

    /// [`Actor::rest`] when all others rest too: what others did last is told now.
    pub(super) async fn settle(mut self) -> anyhow::Result<Self> {
        match self.rest().await {
            Ok(()) => Ok(self),
            Err(error) => {
                let said: Vec<String> = self.said.into_iter().collect();
                bail!("client {}, resting: {error:#}\n{}", self.number, said.join("\n"))
            }
        }
    }

    pub(super) fn selected(&self) -> Option<(usize, &View)> {
        self.view.as_ref().map(|view| (self.mailbox, view))
    }

    pub(super) fn history(&self) -> String {
        self.said.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        if self.view.is_none() {
            return self.select().await;
        }
        match self.dice.below(100) {
            0..=13 => self.append().await,
            14..=19 => self.select().await,
            20..=33 => self.store_keyword().await,
            34..=43 => self.store_flags().await,
            44..=51 => self.transfer("COPY").await,
            52..=59 => self.transfer("MOVE").await,
            60..=67 => self.remove().await,
            68..=75 => self.read().await,
            76..=80 => self.search().await,
            81..=84 => self.idle().await,
            85..=87 => self.keep_folders().await,
            88..=90 => self.status().await,
            91..=95 => self.send().await,
            _ => {
                self.count("NOOP");
                self.say("NOOP", Numbers::MayChange).await?;
                Ok(())
            }
        }
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let at = self.dice.below(all.len().max(1) as u64) as usize;
        all.get(at).cloned()
    }

    /// Some folder of the mailbox that is there, as far as we know.
    fn any_folder(&mut self) -> Option<((usize, u32), Folder)> {
        let model = self.stage.model.lock().unwrap();
        let here =
            model.folders.iter().filter(|(key, folder)| key.0 == self.mailbox && !folder.is_gone);
        // The shared ones are where it is crowded.
        let mut all: Vec<_> = here.map(|(key, folder)| (*key, folder.clone())).collect();
        let shared: Vec<_> =
            all.iter().filter(|(_, folder)| folder.keeper.is_none()).cloned().collect();
        all.extend(shared.iter().cloned());
        all.extend(shared);
        drop(model);
        self.pick(&all)
    }

    fn place(&self, uid: u32) -> anyhow::Result<Place> {
        let view = self.view.as_ref().context("nothing is selected")?;
        Ok((self.mailbox, view.uid_validity, uid))
    }

    /// Some UIDs of the view.
    fn some(&mut self, count: u64) -> Vec<u32> {
        let uids = self.view.as_ref().map(View::uids).unwrap_or_default();
        let mut some: Vec<u32> =
            (0..=self.dice.below(count)).filter_map(|_| self.pick(&uids)).collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn new_letter(&mut self) -> (String, Vec<u8>) {
        let token = format!("{}-{}", self.number, letters::message_id());
        let octets = [300, 900, 4_000, 70_000][self.dice.below(4) as usize];
        let user = self.stage.users[self.mailbox];
        let other = self.stage.users[1 - self.mailbox];
        let letter = letters::letter(other, user, &letters::message_id(), octets);
        let mut whole = format!("X-Token: {token}\r\n").into_bytes();
        whole.extend_from_slice(&letter);
        (token, whole)
    }

    async fn append(&mut self) -> anyhow::Result<()> {
        let Some((_, folder)) = self.any_folder() else { return Ok(()) };
        self.count("APPEND");
        let can_many = self.client.as_ref().is_some_and(|client| client.can("MULTIAPPEND"));
        let many = if can_many { 1 + self.dice.below(3) } else { 1 };
        let mut command = format!("APPEND \"{}\"", folder.name).into_bytes();
        let mut filed = Vec::new();
        for _ in 0..many {
            let (token, letter) = self.new_letter();
            let mut flags = Vec::new();
            for flag in &SYSTEM_FLAGS[..4] {
                if self.dice.below(4) == 0 {
                    flags.push((*flag).to_owned());
                }
            }
            let head = format!(" ({}) {{{}+}}\r\n", flags.join(" "), letter.len());
            command.extend_from_slice(head.as_bytes());
            command.extend_from_slice(&letter);
            filed.push(((token, super::digest(&letter)), flags));
        }
        let answer = self.say_octets(&command, Numbers::MayChange).await?;
        if answer.status == Status::No {
            return self.must_be_gone(&folder, &answer);
        }
        let code = answer.code_of("APPENDUID").context("no APPENDUID")?;
        let (validity, uids) = code.split_once(' ').context("APPENDUID")?;
        let uids = imap::numbers(uids)?;
        ensure!(uids.len() == filed.len(), "{} letters, {code}", filed.len());
        for (uid, (letter, flags)) in uids.into_iter().zip(filed) {
            let place = (self.mailbox, validity.parse()?, uid);
            self.stage.model.lock().unwrap().filed(place, self.number, letter, &flags)?;
        }
        Ok(())
    }

    /// A NO is right only if somebody renamed or deleted the folder meanwhile, or the selected one.
    fn must_be_gone(&self, folder: &Folder, answer: &Answer) -> anyhow::Result<()> {
        let model = self.stage.model.lock().unwrap();
        let selected = self.view.as_ref().map(|view| (self.mailbox, view.uid_validity));
        let selected_is_gone =
            selected.and_then(|key| model.folders.get(&key)).is_some_and(|folder| folder.is_gone);
        let is_others = folder.keeper.is_some_and(|keeper| keeper != self.number);
        ensure!(is_others || selected_is_gone, "{}", answer.text);
        Ok(())
    }

    async fn select(&mut self) -> anyhow::Result<()> {
        let Some((key, folder)) = self.any_folder() else { return Ok(()) };
        self.count("SELECT");
        if self.view.is_some() && self.dice.below(2) == 0 {
            // Then all that has happened so far was told.
            self.say("NOOP", Numbers::MayChange).await?;
            self.learn().await?;
            let view = self.view.as_mut().context("selected")?;
            let highest = view.slots.iter().map(|slot| slot.modseq).max().unwrap_or(0);
            view.told_up_to = view.told_up_to.max(highest);
        }
        if let Some(view) = self.view.take() {
            self.keep(view);
        }
        let verb = if self.dice.below(6) == 0 { "EXAMINE" } else { "SELECT" };
        let cache = self
            .caches
            .get(&key.1)
            .cloned()
            .filter(|cache| self.manner == Manner::Qresync && cache.modseq > 0);
        let more = match (self.manner, &cache) {
            (Manner::Plain, _) => String::new(),
            (_, Some(cache)) => format!(" (QRESYNC ({} {}))", key.1, cache.modseq),
            (_, None) => " (CONDSTORE)".to_owned(),
        };
        let answer =
            self.say(&format!("{verb} \"{}\"{more}", folder.name), Numbers::MayChange).await?;
        if answer.status == Status::No {
            return self.must_be_gone(&folder, &answer);
        }
        let validity = answer.code_of("UIDVALIDITY").context("no UIDVALIDITY")?;
        // Another folder may have got its name meanwhile.
        let cache = cache.filter(|_| validity == key.1.to_string());
        let is_qresync = self.manner == Manner::Qresync;
        self.last_selected = Some(validity.parse()?);
        self.view = Some(View::open(&folder.name, &answer, is_qresync, cache)?);
        Ok(())
    }

    /// Its own keyword, on anybody's messages.
    async fn store_keyword(&mut self) -> anyhow::Result<()> {
        if !self.view.as_ref().is_some_and(|view| view.is_writable) {
            return Ok(());
        }
        let some = self.some(4);
        if some.is_empty() {
            return Ok(());
        }
        let value = self.dice.below(3) > 0;
        let sign = if value { '+' } else { '-' };
        let own = keyword(self.number);
        let by_sequence = self.dice.below(2) == 0;
        self.count(if by_sequence { "STORE" } else { "UID STORE" });
        let command = if by_sequence {
            let uids = self.view.as_ref().map(View::uids).unwrap_or_default();
            let numbers: Vec<u32> = some
                .iter()
                .filter_map(|uid| Some(uids.binary_search(uid).ok()? as u32 + 1))
                .collect();
            format!("STORE {} {sign}FLAGS ({own})", set(&numbers))
        } else {
            format!("UID STORE {} {sign}FLAGS ({own})", set(&some))
        };
        let numbers = if by_sequence { Numbers::MustStay } else { Numbers::MayChange };
        let before = self.view.as_ref().map(View::uids).unwrap_or_default();
        let answer = self.say(&command, numbers).await?;
        self.confirm(&answer, &some, &before, by_sequence, &own, value)
    }

    /// What was echoed was done; what was not echoed was gone before.
    fn confirm(
        &mut self,
        answer: &Answer,
        asked: &[u32],
        before: &[u32],
        by_sequence: bool,
        flag: &str,
        value: bool,
    ) -> anyhow::Result<()> {
        let mut model = self.stage.model.lock().unwrap();
        for response in &answer.untagged {
            let (Some(sequence), Some(flags)) =
                (response.numbered("FETCH"), response.item("FLAGS"))
            else {
                continue;
            };
            let uid = match response.item("UID").and_then(Value::number) {
                Some(uid) => u32::try_from(uid)?,
                None if by_sequence => before[sequence as usize - 1],
                None => bail!("no UID in the answer of UID STORE: {}", response.raw),
            };
            if !asked.contains(&uid) {
                continue;
            }
            let has = flags.list().iter().filter_map(Value::text).any(|has| has == flag);
            ensure!(has == value, "{flag} of {uid} should be {value}: {}", response.raw);
            model.wrote(self.place(uid)?, flag, value);
        }
        Ok(())
    }

    /// System flags, on copies of its own; now and then on a condition.
    async fn store_flags(&mut self) -> anyhow::Result<()> {
        let Some(view) = self.view.as_ref().filter(|view| view.is_writable) else { return Ok(()) };
        let key = (self.mailbox, view.uid_validity);
        let uids = view.uids();
        let mut mine = self.stage.model.lock().unwrap().owned(key, self.number);
        mine.retain(|uid| uids.binary_search(uid).is_ok());
        let Some(uid) = self.pick(&mine) else { return Ok(()) };
        let flag = SYSTEM_FLAGS[self.dice.below(4) as usize];
        let value = self.dice.below(2) == 0;
        let sign = if value { '+' } else { '-' };
        let modseq = view_slot(&self.view, uid).map_or(0, |slot| slot.modseq);
        let is_conditional = self.manner != Manner::Plain && modseq > 0 && self.dice.below(2) == 0;
        let condition =
            if is_conditional { format!(" (UNCHANGEDSINCE {modseq})") } else { String::new() };
        self.count(if is_conditional { "UID STORE UNCHANGEDSINCE" } else { "UID STORE" });
        let command = format!("UID STORE {uid}{condition} {sign}FLAGS ({flag})");
        let answer = self.say(&command, Numbers::MayChange).await?;
        if let Some(modified) = answer.code_of("MODIFIED") {
            ensure!(is_conditional && imap::numbers(&modified)? == [uid], "MODIFIED {modified}");
            return Ok(());
        }
        self.confirm(&answer, &[uid], &uids, false, flag, value)
    }

    async fn transfer(&mut self, verb: &'static str) -> anyhow::Result<()> {
        let Some((_, target)) = self.any_folder() else { return Ok(()) };
        let is_move = verb == "MOVE";
        let can = self.view.as_ref().is_some_and(|view| view.is_writable || !is_move);
        let some = self.some(3);
        if some.is_empty() || !can {
            return Ok(());
        }
        self.count(if is_move { "UID MOVE" } else { "UID COPY" });
        let command = format!("UID {verb} {} \"{}\"", set(&some), target.name);
        // COPYUID must be read before the model hears that the moved ones are gone.
        let answer = self.say(&command, Numbers::MayChange).await?;
        if answer.status == Status::No {
            return self.must_be_gone(&target, &answer);
        }
        let Some(code) = answer.code_of("COPYUID") else { return Ok(()) };
        let words: Vec<&str> = code.split(' ').collect();
        ensure!(words.len() == 3, "COPYUID {code}");
        let (from, to) = (imap::numbers(words[1])?, imap::numbers(words[2])?);
        ensure!(from.len() == to.len(), "COPYUID {code}");
        ensure!(from.iter().all(|uid| some.contains(uid)), "COPYUID {code} of {some:?}");
        for (from, to) in from.into_iter().zip(to) {
            let (from, to) = (self.place(from)?, (self.mailbox, words[0].parse()?, to));
            let mut model = self.stage.model.lock().unwrap();
            match is_move {
                true => model.moved(from, to)?,
                false => model.copied(from, to, self.number)?,
            }
        }
        Ok(())
    }

    /// Marks copies of its own and expunges, in one of three ways.
    async fn remove(&mut self) -> anyhow::Result<()> {
        let Some(view) = self.view.as_ref().filter(|view| view.is_writable) else { return Ok(()) };
        let key = (self.mailbox, view.uid_validity);
        let uids = view.uids();
        let mut mine = self.stage.model.lock().unwrap().owned(key, self.number);
        mine.retain(|uid| uids.binary_search(uid).is_ok());
        let Some(uid) = self.pick(&mine) else { return Ok(()) };
        let place = self.place(uid)?;
        self.stage.model.lock().unwrap().will_mark(place);
        let answer =
            self.say(&format!("UID STORE {uid} +FLAGS (\\Deleted)"), Numbers::MayChange).await?;
        self.confirm(&answer, &[uid], &uids, false, "\\Deleted", true)?;
        match self.dice.below(6) {
            0 => {
                self.count("CLOSE");
                self.learn().await?;
                self.say("CLOSE", Numbers::MayChange).await?.expect(Status::Ok)?;
                self.view = None;
                self.caches.remove(&key.1);
                self.stage.model.lock().unwrap().expunged(place);
                return Ok(());
            }
            1 => {
                self.count("EXPUNGE");
                self.say("EXPUNGE", Numbers::MayChange).await?.expect(Status::Ok)?;
            }
            2 => return Ok(()),
            _ => {
                self.count("UID EXPUNGE");
                let command = format!("UID EXPUNGE {uid}");
                self.say(&command, Numbers::MayChange).await?.expect(Status::Ok)?;
            }
        }
        // Moved away before, or removed now: in no case is it here.
        self.stage.model.lock().unwrap().expunged(place);
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let some = self.some(3);
        if some.is_empty() {
            return Ok(());
        }
        self.count("UID FETCH");
        let command =
            format!("UID FETCH {} (FLAGS BODY.PEEK[HEADER.FIELDS (X-TOKEN)])", set(&some));
        let answer = self.say(&command, Numbers::MayChange).await?;
        for response in &answer.untagged {
            let Some(Value::Text(header)) = response.item("BODY[HEADER.FIELDS (X-TOKEN)]") else {
                continue;
            };
            let uid = response.item("UID").and_then(Value::number).context("no UID")?;
            let token = super::token(header).context("no token")?;
            let place = self.place(u32::try_from(uid)?)?;
            self.stage.model.lock().unwrap().saw(place, &token)?;
        }
        Ok(())
    }

    async fn search(&mut self) -> anyhow::Result<()> {
        self.count("SEARCH");
        let own = keyword(self.number);
        let key = match self.dice.below(4) {
            0 => "ALL".to_owned(),
            1 => format!("KEYWORD {own}"),
            2 => "NOT SEEN SUBJECT rendu".to_owned(),
            _ => format!("HEADER X-Token {}-", self.number),
        };
        let by_uid = self.dice.below(2) == 0;
        let verb = if by_uid { "UID SEARCH" } else { "SEARCH" };
        let numbers = if by_uid { Numbers::MayChange } else { Numbers::MustStay };
        let view = self.view.as_ref().context("selected")?;
        let (before, count) = (view.uids(), view.slots.len());
        let answer = self.say(&format!("{verb} {key}"), numbers).await?.expect(Status::Ok)?;
        let found = answer.find("SEARCH").context("no SEARCH response")?;
        let found: Vec<u64> = found.iter().filter_map(Value::number).collect();
        let is_known = |number: &u64| match by_uid {
            true => before.contains(&(*number as u32)),
            false => (1..=count as u64).contains(number),
        };
        let strange: Vec<&u64> = found.iter().filter(|number| !is_known(number)).collect();
        ensure!(strange.is_empty(), "SEARCH finds {strange:?} of {before:?}");
        Ok(())
    }

    async fn idle(&mut self) -> anyhow::Result<()> {
        self.count("IDLE");
        let time = Duration::from_millis(20 + self.dice.below(200));
        let client = self.client.as_mut().context("not connected")?;
        client.begin(b"IDLE").await?;
        let mut heard = Vec::new();
        let mut waited = Duration::ZERO;
        while waited < time {
            let piece = Duration::from_millis(20);
            match client.response_within(piece).await? {
                Some(response) if response.words[0].atom() == Some("+") => {}
                Some(response) if response.named("BYE").is_some() => {
                    bail!("the server closes: {}", response.raw)
                }
                Some(response) => heard.push(response),
                None => waited += piece,
            }
        }
        client.write(b"DONE\r\n").await?;
        let mut answer = client.finish().await?;
        heard.append(&mut answer.untagged);
        answer.untagged = heard;
        self.note("> IDLE".to_owned());
        self.hear(&answer, Numbers::MayChange)?;
        Ok(())
    }

    /// Makes, renames and deletes folders of its own.
    async fn keep_folders(&mut self) -> anyhow::Result<()> {
        let mine: Vec<((usize, u32), Folder)> = {
            let model = self.stage.model.lock().unwrap();
            let mine = model.folders.iter().filter(|(key, folder)| {
                key.0 == self.mailbox && folder.keeper == Some(self.number) && !folder.is_gone
            });
            mine.map(|(key, folder)| (*key, folder.clone())).collect()
        };
        let name = format!("Clients/{}-{}", self.number, self.made);
        match (self.dice.below(3), self.pick(&mine)) {
            (1, Some((key, folder))) => {
                self.count("RENAME");
                self.made += 1;
                let command = format!("RENAME \"{}\" \"{name}\"", folder.name);
                self.say(&command, Numbers::MayChange).await?.expect(Status::Ok)?;
                let mut model = self.stage.model.lock().unwrap();
                model.folders.entry(key).and_modify(|folder| folder.name = name);
            }
            (2, Some((key, folder))) => {
                self.count("DELETE");
                // Noted before: others may meet it at any time from now on.
                self.stage
                    .model
                    .lock()
                    .unwrap()
                    .folders
                    .entry(key)
                    .and_modify(|f| f.is_gone = true);
                let command = format!("DELETE \"{}\"", folder.name);
                self.say(&command, Numbers::MayChange).await?.expect(Status::Ok)?;
                if self.view.as_ref().is_some_and(|view| view.uid_validity == key.1) {
                    self.leave();
                }
            }
            _ if mine.len() < 3 => {
                self.count("CREATE");
                self.made += 1;
                let command = format!("CREATE \"{name}\"");
                self.say(&command, Numbers::MayChange).await?.expect(Status::Ok)?;
                if self.client.as_ref().is_some_and(|client| client.closing().is_some()) {
                    self.leave();
                    self.connect().await?;
                }
                let command = format!("STATUS \"{name}\" (UIDVALIDITY)");
                let answer = self.say(&command, Numbers::MayChange).await?.expect(Status::Ok)?;
                let validity = status(&answer, "UIDVALIDITY").context("no UIDVALIDITY")?;
                let key = (self.mailbox, u32::try_from(validity)?);
                let folder = Folder { name, keeper: Some(self.number), is_gone: false };
                let old = self.stage.model.lock().unwrap().folders.insert(key, folder);
                ensure!(old.is_none(), "UIDVALIDITY {validity} was given before, to {old:?}");
            }
            _ => {}
        }
        Ok(())
    }

    async fn status(&mut self) -> anyhow::Result<()> {
        let Some((key, folder)) = self.any_folder() else { return Ok(()) };
        self.count("STATUS");
        let command = format!("STATUS \"{}\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", folder.name);
        let answer = self.say(&command, Numbers::MayChange).await?;
        if answer.status == Status::No {
            return self.must_be_gone(&folder, &answer);
        }
        let value = |name: &str| status(&answer, name).with_context(|| format!("no {name}"));
        let (messages, next, unseen) = (value("MESSAGES")?, value("UIDNEXT")?, value("UNSEEN")?);
        ensure!(unseen <= messages && messages < next, "{messages} {next} {unseen}");
        if value("UIDVALIDITY")? == u64::from(key.1)
            && let Some(view) = self.view.as_ref().filter(|view| view.uid_validity == key.1)
        {
            let last = view.uids().last().copied().unwrap_or(0);
            ensure!(u64::from(last) < next, "UIDNEXT is {next}, and {last} is there");
        }
        Ok(())
    }

    /// A letter through the other door, to this mailbox.
    async fn send(&mut self) -> anyhow::Result<()> {
        self.count("a letter by SMTP");
        let from = self.stage.users[1 - self.mailbox];
        let to = self.stage.users[self.mailbox];
        if self.submission.is_none() {
            let door = self.stage.submissions;
            let opened = Submission::open(door, &self.stage.tls, from, PASSWORD).await?;
            self.submission = Some(opened);
        }
        let (token, letter) = self.new_letter();
        let digest = super::digest(&letter);
        self.stage.model.lock().unwrap().will_be_sent(self.mailbox, token, digest);
        let submission = self.submission.as_mut().context("opened")?;
        submission.send(from, &[to], &letter).await?;
        Ok(())
    }
}

fn view_slot(view: &Option<View>, uid: u32) -> Option<&super::view::Slot> {
    view.as_ref()?.slots.iter().find(|slot| slot.uid == Some(uid))
}

/// A number of a STATUS response.
pub(super) fn status(answer: &Answer, name: &str) -> Option<u64> {
    let pairs = answer.find("STATUS")?.get(1)?.list();
    let pair = pairs.chunks(2).find(|pair| pair[0].atom() == Some(name))?;
    pair.get(1)?.number()
}

fn set(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
