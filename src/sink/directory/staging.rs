//! The directory of envelopes without a name yet: `.airpouch-<16 hex>` in the destination, which only we can enter.
//! Other users may write in the destination, but can neither see, replace nor link to a file in here.
//!
//! A crash leaves it with its files, and the next run continues with them. Airpouch 0.1.0 wrote into the destination
//! itself, as `<name>.partial`.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::batch::name::{of_partial, partial};
use crate::disk::{OpenDir, unguessable};
use crate::error::{Error, Result};

const PREFIX: &str = ".airpouch-";
/// Another program reads envelopes as another user: the umask decides who may.
const MODE: u32 = 0o666;

/// Whether an envelope that a crash interrupted still has its partial file.
pub enum Left {
    /// Yes: in this directory, under its partial name.
    In(Arc<OpenDir>),
    /// No: it had its name already.
    Nowhere,
}

/// Our own directory in a destination, and those that other runs have left.
pub struct Staging {
    /// Where new envelopes are written.
    current: Option<(String, Arc<OpenDir>)>,
    /// Directories of earlier runs of this user.
    earlier: Vec<(String, Arc<OpenDir>)>,
    /// Directories of other users, perhaps of their runs of airpouch.
    others: Vec<String>,
    /// Whether the file system keeps the numbers of files that nobody has open.
    keeps_ids: bool,
}

impl Staging {
    /// Finds what earlier runs have left.
    ///
    /// # Errors
    /// The system refused.
    pub fn find(root: &OpenDir) -> Result<Self> {
        let fault = |e: &io::Error| Error::io("read the destination", root.path(), e);
        let mut staging = Self {
            current: None,
            earlier: Vec::new(),
            others: Vec::new(),
            keeps_ids: root.keeps_ids().map_err(|e| fault(&e))?,
        };
        for entry in root.entries().map_err(|e| fault(&e))? {
            let entry = entry.map_err(|e| fault(&e))?;
            if !entry.is_dir || !entry.name.starts_with(PREFIX) {
                continue;
            }
            match open_ours(root, &entry.name) {
                Ok(Some(dir)) => staging.earlier.push((entry.name, Arc::new(dir))),
                Ok(None) => staging.others.push(entry.name),
                Err(e) => return Err(Error::io("open a directory", &root.path_of(&entry.name), &e)),
            }
        }
        Ok(staging)
    }

    /// The directory for new envelopes; the first call creates it.
    ///
    /// # Errors
    /// Another user has replaced it; the system refused.
    pub fn current(&mut self, root: &OpenDir) -> Result<Arc<OpenDir>> {
        if let Some((_, dir)) = &self.current {
            return Ok(Arc::clone(dir));
        }
        let (name, dir) = match self.earlier.pop() {
            Some(earlier) => earlier,
            None => make(root)?,
        };
        self.current = Some((name, Arc::clone(&dir)));
        Ok(dir)
    }

    /// Looks for an envelope that the ledger notes.
    ///
    /// # Errors
    /// A run of another user has it; the system refused.
    pub fn look_for(&self, root: &OpenDir, name: &str) -> Result<Left> {
        let partial = partial(name);
        for dir in self.earlier.iter().map(|(_, dir)| dir) {
            if is_there(dir, &partial)? {
                return Ok(Left::In(Arc::clone(dir)));
            }
        }
        for other in &self.others {
            let holds = root.open_dir(other).and_then(|dir| match dir.stat(&partial) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
                found => found.map(|_| true),
            });
            if holds.unwrap_or(true) {
                return Err(Error::failed("a run of another user was cut off here; only that user can finish it")
                    .at(&root.path_of(other))
                    .advise("import once as the owner of that directory; if none of yours made it, remove it"));
            }
        }
        Ok(Left::Nowhere)
    }

    /// Removes what a crash left and the ledger does not know.
    ///
    /// # Errors
    /// The system refused.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) -> Result<()> {
        for dir in self.earlier.iter().map(|(_, dir)| dir) {
            let fault = |e: &io::Error| Error::io("remove what a broken run left", dir.path(), e);
            for entry in dir.entries().map_err(|e| fault(&e))? {
                let name = entry.map_err(|e| fault(&e))?.name;
                if !of_partial(&name).is_some_and(&is_known) {
                    dir.remove(&name).map_err(|e| fault(&e))?;
                }
            }
        }
        Ok(())
    }

    /// Whether the file system keeps the numbers of files that nobody has open.
    pub fn keeps_ids(&self) -> bool {
        self.keeps_ids
    }

    /// Removes our directories if they are empty.
    pub fn close(&mut self, root: &OpenDir) {
        for (name, _) in self.current.take().into_iter().chain(self.earlier.drain(..)) {
            // The next run needs one that is not empty.
            drop(root.remove_dir(&name));
        }
    }
}

/// Creates an envelope's file; the caller writes it.
///
/// # Errors
/// The system refused.
pub fn create(dir: &OpenDir, name: &str) -> io::Result<File> {
    dir.create_anew(&partial(name), MODE)
}

fn make(root: &OpenDir) -> Result<(String, Arc<OpenDir>)> {
    let fault = |e: &io::Error| {
        Error::io("make a directory in the destination", root.path(), e).advise("airpouch must be able to write there")
    };
    let name = format!("{PREFIX}{}", unguessable().map_err(|e| fault(&e))?);
    root.make_dir(&name).map_err(|e| fault(&e))?;
    match open_ours(root, &name).map_err(|e| fault(&e))? {
        Some(dir) => Ok((name, Arc::new(dir))),
        None => Err(Error::failed("another user has put a directory in the place of ours")
            .at(&root.path_of(&name))
            .advise("find out who writes in the destination; then remove that directory")),
    }
}

/// Opens a directory, if it is ours and no one else may use it.
fn open_ours(root: &OpenDir, name: &str) -> io::Result<Option<OpenDir>> {
    let dir = match root.open_dir(name) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        dir => dir?,
    };
    if !dir.is_ours()? {
        return Ok(None);
    }
    // A file system without modes has other protection against other users, or none.
    dir.make_private()?;
    Ok(Some(dir))
}

fn is_there(dir: &OpenDir, partial: &str) -> Result<bool> {
    match dir.stat(partial) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("look at an envelope", &dir.path_of(partial), &e)),
    }
}
