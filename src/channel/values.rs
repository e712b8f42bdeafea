//! The packets of a subscriber as owned values: an iterator, and a stream for tasks.

use super::error::{RecvError, ValueError};
use super::received::Received;
use super::subscriber::Subscriber;
#[cfg(feature = "async")]
use super::waitable::{forget_task, poll_ready};
use crate::packet::{Packet, Unpack};
use std::fmt;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::{Context, Poll};

impl<T: Packet> Subscriber<T> {
    /// The packets as owned values, until the ring is closed or its last publisher has left. Waits
    /// for each.
    ///
    /// Losses in a ring that drops the oldest are items, too. Each packet is released before its
    /// value is returned, so a durable subscriber does not receive it again.
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
        Values { subscriber: self }
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
}

impl<T: Packet> fmt::Debug for Values<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subscriber.fmt(f)
    }
}

impl<T: Unpack> Iterator for Values<'_, T> {
    type Item = Result<T, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.subscriber.recv() {
            Ok(received) => Some(Received::unpack(received).map_err(ValueError::from)),
            Err(RecvError::Closed) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// The values of a [`Subscriber`], as a stream. [`stream`](Subscriber::stream) returns it.
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
        let polled = poll_ready(&mut self.values.subscriber.receiver, context);
        self.is_pending |= polled.is_pending();
        polled.map(|ready| match ready {
            Ok(()) => self.values.next(),
            Err(error) => Some(Err(RecvError::System(error).into())),
        })
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
