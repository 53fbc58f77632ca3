//! A volume: plain ustar in one zstd frame.
//!
//! ```text
//! for each envelope:  header, 512 bytes, each of which follows from the index line
//!                     the envelope's bytes
//!                     zeros to the next multiple of 512
//! at the end:         1024 zeros, and nothing else
//! ```
//!
//! The reader makes the header that it expects and compares; it never takes a name, a size or a type from
//! the medium. Decompression runs in a thread of its own, beside digesting.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::batch::Checked;
use crate::batch::entry::{BLOCK, END, header, room};
use crate::batch::frame::{self, Compressors, FrameWriter};
use crate::batch::index::IndexLine;
use crate::digest::{Digest, DigestingWriter, Hasher};
use crate::lack::{self, Lack, Unread};
use crate::mtime::Mtime;

/// What passes from the decompressing thread at a time, and how many of these may wait.
const PIECE: usize = 256 << 10;
const PIECES_WAITING: usize = 8;

/// What a finished volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedVolume {
    /// Bytes on the shelf.
    pub bytes: u64,
    /// Digest on the shelf.
    pub sha256: Digest,
    /// Bytes of the tar stream.
    pub unpacked: u64,
    /// Envelopes.
    pub envelopes: u64,
}

/// A volume that is being written.
pub struct VolumeWriter<W: Write> {
    frame: FrameWriter<DigestingWriter<W>>,
    unpacked: u64,
    envelopes: u64,
}

impl<W: Write> VolumeWriter<W> {
    /// Begins a volume.
    ///
    /// # Errors
    /// As [`Compressors::frame`].
    pub fn new(inner: W, compressors: &Compressors) -> Result<Self, Lack> {
        Ok(Self { frame: compressors.frame(DigestingWriter::new(inner))?, unpacked: 0, envelopes: 0 })
    }

    /// Bytes of the tar stream, were it closed now.
    pub fn unpacked(&self) -> u64 {
        self.unpacked + END
    }

    /// Appends an envelope.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn append(&mut self, ordinal: usize, mtime: Mtime, envelope: &[u8]) -> io::Result<()> {
        let bytes = envelope.len() as u64;
        self.frame.write_all(&header(ordinal, bytes, mtime))?;
        self.frame.write_all(envelope)?;
        let padding = (room(bytes) - BLOCK - bytes) as usize;
        self.frame.write_all(&[0; 512][..padding])?;
        self.unpacked += room(bytes);
        self.envelopes += 1;
        Ok(())
    }

    /// Ends the volume.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn finish(mut self) -> io::Result<(W, FinishedVolume)> {
        self.frame.write_all(&[0; END as usize])?;
        let (inner, sha256, bytes) = self.frame.finish()?.finish();
        let finished = FinishedVolume { bytes, sha256, unpacked: self.unpacked + END, envelopes: self.envelopes };
        Ok((inner, finished))
    }
}

/// What is wrong with a volume whose digest holds: the signer's doing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeFault {
    /// No frame of the format.
    #[error("is no zstd frame of the format ({0})")]
    Frame(String),
    /// The header is not the one that follows from the index.
    #[error("the entry of envelope {0} is not the one that its index line asks for")]
    Entry(usize),
    /// The envelope does not match its digest in the index.
    #[error("envelope {0} does not match the digest in its index line")]
    Envelope(usize),
    /// Something other than zeros where zeros belong.
    #[error("bytes that are not zero pad envelope {0}")]
    Padding(usize),
    /// Something follows the last envelope but the two zero blocks.
    #[error("something else than two zero blocks follows the last envelope")]
    Tail,
}

/// What a reader of a volume gets: the pieces of each envelope, then word that its digest held.
pub trait EnvelopeTaker {
    /// A piece of the envelope that is being read; `whole` is its size.
    ///
    /// # Errors
    /// [`Lack::Memory`]: there is no room for it.
    fn piece(&mut self, piece: &[u8], whole: u64) -> Result<(), Lack>;
    /// The envelope with this ordinal is complete and has its digest. `false` stops the reading.
    fn complete(&mut self, ordinal: usize) -> bool;
}

/// Reads a volume against its index lines; `first` is the ordinal of the first one. Decompression runs in a thread of its
/// own where there is one to be had.
///
/// # Errors
/// [`VolumeFault`], after all that stood before the fault was handed over; or what the machine lacks.
pub fn read(
    packed: &Checked,
    lines: &[IndexLine],
    first: usize,
    taker: &mut impl EnvelopeTaker,
) -> Result<(), Unread<VolumeFault>> {
    let unpacked = lines.iter().map(|l| room(l.bytes)).sum::<u64>() + END;
    std::thread::scope(|scope| {
        let (full, pieces) = sync_channel(PIECES_WAITING);
        let (back, empty) = sync_channel(PIECES_WAITING + 2);
        let beside = lack::spawn_scoped(scope, move || decompress(packed, unpacked, &full, &empty));
        let source = match beside {
            Ok(_) => VolumeSource::Beside { pieces, back },
            Err(_) => VolumeSource::Here(Frame::new(packed, unpacked)?),
        };
        let mut tar = TarStream { source, piece: Vec::new(), at: 0 };
        for (ordinal, line) in (first..).zip(lines) {
            if !tar.envelope(ordinal, line, taker)? {
                return Ok(());
            }
        }
        tar.end()
    })
}

/// A frame that is being decompressed to the size that is declared, and no further.
struct Frame<'a> {
    decoder: zstd::Decoder<'static, &'a [u8]>,
    left: u64,
}

impl<'a> Frame<'a> {
    fn new(packed: &'a Checked, unpacked: u64) -> Result<Self, Lack> {
        Ok(Self { decoder: frame::reader(packed.bytes())?, left: unpacked })
    }

    /// Fills the piece with what comes next; it is empty at the end, which is the frame's end too.
    fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), Unread<VolumeFault>> {
        let bytes = self.left.min(PIECE as u64) as usize;
        lack::reserve(piece, bytes as u64)?;
        piece.resize(bytes, 0);
        self.decoder.read_exact(piece).map_err(broken)?;
        self.left -= bytes as u64;
        if bytes == 0 && !frame::at_end(&mut self.decoder).map_err(broken)? {
            return Err(Unread::Fault(VolumeFault::Frame("more bytes than the manifest says".to_owned())));
        }
        Ok(())
    }
}

type Piece = Result<Vec<u8>, Unread<VolumeFault>>;

/// Sends the frame's bytes piece by piece; an empty piece or an `Err` ends it.
fn decompress(packed: &Checked, unpacked: u64, full: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    let run = || -> Result<(), Unread<VolumeFault>> {
        let mut frame = Frame::new(packed, unpacked)?;
        loop {
            let mut piece = empty.try_recv().unwrap_or_default();
            frame.next(&mut piece)?;
            let is_last = piece.is_empty();
            if full.send(Ok(piece)).is_err() || is_last {
                return Ok(());
            }
        }
    };
    if let Err(fault) = run() {
        // Nobody hears it where the reading has stopped before.
        let _ = full.send(Err(fault));
    }
}

/// Where the pieces of a frame come from.
enum VolumeSource<'a> {
    Beside { pieces: Receiver<Piece>, back: SyncSender<Vec<u8>> },
    Here(Frame<'a>),
}

struct TarStream<'a> {
    source: VolumeSource<'a>,
    piece: Vec<u8>,
    at: usize,
}

impl TarStream<'_> {
    fn envelope(
        &mut self,
        ordinal: usize,
        line: &IndexLine,
        taker: &mut impl EnvelopeTaker,
    ) -> Result<bool, Unread<VolumeFault>> {
        let mut found = [0; 512];
        self.read_exact(&mut found)?;
        if found != header(ordinal, line.bytes, line.mtime) {
            return Err(Unread::Fault(VolumeFault::Entry(ordinal)));
        }
        let mut hasher = Hasher::new();
        let mut left = line.bytes as usize;
        while left > 0 {
            let available = self.available()?;
            let piece = &available[..available.len().min(left)];
            hasher.update(piece);
            taker.piece(piece, line.bytes)?;
            let taken = piece.len();
            left -= taken;
            self.at += taken;
        }
        if hasher.finish() != line.sha256 {
            return Err(Unread::Fault(VolumeFault::Envelope(ordinal)));
        }
        let mut padding = [0; 512];
        let padding = &mut padding[..(room(line.bytes) - BLOCK - line.bytes) as usize];
        self.read_exact(padding)?;
        if padding.iter().any(|b| *b != 0) {
            return Err(Unread::Fault(VolumeFault::Padding(ordinal)));
        }
        Ok(taker.complete(ordinal))
    }

    /// The two zero blocks, and then the frame's end.
    fn end(&mut self) -> Result<(), Unread<VolumeFault>> {
        let mut end = [1; END as usize];
        self.read_exact(&mut end)?;
        if end.iter().any(|b| *b != 0) || !self.more()?.is_empty() {
            return Err(Unread::Fault(VolumeFault::Tail));
        }
        Ok(())
    }

    fn read_exact(&mut self, out: &mut [u8]) -> Result<(), Unread<VolumeFault>> {
        let mut done = 0;
        while done < out.len() {
            let available = self.available()?;
            let n = available.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&available[..n]);
            self.at += n;
            done += n;
        }
        Ok(())
    }

    /// What comes next, which is something.
    fn available(&mut self) -> Result<&[u8], Unread<VolumeFault>> {
        match self.more()? {
            [] => Err(Unread::Fault(VolumeFault::Frame("it ends too early".to_owned()))),
            some => Ok(some),
        }
    }

    /// What comes next, or nothing at the end.
    fn more(&mut self) -> Result<&[u8], Unread<VolumeFault>> {
        if self.at == self.piece.len() {
            match &mut self.source {
                VolumeSource::Here(frame) => frame.next(&mut self.piece)?,
                VolumeSource::Beside { pieces, back } => {
                    let next = pieces.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
                    let _ = back.try_send(std::mem::replace(&mut self.piece, next));
                }
            }
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }
}

fn broken(e: io::Error) -> Unread<VolumeFault> {
    match Lack::of(&e) {
        Some(lack) => Unread::Lack(lack),
        None => Unread::Fault(VolumeFault::Frame(e.to_string())),
    }
}
