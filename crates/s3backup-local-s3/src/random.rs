//! Random names and secrets.

use crate::Error;

const UPPER_AND_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// 128 random bits, for the names of blobs and uploads.
///
/// They must not repeat, not be secret, so the generator of the thread is enough.
pub(crate) fn id() -> u128 {
    fastrand::u128(..)
}

/// Text of `length` letters and digits (5 random bits each) from the system's generator.
pub(crate) fn secret(length: usize) -> Result<String, Error> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|source| Error::Random { source: std::io::Error::other(source) })?;
    Ok(bytes.into_iter().map(|byte| char::from(UPPER_AND_DIGITS[usize::from(byte % 32)])).collect())
}
