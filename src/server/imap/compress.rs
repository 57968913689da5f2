//! A connection's octets, compressed or not (RFC 4978).
//!
//! Compression shows in its lengths what stands beside what; so it is off unless the operator
//! asks for it, and each flush ends what the window can be compared with on the wire.
use std::io;

use bytes::BytesMut;
use flate2::Compress;
use flate2::Compression;
use flate2::Decompress;
use flate2::FlushCompress;
use flate2::FlushDecompress;
use flate2::Status;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use zeroize::Zeroize;

use crate::server::imap::line::Stream;

/// Octets that leave the inflater or the deflater at once.
const PIECE_OCTETS: usize = 16_384;
/// Compressed octets that are asked for at once.
const INPUT_OCTETS: usize = 4_096;

/// A stream.
pub(super) struct Wire<S> {
    stream: S,
    deflate: Option<Box<Deflate>>,
}

/// Both directions; about 300 KiB, so only who asks for it pays.
struct Deflate {
    inflater: Decompress,
    deflater: Compress,
    /// Compressed octets that are not inflated yet.
    input: BytesMut,
    /// True while the inflater may hold more than it gave.
    has_more: bool,
}

impl<S: Stream> Wire<S> {
    /// A stream in clear.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, deflate: None }
    }

    /// Compresses from now on; `behind` was read already. False when it does so already.
    pub(super) fn compress(&mut self, behind: &[u8]) -> bool {
        if self.deflate.is_some() {
            return false;
        }
        // RFC 4978 §3: raw DEFLATE (RFC 1951), without the header of zlib.
        self.deflate = Some(Box::new(Deflate {
            inflater: Decompress::new(false),
            deflater: Compress::new(Compression::fast(), false),
            input: BytesMut::from(behind),
            has_more: false,
        }));
        true
    }

    /// True when it is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// The stream below.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Reads some octets behind those in `into`; 0 at the end. Nothing is lost when it is dropped.
    pub(super) async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let Some(deflate) = &mut self.deflate else { return self.stream.read_buf(into).await };
        loop {
            let inflated = deflate.inflate(into)?;
            if inflated > 0 {
                return Ok(inflated);
            }
            deflate.input.reserve(INPUT_OCTETS);
            if self.stream.read_buf(&mut deflate.input).await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Writes all octets.
    pub(super) async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(deflate) = &mut self.deflate else { return self.stream.write_all(octets).await };
        let mut rest = octets;
        while !rest.is_empty() {
            let mut piece = Vec::with_capacity(PIECE_OCTETS);
            let before = deflate.deflater.total_in();
            deflate.deflater.compress_vec(rest, &mut piece, FlushCompress::None)?;
            let taken = usize::try_from(deflate.deflater.total_in() - before).unwrap_or(0);
            rest = &rest[taken..];
            self.stream.write_all(&piece).await?;
        }
        Ok(())
    }

    /// Sends what is gathered below.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if let Some(deflate) = &mut self.deflate {
            loop {
                let mut piece = Vec::with_capacity(PIECE_OCTETS);
                deflate.deflater.compress_vec(&[], &mut piece, FlushCompress::Sync)?;
                self.stream.write_all(&piece).await?;
                if piece.len() < PIECE_OCTETS {
                    break;
                }
            }
        }
        self.stream.flush().await
    }

    /// Ends the stream.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

impl Deflate {
    /// Inflates one piece. The reader takes each piece before it asks for the next, so a few octets
    /// that stand for a million never become a million at once.
    fn inflate(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        if self.input.is_empty() && !self.has_more {
            return Ok(0);
        }
        let mut piece = Vec::with_capacity(PIECE_OCTETS);
        let before = self.inflater.total_in();
        let status = self
            .inflater
            .decompress_vec(&self.input, &mut piece, FlushDecompress::None)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let used = usize::try_from(self.inflater.total_in() - before).unwrap_or(0);
        let _ = self.input.split_to(used);
        self.has_more = piece.len() == PIECE_OCTETS;
        if status == Status::StreamEnd && piece.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        into.extend_from_slice(&piece);
        let inflated = piece.len();
        piece.zeroize();
        Ok(inflated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_end_writes_the_other_reads_whatever_its_size() {
        let (near, far) = tokio::io::duplex(1_000);
        let (mut near, mut far) = (Wire::new(near), Wire::new(far));
        assert!(near.compress(b"") && far.compress(b"") && !far.compress(b""));
        let mut text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        text.extend(vec![b'a'; 1_000_000]);
        let sent = text.clone();
        let writing = tokio::spawn(async move {
            near.write_all(b"first").await.unwrap();
            near.flush().await.unwrap();
            near.write_all(&sent).await.unwrap();
            near.flush().await.unwrap();
            near.shutdown().await.unwrap();
        });
        let mut read = BytesMut::new();
        while far.read(&mut read).await.unwrap() > 0 {}
        assert_eq!(&read[..5], b"first");
        assert!(read[5..] == text[..]);
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_bomb_comes_out_piece_by_piece_and_rubbish_is_an_error() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut near, mut far) = (Wire::new(near), Wire::new(far));
        near.compress(b"");
        far.compress(b"");
        near.write_all(&vec![b'a'; 4_000_000]).await.unwrap();
        near.flush().await.unwrap();
        let mut read = BytesMut::new();
        let octets = far.read(&mut read).await.unwrap();
        assert!(octets <= PIECE_OCTETS, "{octets}");
        let (mut near, far) = tokio::io::duplex(100);
        let mut far = Wire::new(far);
        far.compress(b"");
        near.write_all(&[0xff; 50]).await.unwrap();
        assert!(far.read(&mut read).await.is_err());
    }
}
