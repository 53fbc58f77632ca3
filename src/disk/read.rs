//! Reads with a bound, and past the cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Advice, OFlags};

/// Opens a regular file, without following a link or waiting for the other end of a FIFO.
///
/// # Errors
/// It is something else; the system refused.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::empty())
}

#[expect(clippy::disallowed_methods, reason = "this is the helper, for a path")]
fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"))
}

/// Reads a file of at most `limit` bytes; reads one byte more to notice a longer one.
///
/// # Errors
/// The system refused.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact((file.metadata()?.len().min(limit) + 1) as usize)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read_bounded`], for files of the operator's own, which may be links (mounted secrets are).
///
/// # Errors
/// The system refused.
#[expect(clippy::disallowed_methods, reason = "what a person names may be a link or a pipe")]
pub fn read_bounded_following(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file past the page cache; `false` if the kernel could only be asked to drop the cached pages.
///
/// # Errors
/// The system refused.
pub fn read_past_cache(path: &Path, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    match open_with(path, OFlags::DIRECT) {
        Ok(file) => match read_aligned(file, limit) {
            Ok(bytes) => Ok((bytes, true)),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => read_uncached(path, limit),
            Err(e) => Err(e),
        },
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => read_uncached(path, limit),
        Err(e) => Err(e),
    }
}

fn read_uncached(path: &Path, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    let file = open_regular(path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes, false))
}

/// O_DIRECT needs memory, offsets and lengths that are multiples of the device's block.
fn read_aligned(mut file: File, limit: u64) -> io::Result<Vec<u8>> {
    const ALIGN: usize = 4096;
    const PIECE: usize = 1 << 20;
    let mut room = vec![0u8; PIECE + ALIGN];
    let start = room.as_ptr().align_offset(ALIGN);
    let piece = &mut room[start..start + PIECE];
    let mut bytes = Vec::new();
    bytes.try_reserve_exact((file.metadata()?.len().min(limit) + 1) as usize)?;
    loop {
        match file.read(piece) {
            Ok(0) => return Ok(bytes),
            Ok(n) => {
                bytes.try_reserve(n)?;
                bytes.extend_from_slice(&piece[..n]);
                if n % ALIGN != 0 || bytes.len() as u64 > limit {
                    return Ok(bytes);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
