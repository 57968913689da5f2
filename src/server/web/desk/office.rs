//! The real relay behind the desk: mailboxes are opened, letters walk through the stations.
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use x509_parser::pem::Pem;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::address::ReversePath;
use crate::domain::decision::SessionId;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::RcptParameters;
use crate::domain::envelope::Recipient;
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::Uid;
use crate::domain::life::Step;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::flow;
use crate::flow::accept;
use crate::flow::accept::Accepted;
use crate::flow::accept::Caller;
use crate::flow::accept::Credentials;
use crate::flow::addressbook;
use crate::flow::addressbook::Found;
use crate::flow::addressbook::Reach;
use crate::flow::addressbook::Wanted;
use crate::flow::directory;
use crate::flow::directory::Age;
use crate::flow::exchange;
use crate::flow::gateway;
use crate::flow::life::Record;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::flow::login::live::Listed;
use crate::flow::login::live::Seat;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::own::Registered;
use crate::flow::own::challenge::Proof;
use crate::flow::published;
use crate::flow::timeline;
use crate::flow::undone::Undone;
use crate::infra::config::login::SecondFactor;
use crate::infra::directory::Account;
use crate::infra::directory::Arrival;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::Voucher;
use crate::infra::directory::accounts::app_passwords::AppPassword;
use crate::infra::directory::accounts::app_passwords::NewAppPassword;
use crate::infra::directory::accounts::app_passwords::NoAppPassword;
use crate::infra::directory::accounts::arrivals::LastLogin;
use crate::infra::directory::factors::Overview;
use crate::infra::directory::factors::passkeys::Ceremony;
use crate::infra::directory::factors::passkeys::Challenge;
use crate::infra::directory::factors::passkeys::Offer;
use crate::infra::directory::factors::passkeys::Party;
use crate::infra::directory::factors::passkeys::Registered as PasskeyRegistered;
use crate::infra::directory::factors::passkeys::Removed;
use crate::infra::directory::factors::passkeys::Shown;
use crate::infra::directory::factors::passkeys::Whose;
use crate::infra::journal;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::ledger::StatRow;
use crate::infra::store::Batch;
use crate::infra::store::StoreError;
use crate::proto::mime::content;
use crate::proto::mime::header;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::Summary;
use crate::server::web::desk::Correspondent;
use crate::server::web::desk::Desk;
use crate::server::web::desk::DirectoryState;
use crate::server::web::desk::Download;
use crate::server::web::desk::DownloadBody;
use crate::server::web::desk::download;

use crate::server::web::desk::House;
use crate::server::web::desk::Letter;
use crate::server::web::desk::Owner;
use crate::server::web::desk::RelayState;
use crate::server::web::desk::Row;
use crate::server::web::desk::Rows;
use crate::server::web::desk::Slice;
use crate::server::web::desk::Sought;
use crate::server::web::desk::Sso;
use crate::server::web::desk::lives;
use crate::server::web::desk::lives::Pressed;
use crate::server::web::desk::lives::Seen;
use crate::server::web::desk::lives::Waiting;
use crate::server::web::session::Vouched;

/// Who changes an own certificate at the pages.
const BY_THE_HOLDER: own::Act<'_> = own::Act { author: "the holder", way: "page", reason: "" };

/// The real relay, and the pages as authenticators know them.
pub struct OfficeDesk(Arc<Office>, Option<Party>);

#[async_trait]
impl Desk for OfficeDesk {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn random_token(&self) -> Secret<String> {
        self.0.keys.random_token()
    }

    fn trusts(&self, domain: &Domain) -> bool {
        self.0.trust.list().lists(domain) || self.0.config.operator.domains.contains(domain)
    }

    fn count_login(&self, succeeded: bool) {
        self.0.metrics.login("https", succeeded);
    }

    async fn reserve(&self, octets: u64) -> Result<Option<ClearPermit>, Refusal> {
        self.0.reading_memory.reserve(octets).await.map(Some)
    }

    async fn login(
        &self,
        ip: Option<IpAddr>,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Account, Refusal> {
        let visitor = Visitor { entrance: Entrance::Pages, ip };
        Ok(self.0.logins.login(visitor, name, password).await?.account)
    }

    async fn published(&self, wanted: &Sought) -> Result<Vec<PeerCertificate>, Refusal> {
        match wanted {
            Sought::Named(domain, name) => published::by_name(&self.0, domain, name).await,
            Sought::Of(address) => published::by_address(&self.0, address).await,
            Sought::WithKey(key) => published::by_key(&self.0, key).await,
        }
    }

    async fn own_certificate(&self, account: &Account) -> Option<Registered> {
        own::registered(&self.0, &account.id)
    }

    fn challenge(
        &self,
        account: &Account,
        certificate: &PeerCertificate,
        text: &str,
    ) -> Result<(PeerCertificate, Vec<u8>), CertificateFlaw> {
        own::challenge::begin(&self.0, account, certificate, text)
    }

    async fn prove(&self, account: &Account, code: &str) -> Result<Proof, String> {
        own::challenge::prove(&self.0, account, code, BY_THE_HOLDER).await
    }

    async fn remove_own_certificate(&self, account: &Account) -> Result<(), String> {
        own::remove(&self.0, account, BY_THE_HOLDER).await
    }

    async fn factors(&self, account: &Account) -> Result<Overview, Refusal> {
        self.0.factors.overview(&account.id).await.map_err(unanswered)
    }

    async fn confirm_totp(
        &self,
        account: &Account,
        secret: &Secret<Vec<u8>>,
        code: &str,
        besides: bool,
    ) -> Result<bool, Refusal> {
        let owner = Owner::Mailbox(account);
        let along = self.by_owner(owner, "mailbox one-time codes on", "on".to_owned());
        let factors = &self.0.factors;
        let done = factors.confirm_totp(&account.id, secret, code, besides, &along).await;
        done.map_err(unanswered)
    }

    async fn take_code(&self, account: &Account, code: &str) -> Result<bool, Refusal> {
        let factors = &self.0.factors;
        Ok(factors.check_totp(&account.id, code).await.map_err(unanswered)?
            || factors.use_recovery_code(&account.id, code).await.map_err(unanswered)?)
    }

    async fn recovery_codes(&self, account: &Account) -> Result<Vec<Secret<String>>, Refusal> {
        self.0.factors.new_recovery_codes(&account.id).await.map_err(unanswered)
    }

    async fn remove_factors(&self, account: &Account) -> Result<(), Refusal> {
        let owner = Owner::Mailbox(account);
        let along = self.by_owner(owner, "mailbox factors off", "forgotten".to_owned());
        self.0.factors.clear(&account.id, &along).await.map_err(unanswered)
    }

    fn has_passkeys(&self) -> bool {
        self.1.is_some()
    }

    async fn factors_of(&self, owner: Owner<'_>) -> Result<Overview, Refusal> {
        self.0.factors.overview_of(whose(owner)).await.map_err(unanswered)
    }

    async fn begin_passkey(&self, owner: Owner<'_>) -> Result<Challenge, Refusal> {
        let (name, display) = match owner {
            Owner::Mailbox(account) => {
                (account.address.to_string(), account.display_name.trim().to_owned())
            }
            Owner::Administrator(name) => (name.to_owned(), name.to_owned()),
        };
        let display = if display.is_empty() { name.clone() } else { display };
        let factors = &self.0.factors;
        let begun = factors.begin_passkey(self.party()?, whose(owner), &name, &display).await;
        begun.map_err(unanswered)
    }

    async fn finish_passkey(
        &self,
        owner: Owner<'_>,
        ceremony: Ceremony,
        name: &str,
        answer: &str,
        besides: bool,
    ) -> Result<PasskeyRegistered, Refusal> {
        // The name is its owner's own word: the journal is not sealed.
        let along = self.by_owner(owner, "passkey add", "registered".to_owned());
        let (party, whose) = (self.party()?, whose(owner));
        let offer = Offer { answer, name, besides };
        let factors = &self.0.factors;
        let done = factors.finish_passkey(party, whose, ceremony, offer, &along).await;
        done.map_err(unanswered)
    }

    async fn ask_passkey(&self, owner: Owner<'_>) -> Result<Option<Challenge>, Refusal> {
        let Some(party) = &self.1 else { return Ok(None) };
        self.0.factors.ask_passkey(party, whose(owner)).await.map_err(unanswered)
    }

    async fn take_passkey(
        &self,
        owner: Owner<'_>,
        ceremony: Ceremony,
        answer: &str,
    ) -> Result<Shown, Refusal> {
        let outcome = "its counter ran backwards; it opens nothing any more".to_owned();
        let copied = self.by_owner(owner, "passkey copied", outcome);
        let (party, whose) = (self.party()?, whose(owner));
        let factors = &self.0.factors;
        let taken = factors.take_passkey(party, whose, ceremony, answer, &copied).await;
        let shown = taken.map_err(unanswered)?;
        if shown == Shown::Copied {
            let mailbox = match owner {
                Owner::Mailbox(account) => Some(&account.address),
                Owner::Administrator(_) => None,
            };
            tracing::warn!(door = "https", ?mailbox, "a passkey's counter ran backwards: a copy");
        }
        Ok(shown)
    }

    async fn remove_passkey(
        &self,
        owner: Owner<'_>,
        handle: uuid::Uuid,
        one_must_stay: bool,
    ) -> Result<Removed, Refusal> {
        let along = self.by_owner(owner, "passkey remove", "removed".to_owned());
        let factors = &self.0.factors;
        let done = factors.remove_passkey(whose(owner), handle, one_must_stay, &along).await;
        done.map_err(unanswered)
    }

    async fn app_passwords(&self, account: &Account) -> Result<Vec<AppPassword>, Refusal> {
        self.0.accounts.app_passwords(&account.id).await.map_err(unanswered)
    }

    async fn add_app_password(
        &self,
        account: &Account,
        new: NewAppPassword,
    ) -> Result<Secret<String>, NoAppPassword> {
        // The name is its owner's own word ("téléphone de ma fille"): the journal is not sealed.
        let outcome = format!("for {}", new.scope);
        let along = self.by_owner(Owner::Mailbox(account), "mailbox app-password add", outcome);
        let made = self.0.accounts.add_app_password(&account.address, new, &along).await?;
        tracing::info!(door = "https", mailbox = ?account.address, "an app password was made");
        Ok(made)
    }

    async fn revoke_app_password(
        &self,
        account: &Account,
        name: &str,
    ) -> Result<(), NoAppPassword> {
        let along = self.by_owner(
            Owner::Mailbox(account),
            "mailbox app-password revoke",
            "revoked".to_owned(),
        );
        let id = self.0.accounts.revoke_app_password(&account.address, name, &along).await?;
        // No login with it succeeds any more: whoever is in with it is the last one.
        let ended = self.0.logins.sessions().end_app_password(&id, name.trim());
        tracing::info!(
            door = "https", mailbox = ?account.address, ended, "an app password was revoked"
        );
        Ok(())
    }

    async fn last_login(&self, account: &Account) -> Result<LastLogin, Refusal> {
        self.0.accounts.last_login(&account.id).await.map_err(unanswered)
    }

    async fn take_administrators_step(
        &self,
        administrator: &str,
        step: u64,
    ) -> Result<bool, Refusal> {
        let factors = &self.0.factors;
        factors.take_administrators_step(administrator, step).await.map_err(unanswered)
    }

    async fn seat(
        &self,
        ip: Option<IpAddr>,
        account: &Account,
        vouched: Option<&Vouched>,
    ) -> Result<Option<Seat>, Refusal> {
        let sessions = self.0.logins.sessions();
        let seat = sessions.seat();
        let visitor = Visitor { entrance: Entrance::Pages, ip };
        let voucher =
            vouched.map(|it| Voucher { subject: it.subject.clone(), sid: it.sid.clone() });
        let login = Login {
            account: account.clone(),
            source: if vouched.is_some() { Source::Oidc } else { Source::Local },
            means: if vouched.is_some() { Means::Token } else { Means::Password },
            scope: Scope::ALL,
            until: None,
            began: sessions.cuts(),
            voucher,
        };
        seat.take(visitor, &login)?;
        // Whoever closes a mailbox closes it first and then puts people out: either they meet this
        // seat, or this look meets the closed mailbox.
        match self.mailbox(&account.address).await? {
            Some(_) => Ok(Some(seat)),
            None => Err(Refusal::AuthFailed),
        }
    }

    fn sessions(&self, account: &Account) -> Vec<Listed> {
        self.0.logins.sessions().list(Some(&account.id))
    }

    fn end_session(&self, account: &Account, id: &SessionId) -> bool {
        let sessions = self.0.logins.sessions();
        // A name alone could be that of somebody else's session.
        let is_theirs = sessions.list(Some(&account.id)).iter().any(|listed| listed.id == *id);
        is_theirs && sessions.end(id).is_some()
    }

    fn end_vouched(&self, sid: Option<&str>, subject: Option<&str>) -> usize {
        self.0.logins.sessions().end_vouched(sid, subject)
    }

    fn sso(&self) -> Option<Sso> {
        let provider = self.0.openid.as_ref().filter(|provider| provider.has_pages())?;
        Some(Sso {
            provider: Arc::clone(provider),
            public_url: public_url(&self.0),
            session: self.0.config.login.token_session,
        })
    }

    async fn held(&self, _ip: Option<IpAddr>, national_id: &str) -> Result<Vec<Account>, Refusal> {
        let failed = |error: DirectoryError| {
            tracing::error!(%error, "the directory did not answer");
            Refusal::DependencyFailed
        };
        let mut held = Vec::new();
        for address in self.0.accounts.held_by(national_id).await.map_err(failed)? {
            held.extend(self.mailbox(&address).await?);
        }
        held.retain(|account| account.kind != MailboxKind::Citizen);
        Ok(held)
    }

    async fn arrived(&self, account: &Account, ip: Option<IpAddr>) {
        let arrival = Arrival {
            mailbox: account.id,
            means: Means::Token,
            entrance: Entrance::Pages,
            ip,
            at: self.now(),
        };
        self.0.accounts.arrived(&arrival).await;
    }

    async fn mailbox(&self, address: &Address) -> Result<Option<Account>, Refusal> {
        let found = Mailboxes::find(self.0.accounts.as_ref(), address).await;
        let account = found.map_err(|error| {
            tracing::error!(%error, "the directory did not answer");
            Refusal::DependencyFailed
        })?;
        Ok(account.filter(|account| !account.suspended))
    }

    async fn find(&self, words: &str) -> Result<Found, Refusal> {
        match Wanted::typed(words) {
            Some(wanted) => {
                addressbook::find(&self.0, &wanted, limits::WEB_FOUND_MAX, |_| true).await
            }
            None => Ok(Found { cards: Vec::new(), reach: Reach::All }),
        }
    }

    async fn rows(&self, account: &Account, slice: Slice) -> Result<Rows, MailboxError> {
        let mailbox = self.0.mailboxes.open(account).await?.read_by_owner("portal", "read");
        let inbox = mailbox.folder(FolderId::INBOX).await?;
        let newest = inbox.uid_next.0.saturating_sub(1);
        let wanted = limits::INBOX_PAGE_LETTERS + 1;
        let (mut entries, backwards) = match slice {
            Slice::Newest => (newest_entries(&mailbox, newest, wanted).await?, true),
            Slice::Before(Uid(uid)) => {
                let last = uid.saturating_sub(1).min(newest);
                (newest_entries(&mailbox, last, wanted).await?, true)
            }
            Slice::After(Uid(uid)) => {
                let range = uid.saturating_add(1)..=u32::MAX;
                (mailbox.entries(FolderId::INBOX, range, wanted).await?, false)
            }
        };
        let more = entries.len() == wanted;
        entries.truncate(limits::INBOX_PAGE_LETTERS);
        if !backwards {
            entries.reverse();
        }
        let mut rows = Vec::with_capacity(entries.len());
        for entry in &entries {
            let summary = mailbox.summary(FolderId::INBOX, entry).await?;
            rows.push(row(entry, &summary));
        }
        let (older, newer) = if backwards { (more, slice != Slice::Newest) } else { (true, more) };
        Ok(Rows { rows, older, newer, unseen: inbox.unseen })
    }

    async fn letter(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
    ) -> Result<Letter, MailboxError> {
        let (mailbox, entry) = find(&self.0, account, folder, uid).await?;
        // The letter itself and its decoded texts.
        let memory = reserve(&self.0, entry.size.saturating_mul(2)).await?;
        let summary = mailbox.summary(folder, &entry).await?;
        let clear = mailbox.content(&entry).await?;
        let (readable, header) = tokio::task::spawn_blocking(move || {
            let letter = clear.expose();
            (content::readable(letter), header::view(header_section(letter)))
        })
        .await
        .map_err(|_| MailboxError::Unreadable("its structure".to_owned()))?;
        let of = |list: &[EnvelopeAddress]| list.iter().filter_map(correspondent).collect();
        Ok(Letter {
            row: row(&entry, &summary),
            reply_to: of(&summary.envelope.reply_to),
            to: of(&summary.envelope.to),
            readable,
            header,
            is_sealed: summary.structure.kind == "multipart"
                && summary.structure.subtype == "encrypted",
            is_report: summary.structure.kind == "multipart"
                && summary.structure.subtype == "report",
            memory,
        })
    }

    async fn is_closed(&self, account: &Account, letter: &Letter) -> Result<bool, MailboxError> {
        // The same record that the policy station asks: page and rule cannot disagree.
        let contacts = exchange::contacts(&self.0, &letter.header);
        let Some(contact) = contacts.first() else { return Ok(true) };
        let is_open = exchange::is_open(&self.0, &account.address, contact).await;
        is_open.map(|is_open| !is_open).map_err(MailboxError::Temporary)
    }

    async fn attachment(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
        index: usize,
    ) -> Result<Option<Download>, MailboxError> {
        let (mailbox, entry) = find(&self.0, account, folder, uid).await?;
        if entry.size > limits::WHOLE_LETTER_OCTETS_MAX {
            let summary = mailbox.summary(folder, &entry).await?;
            let download = download::in_pieces(&self.0, &mailbox, &entry, &summary, index).await?;
            if download.is_some() {
                return Ok(download);
            }
        }
        let memory = reserve(&self.0, entry.size.saturating_mul(2)).await?;
        let clear = mailbox.content(&entry).await?;
        let found = tokio::task::spawn_blocking(move || {
            let letter = clear.expose();
            let attachment =
                content::readable(letter).attachments.into_iter().find(|a| a.index == index)?;
            content::attachment(letter, index).map(|octets| (attachment, Secret::new(octets)))
        })
        .await
        .map_err(|_| MailboxError::Unreadable("an attachment".to_owned()))?;
        Ok(found.map(|(attachment, octets)| Download {
            attachment,
            body: DownloadBody::Whole(octets, memory),
        }))
    }

    async fn mark(
        &self,
        account: &Account,
        folder: FolderId,
        uid: Uid,
        flags: Flags,
    ) -> Result<(), MailboxError> {
        let mailbox = self.0.mailboxes.open(account).await?;
        mailbox.store_flags(folder, &[uid], &FlagChange::Add(flags)).await.map(|_| ())
    }

    async fn note_read(&self, account: &Account, letter: &Letter) {
        let message_id = letter.header.message_id.as_deref();
        timeline::read_on_page(&self.0, &account.address, message_id, letter.row.at).await;
    }

    async fn send(
        &self,
        account: &Account,
        ip: Option<IpAddr>,
        to: &Address,
        letter: &[u8],
    ) -> Result<(), Refusal> {
        let caller = Caller {
            ip,
            client_name: self.0.config.operator.hostname.as_str().to_owned(),
            protocol: "HTTPS",
            tls: None,
            credentials: Credentials::Login(account.clone()),
        };
        let accepted = accept::accept(Door::Portal, caller);
        let sent = hand_in(&self.0, &accepted, account, to, letter).await;
        if let Err(refusal) = sent {
            flow::refused(&self.0, &accepted, Some(to), refusal);
        }
        sent
    }

    async fn file_sent(
        &self,
        account: &Account,
        letter: Secret<Vec<u8>>,
    ) -> Result<(), MailboxError> {
        let mailbox = self.0.mailboxes.open(account).await?;
        let sent = mailbox
            .folders()
            .await?
            .into_iter()
            .find(|folder| folder.special_use == Some(SpecialUse::Sent))
            .ok_or(MailboxError::NoSuchFolder)?;
        let flags = Flags { seen: true, ..Flags::default() };
        // Whoever keeps their own key finds what they sent under it as well.
        let letter = gateway::for_owner(&self.0, account, letter).await?;
        let message = NewMessage { content: letter, flags, internal_date: None };
        mailbox.append(sent.id, message).await.map(|_| ())
    }

    async fn mailboxes(&self, wanted: &lives::Wanted) -> Result<lives::Found, String> {
        lives::find(&self.0, wanted).await
    }

    async fn life(&self, id: &MailboxId) -> Result<Option<(Seen, Vec<Record>)>, String> {
        lives::one(&self.0, id).await
    }

    async fn press(
        &self,
        id: &MailboxId,
        step: Step,
        reason: &str,
        administrator: &str,
    ) -> Result<Pressed, Undone> {
        lives::press(&self.0, id, step, reason, administrator).await
    }

    async fn factors_at(&self, id: &MailboxId) -> Result<Overview, Refusal> {
        self.0.factors.overview(id).await.map_err(unanswered)
    }

    async fn reset_factors(
        &self,
        id: &MailboxId,
        reason: &str,
        administrator: &str,
    ) -> Result<Pressed, Undone> {
        lives::reset_factors(&self.0, id, reason, administrator).await
    }

    async fn petitions(&self) -> Result<Vec<Waiting>, String> {
        lives::waiting(&self.0).await
    }

    async fn reply(
        &self,
        id: &uuid::Uuid,
        is_approved: bool,
        reason: &str,
        administrator: &str,
    ) -> Result<(), Undone> {
        lives::reply(&self.0, id, is_approved, reason, administrator).await
    }

    async fn statistics(&self, from: Day, to: Day) -> Result<Vec<StatRow>, StoreError> {
        self.0.ledger.statistics(from, to).await
    }

    async fn state(&self, house: &House) -> RelayState {
        let list = self.0.trust.list();
        let mut certificates = [None; 2];
        for (end, file) in certificates.iter_mut().zip(&house.certificates) {
            *end = certificate_end(file).await;
        }
        RelayState {
            queue: self.0.metrics.queue(),
            trust: (list.generated, list.domains.len()),
            certificates,
            sessions: self.0.metrics.open_sessions(),
            directory: directory_state(&self.0).await,
            logins: self.0.metrics.recent_logins(self.0.clock.now()),
        }
    }
}

async fn directory_state(office: &Office) -> Option<DirectoryState> {
    let standing = match directory::standing(office).await {
        Ok(standing) => standing,
        Err(error) => {
            tracing::warn!(%error, "the dashboard cannot show the copy of the directory");
            return None;
        }
    };
    let drift = match directory::drift::count(office).await {
        Ok(count) => Some(count),
        Err(error) => {
            tracing::warn!(%error, "the dashboard cannot compare with the directory");
            None
        }
    };
    let mailboxes = standing.mailboxes.as_ref();
    Some(DirectoryState {
        mailboxes: mailboxes.map(|copy| (copy.rows as u64, copy.addresses as u64)),
        age: standing.age,
        is_old: matches!(standing.level, Age::Warning | Age::Alarm),
        succeeded: standing.attempts.succeeded,
        tried: standing.attempts.tried,
        error: standing.attempts.error,
        drift,
    })
}

/// Walks a patient's letter through the stations, as any other letter.
async fn hand_in(
    office: &Arc<Office>,
    accepted: &Accepted,
    account: &Account,
    to: &Address,
    letter: &[u8],
) -> Result<(), Refusal> {
    // RFC 6531 §3.2: an address beyond ASCII, and then header fields beyond ASCII.
    let smtputf8 = to.needs_smtputf8() || account.address.needs_smtputf8();
    let parameters = MailParameters {
        size: u64::try_from(letter.len()).ok(),
        eight_bit: smtputf8,
        smtputf8,
        ..MailParameters::default()
    };
    let reverse_path = ReversePath::Address(account.address.clone());
    let recipient = Recipient { address: to.clone(), parameters: RcptParameters::default() };

    let authenticated = flow::sender(office, accepted.clone(), reverse_path, parameters).await?;
    let approved = flow::recipient(office, &authenticated, recipient).await?;
    let mut sealing = flow::begin(office, authenticated, vec![approved]).await?;
    for octets in letter.chunks(HANDED_IN_AT_ONCE) {
        sealing.write(octets)?;
    }
    // A browser that leaves ends this request, but not what it has handed in: whoever commits a
    // letter must also ring for it.
    let at = Arc::clone(office);
    let finished = tokio::spawn(async move { flow::finish(&at, sealing).await }).await;
    let queued = finished.map_err(|_| Refusal::StoreFailed)??;
    tracing::info!(letter = %queued.queue_id(), "a patient's answer was taken in");
    Ok(())
}

/// Octets handed to the seal at once.
const HANDED_IN_AT_ONCE: usize = 65_536;

/// Opens the mailbox and finds the letter's row.
async fn find(
    office: &Office,
    account: &Account,
    folder: FolderId,
    uid: Uid,
) -> Result<(OpenMailbox, Entry), MailboxError> {
    let mailbox = office.mailboxes.open(account).await?;
    let entry = mailbox.entry(folder, uid).await?.ok_or(MailboxError::NoSuchMessage)?;
    // Its content is opened next: one entry of the ledger tells of both.
    Ok((mailbox.read_by_owner("portal", "read"), entry))
}

async fn reserve(office: &Office, octets: u64) -> Result<Option<ClearPermit>, MailboxError> {
    office.reading_memory.reserve(octets).await.map(Some).map_err(MailboxError::Temporary)
}

/// The last `wanted` rows with a UID up to `last`, newest first.
///
/// Rows are read in ascending order, so we look at windows from the end, each twice as wide as
/// the one before: a folder of which most was expunged still needs few reads.
async fn newest_entries(
    mailbox: &OpenMailbox,
    last: u32,
    wanted: usize,
) -> Result<Vec<Entry>, MailboxError> {
    let mut found: Vec<Entry> = Vec::new();
    let mut end = last;
    let mut width = u32::try_from(wanted).unwrap_or(u32::MAX);
    while end > 0 && found.len() < wanted {
        let start = end.saturating_sub(width.saturating_sub(1)).max(1);
        let mut window = entries_between(mailbox, start, end).await?;
        window.reverse();
        found.append(&mut window);
        end = start - 1;
        width = width.saturating_mul(2);
    }
    found.truncate(wanted);
    Ok(found)
}

/// All rows of a window, page by page.
async fn entries_between(
    mailbox: &OpenMailbox,
    start: u32,
    end: u32,
) -> Result<Vec<Entry>, MailboxError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = start;
    while next <= end {
        let page = mailbox.entries(FolderId::INBOX, next..=end, limits::SCAN_ROWS_MAX).await?;
        let full = page.len() == limits::SCAN_ROWS_MAX;
        next = page.last().map_or(end, |entry| entry.uid.0).saturating_add(1);
        entries.extend(page);
        if !full {
            break;
        }
    }
    Ok(entries)
}

fn row(entry: &Entry, summary: &Summary) -> Row {
    Row {
        uid: entry.uid,
        at: entry.internal_date,
        flags: entry.flags.clone(),
        from: summary.envelope.from.iter().find_map(correspondent),
        subject: summary.subject.clone(),
        attachments: summary.attachments,
    }
}

/// `None` for the marks of a group.
fn correspondent(field: &EnvelopeAddress) -> Option<Correspondent> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let (mailbox, host) = (field.mailbox.as_deref()?, field.host.as_deref()?);
    let shown = format!("{}@{}", text(mailbox), text(host));
    let name = field.name.as_deref().map(content::decoded_header).unwrap_or_default();
    Some(Correspondent { name, address: Address::parse(&shown).ok(), shown })
}

/// The letter up to its first empty line.
fn header_section(letter: &[u8]) -> &[u8] {
    let end = letter.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(letter, |end| &letter[..end + 2])
}

/// When the first certificate of a PEM file ends.
async fn certificate_end(file: &Path) -> Option<Timestamp> {
    let text = tokio::fs::read(file).await.ok()?;
    let pem = Pem::iter_from_buffer(&text).find_map(Result::ok)?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some(Timestamp::from_seconds(u64::try_from(end).ok()?))
}

impl OfficeDesk {
    /// The desk of this office.
    pub fn new(office: Arc<Office>) -> Self {
        let party = match office.config.login.second_factor {
            SecondFactor::Off => None,
            SecondFactor::Optional | SecondFactor::Required => {
                let party = Party::new(&office.config.operator.name, &public_url(&office));
                party.inspect_err(|reason| tracing::warn!(reason, "passkeys are not offered")).ok()
            }
        };
        Self(office, party)
    }

    fn party(&self) -> Result<&Party, Refusal> {
        self.1.as_ref().ok_or(Refusal::DependencyFailed)
    }

    /// The journal's line of what somebody did to what is their own.
    fn by_owner(&self, owner: Owner<'_>, action: &str, outcome: String) -> Batch {
        let (author, target) = match owner {
            Owner::Mailbox(account) => {
                // `Debug` masks what looks like a patient's number.
                let owner = format!("{:?}", account.address);
                (format!("{owner} (pages)"), owner)
            }
            Owner::Administrator(name) => (format!("{name} (dashboard)"), name.to_owned()),
        };
        let entry = journal::Entry {
            at: self.now(),
            author,
            action: action.to_owned(),
            target,
            reason: "by the owner".to_owned(),
            outcome,
        };
        let mut along = Batch::new();
        self.0.journal.ride(&entry, &mut along);
        along
    }
}

/// Where browsers find the pages, without a slash at its end.
fn public_url(office: &Office) -> String {
    let named = || format!("https://{}", office.config.operator.hostname.as_str());
    office.config.web.public_url.clone().unwrap_or_else(named)
}

fn whose(owner: Owner<'_>) -> Whose<'_> {
    match owner {
        Owner::Mailbox(account) => Whose::Mailbox(&account.id),
        Owner::Administrator(name) => Whose::Administrator(name),
    }
}

/// Nobody knows now, so nobody comes in.
fn unanswered(error: DirectoryError) -> Refusal {
    tracing::error!(%error, "what belongs to a login cannot be read or written");
    Refusal::DependencyFailed
}
