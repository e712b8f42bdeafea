//! Trace events: reports of rare situations to the `tracing` subscriber of the program, with the
//! feature `tracing`. Without the feature, and under loom, [`trace_event`] evaluates nothing and
//! leaves no code.
//!
//! A subscriber is code of the user. It may block, panic, and use this library. So:
//!
//! - **No lock is held.** A [`Hold`] on this thread keeps events back, and the last one to be
//!   dropped emits them. The control lock contains one, and a mutex around calls that may emit has
//!   one beside it.
//! - **No event within an event.** Calls of this library that a subscriber makes emit nothing. A
//!   subscriber that opens a ring for each event would never return otherwise.
//! - **A panic ends here.** The subscriber may be called while an endpoint joins or leaves. The
//!   hook of the program has reported the panic by then.
//!
//! Limits: an event at the end of a thread, after the thread's own values were dropped, is lost.
//! Events that were kept back come after the fact, in their order.
//!
//! No event is on a hot path. Each is made in a function of its own that is marked cold, and its
//! values are evaluated only if a subscriber wants its level.

/// Reports an event: its level, target, message, and fields with values that own their memory.
///
/// The values must not panic. They are not evaluated without the feature `tracing`, or if no
/// subscriber wants events of this level.
#[cfg_attr(loom, allow(unused_macros, reason = "the protocol alone reports nothing"))]
macro_rules! trace_event {
    ($level:ident, $target:literal, $message:literal, $($name:ident = $value:expr),+ $(,)?) => {
        #[cfg(all(feature = "tracing", not(loom)))]
        if $crate::trace::is_wanted(::tracing::Level::$level) {
            $crate::trace::out_of_line(|| {
                let ($($name,)+) = ($($value,)+);
                $crate::trace::emit(Box::new(move || {
                    ::tracing::event!(
                        target: $target, ::tracing::Level::$level, $($name = $name,)+ $message
                    );
                }));
            });
        }
        #[cfg(not(all(feature = "tracing", not(loom))))]
        if false {
            $(let _ = $value;)+
        }
    };
}

pub(crate) use trace_event;

#[cfg(all(feature = "tracing", not(loom)))]
pub(crate) use emission::{emit, is_wanted, out_of_line};
use std::marker::PhantomData;

/// Keeps the events of this thread back while it lives. Emits them if it is the last one.
#[derive(Debug)]
pub(crate) struct Hold {
    /// It counts for this thread alone.
    _own: PhantomData<*const ()>,
}

impl Hold {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        #[cfg(all(feature = "tracing", not(loom)))]
        emission::hold();
        Self { _own: PhantomData }
    }
}

#[cfg(all(feature = "tracing", not(loom)))]
impl Drop for Hold {
    fn drop(&mut self) {
        emission::release();
    }
}

/// Measures a wait for the control lock.
#[derive(Debug)]
pub(crate) struct WaitClock {
    #[cfg(all(feature = "tracing", not(loom)))]
    started: std::time::Instant,
}

impl WaitClock {
    /// A wait that takes as long as this is reported.
    #[cfg(all(feature = "tracing", not(loom)))]
    const LONG: std::time::Duration = std::time::Duration::from_millis(100);

    #[inline(always)]
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(all(feature = "tracing", not(loom)))]
            started: std::time::Instant::now(),
        }
    }

    /// The milliseconds since the start, if the wait is to be reported.
    #[cfg(all(feature = "tracing", not(loom)))]
    pub(crate) fn long(&self) -> Option<u64> {
        let waited = self.started.elapsed();
        (waited >= Self::LONG).then(|| u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))
    }

    /// No wait is reported.
    #[cfg(not(all(feature = "tracing", not(loom))))]
    #[inline(always)]
    pub(crate) fn long(&self) -> Option<u64> {
        None
    }
}

#[cfg(all(feature = "tracing", not(loom)))]
mod emission {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use tracing::Level;
    use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

    /// Emits one event.
    type Emission = Box<dyn FnOnce()>;

    /// The events of one thread.
    struct ThreadEvents {
        /// Number of [`Hold`](super::Hold)s.
        holds: Cell<usize>,
        /// The subscriber is running.
        is_emitting: Cell<bool>,
        kept_back: RefCell<VecDeque<Emission>>,
    }

    thread_local! {
        static EVENTS: ThreadEvents = const {
            ThreadEvents {
                holds: Cell::new(0),
                is_emitting: Cell::new(false),
                kept_back: RefCell::new(VecDeque::new()),
            }
        };
    }

    /// Returns true if a subscriber wants events of this level. Does not call the subscriber.
    #[inline]
    pub(crate) fn is_wanted(level: Level) -> bool {
        level <= STATIC_MAX_LEVEL && level <= LevelFilter::current()
    }

    /// Runs `work` in a function of its own, which is not inlined into the caller.
    #[cold]
    #[inline(never)]
    pub(crate) fn out_of_line(work: impl FnOnce()) {
        work();
    }

    /// Emits an event now, or after the holds of this thread. Within an event it does nothing.
    pub(crate) fn emit(event: Emission) {
        // An error: the thread is ending, and may hold a lock.
        let _ = EVENTS.try_with(|events| {
            if !events.is_emitting.get() {
                events.kept_back.borrow_mut().push_back(event);
                events.flush();
            }
        });
    }

    /// Keeps events back.
    pub(super) fn hold() {
        let _ = EVENTS.try_with(|events| events.holds.set(events.holds.get() + 1));
    }

    /// Ends a hold.
    pub(super) fn release() {
        let _ = EVENTS.try_with(|events| {
            events.holds.set(events.holds.get().saturating_sub(1));
            events.flush();
        });
    }

    impl ThreadEvents {
        fn flush(&self) {
            if self.holds.get() > 0 || self.is_emitting.replace(true) {
                return;
            }
            // The list is not borrowed while an event is emitted.
            let next = || self.kept_back.borrow_mut().pop_front();
            while let Some(event) = next() {
                // The closure owns its values, so a panic leaves nothing half-changed.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(event)) {
                    // Dropping it runs code of the user, which may panic again.
                    std::mem::forget(payload);
                }
            }
            self.is_emitting.set(false);
        }
    }
}
