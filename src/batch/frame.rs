//! One zstd frame in the form of the format, written and read.

use std::io::{self, BufWriter, IntoInnerError, Read, Write};
use std::sync::{Arc, Mutex};

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::stream::zio::Writer;

use crate::lack::{self, Lack};
use crate::limits::WINDOW_LOG;
use crate::lock::lock;

const LEVEL: i32 = 3;
/// Input of one compression job. The bytes that come out depend on it, so it is part of what makes a batch
/// the same on any number of cores.
const JOB_BYTES: u32 = 16 << 20;
/// What is given to zstd at once: each call asks its workers for what they have ready, which costs more than a small
/// envelope. The bytes that come out do not depend on it.
const GATHERED_BYTES: usize = 16 << 10;

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
        let spare = lock(&self.spare).pop();
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
        lock(&self.home.spare).push(encoder);
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
pub fn reader(packed: &[u8]) -> Result<zstd::Decoder<'static, &[u8]>, Lack> {
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
