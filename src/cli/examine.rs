//! An examination in a process of its own: what import starts where a run has died of an envelope. No person types it,
//! so it is in no help; it says nothing, for whoever started it looks at how it ends.

use std::io::{self, Read};

use airpouch::digest::Digest;
use airpouch::envelope::Envelope;
use airpouch::fit::{Examined, Examiner};
use airpouch::limits::{ENVELOPE_MAX, EXAMINED_GROUP_BYTES};
use airpouch::opencti::message::{Addressee, spare_bundle_id};
use airpouch::report::ExitStatus;

use super::stop;

/// Memory that a run has in use beside a large envelope.
const BESIDE: usize = 128 << 20;

/// Does with the envelope on standard input what an import would do with it, and throws it away.
pub fn run(examiner: Option<&str>) -> ExitStatus {
    stop::leave_to_parent();
    let Some(examiner) = examiner.and_then(|word| word.parse::<Examiner>().ok()) else {
        return ExitStatus::Usage;
    };
    let mut bytes = Vec::new();
    if io::stdin().lock().take(ENVELOPE_MAX).read_to_end(&mut bytes).is_err() {
        return ExitStatus::Failed;
    }
    // A run holds more than this process does: the packed volume, and what waits for its turn. A small envelope leaves
    // room for that in any case.
    let beside = if bytes.len() as u64 > EXAMINED_GROUP_BYTES { BESIDE + 2 * bytes.len() } else { 0 };
    let beside = vec![1_u8; beside];
    let Ok(envelope) = Envelope::parse(&bytes) else { return ExitStatus::Done };
    if let Ok(Examined::Messages(messages)) = examiner.examine(&bytes, &envelope) {
        let (text, spare_id) = (String::from_utf8_lossy(&bytes), spare_bundle_id(Digest::of(&bytes)));
        let mut message = String::new();
        for at in 0..messages.count() {
            message.clear();
            messages.write(&mut message, &text, at, &Addressee::default(), &spare_id);
        }
    }
    drop(std::hint::black_box(beside));
    ExitStatus::Done
}
