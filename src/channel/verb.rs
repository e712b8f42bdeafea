//! The forms of a verb: the macros that write them, and how the forms of tasks wait.

#[cfg(feature = "async")]
use super::waitable::{Selectable, Selectee, Waitable};
#[cfg(feature = "async")]
use crate::error::Failure;
#[cfg(feature = "async")]
use crate::segment::kept::KeptEventCount;
#[cfg(feature = "async")]
use crate::segment::layout::EventCount;
#[cfg(feature = "async")]
use crate::sys::stop::Stop;
#[cfg(feature = "async")]
use crate::wait::{Deadline, Listener};
#[cfg(feature = "async")]
use std::io;

/// Writes the methods `verb`, `try_verb` and `verb_timeout`, each with its own error. All call one
/// generic method with how long to wait.
///
/// ```text
/// verb! {
///     /// Documentation of the form that waits. The other two refer to it.
///     send, try_send, send_timeout = send_with[T: Packet](packet: &T) -> u64;
///     SendError, TrySendError::Full, SendTimeoutError::Timeout
/// }
/// ```
macro_rules! verb {
    (
        $(#[$doc:meta])*
        $wait:ident, $try_:ident, $timeout:ident = $method:ident
        $([$($generics:tt)+])? ($($arg:ident: $type:ty),*) -> $result:ty
        $(where [$($bounds:tt)+])?;
        $error:ident, $try_error:ident::$full:ident, $timeout_error:ident::$late:ident
        $(in $wrapper:ident)?
    ) => {
        $(#[$doc])*
        #[inline]
        pub fn $wait $(<$($generics)+>)? (
            &mut self $(, $arg: $type)*
        ) -> Result<$result, $crate::channel::verb!(@error $error $($wrapper)?)>
        $(where $($bounds)+)?
        {
            self.$method($($arg,)* $crate::wait::Timeout::Never)
        }

        #[doc = concat!("As [`", stringify!($wait), "`](Self::", stringify!($wait), "), but does not wait.")]
        ///
        /// # Errors
        ///
        #[doc = concat!(
            "As [`", stringify!($wait), "`](Self::", stringify!($wait), "), and [`",
            stringify!($full), "`](", stringify!($try_error), "::", stringify!($full), ")."
        )]
        #[inline]
        pub fn $try_ $(<$($generics)+>)? (
            &mut self $(, $arg: $type)*
        ) -> Result<$result, $crate::channel::verb!(@error $try_error $($wrapper)?)>
        $(where $($bounds)+)?
        {
            self.$method($($arg,)* $crate::wait::Timeout::Zero)
        }

        #[doc = concat!("As [`", stringify!($wait), "`](Self::", stringify!($wait), "), but waits no longer than `timeout`.")]
        ///
        /// # Errors
        ///
        #[doc = concat!(
            "As [`", stringify!($wait), "`](Self::", stringify!($wait), "), and [`",
            stringify!($late), "`](", stringify!($timeout_error), "::", stringify!($late), ")."
        )]
        #[inline]
        pub fn $timeout $(<$($generics)+>)? (
            &mut self $(, $arg: $type)*, timeout: ::std::time::Duration
        ) -> Result<$result, $crate::channel::verb!(@error $timeout_error $($wrapper)?)>
        $(where $($bounds)+)?
        {
            self.$method($($arg,)* $crate::wait::Timeout::After(timeout))
        }
    };
    (@error $error:ident) => { $error };
    (@error $error:ident $wrapper:ident) => { $wrapper<$error> };
}

/// Writes the form of a verb that waits in a task. It repeats `take`, which does not wait, and
/// awaits the endpoint in between. So what woke it may be gone again: it never blocks its thread.
/// Then it opens what was taken. Before all that it calls `first`, which takes what is there or
/// comes within a few looks: a busy task does without the registration of a wait.
///
/// ```text
/// async_verb! {
///     recv_async = recv() -> Received<'_, T>; RecvError { take_next, open? }, first take_fast
/// }
/// ```
macro_rules! async_verb {
    ($(
        $name:ident = $wait:ident() -> $result:ty; $error:ident {
            $take:ident $(, $open:ident $($fails:tt)?)?
        } $(, first $fast:ident)?
    )+) => {$(
        #[doc = concat!(
            "As [`", stringify!($wait), "`](Self::", stringify!($wait), "), but waits in a task, for any executor."
        )]
        ///
        /// Dropping the future loses nothing: what it found is left to the next call.
        ///
        /// # Errors
        ///
        #[doc = concat!(
            "As [`", stringify!($wait), "`](Self::", stringify!($wait), "), and [`System`](",
            stringify!($error), "::System) as [`ready`](crate::Selectable::ready)."
        )]
        #[cfg(feature = "async")]
        pub async fn $name(&mut self) -> Result<$result, $error> {
            let taken = match $crate::channel::async_verb!(@first self $($fast)?) {
                Some(taken) => taken,
                None => {
                    let take = |endpoint: &mut Self| endpoint.$take($crate::wait::Timeout::Zero);
                    $crate::channel::in_task(self, $error::System, take).await?
                }
            };
            $(let taken = self.$open(taken)$($fails)?;)?
            Ok(taken)
        }
    )+};
    (@first $endpoint:ident $fast:ident) => { $endpoint.$fast() };
    (@first $endpoint:ident) => { None };
}

/// Repeats an attempt that does not wait until it succeeds or fails, and waits in the task in
/// between. `system` makes the error of a task that cannot wait.
#[cfg(feature = "async")]
pub(crate) async fn in_task<S: Selectable, R, E, W>(
    one: &mut S,
    system: impl Fn(io::Error) -> E,
    mut attempt: impl FnMut(&mut S) -> Result<R, Failure<E, W>>,
) -> Result<R, E> {
    loop {
        match attempt(one) {
            Ok(result) => return Ok(result),
            Err(Failure::Error(error)) => return Err(error),
            Err(Failure::NotReady(_)) => {}
        }
        one.ready().await.map_err(&system)?;
    }
}

/// Waits in a task until `find` finds something. `event_count` is notified when it may. `None` if
/// the stop was called, or the deadline has passed.
#[cfg(feature = "async")]
pub(crate) async fn find_in_task<R, F: Fn() -> Option<R>>(
    event_count: KeptEventCount,
    (stop, deadline): (Option<&Stop>, Deadline),
    find: F,
) -> io::Result<Option<R>> {
    let mut search = Search { find, event_count, stop, deadline, listener: None };
    loop {
        if let Some(found) = (search.find)() {
            return Ok(Some(found));
        }
        if Stop::was_called(stop) || deadline.has_passed() {
            return Ok(None);
        }
        search.ready().await?;
    }
}

/// A wait for something that is found by a search.
#[cfg(feature = "async")]
struct Search<'a, F> {
    find: F,
    event_count: KeptEventCount,
    stop: Option<&'a Stop>,
    deadline: Deadline,
    listener: Option<Box<Listener>>,
}

#[cfg(feature = "async")]
impl<R, F: Fn() -> Option<R>> Selectable for Search<'_, F> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

#[cfg(feature = "async")]
impl<R, F: Fn() -> Option<R>> Waitable for Search<'_, F> {
    fn has_next(&mut self) -> bool {
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        (self.find)().is_some() || self.deadline.has_passed()
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(&self.event_count)
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        vec![self.event_count.clone()]
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn stop(&self) -> Option<&Stop> {
        self.stop
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }
}

pub(crate) use async_verb;
pub(crate) use verb;
