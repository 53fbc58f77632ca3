//! Every bound, with its reason. Sizes in bytes unless the name says otherwise.

use std::time::Duration;

/// A manifest: some 1.3 KB for one volume, 120 bytes more a volume; 4 GiB of envelopes need 16 volumes.
pub const MANIFEST_MAX: u64 = 256 << 10;

/// An index as it lies on a shelf: 200,000 lines of a few hundred bytes compress to far less.
pub const INDEX_PACKED_MAX: u64 = 64 << 20;

/// An index unpacked: 200,000 lines of a few hundred bytes are a tenth of it. It is read line by line, so that what it
/// takes in memory is bounded by its lines and not by this.
pub const INDEX_UNPACKED_MAX: u64 = 512 << 20;

/// The first line of an index: the kinds of a hundred connectors have some hundred KiB. Where it would be longer, pack
/// counts all kinds together.
pub const KINDS_LINE_MAX: u64 = 16 << 20;

/// A file's name in an index. Linux's own file systems have 255 bytes, each of which takes three where it is no UTF-8;
/// FUSE allows more, and pack cuts what is longer.
pub const NAME_MAX: usize = 1024;

/// Any other line of an index: a name of which every byte is escaped (`\u00xx`), and some 200 bytes.
pub const INDEX_LINE_MAX: u64 = 6 * NAME_MAX as u64 + 512;

/// The tar stream of one volume: no file of ours comes near FAT32's 4 GiB, and one can be held in memory.
pub const VOLUME_UNPACKED_MAX: u64 = 256 << 20;

/// A volume as it lies on a shelf: what does not compress grows by far less than this.
pub const VOLUME_PACKED_MAX: u64 = VOLUME_UNPACKED_MAX + (4 << 20);

/// The smallest volume that may be asked for: smaller ones would only be headers.
pub const VOLUME_SIZE_MIN: u64 = 64 << 10;

/// One envelope: a volume's room, less its header, padding and the two zero blocks.
pub const ENVELOPE_MAX: u64 = VOLUME_UNPACKED_MAX - 2048;

/// Volumes of one batch: four digits in their names.
pub const VOLUMES_MAX: usize = 9_999;

/// Envelopes of one batch, so that its index stays in memory: some 30 MB with names as connectors give them.
pub const BATCH_ENVELOPES_MAX: u64 = 200_000;

/// Bytes of envelopes in one batch before it closes.
pub const BATCH_BYTES_MAX: u64 = 4 << 30;

/// Connectors or applicants in one manifest; each takes some 200 bytes of the manifest's 256 KiB.
pub const PARTIES_MAX: usize = 1_000;

/// Pairs of an applicant and a connector in one batch, for them to be counted: as many as all applicants with a few
/// connectors each have. All batches that wait have theirs in memory at once.
pub const PAIRS_MAX: usize = 4_000;

/// Characters of the name that a person gives an applicant here.
pub const APPLICANT_NAME_MAX: usize = 100;

/// The largest number in a manifest or an index: what a double holds exactly (I-JSON, RFC 7493).
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Digests in a manifest's `history`.
pub const HISTORY_LENGTH: usize = 32;

/// Streams that one goes on from, followed back. A stream is renewed when its exporter's ledger was lost.
pub const LINEAGE_MAX: usize = 256;

/// Object types or markings named apart in an index; further ones count on `*`.
pub const NAMED_KINDS_MAX: usize = 256;

/// JSON levels in an envelope: Python's reader gives up near 990.
pub const DEPTH_MAX: usize = 950;

/// Bytes of a connector's name, type or scope text, and of an applicant's id.
pub const PARTY_TEXT_MAX: usize = 1024;

/// Objects in one bundle. ATT&CK, the largest we know, has 24,771.
pub const OBJECTS_MAX: u64 = 1_000_000;

/// Bytes of a connector's id.
pub const CONNECTOR_ID_MAX: usize = 128;

/// Keys in one JSON object of a bundle.
pub const KEYS_MAX: usize = 65_536;

/// Keys in all JSON objects that stand open inside each other: each takes some 60 bytes until its object ends, and as
/// few as 8 in the text. Objects of [`KEYS_MAX`] keys may stand four deep.
pub const OPEN_KEYS_MAX: usize = 4 * KEYS_MAX;

/// Keys that stand twice in one envelope before it is not read as Python reads it: each takes 100 bytes, as few as 7 in
/// the text. Such an envelope is quarantined in any case; this counts once a person has released it.
pub const DUPLICATE_KEYS_MAX: usize = 10_000;

/// Bytes of one key in a bundle.
pub const KEY_LENGTH_MAX: usize = 4_096;

/// References that are followed in one bundle, repeated ones too: an envelope full of relationships has not two million.
/// Each takes some 170 bytes while a bundle is taken apart, as few as 8 in the envelope.
pub const REFERENCES_MAX: usize = 3_000_000;

/// Decimal digits of the number of an object's dependencies. Genuine bundles stay below 10; 212 layers of objects that
/// all refer to two of the layer below come to 64. The message of each object has each digit twice.
pub const DEPENDENCY_DIGITS_MAX: u32 = 64;

/// Bytes of an object's id or type.
pub const ID_LENGTH_MAX: usize = 1_024;

/// The zstd window, as an exponent of two: what plain `zstd -d` accepts without being asked.
pub const WINDOW_LOG: u32 = 27;

/// Folders below a medium that are looked into: a scanner's date and verdict folders, and one more.
pub const MEDIUM_DEPTH: usize = 3;

/// Names on a medium that are looked at.
pub const MEDIUM_NAMES_MAX: usize = 100_000;

/// Signature files of its name tried for one manifest, and kept with it.
pub const SIGNATURES_MAX: usize = 32;

/// Bytes of a PEM key file, `trust.toml` or `policy.toml`.
pub const SETTINGS_FILE_MAX: u64 = 1 << 20;

/// Records in the list of objects of one batch: one for each object of each envelope. Each takes 16 bytes in memory until the
/// batch is done, and 12 on disk. Batches as connectors write them have fewer than a million.
pub const LIST_RECORDS_MAX: usize = 5_000_000;

/// Envelopes that `log` names of one answer: an identity or a marking is in almost all.
pub const FOUND_ENVELOPES_MAX: usize = 1_000;

/// Bytes of one line of the journal, so that a reader of it needs no more memory, and a person can look at it.
pub const JOURNAL_LINE_MAX: usize = 64 << 10;
/// Bytes of a head of a journal that travels with the key that signed it.
pub const JOURNAL_HEAD_MAX: u64 = 4096;

/// Heads of a stream that a code of arrival is held against, the newest first: a code is seldom said weeks later. Of as many
/// heads somebody who guesses hits one in a thousand million tries.
pub const ARRIVAL_HEADS_MAX: u64 = 1_024;

/// Codes of arrival that may fit no head in [`WRONG_CODES_TIME`]: then none is tried. Whoever types five an hour, day and
/// night, hits a head in some 25,000 years.
pub const WRONG_CODES_MAX: u64 = 5;

/// Seconds for which a wrong code counts.
pub const WRONG_CODES_TIME: i64 = 3_600;

/// Bytes of a pairing as it is typed: 28 symbols, with blanks and dashes as people like them.
pub const PAIRING_TYPED_MAX: u64 = 1_024;

/// Bytes of one stream that are copied to held/ and quarantine/: as many as one batch may hold. What is more lies in the
/// inbox alone, packed, so that one stream does not fill the disk for all others.
pub const SET_ASIDE_QUOTA: u64 = BATCH_BYTES_MAX;

/// Envelopes set aside between two commits.
pub const ASIDE_GROUP: usize = 1_000;

/// Files placed between two commits: envelopes by the sink `dir:`, messages by `spool:`, where one envelope more may go
/// beyond it. Each commit waits for the disk several times, and writes each page of the ledger that it touched, which are
/// as many as digests: of 100,000 small envelopes in groups of 1,000 the whole table is written a hundred times.
pub const PLACING_GROUP: usize = 10_000;

/// Bytes of such a group: so much waits for the disk at its end, and is placed only then.
pub const PLACING_GROUP_BYTES: usize = 64 << 20;

/// Bytes of a frame to and from a broker: RabbitMQ's own default. lapin sets 64 of them aside, so that a broker that names
/// no limit (`frame_max = 0`) would ask for 256 GiB.
pub const BROKER_FRAME: u32 = 131_072;

/// Channels of a connection to a broker: RabbitMQ's own default. Few are open at a time, but the broker closes one for each
/// queue that is looked for and not there, and lapin gives such a number out again only once all others were given out.
pub const BROKER_CHANNELS: u16 = 2_047;

/// Tables within tables that a broker may send; RabbitMQ has one within one. lapin's stack ends below 2,000.
pub const BROKER_NESTING: usize = 16;

/// Bytes of the header of a message that a broker returns: ours have fewer than 200, and plugins may add something.
pub const BROKER_HEADER: usize = 4_096;

/// Directories of connectors in a spool that are open at a time: a process may have 1,024 descriptors in all.
pub const CONNECTORS_OPEN_MAX: usize = 256;

/// The kernel's list of mounts: some 150 bytes each, and a machine of many containers has some 10,000.
pub const MOUNTS_MAX: u64 = 16 << 20;

/// The kernel's list of locks: some 60 bytes each, and a machine of many databases has some thousands.
pub const LOCKS_LISTED_MAX: u64 = 4 << 20;

/// How long a run waits for the lock of a site that only the process of a dead run still has. That lets go of it as soon
/// as the system has loaded a program: in milliseconds, on a machine without memory to spare in seconds.
pub const LEFT_LOCK_LIMIT: Duration = Duration::from_secs(30);

/// Seconds by which a line of a journal is earlier than the one before it for that to be told: a clock that is kept right
/// is moved by less.
pub const CLOCK_SET_BACK_MIN: u64 = 60;

/// Places of a journal at which the clock was set back that are named; a clock that always lies has as many as lines.
pub const CLOCK_SET_BACKS_SHOWN: usize = 20;

/// Seconds after which a connector that has brought nothing counts as one that has ended.
pub const QUIET_MAX: u64 = 30 * 86_400;

/// Lines of a journal that are named as against the rules of then; more are counted.
pub const AGAINST_RULES_SHOWN: u64 = 20;

/// Quarantined envelopes that an audit watches at once: some 64 MiB.
pub const AUDIT_QUARANTINED_MAX: usize = 1_000_000;

/// Connectors of a destination of which people were told that they exist there: a platform has some hundreds.
pub const SHOWN_MAX: usize = 10_000;

/// Works of a destination that are gone and not settled: whoever clears more of them settles them by batch all the same.
pub const GONE_WORKS_MAX: usize = 10_000;

/// Works of a destination that were closed and whose end nobody has asked for. A site that never does keeps the newest: some
/// 200 bytes each, and the platform forgets them after days.
pub const SENT_WORKS_MAX: usize = 100_000;

/// Works that one run of `follow` asks for, the oldest first: two questions each, some minutes for all.
pub const FOLLOWED_WORKS_MAX: usize = 10_000;

/// Bytes of an answer of the platform. The largest that airpouch asks for, its connectors, takes some hundred kilobytes.
pub const PLATFORM_ANSWER_MAX: u64 = 1 << 20;

/// Bytes of an answer with the errors of a work: the platform keeps 100, with 50,000 characters of each object.
pub const WORK_ERRORS_ANSWER_MAX: u64 = 16 << 20;

/// Connectors of which a drain remembers that a work was cleared. What it remembers is one file of [`SETTINGS_FILE_MAX`],
/// in which each takes some 300 bytes; a spool has some hundreds of connectors.
pub const DRAIN_GONE_MAX: usize = 1_000;

/// An envelope that is taken apart before its turn, beside others. Taken apart, one takes up to five times its size; of
/// larger ones only the one whose turn it is may.
pub const EXAMINED_AHEAD_MAX: usize = 8 << 20;

/// Small envelopes that one note of the site says to be in examination: each costs the next run a process of its own if
/// the run is killed.
pub const EXAMINED_GROUP_MAX: usize = 32;

/// Bytes of such a group; a larger envelope has a note of its own.
pub const EXAMINED_GROUP_BYTES: u64 = 1 << 20;

/// Notes at one time: some for each thread, and those of large envelopes that wait for their turn.
pub const EXAMINING_SLOTS_MAX: usize = 512;

/// Runs that may die of an envelope which comes through in a process of its own, before it is quarantined.
pub const DEATHS_MAX: u32 = 3;

/// Statements of SQLite that are kept compiled: the ledger has some 80, of some kilobytes each, and a run that asks them in
/// turn for thousands of streams or batches compiles each once.
pub const STATEMENTS_KEPT: usize = 128;

/// The time that a process of its own may take for one envelope. The largest one takes some seconds; a machine without
/// memory to spare takes many times as long, and tries again at each import. Without a limit one envelope would hold up
/// all others for ever.
pub const EXAMINED_APART_LIMIT: Duration = Duration::from_secs(120);

/// Files of a spool that `status` looks at: it counts as many in a quarter of a second, and says that there are more.
pub const BACKLOG_FILES_MAX: u64 = 100_000;
