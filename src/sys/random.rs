//! Numbers that nobody can foresee.

use std::io;

/// 64 random bits.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: writes to `bytes`, as many as there are.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        // The kernel gives so few whole.
        8 => Ok(u64::from_le_bytes(bytes)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
