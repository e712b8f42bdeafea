//! The packets of a subscriber as owned values: an iterator, and a stream for tasks.

use super::error::{RecvError, RecvFailure, ValueError};
use super::received::Received;
use super::subscriber::Subscriber;
#[cfg(feature = "async")]
use super::waitable::{forget_task, poll_ready};
use crate::packet::{Packet, Unpack};
use crate::ring::cursor::{Cursor, Taken};
use crate::wait::Timeout;
use std::fmt;
use std::iter::FusedIterator;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::Context;
use std::task::Poll;

impl<T: Packet> Subscriber<T> {
    /// The packets as owned values, until the ring is closed or its last publisher has left. Waits
    /// for each.
    ///
    /// Losses in a ring that drops the oldest are items, too. An error that would come again each
    /// time, such as that of a [`Stop`](crate::Stop), is the last item. Each packet is released
    /// before its value is returned, so a durable subscriber does not receive it again.
    ///
    /// ```
    /// # let ring = packetring::Ring::builder().heap()?;
    /// # let (mut out, mut names) = (ring.publisher::<String>()?, ring.subscriber::<String>()?);
    /// # out.send(&"ada".to_owned())?; drop(out);
    /// for name in names.values() {
    ///     let name: String = name?;
    ///     assert_eq!(name, "ada");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&mut self) -> Values<'_, T>
    where
        T: Unpack,
    {
        Values { subscriber: self, is_over: false }
    }

    /// A stream of owned values, for any executor. It ends as [`values`](Self::values) does.
    #[cfg(feature = "async")]
    pub fn stream(&mut self) -> ValueStream<'_, T>
    where
        T: Unpack,
    {
        ValueStream { values: self.values(), is_pending: false }
    }
}

/// Iterator over a subscriber's packets as owned values: see [`Subscriber::values`].
#[must_use = "iterators are lazy"]
pub struct Values<'a, T: Packet> {
    subscriber: &'a mut Subscriber<T>,
    /// No item follows.
    is_over: bool,
}

impl<T: Packet> fmt::Debug for Values<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subscriber.fmt(f)
    }
}

impl<T: Unpack> Values<'_, T> {
    /// The next item. Pending if there is none yet and the call does not wait.
    fn item(&mut self, timeout: Timeout) -> Poll<Option<Result<T, ValueError>>> {
        let before = self.subscriber.receiver.cursor.position();
        match self.subscriber.take_next::<RecvFailure>(timeout) {
            Ok(taken) => Poll::Ready(self.value_of(taken)),
            Err(RecvFailure::NotReady(())) => Poll::Pending,
            Err(RecvFailure::Error(error)) => {
                let has_moved = self.subscriber.receiver.cursor.position() != before;
                Poll::Ready(self.failed(error, has_moved))
            }
        }
    }

    /// The item of a packet that was taken.
    #[inline(always)]
    fn value_of(&mut self, taken: Taken) -> Option<Result<T, ValueError>> {
        match self.subscriber.open(taken).map(Received::unpack) {
            Ok(value) => Some(value.map_err(ValueError::from)),
            // The packet was released.
            Err(error) => self.failed(error, true),
        }
    }

    /// The item of an error. `has_moved`: the next receive finds something else.
    fn failed(&mut self, error: RecvError, has_moved: bool) -> Option<Result<T, ValueError>> {
        let is_past = match error {
            RecvError::Missed(_) | RecvError::TypeMismatch(_) => true,
            RecvError::Corrupt(_) => has_moved,
            RecvError::Closed
            | RecvError::Detached(_)
            | RecvError::Stopped
            | RecvError::System(_) => false,
        };
        self.is_over = !is_past;
        (!matches!(error, RecvError::Closed)).then(|| Err(error.into()))
    }
}

impl<T: Unpack> Iterator for Values<'_, T> {
    type Item = Result<T, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        loop {
            if let Poll::Ready(item) = self.item(Timeout::Never) {
                return item;
            }
        }
    }
}

impl<T: Unpack> FusedIterator for Values<'_, T> {}

/// The values of a [`Subscriber`], as a stream. [`stream`](Subscriber::stream) returns it. It ends
/// as [`Values`] does.
#[cfg(feature = "async")]
#[must_use = "a stream does nothing unless it is polled"]
pub struct ValueStream<'a, T: Packet> {
    values: Values<'a, T>,
    is_pending: bool,
}

#[cfg(feature = "async")]
impl<T: Packet> fmt::Debug for ValueStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

#[cfg(feature = "async")]
impl<T: Unpack> futures_core::Stream for ValueStream<'_, T> {
    type Item = Result<T, ValueError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.values.is_over {
            if let Some(taken) = self.values.subscriber.take_fast() {
                return Poll::Ready(self.values.value_of(taken));
            }
            match poll_ready(&mut self.values.subscriber.receiver, context) {
                Poll::Pending => {
                    self.is_pending = true;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(self.values.failed(RecvError::System(error), false));
                }
                Poll::Ready(Ok(())) => {}
            }
            if let ready @ Poll::Ready(_) = self.values.item(Timeout::Zero) {
                return ready;
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(feature = "async")]
impl<T: Unpack> futures_core::FusedStream for ValueStream<'_, T> {
    fn is_terminated(&self) -> bool {
        self.values.is_over
    }
}

#[cfg(feature = "async")]
impl<T: Packet> Drop for ValueStream<'_, T> {
    fn drop(&mut self) {
        if self.is_pending {
            forget_task(&mut self.values.subscriber.receiver);
        }
    }
}
