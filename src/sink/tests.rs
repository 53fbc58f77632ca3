//! The destinations on disk, with everything that another user or a crash may put in their way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::spool::Spool;
use super::*;
use crate::envelope::Envelope;

const ENVELOPE: &str = r#"{"bundle_type":"DIRECTORY_BUNDLE","applicant_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","connector":{"id":"feed","name":"Feed","type":"EXTERNAL_IMPORT","scope":"x","auto":false,"validate_before_import":false},"entities_types":null,"bundle":{"type":"bundle","id":"bundle--1","objects":[{"type":"domain-name","id":"domain-name--1","value":"a.example"}]},"update":false}"#;

/// An envelope of this connector, the `ordinal`-th of its batch.
fn deliverable(ordinal: usize, connector: &str, examiner: Examiner) -> Deliverable {
    let bytes =
        ENVELOPE.replace("\"feed\"", &format!("\"{connector}\"")).replace("a.example", &format!("{ordinal}.example"));
    let bytes = bytes.into_bytes();
    let envelope = Envelope::parse(&bytes).unwrap();
    let origin = Origin {
        batch: 1,
        stream: StreamId::parse("c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50").unwrap(),
        sequence: 1,
        ordinal,
        name: format!("{ordinal}.json"),
        sha256: Digest::of(&bytes),
        mtime: None,
        connector: connector.to_owned(),
        connector_name: "Feed".to_owned(),
    };
    Deliverable {
        examined: examiner.examine(&bytes, &envelope).unwrap(),
        connector: envelope.connector,
        name: format!("c1d0a7e23b444f0e-00000001-{ordinal:08}"),
        applicant: None,
        origin,
        bytes,
    }
}

fn file_name(ordinal: usize) -> String {
    format!("c1d0a7e23b444f0e-00000001-{ordinal:08}.json")
}

fn prepare(sink: &mut dyn Sink) -> Vec<Placing> {
    match sink.prepare(&mut Nowhere).1.unwrap() {
        Prepared::Placing(placing) => placing,
        Prepared::Sending(_) => panic!("files are placed"),
    }
}

fn settle(sink: &mut dyn Sink) -> Delivery {
    let (effects, settled) = sink.settle(true, &mut Nowhere);
    settled.unwrap();
    effects.delivery
}

fn recover(sink: &mut dyn Sink, placing: Vec<Placing>) -> Result<Delivery> {
    let (effects, recovered) = sink.recover(placing);
    recovered.map(|()| effects.delivery)
}

/// Destinations on disk write nothing ahead.
struct Nowhere;

impl WriteAhead for Nowhere {
    fn registered(&mut self, id: &str, _: &str, _: bool) -> Result<()> {
        panic!("{id} is registered")
    }

    fn opened(&mut self, _: &ForBatch, id: &str) -> Result<()> {
        panic!("the work {id} is opened")
    }
}

/// Stages these and delivers them.
fn deliver(sink: &mut dyn Sink, envelopes: &[(usize, &str)]) -> Delivery {
    let examiner = sink.examiner();
    for (ordinal, id) in envelopes {
        sink.stage(deliverable(*ordinal, id, examiner)).unwrap();
    }
    prepare(sink);
    settle(sink)
}

fn ordinals(placed: &[Placing]) -> Vec<usize> {
    placed.iter().map(|p| p.ordinal).collect()
}

fn deferred(delivery: &Delivery) -> Vec<(usize, &str)> {
    delivery.deferred.iter().map(|d| (d.placing.ordinal, d.code.word())).collect()
}

/// The names in a directory but the mark.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name != ".airpouch").collect();
    names.sort();
    names
}

fn root_of(dir: &Path) -> Option<PathBuf> {
    let names = names(dir);
    names.iter().find(|name| name.starts_with(".airpouch-")).map(|name| dir.join(name))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

mod directory {
    use super::*;

    fn open(dir: &Path) -> Directory {
        Directory::open(&dir.join("in"), 0, None, 1).unwrap()
    }

    #[test]
    fn other_file_of_an_envelopes_name_is_kept_and_other_envelopes_are_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let out = dir.path().join("in");
        fs::write(out.join(file_name(1)), "another's").unwrap();
        fs::create_dir(out.join(file_name(2))).unwrap();
        fs::write(dir.path().join("victim"), "victim").unwrap();
        symlink("../victim", out.join(file_name(3))).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, out.join(file_name(4)), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let delivery = deliver(&mut sink, &[(1, "feed"), (2, "feed"), (3, "feed"), (4, "feed"), (5, "feed")]);
        assert_eq!(ordinals(&delivery.placed), [5]);
        let taken: Vec<_> = (1..5).map(|ordinal| (ordinal, "name-taken")).collect();
        assert_eq!(super::deferred(&delivery), taken);
        assert!(delivery.deferred[0].what.contains(&file_name(1)));
        assert_eq!(fs::read(out.join(file_name(1))).unwrap(), b"another's");
        assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"victim");
        fs::remove_file(out.join(file_name(1))).unwrap();
        assert_eq!(ordinals(&deliver(&mut sink, &[(1, "feed")]).placed), [1], "the next run tries again");
        drop(sink);
        assert_eq!(root_of(&out), None, "nothing of ours is left");
    }

    #[test]
    fn same_envelope_of_that_name_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        for _ in 0..2 {
            assert_eq!(ordinals(&deliver(&mut sink, &[(1, "feed")]).placed), [1]);
        }
        assert_eq!(names(&dir.path().join("in")).iter().filter(|name| name.ends_with(".json")).count(), 1);
    }

    #[test]
    fn links_at_partial_names_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let victim = dir.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        symlink(&victim, dir.path().join("in").join(file_name(1) + ".partial")).unwrap();
        fs::hard_link(&victim, dir.path().join("in").join(file_name(2) + ".partial")).unwrap();
        let delivery = deliver(&mut sink, &[(1, "feed"), (2, "feed")]);
        assert_eq!(ordinals(&delivery.placed), [1, 2]);
        assert_eq!(fs::read(&victim).unwrap(), b"victim");
        for ordinal in [1, 2] {
            let placed = fs::symlink_metadata(dir.path().join("in").join(file_name(ordinal))).unwrap();
            assert!(placed.is_file() && placed.nlink() == 1);
        }
    }

    #[test]
    fn staged_envelopes_are_out_of_reach_of_other_users() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        fs::set_permissions(dir.path().join("in"), fs::Permissions::from_mode(0o777)).unwrap();
        sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
        prepare(&mut sink);
        let staging = root_of(&dir.path().join("in")).unwrap();
        assert_eq!(mode(&staging), 0o700);
        assert_eq!(names(&staging), [file_name(1) + ".partial"]);
        assert_eq!(names(&dir.path().join("in")).len(), 1, "nothing lies beside it");
    }

    #[test]
    fn file_that_took_the_place_of_a_staged_one_is_not_delivered() {
        for hard_link in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut sink = open(dir.path());
            sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
            prepare(&mut sink);
            let staged = root_of(&dir.path().join("in")).unwrap().join(file_name(1) + ".partial");
            if hard_link {
                fs::hard_link(&staged, dir.path().join("second-name")).unwrap();
            } else {
                fs::write(dir.path().join("forged"), "forged").unwrap();
                fs::rename(dir.path().join("forged"), &staged).unwrap();
            }
            let error = sink.settle(true, &mut Nowhere).1.unwrap_err();
            assert!(error.what.contains("not the file that airpouch wrote"), "{error}");
            assert!(!dir.path().join("in").join(file_name(1)).exists());
        }
    }

    #[test]
    fn group_is_full_by_bytes_long_before_it_is_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let large = |ordinal| {
            let mut large = deliverable(ordinal, "feed", Examiner::Whole);
            large.bytes.resize(crate::limits::PLACING_GROUP_BYTES / 2, b' ');
            large
        };
        assert!(!sink.stage(large(1)).unwrap());
        assert!(sink.stage(large(2)).unwrap());
        prepare(&mut sink);
        assert_eq!(ordinals(&settle(&mut sink).placed), [1, 2]);
        assert!(!sink.stage(large(3)).unwrap(), "the next group begins with none");
    }

    #[test]
    fn crash_before_the_names_is_finished_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
        sink.stage(deliverable(2, "feed", Examiner::Whole)).unwrap();
        let noted = prepare(&mut sink);
        sink.stage(deliverable(3, "feed", Examiner::Whole)).unwrap();
        drop(sink);
        let mut sink = open(dir.path());
        let delivery = recover(&mut sink, noted.clone()).unwrap();
        assert_eq!(ordinals(&delivery.placed), [1, 2]);
        // Once more, as after a crash before that was recorded; and one is eaten already.
        fs::remove_file(dir.path().join("in").join(file_name(1))).unwrap();
        drop(sink);
        let mut sink = open(dir.path());
        assert_eq!(ordinals(&recover(&mut sink, noted).unwrap().placed), [1, 2]);
        drop(sink);
        assert_eq!(names(&dir.path().join("in")), [file_name(2)], "what was not noted is swept away");
    }

    #[test]
    fn crash_of_airpouch_0_1_0_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
        let noted = prepare(&mut sink);
        drop(sink);
        let out = dir.path().join("in");
        let staging = root_of(&out).unwrap();
        fs::rename(staging.join(file_name(1) + ".partial"), out.join(file_name(1) + ".partial")).unwrap();
        fs::write(out.join(file_name(9) + ".partial"), "not noted").unwrap();
        let mut sink = open(dir.path());
        assert_eq!(ordinals(&recover(&mut sink, noted).unwrap().placed), [1]);
        drop(sink);
        assert_eq!(names(&out), [file_name(1)]);
    }

    #[test]
    fn work_of_another_users_run_is_not_taken_for_delivered() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
        let noted = prepare(&mut sink);
        drop(sink);
        let staging = root_of(&dir.path().join("in")).unwrap();
        chown(&staging, Some(65_534), None).unwrap();
        let mut sink = open(dir.path());
        let error = recover(&mut sink, noted.clone()).unwrap_err();
        assert!(error.what.contains("a run of another user was cut off here"), "{error}");
        // Another user's directory that holds nothing of ours is no obstacle, and is not used.
        fs::remove_file(staging.join(file_name(1) + ".partial")).unwrap();
        fs::set_permissions(&staging, fs::Permissions::from_mode(0o777)).unwrap();
        let mut sink = open(dir.path());
        assert_eq!(ordinals(&recover(&mut sink, noted).unwrap().placed), [1]);
        sink.stage(deliverable(2, "feed", Examiner::Whole)).unwrap();
        prepare(&mut sink);
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
    }

    #[test]
    fn times_continue_after_a_crash_whatever_the_clock_shows() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        sink.stage(deliverable(1, "feed", Examiner::Whole)).unwrap();
        let mut noted = prepare(&mut sink);
        drop(sink);
        // The clock was set back by a day since.
        noted[0].order += 86_400 * 1_000_000_000;
        let mut sink = open(dir.path());
        recover(&mut sink, noted.clone()).unwrap();
        sink.stage(deliverable(2, "feed", Examiner::Whole)).unwrap();
        let next = prepare(&mut sink);
        assert!(next[0].order > noted[0].order, "the connector would pass over it");
        settle(&mut sink);
        let file = fs::metadata(dir.path().join("in").join(file_name(2))).unwrap();
        assert_eq!(file.mtime() * 1_000_000_000 + file.mtime_nsec(), next[0].order);
    }

    #[test]
    fn odd_marker_file_is_not_read_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let marker = dir.path().join("in/.airpouch");
        fs::write(dir.path().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
        for make in [
            &(|| symlink("../secret", &marker).unwrap()) as &dyn Fn(),
            &|| rustix::fs::mknodat(rustix::fs::CWD, &marker, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
            &|| fs::write(&marker, "x".repeat(5000)).unwrap(),
            &|| fs::write(&marker, "password of somebody").unwrap(),
        ] {
            fs::remove_file(&marker).unwrap();
            make();
            let error = Directory::open(&dir.path().join("in"), 0, None, 1).err().unwrap();
            assert!(error.place.as_ref().unwrap().ends_with("/.airpouch"), "{error}");
            assert!(!error.to_string().contains("password of"), "{error}");
        }
    }
}

mod spool {
    use super::*;

    fn open(dir: &Path) -> Spool {
        Spool::open(&dir.join("spool"), 0, None, 1).unwrap()
    }

    #[test]
    fn message_that_is_gone_before_it_has_its_name_is_not_taken_for_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let examiner = sink.examiner();
        sink.stage(deliverable(1, "feed", examiner)).unwrap();
        let noted = prepare(&mut sink);
        fs::remove_file(dir.path().join("spool/feed/000000000001.json.partial")).unwrap();
        let (effects, settled) = sink.settle(true, &mut Nowhere);
        let error = settled.unwrap_err();
        assert!(error.what.contains("give a message its name") && effects.delivery.is_empty(), "{error}");
        // After a crash nobody can tell, and it had its name most likely.
        assert_eq!(ordinals(&recover(&mut open(dir.path()), noted).unwrap().placed), [1]);
    }

    #[test]
    fn crash_before_the_names_leaves_no_message_of_a_group_that_was_noted_and_none_that_was_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let examiner = sink.examiner();
        for (ordinal, id) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] {
            sink.stage(deliverable(ordinal, id, examiner)).unwrap();
        }
        let mut noted = prepare(&mut sink);
        // As if the fourth had been written by a later group, of which the crash came before it was noted.
        noted.truncate(3);
        drop(sink);
        let delivery = recover(&mut open(dir.path()), noted).unwrap();
        assert_eq!(ordinals(&delivery.placed), [1, 2, 3]);
        let spool = dir.path().join("spool");
        let left = |id: &str| names(&spool.join(id));
        assert_eq!(left("a"), ["000000000001.json", "000000000003.json", "connector.json"]);
        assert_eq!(left("b"), ["000000000002.json", "connector.json"]);
    }

    #[test]
    fn connectors_whose_directory_is_odd_wait_and_others_are_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        let spool = dir.path().join("spool");
        symlink("/", spool.join("link")).unwrap();
        fs::write(spool.join("file"), "").unwrap();
        fs::create_dir_all(spool.join("registration/connector.json")).unwrap();
        fs::create_dir(spool.join("ours")).unwrap();
        let mut odd = vec!["link", "file", "registration"];
        if is_root() {
            fs::create_dir(spool.join("others")).unwrap();
            chown(spool.join("others"), Some(65_534), None).unwrap();
            odd.push("others");
        }
        recover(&mut sink, Vec::new()).unwrap();
        let all: Vec<_> = odd.iter().chain(&["ours"]).enumerate().map(|(at, id)| (at + 1, *id)).collect();
        let delivery = deliver(&mut sink, &all);
        assert_eq!(ordinals(&delivery.placed), [all.len()]);
        assert_eq!(super::deferred(&delivery), (1..all.len()).map(|at| (at, "spool-directory")).collect::<Vec<_>>());
        assert!(delivery.deferred[0].what.contains("something else than a directory"), "{:?}", delivery.deferred);
        assert_eq!(names(&spool.join("ours")).len(), 2);
        assert_eq!(fs::read_dir(spool.join("registration/connector.json")).unwrap().count(), 0);
    }

    #[test]
    fn connector_that_cannot_be_written_waits_with_all_its_later_envelopes() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        assert_eq!(ordinals(&deliver(&mut sink, &[(1, "feed")]).placed), [1]);
        // The name of its next message's partial file is taken by a directory that holds something.
        fs::create_dir_all(dir.path().join("spool/feed/000000000002.json.partial/x")).unwrap();
        let delivery = deliver(&mut sink, &[(2, "feed"), (3, "feed"), (4, "other")]);
        assert_eq!(ordinals(&delivery.placed), [4]);
        assert_eq!(super::deferred(&delivery), [(2, "spool-directory"), (3, "spool-directory")]);
        drop(sink);
        // The next run passes over that number.
        let mut sink = open(dir.path());
        recover(&mut sink, Vec::new()).unwrap();
        assert_eq!(ordinals(&deliver(&mut sink, &[(2, "feed"), (3, "feed")]).placed), [2, 3]);
        let left = names(&dir.path().join("spool/feed"));
        assert_eq!(left.iter().filter(|name| name.ends_with(".partial")).count(), 1, "{left:?}");
    }

    #[test]
    fn spool_that_others_may_enter_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        deliver(&mut sink, &[(1, "feed")]);
        drop(sink);
        let spool = dir.path().join("spool");
        for path in [&spool, &spool.join("feed")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut sink = open(dir.path());
        recover(&mut sink, Vec::new()).unwrap();
        assert_eq!((mode(&spool), mode(&spool.join("feed"))), (0o700, 0o700));
        for name in names(&spool.join("feed")) {
            assert_eq!(mode(&spool.join("feed").join(name)), 0o600);
        }
    }

    #[test]
    fn directory_of_other_things_is_not_closed_to_those_who_use_it() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("notes"), "").unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        let error = Spool::open(&shared, 0, None, 1).err().unwrap();
        assert!(error.what.contains("other users may enter this directory"), "{error}");
        assert_eq!((mode(&shared), names(&shared)), (0o777, vec!["notes".to_owned()]));
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(Spool::open(&shared, 0, None, 1).is_ok());
    }

    #[test]
    fn spool_of_another_user_is_refused() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        chown(dir.path().join("spool"), Some(65_534), None).unwrap();
        let error = Spool::open(&dir.path().join("spool"), 0, None, 1).err().unwrap();
        assert!(error.what.contains("belongs to another user (uid 65534)"), "{error}");
        assert_eq!(names(&dir.path().join("spool")), Vec::<String>::new(), "no litter");
    }
}
