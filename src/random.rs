//! Random bytes from the kernel.

use crate::error::{Error, Result};

/// So many random bytes.
///
/// # Errors
/// The kernel has none.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(bytes)
}
