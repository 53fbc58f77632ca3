//! Where a path is mounted, and what its file system can promise.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use rustix::fs::CWD;

use super::device::facts_of;
use super::read_bounded;
use crate::deed::MediumFacts;
use crate::error::{Error, Result};
use crate::limits::MOUNTS_MAX;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its type, such as `ext4`, `vfat`, `fuseblk`.
    pub kind: String,
    /// Whether the path asked for is itself where it is mounted.
    pub is_mount_point: bool,
    /// Its id, which changes when the medium is mounted again, where the kernel gives one.
    pub mount_id: String,
    /// Whether nothing can be written to it as it is mounted.
    pub is_read_only: bool,
    /// The number of its device, such as `8:17`.
    device: String,
}

impl Mount {
    /// The mount of a path, from the kernel's list.
    ///
    /// # Errors
    /// The path does not exist, or the kernel lists no mount for it.
    pub fn of(path: &Path) -> Result<Self> {
        let real = path.canonicalize().map_err(|e| Error::io("look at the medium", path, &e))?;
        let list = Path::new("/proc/self/mountinfo");
        let text = read_bounded(list, MOUNTS_MAX).map_err(|e| Error::io("list the mounted file systems", list, &e))?;
        let boot = read_bounded(Path::new("/proc/sys/kernel/random/boot_id"), 64).unwrap_or_default();
        let boot = String::from_utf8_lossy(&boot);
        let mut best: Option<(usize, Self)> = None;
        for line in text.split(|b| *b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            let Some(dash) = fields.iter().position(|f| *f == b"-") else { continue };
            let (Some(point), Some(kind)) = (fields.get(4), fields.get(dash + 1)) else { continue };
            let is_read_only =
                |options: Option<&&[u8]>| options.is_some_and(|o| o.split(|b| *b == b',').any(|o| o == b"ro"));
            let point = unescape(point);
            let at = Path::new(OsStr::new(std::str::from_utf8(&point).unwrap_or("\0")));
            // Of two mounts on one point the later one hides the other.
            if real.starts_with(at) && best.as_ref().is_none_or(|(length, _)| *length <= point.len()) {
                let mount = Self {
                    kind: String::from_utf8_lossy(kind).into_owned(),
                    is_mount_point: real == at,
                    mount_id: format!("{}/{}", boot.trim(), unique_id(&real)?),
                    is_read_only: is_read_only(fields.get(5)) || is_read_only(fields.get(dash + 3)),
                    device: fields
                        .get(2)
                        .map_or_else(String::new, |number| String::from_utf8_lossy(number).into_owned()),
                };
                best = Some((point.len(), mount));
            }
        }
        best.map(|(_, m)| m).ok_or_else(|| Error::failed("the kernel lists no file system for this path").at(path))
    }

    /// What the system tells of the medium, to be written down.
    pub fn facts(&self) -> MediumFacts {
        MediumFacts {
            kind: Some(self.kind.clone()),
            read_only: Some(self.is_read_only),
            ..facts_of(Path::new("/sys"), Path::new("/dev"), &self.device)
        }
    }

    /// Whether the kernel itself drives the file system, so that O_DIRECT reaches a device.
    pub fn reaches_a_device(&self) -> bool {
        const DEVICE: [&str; 12] =
            ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "msdos", "exfat", "ntfs3", "udf", "iso9660"];
        DEVICE.contains(&self.kind.as_str())
    }
}

/// The mount's number since the machine started, with the device, since older kernels reuse numbers.
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

/// Refuses a directory that is unfit for a ledger: FAT and network file systems lack the locks and syncs that SQLite
/// needs.
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
            Err(Error::failed(format!("a site cannot be on {name}: its ledger would not survive a crash"))
                .at(dir)
                .advise("put the site on a local file system of this machine, with --site DIR"))
        }
        None => Ok(()),
    }
}
