//! Attachments of large letters: decoded while the browser takes them.
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::envelope::BlobId;
use crate::domain::secret::Secret;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::flow::reading;
use crate::flow::reading::Decoding;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;
use crate::proto::mime::content;
use crate::proto::mime::summary::Summary;
use crate::server::web::desk::CutShort;
use crate::server::web::desk::Download;
use crate::server::web::desk::DownloadBody;

/// One attachment, piece by piece; `None` when it has to be looked for in the whole letter.
pub(super) async fn in_pieces(
    office: &Arc<Office>,
    mailbox: &OpenMailbox,
    entry: &Entry,
    summary: &Summary,
    index: usize,
) -> Result<Option<Download>, MailboxError> {
    let place = content::place_of_attachment(&summary.structure, index);
    let Some((attachment, part)) = place.filter(|_| !summary.over_budget) else { return Ok(None) };
    let is_base64 = match part.encoding.as_str() {
        "base64" => true,
        "quoted-printable" => return Ok(None),
        _ => false,
    };
    let sealed = mailbox.sealed(entry).await?;
    let mut letter = Reading::begin(sealed, &office.reading_memory, Need::Stretches).await?;
    let stretch = part.body_start..part.body_end;
    let is_within = stretch.start <= stretch.end && stretch.end <= letter.octets();
    if letter.whole().is_some() || !is_within {
        return Ok(None);
    }
    // Once to know how long it is, and that all of it is good.
    let (mut octets, mut measuring) = (0, Decoding::new(stretch.clone(), is_base64));
    while let Some(piece) = measuring.next(&mut letter).await? {
        octets += piece.len() as u64;
    }
    let (pieces, taken) = mpsc::channel(1);
    let sending = Decoding::new(stretch, is_base64);
    // It ends when the browser is gone: then nobody takes the pieces.
    tokio::spawn(send(Arc::clone(office), entry.blob, letter, sending, pieces));
    Ok(Some(Download { attachment, body: DownloadBody::Pieces(octets, taken) }))
}

async fn send(
    office: Arc<Office>,
    blob: BlobId,
    mut letter: Reading,
    mut decoding: Decoding,
    pieces: mpsc::Sender<Result<Secret<Vec<u8>>, CutShort>>,
) {
    loop {
        let piece = match decoding.next(&mut letter).await {
            Ok(None) => return,
            Ok(Some(octets)) => Ok(Secret::new(octets.to_vec())),
            Err(error) => {
                reading::cut_short(&office, "https", blob, &error);
                Err(CutShort)
            }
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}
