//! Letters with documents: what the relay tags, counts, and, where it is told to, says or
//! refuses. Their clear text is looked at where it is in memory anyhow, before it is wiped.
//!
//! No patient is exempt from "the document is about somebody else": everybody has an inbox
//! under an own number, children too, and nobody gets documents under another's.
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::document::DocumentTag;
use crate::domain::document::Finding;
use crate::domain::document::Findings;
use crate::domain::envelope::MssHeaders;
use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::identity::Ins;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::office::ClearPermit;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::proto::mime::header::HeaderView;
use crate::proto::mime::summary::Summary;
use crate::proto::xdm;
use crate::proto::xdm::Document;
use crate::proto::xdm::Marked;
use crate::proto::xdm::PatientNumber;
use crate::proto::xdm::Report;
use crate::proto::xdm::warning;
use crate::proto::xdm::warning::Warning;

/// What is known of a letter's documents.
#[derive(Debug)]
pub struct Documents {
    /// One tag for each code, at most `limits::DOCUMENT_FACTS_MAX`.
    tags: Vec<DocumentTag>,
    /// All findings, about the letter and about any document.
    findings: Findings,
    /// Which of the patient recipients the documents are not about, from 1.
    strangers: Vec<usize>,
    /// Patient recipients.
    patients: usize,
}

/// What must be known of a letter before its content is looked at.
pub struct Inspection {
    office: Arc<Office>,
    /// Matricules of the patient recipients.
    patients: Vec<Ins>,
    mss: MssHeaders,
}

/// A letter with documents, not opened yet.
pub struct Recognised {
    inspection: Inspection,
    marked: Marked,
}

impl Inspection {
    /// `None` when the configuration wants no letter looked at.
    pub fn new<'a>(
        office: &Arc<Office>,
        recipients: impl Iterator<Item = &'a Address>,
        header: &HeaderView,
    ) -> Option<Self> {
        if !office.config.documents.inspect {
            return None;
        }
        let patients = recipients.filter(|to| office.is_patient_domain(to.domain()));
        // Automatic mailboxes in patient domains have names; nobody's documents go there.
        let patients = patients.filter_map(|to| Ins::parse(to.local_part()).ok()).collect();
        Some(Self { office: Arc::clone(office), patients, mss: header.mss.clone() })
    }

    /// Whether it is a letter with documents. Any other letter costs no more than this.
    pub fn recognise(self, summary: &Summary) -> Option<Recognised> {
        let marked = xdm::recognise(summary, &self.mss)?;
        Some(Recognised { inspection: self, marked })
    }
}

impl Recognised {
    /// Opens the archives, on a thread of their own: a small one may unpack to much. The clear
    /// text ends here. Nothing that is wrong with it is an error.
    pub async fn inspect(
        self,
        clear: Zeroizing<Vec<u8>>,
        mut room: ClearPermit,
    ) -> Result<(Option<Documents>, ClearPermit), Refusal> {
        let memory = self.inspection.office.clear_memory.clone();
        let (patients, wanted) = self.patients_and_wish();
        let work = move || {
            let documents = self.open(&clear, &mut room);
            (documents, room)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((documents, room)) => Ok((Some(documents), room)),
            // A mistake of ours must not keep the letter from its reader.
            Err(_) => {
                tracing::error!("looking at the documents of a letter broke off");
                let documents = (!wanted).then(|| Documents::not_inspected(patients));
                let documents = documents.ok_or(Refusal::DependencyFailed)?;
                Ok((Some(documents), memory.reserve(0).await?))
            }
        }
    }

    fn patients_and_wish(&self) -> (usize, bool) {
        let patients = self.inspection.patients.len();
        (patients, patients > 0 && self.inspection.office.config.documents.refuse_mismatch)
    }

    fn open(&self, letter: &[u8], room: &mut ClearPermit) -> Documents {
        let Inspection { office, patients, mss } = &self.inspection;
        let mut report = Report::default();
        let mut octets_left = limits::ARCHIVE_OCTETS_MAX;
        for part in &self.marked.archives {
            let body = part.body_end.saturating_sub(part.body_start);
            if office.clear_memory.grow(room, body).is_err() {
                report.findings.add(Finding::NotInspected);
                continue;
            }
            let octets = xdm::octets(letter, part);
            let opened = xdm::open(&octets);
            if office.clear_memory.grow(room, opened.room()).is_err() {
                report.findings.add(Finding::NotInspected);
                continue;
            }
            report.merge(opened.inspect(mss, &mut octets_left));
        }
        if self.marked.archives.is_empty() && self.marked.promises {
            report = Report::without_archive();
        }
        report.conclude(mss);
        Documents::new(office, patients, report)
    }
}

impl Documents {
    fn new(office: &Office, patients: &[Ins], mut report: Report) -> Self {
        let places = patients.iter().enumerate();
        let strangers: Vec<usize> = places
            .filter(|(_, patient)| report.is_about_somebody_else(patient))
            .map(|(place, _)| place + 1)
            .collect();
        report.findings.add_if(!strangers.is_empty(), Finding::RecipientDiffers);
        let tags = tags(office, &report);
        let findings = tags.iter().fold(Findings::NONE, |mut all, tag| {
            all.merge(tag.findings);
            all
        });
        Self { tags, findings, strangers, patients: patients.len() }
    }

    fn not_inspected(patients: usize) -> Self {
        let mut findings = Findings::NONE;
        findings.add(Finding::NotInspected);
        let tag = DocumentTag { findings, ..DocumentTag::unknown() };
        Self { tags: vec![tag], findings, strangers: Vec::new(), patients }
    }

    /// What was found, about the letter and about any of its documents.
    pub fn findings(&self) -> Findings {
        self.findings
    }

    /// One tag for each code.
    pub fn tags(&self) -> &[DocumentTag] {
        &self.tags
    }
}

/// One tag for each code; the first one also has what was found about the whole letter.
fn tags(office: &Office, report: &Report) -> Vec<DocumentTag> {
    let mut tags: Vec<DocumentTag> = Vec::new();
    let mut left_out = Findings::NONE;
    for document in &report.documents {
        if let Some(tag) = tags.iter_mut().find(|tag| tag.code == document.code) {
            // Of several documents the least certain one counts.
            tag.ins = tag.ins.max(document.ins);
            tag.findings.merge(document.findings);
        } else if tags.len() < limits::DOCUMENT_FACTS_MAX {
            tags.push(tag(office, document));
        } else {
            left_out.merge(document.findings);
            left_out.add(Finding::TooLarge);
        }
    }
    if tags.is_empty() {
        tags.push(DocumentTag::unknown());
    }
    if let Some(first) = tags.first_mut() {
        first.findings.merge(report.findings);
        first.findings.merge(left_out);
    }
    tags
}

fn tag(office: &Office, document: &Document) -> DocumentTag {
    let patient = document.patients.first().and_then(|patient| pseudonym(office, patient));
    let (code, format) = (document.code, document.format);
    DocumentTag { code, format, ins: document.ins, findings: document.findings, patient }
}

/// A keyed digest of a matricule: counts patients without naming one. It has a domain of its
/// own, so that it is not the one under which the patient's inbox is found.
fn pseudonym(office: &Office, patient: &PatientNumber) -> Option<[u8; 16]> {
    let name = Zeroizing::new(format!("{}@documents.invalid", patient.expose()));
    let address = Address::parse(&name).ok()?;
    office.keys.address_key(&address).first_chunk().copied()
}

/// Refuses a letter whose document is about another patient than its recipient, where the
/// configuration asks for that. Everything else passes.
pub fn judge(office: &Office, documents: Option<&Documents>) -> Result<(), Refusal> {
    let Some(documents) = documents else { return Ok(()) };
    if !documents.findings.is_empty() {
        // Names of findings only: which letter it is, a later line tells.
        tracing::info!(findings = ?documents.findings, "documents were tagged");
    }
    if !office.config.documents.refuse_mismatch {
        return Ok(());
    }
    if !documents.strangers.is_empty() {
        return Err(Refusal::DocumentPatientDiffers);
    }
    // Whoever wants such letters refused wants none that nobody could look at.
    let unseen = documents.patients > 0 && documents.findings.has(Finding::NotInspected);
    if unseen { Err(Refusal::Busy) } else { Ok(()) }
}

/// The facts about a letter's documents, like its own fact but for what happened.
pub fn facts(documents: Option<&Documents>, letter: Option<&Fact>) -> Vec<Fact> {
    let tags = documents.map_or(&[][..], |documents| &documents.tags);
    let fact =
        |letter: &Fact, tag: &DocumentTag| Fact { event: Event::Document(*tag), ..letter.clone() };
    tags.iter().filter_map(|tag| letter.map(|letter| fact(letter, tag))).collect()
}

/// The letter that warns a sender here, and to whom it goes. Patients, automatic letters and
/// other operators' senders are not warned: their letters are nobody's here to mend.
pub fn warning(
    office: &Office,
    documents: Option<&Documents>,
    account: Option<&Account>,
    header: &HeaderView,
) -> Option<(Address, Vec<u8>)> {
    let documents = documents.filter(|documents| !documents.strangers.is_empty())?;
    let account = account.filter(|account| account.kind != MailboxKind::Citizen)?;
    if !office.config.documents.warn_sender || header.automatic {
        return None;
    }
    let hostname = &office.config.operator.hostname;
    let from = Address::parse(&format!("postmaster@{hostname}")).ok()?;
    let content = warning::write(&Warning {
        from: &from,
        to: &account.address,
        message_id: &format!("{}@{hostname}", uuid::Uuid::now_v7().simple()),
        now: office.clock.now(),
        about: header.message_id.as_deref(),
        places: &documents.strangers,
        patients: documents.patients,
    });
    Some((account.address.clone(), content))
}
