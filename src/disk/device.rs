//! What the system tells of the device on which a file system lies: Linux's `/sys/dev/block` and udev's `/dev/disk`.
//! Nothing rests on it; it is written down, so that a stick can be told from another one a year later.

use std::fs;
use std::path::{Path, PathBuf};

use super::read_bounded;
use crate::deed::MediumFacts;
use crate::text::harmless;

/// Bytes read of a file of the kernel.
const FACT_MAX: u64 = 256;
/// Names looked at in a directory of udev.
const NAMES_MAX: usize = 1000;

/// What is known of a block device by its number, such as `8:17`. What the system does not tell is none: a network file
/// system has no device, and a container may hide it.
pub(super) fn facts_of(sys: &Path, dev: &Path, number: &str) -> MediumFacts {
    let Ok(block) = sys.join("dev/block").join(number).canonicalize() else { return MediumFacts::default() };
    let parent = |name: &str| block.ancestors().find_map(|dir| fact(&dir.join(name)));
    let usb = block.ancestors().find(|dir| dir.join("idVendor").exists()).map(Path::to_owned);
    let of_usb = |name: &str| usb.as_ref().and_then(|dir| fact(&dir.join(name)));
    let node = block.file_name().map(|name| dev.join(name));
    let named = |by: &str| node.as_ref().and_then(|node| name_of(&dev.join("disk").join(by), node));
    MediumFacts {
        label: named("by-label"),
        fs_uuid: named("by-uuid"),
        vid_pid: of_usb("idVendor").zip(of_usb("idProduct")).map(|(vendor, product)| format!("{vendor}:{product}")),
        model: parent("device/model").or_else(|| of_usb("product")),
        serial: of_usb("serial").or_else(|| parent("device/serial")),
        // The kernel counts in units of 512 bytes, whatever the device's own sector is.
        bytes: fact(&block.join("size")).and_then(|units| units.parse::<u64>().ok()?.checked_mul(512)),
        ..MediumFacts::default()
    }
}

/// The first line of a small file, without blanks around it; none if it is empty.
fn fact(path: &Path) -> Option<String> {
    let bytes = read_bounded(path, FACT_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(harmless(text.lines().next()?.trim())).filter(|text| !text.is_empty())
}

/// The name under which udev has a link to this device.
fn name_of(links: &Path, node: &Path) -> Option<String> {
    let node = node.canonicalize().ok()?;
    let leads_there = |path: &PathBuf| path.canonicalize().is_ok_and(|end| end == node);
    let mut names = fs::read_dir(links).ok()?.flatten().take(NAMES_MAX).map(|entry| entry.path());
    let found = names.find(leads_there)?;
    Some(harmless(&without_escapes(&found.file_name()?.to_string_lossy())))
}

/// udev writes other characters than letters and digits as `\x20`.
fn without_escapes(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        let escaped = rest.strip_prefix("\\x").and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.extend(next.to_string().as_bytes());
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn stick_is_known_by_what_kernel_and_udev_say_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (sys, dev) = (dir.path().join("sys"), dir.path().join("dev"));
        let usb = sys.join("devices/pci0/usb1/1-2");
        let block = usb.join("1-2:1.0/host2/block/sdb");
        for (name, text) in
            [("idVendor", "0951\n"), ("idProduct", "1666\n"), ("serial", "60A44C\u{1b}[2J\n"), ("product", "x\n")]
        {
            put(&usb.join(name), text);
        }
        put(&block.join("device/model"), "DataTraveler 3.0  \n");
        put(&block.join("sdb1/size"), "1000\n");
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        symlink(block.join("sdb1"), sys.join("dev/block/8:17")).unwrap();
        put(&dev.join("sdb1"), "");
        put(&dev.join("sda1"), "");
        for (by, name, node) in
            [("by-label", "OTHER", "sda1"), ("by-label", "STICK\\x207", "sdb1"), ("by-uuid", "1A2B-3C4D", "sdb1")]
        {
            fs::create_dir_all(dev.join("disk").join(by)).unwrap();
            symlink(dev.join(node), dev.join("disk").join(by).join(name)).unwrap();
        }
        let is = |text: &str| Some(text.to_owned());
        let expected = MediumFacts {
            label: is("STICK 7"),
            fs_uuid: is("1A2B-3C4D"),
            vid_pid: is("0951:1666"),
            model: is("DataTraveler 3.0"),
            serial: is("60A44C\\u{1b}[2J"),
            bytes: Some(512_000),
            ..MediumFacts::default()
        };
        assert_eq!(facts_of(&sys, &dev, "8:17"), expected);
        assert_eq!(facts_of(&sys, &dev, "0:43"), MediumFacts::default());
    }
}
