//! Converting packets back into owned values: on the stack, and onto the heap.

use std::thread;

use super::{Unpack, UnpackError};

/// Values larger than this are unpacked by a thread of their own.
const LARGE: usize = 64 << 10;

/// Copies of a value that the stack has room for. Building a value moves it several times, and a
/// build without optimizations keeps each copy.
const COPIES: usize = 16;

/// Converts a packet into an owned value. The packet may be in any guard.
///
/// # Errors
///
/// A [wrapper](crate::with) of a field fails.
///
/// ```
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut out, mut all) = (ring.any_publisher()?, ring.any_subscriber()?);
/// out.send(&String::from("a text"))?;
/// let message = all.recv()?;
/// let text: String = packetring::packet::unpack::<String>(message.open_as::<String>()?)?;
/// assert_eq!(text, "a text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack<T: Unpack>(archived: &T::Archived) -> Result<T, UnpackError> {
    T::unpack(archived)
}

/// Converts a packet into an owned value on the heap, also if the stack is too small for it.
///
/// For large arrays. [`unpack`] moves the value over the stack, and a value of several MiB
/// overflows it.
///
/// Cost: a value of more than 64 KiB is unpacked by a thread with a stack of 16 times that size,
/// which ends before the call returns.
///
/// # Errors
///
/// A [wrapper](crate::with) of a field fails, or no thread can be started.
///
/// ```
/// type Frame = [[u8; 1024]; 6 << 10];
/// # let ring = packetring::Ring::builder().capacity(16 << 20).heap()?;
/// # let (mut out, mut all) = (ring.publisher::<Frame>()?, ring.subscriber::<Frame>()?);
/// # drop(packetring::Reserved::commit(out.reserve()?));
/// let frame: Box<Frame> = packetring::packet::unpack_boxed::<Frame>(&*all.recv()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack_boxed<T: Unpack + Send>(archived: &T::Archived) -> Result<Box<T>, UnpackError> {
    if size_of::<T>() <= LARGE {
        return unpack_here::<T>(archived);
    }
    thread::scope(|scope| {
        let stack = size_of::<T>().saturating_mul(COPIES).saturating_add(1 << 20);
        let thread = thread::Builder::new().stack_size(stack);
        let thread = thread.spawn_scoped(scope, || unpack_here::<T>(archived));
        match thread.map_err(UnpackError::no_thread)?.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Converts a packet into an owned value, over the stack of this thread.
// Inlined, its frame would be that of the caller, also where it is not called.
#[inline(never)]
fn unpack_here<T: Unpack>(archived: &T::Archived) -> Result<Box<T>, UnpackError> {
    T::unpack(archived).map(Box::new)
}
