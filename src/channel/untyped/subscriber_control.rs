//! The methods of a subscriber that do not depend on its packets, written once for both
//! subscribers.

/// Writes the methods. The subscriber has a field `receiver`.
macro_rules! subscriber_control {
    ($subscriber:ty $(, $packet:ident)?) => {
        impl$(<$packet: $crate::Packet>)? $subscriber {
            /// Length of the packets that wait to be received, in slots of 64 bytes. A packet takes
            /// 16 bytes more than its archive, rounded up to slots. Claims that are not committed
            /// yet count, too.
            pub fn backlog(&self) -> u64 {
                self.receiver.backlog()
            }

            /// Why no process can join the ring any more; `None` if one can. Makes three system
            /// calls.
            pub fn detachment(&self) -> Option<$crate::Detachment> {
                self.receiver.entry.segment.detachment()
            }

            /// Returns true if no process can join the ring any more: see
            /// [`detachment`](Self::detachment).
            pub fn is_detached(&self) -> bool {
                self.detachment().is_some()
            }

            /// Changes how this subscriber waits from now on.
            pub fn set_wait(&mut self, wait: $crate::Wait) {
                self.receiver.entry.waiter.set(wait);
            }

            /// Makes the slots read-only in this subscriber's mapping, until it is dropped. A store
            /// to one, by faulty `unsafe` code, then ends the process with SIGSEGV. Does nothing in
            /// a ring on the heap.
            ///
            /// Not the default, because it can be slow: on processors that prefetch read-only lines
            /// differently, packets of 4 to 64 KiB took up to twice as long.
            ///
            /// # Errors
            ///
            /// [`System`](OpenError::System).
            pub fn protect(&mut self) -> Result<(), OpenError> {
                self.receiver.entry.segment.protect_slots()
            }
        }
    };
}

pub(in crate::channel) use subscriber_control;
