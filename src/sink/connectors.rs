//! The directories of connectors in a spool, each opened once and kept open for a while.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::OpenDir;
use crate::envelope::ConnectorId;
use crate::limits::CONNECTORS_OPEN_MAX;

/// The directories that are open.
#[derive(Debug, Default)]
pub struct Connectors(BTreeMap<String, Arc<OpenDir>>);

impl Connectors {
    /// A connector's directory, if it exists; makes it private to its owner.
    ///
    /// # Errors
    /// It is not there, is no directory, or is not ours; the system refused.
    pub fn get(&mut self, root: &OpenDir, id: &str) -> io::Result<Arc<OpenDir>> {
        if let Some(dir) = self.0.get(id) {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(open(root, id)?);
        if self.0.len() >= CONNECTORS_OPEN_MAX {
            self.0.clear();
        }
        self.0.insert(id.to_owned(), Arc::clone(&dir));
        Ok(dir)
    }

    /// The same; creates it if it does not exist.
    ///
    /// # Errors
    /// It is no directory, or is not ours; the system refused.
    pub fn get_or_make(&mut self, root: &OpenDir, id: &str) -> io::Result<Arc<OpenDir>> {
        match self.get(root, id) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                root.make_dir(id)?;
                root.sync()?;
                self.get(root, id)
            }
            got => got,
        }
    }
}

/// Opens a connector's directory.
///
/// # Errors
/// It is not there, is no directory, or is not ours; the system refused.
fn open(root: &OpenDir, id: &str) -> io::Result<OpenDir> {
    let dir = match root.open_dir(id) {
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(odd("something else than a directory has its name"));
        }
        dir => dir?,
    };
    if !dir.is_ours()? {
        return Err(odd(&format!("it belongs to another user (uid {})", dir.owner()?)));
    }
    if dir.make_private()? { Ok(dir) } else { Err(odd("its file system keeps no permissions")) }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether this may be the name of a connector's directory. Others, such as lost+found, are not opened.
pub fn is_id(name: &str) -> bool {
    ConnectorId::parse(name).is_some()
}

/// Whether only this one name cannot be used, rather than that the disk or the machine fails.
pub fn is_of_one(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::InvalidData
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
    )
}
