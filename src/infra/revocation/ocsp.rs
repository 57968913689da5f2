//! One question to an OCSP responder, and its answer verified (RFC 6960).
//!
//! No nonce is sent: the responders of large authorities sign in advance and leave it out
//! (RFC 5019 §4), so a client that insists gets no answer, and one that does not gains nothing.
//! An answer replayed by somebody on the way ends with its `nextUpdate`; one without that field
//! counts for the configured refresh time only.
use crate::domain::limits::REVOCATION_SKEW;
use crate::domain::time::Timestamp;
use crate::infra::revocation::card::Card;
use crate::infra::revocation::card::sha1;
use crate::infra::revocation::der;
use crate::infra::revocation::der::Reader;
use crate::infra::revocation::der::Signed;
use crate::infra::revocation::der::Value;
use crate::infra::revocation::der::Wrong;

/// 1.3.14.3.2.26, content.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// id-pkix-ocsp-basic, content.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// Certificates of an answer that are looked at for its signer.
const CERTIFICATES_MAX: usize = 8;
/// Single responses of an answer that are looked at for ours.
const RESPONSES_MAX: usize = 64;

/// What a responder said of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) says: Says,
    pub(super) made: Timestamp,
    /// `None`: newer information is always available (RFC 6960 §4.2.2.1).
    pub(super) ends: Option<Timestamp>,
}

/// The three answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Good,
    Revoked(Timestamp),
    Unknown,
}

/// The request for one certificate.
pub(super) fn request(card: &Card, issuer: &Card) -> Vec<u8> {
    let algorithm = der::write(der::SEQUENCE, &[&der::write(der::OID, &[SHA1]), &[0x05, 0x00]]);
    let id = der::write(
        der::SEQUENCE,
        &[
            &algorithm,
            &der::write(der::OCTET_STRING, &[&issuer.subject_sha1]),
            &der::write(der::OCTET_STRING, &[&issuer.key_sha1]),
            &der::write(der::INTEGER, &[&card.raw_serial]),
        ],
    );
    let request = der::write(der::SEQUENCE, &[&id]);
    let list = der::write(der::SEQUENCE, &[&request]);
    let body = der::write(der::SEQUENCE, &[&list]);
    der::write(der::SEQUENCE, &[&body])
}

/// True when octets that are no answer say something of the responder and not of one
/// certificate: an internal error, "try later", a page.
pub(super) fn is_about_the_responder(octets: &[u8]) -> bool {
    matches!(octets, [der::SEQUENCE, 3, der::ENUMERATED, 1, 2 | 3])
        || octets.trim_ascii_start().first() == Some(&b'<')
}

/// Verifies an answer. `revoked` knows which certificates of the same issuer are revoked by a
/// list that is in hand: such a delegate signs nothing.
pub(super) fn verified(
    octets: &[u8],
    card: &Card,
    issuer: &Card,
    now: Timestamp,
    revoked: &dyn Fn(&Card) -> bool,
) -> Result<Answer, Wrong> {
    let mut outside = Reader::new(octets);
    let response = outside.expect(der::SEQUENCE, "the OCSP answer").map_err(|wrong| {
        let page = octets.trim_ascii_start().first() == Some(&b'<');
        if page { "a page instead of an OCSP answer".to_owned() } else { wrong }
    })?;
    outside.finish("the OCSP answer")?;
    let mut inside = response.reader();
    let status = inside.expect(der::ENUMERATED, "the OCSP status")?;
    match status.content {
        [0] => {}
        [1] => return Err("the responder cannot read the question".to_owned()),
        [2] => return Err("the responder has an internal error".to_owned()),
        [3] => return Err("the responder asks to try later".to_owned()),
        [5] => return Err("the responder wants a signed question".to_owned()),
        [6] => return Err("the responder does not answer for this certificate".to_owned()),
        _ => return Err("an OCSP status that is not known".to_owned()),
    }
    let bytes = inside.expect(der::nested(0), "the OCSP answer's content")?;
    let mut bytes = bytes.only(der::SEQUENCE, "the OCSP answer's content")?.reader();
    if bytes.expect(der::OID, "the kind of answer")?.content != BASIC {
        return Err("a kind of OCSP answer that is not known".to_owned());
    }
    let basic = bytes.expect(der::OCTET_STRING, "the OCSP answer's content")?;
    let mut basic = basic.only(der::SEQUENCE, "the basic OCSP answer")?.reader();
    let signed = Signed::read(&mut basic)?;
    let certificates = basic.optional(der::nested(0))?;

    let mut data = signed.what.reader();
    if let Some(version) = data.optional(der::nested(0))?
        && version.content != [der::INTEGER, 1, 0]
    {
        return Err("an OCSP version that is not known".to_owned());
    }
    let responder = data.next()?;
    let signer = signer(&responder, issuer, certificates, now, revoked)?;
    signed.verify(signer.as_ref().map_or(&issuer.key, |delegate| &delegate.key))?;
    data.expect(der::GENERALIZED_TIME, "producedAt")?;
    let responses = data.expect(der::SEQUENCE, "the responses")?;
    no_critical(&mut data, 1)?;
    let answer = ours(&responses, card, issuer)?;
    if answer.made > now.after(REVOCATION_SKEW) {
        return Err(format!("an OCSP answer of the future, {}", answer.made));
    }
    Ok(answer)
}

/// RFC 6960 §4.2.2.2: the issuer itself (`None`), or somebody whom it certified for just that.
fn signer(
    responder: &Value<'_>,
    issuer: &Card,
    certificates: Option<Value<'_>>,
    now: Timestamp,
    revoked: &dyn Fn(&Card) -> bool,
) -> Result<Option<Card>, Wrong> {
    if is_named(responder, issuer)? {
        return Ok(None);
    }
    let Some(certificates) = certificates else {
        return Err("an OCSP answer of somebody else, without a certificate".to_owned());
    };
    let mut list = certificates.only(der::SEQUENCE, "the responder's certificates")?.reader();
    let mut seen = 0;
    while !list.is_done() && seen < CERTIFICATES_MAX {
        seen += 1;
        let certificate = list.expect(der::SEQUENCE, "the responder's certificate")?;
        let Ok(card) = Card::read(certificate.whole) else { continue };
        if is_named(responder, &card)? {
            delegate(&certificate, &card, issuer, now)?;
            if revoked(&card) {
                return Err("the responder's certificate is revoked".to_owned());
            }
            return Ok(Some(card));
        }
    }
    Err("an OCSP answer of somebody whose certificate is not in it".to_owned())
}

/// True when a responder's name, or the SHA-1 of its key, is this certificate's.
fn is_named(responder: &Value<'_>, card: &Card) -> Result<bool, Wrong> {
    const BY_NAME: u8 = der::nested(1);
    const BY_KEY: u8 = der::nested(2);
    match responder.tag {
        BY_NAME => Ok(responder.content == card.subject),
        BY_KEY => {
            let hash = responder.only(der::OCTET_STRING, "the responder's key hash")?;
            Ok(hash.content == sha1(&card.key.bits))
        }
        _ => Err("a responder without a name".to_owned()),
    }
}

/// RFC 6960 §4.2.2.2: issued directly by the issuer, with id-kp-OCSPSigning, valid now.
///
/// Whether the delegate itself is revoked, nobody is asked over the network: with
/// id-pkix-ocsp-nocheck that is what its issuer wants, without it (§4.2.2.2.1) the choice is
/// ours, and asking a responder about a responder has no end.
fn delegate(
    certificate: &Value<'_>,
    card: &Card,
    issuer: &Card,
    now: Timestamp,
) -> Result<(), Wrong> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.whole)
        .map_err(|error| format!("the responder's certificate: {error}"))?;
    if card.issuer != issuer.subject {
        return Err("the responder's certificate is of another issuer".to_owned());
    }
    Signed::read(&mut certificate.reader())?
        .verify(&issuer.key)
        .map_err(|wrong| format!("the responder's certificate: {wrong}"))?;
    let purposes = parsed.extended_key_usage().ok().flatten();
    if !purposes.is_some_and(|purposes| purposes.value.ocsp_signing) {
        return Err("the responder's certificate is not for OCSP".to_owned());
    }
    let usage = parsed.key_usage().map_err(|_| "the responder's key usage cannot be read")?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err("the responder's certificate is not for signatures".to_owned());
    }
    let seconds = i64::try_from(now.as_seconds()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
        return Err("the responder's certificate is not valid now".to_owned());
    }
    Ok(())
}

/// The response about our certificate: all three parts of its identity must be ours.
fn ours(responses: &Value<'_>, card: &Card, issuer: &Card) -> Result<Answer, Wrong> {
    let mut list = responses.reader();
    let mut seen = 0;
    while !list.is_done() && seen < RESPONSES_MAX {
        seen += 1;
        let mut single = list.expect(der::SEQUENCE, "a response")?.reader();
        let mut id = single.expect(der::SEQUENCE, "a certificate's identity")?.reader();
        let algorithm = id.expect(der::SEQUENCE, "a hash algorithm")?;
        let name = id.expect(der::OCTET_STRING, "the issuer's name hash")?;
        let key = id.expect(der::OCTET_STRING, "the issuer's key hash")?;
        let serial = id.expect(der::INTEGER, "the serial number")?;
        let known = algorithm.reader().expect(der::OID, "a hash algorithm")?.content == SHA1;
        if known
            && name.content == issuer.subject_sha1
            && key.content == issuer.key_sha1
            && serial.number() == card.serial
        {
            return answer(&mut single);
        }
    }
    Err("an OCSP answer about other certificates".to_owned())
}

fn answer(single: &mut Reader<'_>) -> Result<Answer, Wrong> {
    const GOOD: u8 = der::plain(0);
    const REVOKED: u8 = der::nested(1);
    const UNKNOWN: u8 = der::plain(2);
    let status = single.next()?;
    let says = match status.tag {
        GOOD => Says::Good,
        REVOKED => {
            let since = status.reader().expect(der::GENERALIZED_TIME, "the revocation time")?;
            Says::Revoked(since.time("the revocation time")?)
        }
        UNKNOWN => Says::Unknown,
        _ => return Err("a certificate status that is not known".to_owned()),
    };
    let made = single.expect(der::GENERALIZED_TIME, "thisUpdate")?.time("thisUpdate")?;
    let ends = match single.optional(der::nested(0))? {
        Some(ends) => {
            let ends = ends.only(der::GENERALIZED_TIME, "nextUpdate")?;
            Some(ends.time("nextUpdate")?)
        }
        None => None,
    };
    no_critical(single, 1)?;
    Ok(Answer { says, made, ends })
}

/// Optional extensions under this number, none of which may be critical: nothing that we know
/// is (RFC 6960 §4.4). Nothing comes behind them.
fn no_critical(reader: &mut Reader<'_>, number: u8) -> Result<(), Wrong> {
    if let Some(list) = reader.optional(der::nested(number))? {
        let list = list.only(der::SEQUENCE, "the OCSP extensions")?;
        if der::extensions(&list, "an OCSP extension")?.iter().any(|one| one.critical) {
            return Err("a critical OCSP extension that is not known".to_owned());
        }
    }
    reader.finish("the OCSP extensions")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_question_is_what_the_standard_shows() {
        let card = Card::read(&certificate()).unwrap();
        let request = request(&card, &card);
        let mut outside = Reader::new(&request);
        let mut value = outside.next().unwrap();
        assert!(outside.is_done());
        // OCSPRequest, TBSRequest, requestList, Request, reqCert.
        for _ in 0..4 {
            assert_eq!(value.tag, der::SEQUENCE);
            value = value.only(der::SEQUENCE, "a level").unwrap();
        }
        let mut id = value.reader();
        id.expect(der::SEQUENCE, "SHA-1").unwrap();
        assert_eq!(id.next().unwrap().content, card.subject_sha1);
        assert_eq!(id.next().unwrap().content, card.key_sha1);
        assert_eq!(id.next().unwrap().content, card.raw_serial);
        assert!(id.is_done());
    }

    proptest! {
        #[test]
        fn arbitrary_octets_are_no_answer_and_no_panic(
            octets in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            static CARD: std::sync::LazyLock<Card> =
                std::sync::LazyLock::new(|| Card::read(&certificate()).unwrap());
            let now = Timestamp::from_seconds(1_795_300_000);
            prop_assert!(verified(&octets, &CARD, &CARD, now, &|_| false).is_err());
            // The same behind the outer layers, where random octets never get.
            let basic = der::write(der::OCTET_STRING, &[&der::write(der::SEQUENCE, &[&octets])]);
            let kind = der::write(der::OID, &[BASIC]);
            let bytes = der::write(der::SEQUENCE, &[&kind, &basic]);
            let bytes = der::write(der::nested(0), &[&bytes]);
            let whole = der::write(der::SEQUENCE, &[&[der::ENUMERATED, 1, 0], &bytes]);
            prop_assert!(verified(&whole, &CARD, &CARD, now, &|_| false).is_err());
            let list = der::write(der::SEQUENCE, &[&octets]);
            let responses = Reader::new(&list).next().unwrap();
            prop_assert!(ours(&responses, &CARD, &CARD).is_err());
            let _ = answer(&mut Reader::new(&octets));
            let _ = Card::read(&octets);
        }
    }
}
