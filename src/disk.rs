//! Writing so that it stays written, and what a disk says of itself. The tools of all places.
//!
//! A file of ours is written as `<name>.partial`, synced, and renamed without overwriting; then its
//! directory is synced. Whoever sees a final name sees all of its bytes.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, CWD, OFlags, RenameFlags};

use crate::batch::name::partial;
use crate::error::{Error, Result};

/// A file that is being written. Dropped before it is placed, it is removed.
pub struct Partial {
    file: Option<File>,
    path: PathBuf,
    target: PathBuf,
}

impl Partial {
    /// Begins a file that will be `name` in `dir`; what an earlier try left under the partial name is replaced.
    ///
    /// # Errors
    /// The system refused.
    pub fn create(dir: &Path, name: &str) -> Result<Self> {
        Self::create_with_mode(dir, name, 0o666)
    }

    /// The same with permissions of its own from the first byte on, less the umask.
    ///
    /// # Errors
    /// The system refused.
    pub fn create_with_mode(dir: &Path, name: &str, mode: u32) -> Result<Self> {
        let path = dir.join(partial(name));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let create = || options.open(&path);
        let file = match create() {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                remove_file(&path).map_err(|e| Error::io("remove a partial file", &path, &e))?;
                create()
            }
            other => other,
        };
        let file = file.map_err(|e| Error::io("create a file", &path, &e))?;
        Ok(Self { file: Some(file), target: dir.join(name), path })
    }

    /// The file's content, durable, under its final name. The directory is not synced yet.
    ///
    /// # Errors
    /// The system refused, or something lies under that name already.
    pub fn place(mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(|e| Error::io("sync a file", &self.path, &e))?;
        }
        rename_new(&self.path, &self.target).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::failed("something lies under this name already; it was not overwritten").at(&self.target)
            }
            _ => Error::io("give a file its name", &self.target, &e),
        })?;
        self.path.clear();
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is placed"))
    }

    /// An error of writing, with its place.
    pub fn failed(&self, cause: &io::Error) -> Error {
        Error::io("write", &self.path, cause)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = remove_file(&self.path);
        }
    }
}

/// Writes a small file whole: partial, synced, renamed, its directory synced.
///
/// # Errors
/// The system refused, or something lies under that name already.
pub fn write_new(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut partial = Partial::create(dir, name)?;
    partial.write_all(bytes).map_err(|e| partial.failed(&e))?;
    partial.place()?;
    sync_dir(dir).map(|_| ())
}

/// As [`write_new`], readable by its owner only from the first byte on.
///
/// # Errors
/// The system refused, or something lies under that name already.
pub fn write_secret(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut partial = Partial::create_with_mode(dir, name, 0o600)?;
    partial.write_all(bytes).map_err(|e| partial.failed(&e))?;
    partial.place()?;
    sync_dir(dir).map(|_| ())
}

/// Writes a small file whole over whatever has this name.
///
/// # Errors
/// The system refused.
pub fn write_over(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut new = Partial::create(dir, name)?;
    new.write_all(bytes).map_err(|e| new.failed(&e))?;
    let target = new.target.clone();
    if let Some(file) = new.file.take() {
        file.sync_all().map_err(|e| Error::io("sync a file", &new.path, &e))?;
    }
    rename(&new.path, &target).map_err(|e| Error::io("give a file its name", &target, &e))?;
    new.path.clear();
    sync_dir(dir).map(|_| ())
}

/// The same, not durable until the file system is synced.
///
/// # Errors
/// The system refused.
pub fn write_over_unsynced(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut new = Partial::create(dir, name)?;
    new.write_all(bytes).map_err(|e| new.failed(&e))?;
    rename(&new.path, &new.target).map_err(|e| Error::io("give a file its name", &new.target, &e))?;
    new.path.clear();
    Ok(())
}

/// Renames without overwriting.
///
/// # Errors
/// `AlreadyExists` if something has the new name; else what the system says.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Ok(()) => Ok(()),
        // FAT through FUSE and some network file systems do not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            rename(from, to)
        }
        Err(e) => Err(e.into()),
    }
}

/// Renames over whatever has the new name.
///
/// # Errors
/// The system refused.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    uninterrupted(|| fs::rename(from, to))
}

/// Removes a file.
///
/// # Errors
/// The system refused.
pub fn remove_file(path: &Path) -> io::Result<()> {
    uninterrupted(|| fs::remove_file(path))
}

/// Asks again where a signal came between: std does so for what is in files, and not for their names. FUSE shows it.
///
/// # Errors
/// The system refused for another reason.
pub fn uninterrupted<T>(mut ask: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match ask() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Makes the names in a directory durable. `false` where the file system cannot promise that.
///
/// # Errors
/// The system refused for another reason than not knowing how.
pub fn sync_dir(dir: &Path) -> Result<bool> {
    let synced = File::open(dir).and_then(|d| d.sync_all());
    match synced {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(false),
        Err(e) => Err(Error::io("sync a directory", dir, &e)),
    }
}

/// Makes all of a file system durable that the directory lies on.
///
/// # Errors
/// The system refused.
pub fn sync_file_system(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| sync_all_of(&d)).map_err(|e| Error::io("sync the file system", dir, &e))
}

/// Writes all of the file system that an open file lies on to the device.
///
/// # Errors
/// The system refused, or a write that it had put off has failed since the file was opened or last asked.
pub fn sync_all_of(file: &File) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::syncfs(file))?)
}

/// Makes a directory that only its owner can enter; one that is there is left as it is.
///
/// # Errors
/// The system refused.
pub fn make_private_dir(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let made = uninterrupted(|| DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.map_err(|e| Error::io("make a directory", path, &e))?;
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok(true)
}

/// Bytes that may still be written.
///
/// # Errors
/// The system refused.
pub fn free_space(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("ask for free space", path, &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Reads a file of at most `limit` bytes; one more byte is read to see that it is longer.
///
/// # Errors
/// The system refused.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file =
        OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)?;
    let mut bytes = Vec::with_capacity((file.metadata()?.len().min(limit) + 1) as usize);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read_bounded`], for files of the operator's own, which may be links (mounted secrets are).
///
/// # Errors
/// The system refused.
pub fn read_bounded_following(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file past the page cache; `false` where only the cache could be asked to let go.
///
/// # Errors
/// The system refused.
pub fn read_past_cache(path: &Path, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    match OpenOptions::new().read(true).custom_flags((OFlags::DIRECT | OFlags::NOFOLLOW).bits() as i32).open(path) {
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
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes, false))
}

/// O_DIRECT wants memory, offsets and lengths that are multiples of the device's block.
fn read_aligned(mut file: File, limit: u64) -> io::Result<Vec<u8>> {
    const ALIGN: usize = 4096;
    const PIECE: usize = 1 << 20;
    let mut room = vec![0u8; PIECE + ALIGN];
    let start = room.as_ptr().align_offset(ALIGN);
    let piece = &mut room[start..start + PIECE];
    let mut bytes = Vec::with_capacity((file.metadata()?.len().min(limit) + 1) as usize);
    loop {
        match file.read(piece) {
            Ok(0) => return Ok(bytes),
            Ok(n) => {
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

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its type, such as `ext4`, `vfat`, `fuseblk`.
    pub kind: String,
    /// Whether the path asked for is itself where it is mounted.
    pub is_mount_point: bool,
    /// A mark that differs after the medium was mounted anew, where the kernel gives one.
    pub mark: String,
}

impl Mount {
    /// The mount on which a path lies, out of what the kernel lists.
    ///
    /// # Errors
    /// The path is not there, or the kernel lists nothing.
    pub fn of(path: &Path) -> Result<Self> {
        let real = path.canonicalize().map_err(|e| Error::io("look at the medium", path, &e))?;
        let list = Path::new("/proc/self/mountinfo");
        let text = fs::read(list).map_err(|e| Error::io("list the mounted file systems", list, &e))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut best: Option<(usize, Self)> = None;
        for line in text.split(|b| *b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            let Some(dash) = fields.iter().position(|f| *f == b"-") else { continue };
            let (Some(point), Some(kind)) = (fields.get(4), fields.get(dash + 1)) else { continue };
            let point = unescape(point);
            let at = Path::new(OsStr::new(std::str::from_utf8(&point).unwrap_or("\0")));
            // Of two mounts on one point the later one is seen.
            if real.starts_with(at) && best.as_ref().is_none_or(|(length, _)| *length <= point.len()) {
                let mount = Self {
                    kind: String::from_utf8_lossy(kind).into_owned(),
                    is_mount_point: real == at,
                    mark: format!("{}/{}", boot.trim(), unique_id(&real)?),
                };
                best = Some((point.len(), mount));
            }
        }
        best.map(|(_, m)| m).ok_or_else(|| Error::failed("the kernel lists no file system for this path").at(path))
    }

    /// Whether the kernel itself drives the file system, so that O_DIRECT reaches a device.
    pub fn reaches_a_device(&self) -> bool {
        const DEVICE: [&str; 12] =
            ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "msdos", "exfat", "ntfs3", "udf", "iso9660"];
        DEVICE.contains(&self.kind.as_str())
    }
}

/// The mount's number since the machine started; older kernels use numbers again, so there the device too.
fn unique_id(path: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt;
    let stat =
        rustix::fs::statx(CWD, path, rustix::fs::AtFlags::empty(), rustix::fs::StatxFlags::from_bits_retain(0x4000))
            .map_err(|e| Error::io("look at the medium", path, &e.into()))?;
    let device = fs::metadata(path).map_err(|e| Error::io("look at the medium", path, &e))?.dev();
    Ok(format!("{}-{device}", stat.stx_mnt_id))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match octal {
            Some(d) => {
                out.push(((d[0] - b'0') << 6).wrapping_add((d[1] - b'0') << 3).wrapping_add(d[2] - b'0'));
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Whether a ledger may lie here: FAT and network file systems keep no promises that SQLite needs.
///
/// # Errors
/// The system refused.
pub fn refuse_unfit_for_ledger(dir: &Path) -> Result<()> {
    const UNFIT: [(u32, &str); 8] = [
        (0x4d44, "FAT"),
        (0x2011_bab0, "exFAT"),
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
    ];
    let stat = rustix::fs::statfs(dir).map_err(|e| Error::io("look at the file system", dir, &e.into()))?;
    match UNFIT.iter().find(|(magic, _)| *magic == stat.f_type as u32) {
        Some((_, name)) => {
            Err(Error::failed(format!("a site cannot lie on {name}: its ledger would not survive a crash"))
                .at(dir)
                .advise("put the site on a local file system of this machine, with --site DIR"))
        }
        None => Ok(()),
    }
}

/// The time now, in whole seconds and nanoseconds since 1970. It decorates; it decides nothing.
pub fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() as i64, since.subsec_nanos())
}

/// 32 random bytes from the kernel.
///
/// # Errors
/// The kernel has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(bytes)
}
