//! A destination on disk in which others may write, too, and a clock that lies: what an import and a drain do there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::support::{APPLICANT, Unjudged, World, envelope_with, files, finish};

const SECOND: i64 = 1_000_000_000;

fn import(world: &World, to: &str, more: &[&str]) -> Unjudged {
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let words = ["import", "--to", to, "--trust", "trust", "--site", "importer", "--applicant", &mapped];
    finish(world.command().args(words).args(more))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn spool_and_site_are_their_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let world = World::new();
        world.made("a.json");
        world.send(&[]).exits(0);
        let words = format!(
            "umask {umask}; exec {} import medium --to spool:spool --trust trust --site importer --applicant {APPLICANT}={APPLICANT}",
            env!("CARGO_BIN_EXE_airpouch")
        );
        finish(Command::new("sh").args(["-c", &words]).current_dir(world.dir.path())).exits(0);
        for entry in walkdir::WalkDir::new(world.path("spool")) {
            let entry = entry.unwrap();
            let wanted = if entry.file_type().is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(entry.path()), wanted, "{} under {umask}", entry.path().display());
        }
        assert_eq!(mode(&world.path("importer")), 0o700);
    }
}

#[test]
fn envelopes_for_the_stock_connector_are_readable_as_the_umask_allows() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    let words = format!(
        "umask 027; exec {} import medium --to dir:out --trust trust --site importer --unmapped default={APPLICANT}",
        env!("CARGO_BIN_EXE_airpouch")
    );
    finish(Command::new("sh").args(["-c", &words]).current_dir(world.dir.path())).exits(0);
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 1);
    assert_eq!((mode(&world.path("out")), mode(&world.path("out").join(&delivered[0].0))), (0o750, 0o640));
    let names: Vec<_> = fs::read_dir(world.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the mark and the envelope: {names:?}");
}

#[test]
fn taken_name_defers_one_envelope_until_it_is_free() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.made(name);
    }
    world.send(&[]).exits(0);
    import(&world, "dir:first", &["medium"]).exits(0);
    let names: Vec<String> = files(&world.path("first")).into_iter().map(|(name, _)| name).collect();
    let taken = world.path("out").join(names.iter().filter(|name| name.ends_with(".json")).nth(1).unwrap());
    fs::remove_dir_all(world.path("importer")).unwrap();
    fs::create_dir_all(&taken).unwrap();
    let run = import(&world, "dir:out", &["medium"])
        .exits(3)
        .says("not delivered: 1 envelope of Example Feed")
        .prints("batch 1: 2 of 3 envelopes delivered, 1 not delivered yet");
    run.says("the destination has another file of its name").says("move that file away");
    assert_eq!(world.delivered().len(), 2);
    fs::remove_dir(&taken).unwrap();
    import(&world, "dir:out", &[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(world.delivered().len(), 3);
}

#[test]
fn file_system_without_rename_noreplace_overwrites_nothing() {
    let world = World::new();
    world.made("a.json");
    world.made("b.json");
    world.send(&[]).exits(0);
    import(&world, "dir:first", &["medium"]).exits(0);
    let names: Vec<String> = files(&world.path("first")).into_iter().map(|(name, _)| name).collect();
    let taken = world.path("out").join(names.iter().find(|name| name.ends_with(".json")).unwrap());
    fs::remove_dir_all(world.path("importer")).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    fs::write(&taken, "another's").unwrap();
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL"]);
    command.arg(env!("CARGO_BIN_EXE_airpouch")).current_dir(world.dir.path());
    command.args(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"]);
    finish(command.args(["--applicant", &mapped])).exits(3).prints("delivered 1 envelope");
    assert_eq!(fs::read(&taken).unwrap(), b"another's");
}

#[test]
fn odd_directory_of_a_connector_defers_that_connector_alone() {
    let world = World::new();
    let named = |id: &str| serde_json::json!({"connector": {"id": id, "name": id, "type": "EXTERNAL_IMPORT"}});
    world.put("1.json", &envelope_with("1", named("odd")));
    world.put("2.json", &envelope_with("2", named("even")));
    world.send(&[]).exits(0);
    fs::create_dir(world.path("spool")).unwrap();
    fs::set_permissions(world.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(world.path("spool/odd"), "").unwrap();
    let run = import(&world, "spool:spool", &["medium"]).exits(3).says("not delivered: 1 envelope of odd");
    run.says("something else than a directory has its name").says("move that away");
    assert!(world.path("spool/even").is_dir());
    fs::remove_file(world.path("spool/odd")).unwrap();
    import(&world, "spool:spool", &[]).exits(0).prints("delivered 1 envelope");
    import(&world, "spool:spool", &["medium"]).exits(0);
    assert_eq!(files(&world.path("spool/even")).len(), 2);
}

#[test]
fn drain_reports_odd_connectors_and_sends_the_others() {
    let world = World::new();
    let named = |id: &str| serde_json::json!({"connector": {"id": id, "name": id, "type": "EXTERNAL_IMPORT"}});
    world.put("1.json", &envelope_with("1", named("odd")));
    world.send(&[]).exits(0);
    import(&world, "spool:spool", &["medium"]).exits(0);
    let registration = world.path("spool/odd/connector.json");
    fs::remove_file(&registration).unwrap();
    finish(Command::new("mkfifo").arg(&registration)).exits(0);
    // Nothing is left to send, so no broker is asked.
    let drain = ["drain", "spool", "--to", "amqp://127.0.0.1:9", "--site", "importer"];
    let run = world.run(drain).exits(3).says("cannot read a connector's registration: it is no regular file");
    run.says("spool/odd/connector.json").says("import once more to the spool");
}

/// The times of what was delivered, and what the ledger keeps of them.
fn times(world: &World) -> (Vec<i64>, Vec<i64>) {
    let delivered = world.delivered();
    let times = delivered.iter().map(|(name, _)| {
        let metadata = fs::metadata(world.path("out").join(name)).unwrap();
        metadata.mtime() * SECOND + metadata.mtime_nsec()
    });
    let ledger = Connection::open(world.path("importer/ledger.db")).unwrap();
    let mut query = ledger.prepare("SELECT value FROM meta WHERE key = 'high_water_dir'").unwrap();
    let kept = query.query_map([], |row| row.get::<_, String>(0)).unwrap().map(|value| value.unwrap().parse().unwrap());
    (times.collect(), kept.collect())
}

#[test]
fn ledger_with_a_time_beyond_reason_heals_and_is_reported_once() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    for (at, poisoned) in [i64::MAX, i64::MAX - 1_000, 7_000_000_000 * SECOND].into_iter().enumerate() {
        let ledger = Connection::open(world.path("importer/ledger.db")).unwrap();
        let sql = "UPDATE meta SET value = ?1 WHERE key = 'high_water_dir'";
        assert_eq!(ledger.execute(sql, [poisoned.to_string()]).unwrap(), 1);
        drop(ledger);
        for again in 0..2 {
            world.made(&format!("{at}-{again}.json"));
            world.send(&[]).exits(0);
            let run = world.import(&[]).exits(0).prints("delivered 1 envelope");
            assert_eq!(run.said().contains("the clock was wrong"), again == 0, "{run:#?}");
        }
        let (times, kept) = times(&world);
        let newest = times.into_iter().max().unwrap();
        assert_eq!(kept, [newest]);
        assert!(newest < 4_102_444_800 * SECOND, "not beyond 2100");
    }
}

/// The system calls of an import by their names, with the paths of their descriptors, in order.
fn calls_of_import(world: &World, to: &str) -> Vec<String> {
    let trace = world.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "256", "-e", "signal=none", "-o", trace.to_str().unwrap()]);
    command.args(["-e", "trace=rename,renameat,renameat2,fsync,fdatasync,syncfs"]);
    command.arg(env!("CARGO_BIN_EXE_airpouch")).current_dir(world.dir.path());
    let mapped = format!("{APPLICANT}={APPLICANT}");
    command.args(["import", "medium", "--to", to, "--trust", "trust", "--site", "importer", "--applicant", &mapped]);
    finish(command.args(["--threads", "1"])).exits(0);
    let trace = fs::read_to_string(trace).unwrap();
    trace.lines().map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
}

/// Asserts that messages or envelopes are durable before the ledger notes them, noted before they are seen, seen in order
/// and durable by name before the ledger records them.
#[track_caller]
fn are_in_order(calls: &[String], dir: &str, names: usize) {
    let is_commit = |call: &String| call.starts_with("f") && call.contains("/importer/ledger.db-wal>");
    let is_name = |call: &&String| call.starts_with("renameat2(") && call.contains(".json.partial\"");
    let renames: Vec<usize> = (0..calls.len()).filter(|at| is_name(&&calls[*at])).collect();
    assert_eq!(renames.len(), names, "{calls:#?}");
    let (first, last) = (renames[0], renames[names - 1]);
    let target = |at: &usize| calls[*at].rsplit('"').nth(1).unwrap().to_owned();
    let order: Vec<String> = renames.iter().map(target).collect();
    assert!(order.is_sorted(), "{order:?}");
    let noted = calls[..first].iter().rposition(is_commit).expect("noted before they are seen");
    let synced = calls[..first].iter().rposition(|call| call.starts_with("syncfs(")).expect("synced");
    assert!(synced < noted, "durable before the ledger notes them: {calls:#?}");
    assert!(!calls[noted..last].iter().skip(1).any(is_commit), "nothing is recorded before all are seen: {calls:#?}");
    let recorded = last + calls[last..].iter().position(is_commit).expect("recorded");
    let is_dir_synced = |call: &String| call.starts_with("fsync(") && call.contains(&format!("/{dir}>"));
    assert!(calls[last..recorded].iter().any(is_dir_synced), "names are durable before that is recorded: {calls:#?}");
}

#[test]
fn envelopes_are_durable_then_noted_then_seen_then_recorded() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.made(name);
    }
    world.send(&[]).exits(0);
    are_in_order(&calls_of_import(&world, "dir:out"), "out", 3);
}

#[test]
fn messages_are_durable_then_noted_then_seen_then_recorded() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.made(name);
    }
    world.send(&[]).exits(0);
    are_in_order(&calls_of_import(&world, "spool:spool"), "spool/43509aab-0310-5f8d-9395-81f36f6d064a", 3);
}

#[test]
fn marker_that_is_no_file_fails_the_run_without_a_wait() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    fs::create_dir(world.path("out")).unwrap();
    finish(Command::new("mkfifo").arg(world.path("out/.airpouch"))).exits(0);
    import(&world, "dir:out", &["medium"]).exits(1).says("it is no regular file").says("out/.airpouch");
}
