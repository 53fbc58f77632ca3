//! A directory that is held open. All names are resolved relative to it, so that nobody can redirect us by replacing a
//! directory of its path; and no open follows a link, waits for the other end of a FIFO, or writes into an existing
//! file.
//!
//! Where other users may write too, in destinations and on a medium, airpouch opens, reads, writes and renames only
//! with these functions. clippy.toml forbids others.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::retry_on_intr;

use super::owner::{keep_owner, makes_for_others};
use super::uninterrupted;
use crate::batch::name::partial;

/// The identity of a file, whatever its name: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A name in a directory.
#[derive(Debug)]
pub struct DirEntry {
    /// The name; a name that is not UTF-8 is not ours.
    pub name: String,
    /// Whether it is a directory, and not a link to one.
    pub is_dir: bool,
}

/// A directory that is open.
#[derive(Debug)]
pub struct OpenDir {
    file: File,
    path: PathBuf,
}

impl OpenDir {
    /// Opens a directory that a person has named; follows a link.
    ///
    /// # Errors
    /// It is no directory; the system refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self { file: opened.into(), path: path.to_owned() })
    }

    /// Opens a directory in this one; refuses a link.
    ///
    /// # Errors
    /// It is no directory; the system refused.
    pub fn open_dir(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::openat(&self.file, name, flags, Mode::empty())) {
            Err(rustix::io::Errno::LOOP) => Err(io::ErrorKind::NotADirectory.into()),
            opened => Ok(Self { file: opened?.into(), path: self.path_of(name) }),
        }
    }

    /// Creates a directory in this one that only its owner can enter.
    ///
    /// # Errors
    /// The name is taken; the system refused.
    pub fn make_dir(&self, name: &str) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::mkdirat(&self.file, name, Mode::from_raw_mode(0o700)))?;
        if makes_for_others() { keep_owner(&self.open_dir(name)?.file, &self.file) } else { Ok(()) }
    }

    /// Creates a file for writing, with `mode` less the umask.
    ///
    /// # Errors
    /// The name is taken; the system refused.
    pub fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let file = self.create_as_us(name, mode)?;
        keep_owner(&file, &self.file)?;
        Ok(file)
    }

    fn create_as_us(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        Ok(retry_on_intr(|| rustix::fs::openat(&self.file, name, flags, mode))?.into())
    }

    /// As [`OpenDir::create`], for names that only airpouch uses: replaces what an earlier run left.
    ///
    /// # Errors
    /// The system refused.
    pub fn create_anew(&self, name: &str, mode: u32) -> io::Result<File> {
        match self.create(name, mode) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(name)?;
                self.create(name, mode)
            }
            created => created,
        }
    }

    /// Opens a regular file for reading; refuses anything else without waiting.
    ///
    /// # Errors
    /// It is something else than a regular file; the system refused.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(&self.file, name, flags, Mode::empty()));
        let file: File = match opened {
            Err(rustix::io::Errno::LOOP) => return Err(odd("it is a link")),
            Err(rustix::io::Errno::NXIO) => return Err(odd("it is no regular file")),
            opened => opened?.into(),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(odd("it is no regular file")) }
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// It is something else, or longer; the system refused.
    pub fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        read_all(self.open_file(name)?, limit)
    }

    /// As [`OpenDir::read`], but only a file that belongs to this user and has no other name.
    ///
    /// # Errors
    /// It is something else, another's, or longer; the system refused.
    pub fn read_of(&self, owner: u32, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open_file(name)?;
        let metadata = file.metadata()?;
        if metadata.uid() != owner {
            return Err(odd(&format!("it belongs to another user (uid {})", metadata.uid())));
        }
        if metadata.nlink() > 1 {
            return Err(odd("it has a second name"));
        }
        read_all(file, limit)
    }

    /// Replaces whatever has this name by a small file. The content is durable, the name is not yet.
    ///
    /// # Errors
    /// Somebody else has replaced the file; the system refused.
    pub fn write_over(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let file = self.fill_partial(name, bytes, mode)?;
        uninterrupted(|| file.sync_all())?;
        self.name_partial(name, &file)
    }

    /// The same, not durable until the file system is synced.
    ///
    /// # Errors
    /// Somebody else has replaced the file; the system refused.
    pub fn write_over_unsynced(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let file = self.fill_partial(name, bytes, mode)?;
        self.name_partial(name, &file)
    }

    fn fill_partial(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<File> {
        let mut file = self.create_anew(&partial(name), mode)?;
        match file.write_all(bytes) {
            Ok(()) => Ok(file),
            Err(e) => {
                // The partial file would only be in the way.
                drop(self.remove(&partial(name)));
                Err(e)
            }
        }
    }

    fn name_partial(&self, name: &str, file: &File) -> io::Result<()> {
        self.expect_plain(&partial(name), file)?;
        // A partial file that cannot be renamed would only be in the way.
        self.rename(&partial(name), self, name).inspect_err(|_| drop(self.remove(&partial(name))))
    }

    /// Checks that this name still leads to the open file, and is its only name.
    ///
    /// # Errors
    /// It leads to another file, or the file has a second name; the system refused.
    pub fn expect_plain(&self, name: &str, file: &File) -> io::Result<()> {
        let id = if self.keeps_ids()? { Some(FileId::from(&file.metadata()?)) } else { None };
        if self.is_plain(name, id)? { Ok(()) } else { Err(odd("another file was put in its place")) }
    }

    /// The metadata of this name; does not follow a link.
    ///
    /// # Errors
    /// Nothing has this name; the system refused.
    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(retry_on_intr(|| rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    /// Whether this name is the only one of a regular file, and of the file `id`, if given.
    ///
    /// # Errors
    /// Nothing has this name; the system refused.
    pub fn is_plain(&self, name: &str, id: Option<FileId>) -> io::Result<bool> {
        let stat = self.stat(name)?;
        let is_it = id.is_none_or(|id| id == FileId { device: stat.st_dev, inode: stat.st_ino });
        // Some file systems do not count links.
        Ok(is_it && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink <= 1)
    }

    /// Renames into a directory of the same file system, without overwriting.
    ///
    /// # Errors
    /// `AlreadyExists` if the new name is taken; else the error of the system.
    pub fn rename_new(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        let (old, new) = (&self.file, &to.file);
        match retry_on_intr(|| rustix::fs::renameat_with(old, from, new, name, RenameFlags::NOREPLACE)) {
            // FAT through FUSE and some network file systems do not support the flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                if to.stat(name).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                self.rename(from, to, name)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Renames over whatever has the new name.
    ///
    /// # Errors
    /// The system refused.
    pub fn rename(&self, from: &str, to: &Self, name: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::renameat(&self.file, from, &to.file, name))?)
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&self.file, name, AtFlags::empty()))?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// It is not empty; the system refused.
    pub fn remove_dir(&self, name: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&self.file, name, AtFlags::REMOVEDIR))?)
    }

    /// The names in it, in no particular order.
    ///
    /// # Errors
    /// The system refused.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + '_> {
        let names = retry_on_intr(|| Dir::read_from(&self.file))?;
        Ok(names.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return Some(Err(e.into())),
            };
            let name = entry.file_name().to_str().ok().filter(|name| *name != "." && *name != "..")?.to_owned();
            let kind = match entry.file_type() {
                FileType::Unknown => self.stat(&name).map(|s| FileType::from_raw_mode(s.st_mode)).ok(),
                kind => Some(kind),
            };
            Some(Ok(DirEntry { name, is_dir: kind == Some(FileType::Directory) }))
        }))
    }

    /// Makes its names durable. `false` if the file system cannot promise that.
    ///
    /// # Errors
    /// The system refused for another reason than that it does not support this.
    pub fn sync(&self) -> io::Result<bool> {
        match uninterrupted(|| self.file.sync_all()) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Its owner.
    ///
    /// # Errors
    /// The system refused.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(self.file.metadata()?.uid())
    }

    /// Whether it belongs to the user who runs this: a file that is created in it has the same owner. (A file system
    /// without owners, or with mapped ones, gives all files to one user.) What root creates in a user's directory
    /// belongs to that user, so root accepts as its own what belongs to the owner of the parent directory.
    ///
    /// # Errors
    /// The system refused.
    pub fn is_ours(&self) -> io::Result<bool> {
        let owner = self.owner()?;
        if owner == rustix::process::geteuid().as_raw() || (makes_for_others() && owner == self.owner_around()?) {
            return Ok(true);
        }
        let name = format!(".airpouch-whose-{}", unguessable()?);
        match self.create_as_us(&name, 0o600) {
            Ok(file) => {
                let made_for = file.metadata()?.uid();
                self.remove(&name)?;
                Ok(made_for == owner)
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The owner of the parent directory.
    fn owner_around(&self) -> io::Result<u32> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let around: File = retry_on_intr(|| rustix::fs::openat(&self.file, "..", flags, Mode::empty()))?.into();
        Ok(around.metadata()?.uid())
    }

    /// Whether others than its owner have any permission on it.
    ///
    /// # Errors
    /// The system refused.
    pub fn is_open_to_others(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.mode() & 0o077 != 0)
    }

    /// Removes all permissions of others. `false` if the file system does not support that.
    ///
    /// # Errors
    /// The system refused.
    pub fn make_private(&self) -> io::Result<bool> {
        let mode = || self.file.metadata().map(|metadata| metadata.mode() & 0o777);
        if mode()? == 0o700 {
            return Ok(true);
        }
        match uninterrupted(|| self.file.set_permissions(PermissionsExt::from_mode(0o700))) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Err(e),
            _ => Ok(mode()? & 0o077 == 0),
        }
    }

    /// Whether its file system keeps the number of a file that no process has open. FAT, exFAT and many FUSE file
    /// systems invent numbers.
    ///
    /// # Errors
    /// The system refused.
    pub fn keeps_ids(&self) -> io::Result<bool> {
        // ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs, overlayfs, NFS.
        const KEEP: [u32; 8] =
            [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630, 0x6969];
        let stat = retry_on_intr(|| rustix::fs::fstatfs(&self.file))?;
        Ok(KEEP.contains(&(stat.f_type as u32)))
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name in it, for messages.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.as_bytes()))
    }

    /// The open directory itself, by which its file system is synced.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// 16 random hex digits, for a name that nobody can guess.
///
/// # Errors
/// The kernel has no random bytes.
pub fn unguessable() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(format!("the system gives no random bytes: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity((file.metadata()?.len().min(limit) + 1) as usize);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(odd(&format!("it is larger than {}", crate::text::size(limit))));
    }
    Ok(bytes)
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn dir() -> (tempfile::TempDir, OpenDir) {
        let dir = tempfile::tempdir().unwrap();
        let open = OpenDir::open(dir.path()).unwrap();
        (dir, open)
    }

    #[test]
    fn odd_files_are_never_read_and_never_waited_for() {
        let (dir, open) = dir();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("secret", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        rustix::fs::mknodat(&open.file, "fifo", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for name in ["link", "dangling", "dir", "fifo", "socket"] {
            assert_eq!(open.read(name, 100).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
        }
        assert_eq!(open.read("gone", 100).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(open.read("secret", 6).unwrap(), b"secret");
        assert_eq!(open.read("secret", 5).unwrap_err().to_string(), "it is larger than 5 bytes");
    }

    #[test]
    fn existing_file_is_not_written_into() {
        let (dir, open) = dir();
        fs::write(dir.path().join("victim"), "victim").unwrap();
        symlink("victim", dir.path().join("link")).unwrap();
        symlink("new", dir.path().join("dangling")).unwrap();
        fs::hard_link(dir.path().join("victim"), dir.path().join("hard")).unwrap();
        for name in ["link", "dangling", "hard"] {
            assert_eq!(open.create(name, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
            drop(open.create_anew(name, 0o600).unwrap());
            assert!(open.is_plain(name, None).unwrap(), "{name}");
        }
        assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"victim");
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn a_file_that_took_anothers_name_or_has_a_second_one_is_not_plain() {
        let (dir, open) = dir();
        let file = open.create("a", 0o600).unwrap();
        let id = FileId::from(&file.metadata().unwrap());
        assert!(open.is_plain("a", Some(id)).unwrap());
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert!(!open.is_plain("a", Some(id)).unwrap());
        fs::remove_file(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        fs::rename(dir.path().join("other"), dir.path().join("a")).unwrap();
        assert!(!open.is_plain("a", Some(id)).unwrap());
        assert!(open.is_plain("a", None).unwrap());
    }

    #[test]
    fn swapped_path_does_not_change_the_open_directory() {
        let (dir, open) = dir();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::create_dir(dir.path().join("trap")).unwrap();
        let real = open.open_dir("real").unwrap();
        fs::rename(dir.path().join("real"), dir.path().join("moved")).unwrap();
        symlink("trap", dir.path().join("real")).unwrap();
        drop(real.create("a", 0o600).unwrap());
        real.rename_new("a", &real, "b").unwrap();
        assert!(dir.path().join("moved/b").exists());
        assert!(open.open_dir("real").is_err(), "a link is no directory");
    }

    #[test]
    fn directory_is_made_private_to_its_owner() {
        let (dir, open) = dir();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o2777)).unwrap();
        assert!(open.make_private().unwrap() && open.is_ours().unwrap());
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(open.entries().unwrap().count(), 0);
    }
}
