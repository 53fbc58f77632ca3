//! File systems of their own, for tests of mount points and of small disks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::World;

/// Something mounted in the world, until the test ends.
pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

impl World {
    /// Mounts at this directory, which is made; none, and a skip, where the machine does not let us.
    pub fn mount(&self, name: &str, with: &str) -> Option<Mounted> {
        fs::create_dir(self.path(name)).unwrap();
        let mut mount = Command::new("sh");
        mount.args(["-ec", &format!("mount {with} {name}")]).current_dir(self.dir.path());
        let made = mount.output().unwrap();
        if made.status.success() {
            return Some(Mounted(self.path(name)));
        }
        println!("SKIP no right to mount: {}", String::from_utf8_lossy(&made.stderr).trim());
        None
    }
}
