//! A run by root in places that belong to another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::{APPLICANT, Unjudged, World, finish};

/// The user whose site it is.
const USER: u32 = 65534;

/// A world in which the other user may use the program, the key and the medium; none, with a word, where this is not root.
fn world() -> Option<World> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("SKIP only root can run as somebody else");
        return None;
    }
    let world = World::new();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_airpouch"), world.path("airpouch")).unwrap();
    fs::create_dir(world.path("his")).unwrap();
    for theirs in ["his", "medium", "src", "keys", "keys/site-a.key.pem"] {
        chown(world.path(theirs), Some(USER), Some(USER)).unwrap();
    }
    Some(world)
}

fn user(world: &World, arguments: &[&str]) -> Unjudged {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={USER}"))
        .arg(format!("--regid={USER}"))
        .arg("--clear-groups")
        .arg(world.path("airpouch"));
    finish(command.args(arguments).current_dir(world.dir.path()))
}

/// Everything below a directory that belongs to root.
fn roots(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.metadata().unwrap().uid() != USER {
            found.push(entry.path().display().to_string());
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(roots(&entry.path()));
        }
    }
    found
}

#[test]
fn exporters_site_stays_its_owners_when_root_packs() {
    let Some(world) = world() else { return };
    let pack = ["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "his/exporter"];
    for n in 1..=4 {
        world.made(&format!("{n}.json"));
        let run = if n % 2 == 1 { world.run(pack) } else { user(&world, &pack) };
        run.exits(0).prints(&format!("packed batch {n}"));
        assert_eq!(roots(&world.path("his")), Vec::<String>::new(), "after run {n}");
    }
    assert_eq!(roots(&world.medium()), Vec::<String>::new());
}

#[test]
fn importers_site_stays_its_owners_when_root_imports() {
    let Some(world) = world() else { return };
    let unmapped = format!("default={APPLICANT}");
    for kind in ["dir", "spool"] {
        let (site, to) = (format!("his/{kind}-site"), format!("{kind}:his/{kind}"));
        let import = ["import", "medium", "--to", &to, "--trust", "trust", "--site", &site, "--unmapped", &unmapped];
        for n in 1..=4 {
            world.made(&format!("{kind}-{n}.json"));
            world.send(&[]).exits(0);
            let run = if n % 2 == 1 { world.run(import) } else { user(&world, &import) };
            run.exits(0).prints("delivered ");
            assert_eq!(roots(&world.path("his")), Vec::<String>::new(), "{kind}, after run {n}");
        }
    }
}

#[test]
fn file_of_root_in_a_users_site_is_reported_with_the_command_that_fixes_it() {
    let Some(world) = world() else { return };
    let pack = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "his/exporter"];
    world.made("1.json");
    user(&world, &pack).exits(0);
    for file in ["lock", "ledger.db", "outbox"] {
        let path = world.path("his/exporter").join(file);
        chown(&path, Some(0), Some(0)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o755)).unwrap();
        let run = user(&world, &pack).exits(1).says(&format!("exporter/{file}")).says("belongs to root");
        run.says(&format!("chown -R {USER}:{USER} his/exporter"));
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    user(&world, &pack).exits(0);
}
