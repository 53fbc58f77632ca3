//! An envelope's entry in the tar stream of a volume: its header and its room. Each byte of it follows from the index.

use std::sync::LazyLock;

use crate::mtime::Mtime;

/// Bytes of the two zero blocks that end a tar stream.
pub const END: u64 = 1024;

/// Bytes of a block of tar.
pub const BLOCK: u64 = 512;

/// Bytes that an envelope of this size takes in the tar stream.
pub fn room(bytes: u64) -> u64 {
    BLOCK + bytes.div_ceil(BLOCK) * BLOCK
}

/// The 512 bytes before an envelope, as tar's `Header::new_ustar` makes them.
pub fn header(ordinal: usize, bytes: u64, mtime: Mtime) -> [u8; 512] {
    // What all headers have in common is made once, and the rest is filled in here: made by tar from the beginning, a
    // header takes as long as digesting a small envelope.
    static COMMON: LazyLock<[u8; 512]> = LazyLock::new(|| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        // The sum is taken over blanks in its own place.
        header.as_old_mut().cksum = [b' '; 8];
        *header.as_bytes()
    });
    let mut header = *COMMON;
    let name = format!("{ordinal:08}.json");
    header[..name.len()].copy_from_slice(name.as_bytes());
    put_octal(&mut header[124..136], bytes);
    put_octal(&mut header[136..148], mtime.seconds().clamp(0, 8i64.pow(11) - 1) as u64);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    put_octal(&mut header[148..156], sum);
    header
}

/// Fills a field with octal digits and a NUL behind them.
fn put_octal(field: &mut [u8], mut number: u64) {
    let Some((end, digits)) = field.split_last_mut() else { return };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 8) as u8;
        number /= 8;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{BATCH_ENVELOPES_MAX, ENVELOPE_MAX};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn header_is_the_one_that_the_tar_crate_makes(
            ordinal in 1..=BATCH_ENVELOPES_MAX as usize,
            bytes in 0..=ENVELOPE_MAX,
            seconds in any::<i64>(),
        ) {
            let mtime = Mtime::new(seconds, 0);
            let mut expected = tar::Header::new_ustar();
            expected.set_path(format!("{ordinal:08}.json")).unwrap();
            expected.set_mode(0o644);
            expected.set_uid(0);
            expected.set_gid(0);
            expected.set_size(bytes);
            expected.set_mtime(mtime.seconds().clamp(0, 8i64.pow(11) - 1) as u64);
            expected.set_entry_type(tar::EntryType::Regular);
            expected.set_cksum();
            prop_assert_eq!(&header(ordinal, bytes, mtime), expected.as_bytes());
        }
    }
}
