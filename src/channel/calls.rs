//! What services need of their rings: an agreement on two types, the ring of a client's replies, and
//! the calls that it gave up.

use super::join::{self, Types, label};
use super::receiver::Receiver;
use super::ring::Ring;
use crate::error::OpenError;
use crate::packet::TypeInfo;
use crate::ring::closing::Closing;
use crate::sync::{AtomicU64, Ordering};
use crate::wait::Wait;

impl Ring {
    /// Agrees on the types of requests and replies: those of whoever comes first.
    pub(crate) fn agree(&self, request: &TypeInfo, reply: &TypeInfo) -> Result<(), OpenError> {
        let control = self.segment().lock()?;
        for (index, info) in [request, reply].into_iter().enumerate() {
            let found = self.segment().with_types(|table| {
                table.fingerprint(index).map(|print| (print, table.name(index).unwrap_or_default()))
            });
            match found {
                Some((print, name)) if print != info.fingerprint.0 => {
                    let expected = label(info.name, info.fingerprint.0);
                    return Err(OpenError::TypeMismatch { expected, found: label(&name, print) });
                }
                Some(_) => {}
                // Of a service whose requests and replies are of one type it is there already.
                None => drop(join::register(&control, self.segment(), info)?),
            }
        }
        Ok(())
    }

    /// The only subscriber of a ring of replies, and the index of their type.
    pub(crate) fn replies(&self, reply: &TypeInfo) -> Result<(Receiver, u16), OpenError> {
        join::subscriber(self.segment(), &Types::One(reply), None, Wait::default())
    }

    /// The calls that the reader of a ring of replies gave up, one bit each.
    pub(crate) fn given_up(&self) -> u64 {
        // In one order with the taking of the request before, the reader's store, and its look whether
        // the request was taken: one that it saw untaken is seen to be given up.
        self.with_given_up(|word| word.load(Ordering::SeqCst))
    }

    /// Says which they are. A hint for servers that have begun with one; who takes one that was not
    /// [taken](Self::is_untaken) after this sees it.
    pub(crate) fn give_up(&self, calls: u64) {
        self.with_given_up(|word| word.store(calls, Ordering::SeqCst));
    }

    /// Closes a ring of replies, if its lock comes free within a tenth of a second: for leaving, which
    /// must not hang on a process that was stopped inside the lock.
    pub(crate) fn end(&self) {
        if self.segment().is_inherited() {
            return;
        }
        if let Some(_control) = self.segment().lock_patiently() {
            Closing::Closed.set(&self.segment().memory());
        }
    }

    /// Whether the ring was closed.
    pub(crate) fn is_closed(&self) -> bool {
        Closing::of(&self.segment().memory()) == Closing::Closed
    }

    fn with_given_up<R>(&self, work: impl FnOnce(&AtomicU64) -> R) -> R {
        work(&self.segment().memory().subscribers()[0].details.handed_out)
    }
}
