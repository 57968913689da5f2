//! An end that nobody attempts: an administrator gave the letter up, or it is too old.
use crate::flow::deliver::Delivery;
use crate::flow::deliver::content;
use crate::flow::deliver::header_section;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::flow::route::Routed;

/// What was decided about the recipients of this hop, one outcome each, as a delivery: it is
/// settled and reported in the normal way. The report quotes the letter's header if it can be
/// read.
pub async fn without_attempt(office: &Office, routed: Routed, outcomes: Vec<Outcome>) -> Delivery {
    let header = match content(office, &routed).await {
        Ok((content, _room)) => {
            let letter = content.expose().as_slice();
            let skip = usize::try_from(routed.letter().return_path_octets).unwrap_or(0);
            header_section(letter.get(skip..).unwrap_or(letter)).to_vec()
        }
        Err(_) => Vec::new(),
    };
    let (contact, met, is_too_much) = Default::default();
    Delivery { routed, outcomes, contact, met, is_too_much, header }
}
