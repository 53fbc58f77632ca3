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

use std::io::{self, BufWriter, IntoInnerError, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex};

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::stream::zio::Writer;

use crate::batch::Checked;
use crate::batch::index::{IndexLine, Mtime};
use crate::digest::{Digest, DigestingWriter, Hasher};
use crate::lack::{self, Lack, Unread};
use crate::limits::WINDOW_LOG;

/// Bytes of the two zero blocks that end a tar stream.
pub const END: u64 = 1024;

const BLOCK: u64 = 512;
const LEVEL: i32 = 3;
/// Input of one compression job. The bytes that come out depend on it, so it is part of what makes a batch
/// the same on any number of cores.
const JOB_BYTES: u32 = 16 << 20;
/// What passes from the decompressing thread at a time, and how many of these may wait.
const PIECE: usize = 256 << 10;
const PIECES_WAITING: usize = 8;
/// What is given to zstd at once: each call asks its workers for what they have ready, which costs more than a small
/// envelope. The bytes that come out do not depend on it.
const GATHERED_BYTES: usize = 16 << 10;

/// Bytes that an envelope of this size takes in the tar stream.
pub fn room(bytes: u64) -> u64 {
    BLOCK + bytes.div_ceil(BLOCK) * BLOCK
}

/// The 512 bytes before an envelope, as tar's `Header::new_ustar` makes them.
pub fn header(ordinal: usize, bytes: u64, mtime: Mtime) -> [u8; 512] {
    // What all headers have in common is made once, and the rest is filled in here: made by tar from the beginning, a
    // header takes as long as digesting a small envelope.
    static COMMON: LazyLock<[u8; 512]> = LazyLock::new(|| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        // The sum is taken over blanks in its own place.
        header.as_old_mut().cksum = [b' '; 8];
        *header.as_bytes()
    });
    let mut header = *COMMON;
    let name = format!("{ordinal:08}.json");
    header[..name.len()].copy_from_slice(name.as_bytes());
    put_octal(&mut header[124..136], bytes);
    put_octal(&mut header[136..148], mtime.seconds().clamp(0, 8i64.pow(11) - 1) as u64);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    put_octal(&mut header[148..156], sum);
    header
}

/// Fills a field with octal digits and a NUL behind them.
fn put_octal(field: &mut [u8], mut number: u64) {
    let Some((end, digits)) = field.split_last_mut() else { return };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 8) as u8;
        number /= 8;
    }
}

/// Compressors, to be used again: a new one touches some 150 MiB of fresh memory first.
#[derive(Clone)]
pub struct Compressors {
    workers: u32,
    spare: Arc<Mutex<Vec<Encoder<'static>>>>,
}

impl Compressors {
    /// None yet; each will have so many workers, which changes its speed and not its bytes.
    pub fn new(workers: u32) -> Self {
        Self { workers: workers.max(1), spare: Arc::default() }
    }

    /// A writer of one frame in the form of the format.
    ///
    /// # Errors
    /// [`Lack`]: zstd has no memory, or no thread for its workers.
    pub fn frame<W: Write>(&self, inner: W) -> Result<FrameWriter<W>, Lack> {
        let spare = self.spare.lock().expect("no thread panics with it").pop();
        let encoder = match spare {
            Some(mut encoder) => encoder.reinit().map(|()| encoder).map_err(|_| Lack::Memory)?,
            None => new_encoder(self.workers).or_else(|_| new_encoder(1)).map_err(|_| memory_or_threads())?,
        };
        let writer = BufWriter::with_capacity(GATHERED_BYTES, Writer::new(inner, encoder));
        Ok(FrameWriter { writer, home: self.clone() })
    }
}

/// An encoder that has its workers and their memory.
fn new_encoder(workers: u32) -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(LEVEL)?;
    for parameter in [
        CParameter::ChecksumFlag(true),
        CParameter::DictIdFlag(false),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::EnableLongDistanceMatching(true),
        CParameter::NbWorkers(workers),
        // Measured on OpenCTI envelopes: two thirds of the time of the defaults, and fewer bytes.
        CParameter::MinMatch(7),
        CParameter::JobSize(JOB_BYTES),
        CParameter::LdmMinMatch(96),
        CParameter::LdmHashLog(20),
        CParameter::LdmHashRateLog(6),
        CParameter::LdmBucketSizeLog(1),
    ] {
        encoder.set_parameter(parameter)?;
    }
    // zstd makes its workers with the first byte. One that is forgotten again shows what is lacking before anything is
    // written; what was made stays.
    encoder.run(&mut InBuffer::around(&[0]), &mut OutBuffer::around(&mut [0u8; 1][..]))?;
    encoder.reinit()?;
    Ok(encoder)
}

/// zstd says "not enough memory" also where it gets no thread. Nothing else can be wrong with a frame that has not begun.
fn memory_or_threads() -> Lack {
    lack::threads(1).err().unwrap_or(Lack::Memory)
}

/// One zstd frame that is being written.
pub struct FrameWriter<W: Write> {
    writer: BufWriter<Writer<W, Encoder<'static>>>,
    home: Compressors,
}

impl<W: Write> FrameWriter<W> {
    /// Ends the frame.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn finish(self) -> io::Result<W> {
        let mut writer = self.writer.into_inner().map_err(IntoInnerError::into_error)?;
        writer.finish()?;
        let (inner, encoder) = writer.into_inner();
        self.home.spare.lock().expect("no thread panics with it").push(encoder);
        Ok(inner)
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush inside a frame would change its bytes.
        Ok(())
    }
}

/// Opens one frame; larger windows than the format's are refused, a second frame is not read.
///
/// # Errors
/// [`Lack::Memory`]: nothing has been read yet, so nothing else can be wrong.
pub fn frame_reader(packed: &[u8]) -> Result<zstd::Decoder<'static, &[u8]>, Lack> {
    let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| Lack::Memory)?;
    let mut decoder = decoder.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(|_| Lack::Memory)?;
    Ok(decoder)
}

/// Whether a frame has been read whole and nothing follows it.
///
/// # Errors
/// What zstd says of the frame's end.
pub fn at_end(decoder: &mut zstd::Decoder<'static, &[u8]>) -> io::Result<bool> {
    Ok(decoder.read(&mut [0; 1])? == 0 && decoder.get_ref().is_empty())
}

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
            Ok(_) => Source::Beside { pieces, back },
            Err(_) => Source::Here(Frame::new(packed, unpacked)?),
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
        Ok(Self { decoder: frame_reader(packed.bytes())?, left: unpacked })
    }

    /// Fills the piece with what comes next; it is empty at the end, which is the frame's end too.
    fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), Unread<VolumeFault>> {
        let bytes = self.left.min(PIECE as u64) as usize;
        lack::reserve(piece, bytes as u64)?;
        piece.resize(bytes, 0);
        self.decoder.read_exact(piece).map_err(frame)?;
        self.left -= bytes as u64;
        if bytes == 0 && !at_end(&mut self.decoder).map_err(frame)? {
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
enum Source<'a> {
    Beside { pieces: Receiver<Piece>, back: SyncSender<Vec<u8>> },
    Here(Frame<'a>),
}

struct TarStream<'a> {
    source: Source<'a>,
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
                Source::Here(frame) => frame.next(&mut self.piece)?,
                Source::Beside { pieces, back } => {
                    let next = pieces.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
                    let _ = back.try_send(std::mem::replace(&mut self.piece, next));
                }
            }
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }
}

fn frame(e: io::Error) -> Unread<VolumeFault> {
    match Lack::of(&e) {
        Some(lack) => Unread::Lack(lack),
        None => Unread::Fault(VolumeFault::Frame(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{BATCH_ENVELOPES_MAX, ENVELOPE_MAX};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn header_is_the_one_that_the_tar_crate_makes(
            ordinal in 1..=BATCH_ENVELOPES_MAX as usize,
            bytes in 0..=ENVELOPE_MAX,
            seconds in any::<i64>(),
        ) {
            let mtime = Mtime::new(seconds, 0);
            let mut expected = tar::Header::new_ustar();
            expected.set_path(format!("{ordinal:08}.json")).unwrap();
            expected.set_mode(0o644);
            expected.set_uid(0);
            expected.set_gid(0);
            expected.set_size(bytes);
            expected.set_mtime(mtime.seconds().clamp(0, 8i64.pow(11) - 1) as u64);
            expected.set_entry_type(tar::EntryType::Regular);
            expected.set_cksum();
            prop_assert_eq!(&header(ordinal, bytes, mtime), expected.as_bytes());
        }
    }
}
