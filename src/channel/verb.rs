//! The macros that write the forms of a verb.

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
/// Then it opens what was taken.
///
/// ```text
/// async_verb! {
///     recv_async = recv() -> Received<'_, T>; RecvError { take_next, open? }
/// }
/// ```
macro_rules! async_verb {
    ($(
        $name:ident = $wait:ident() -> $result:ty; $error:ident {
            $take:ident $(, $open:ident $($fails:tt)?)?
        }
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
            let take = |endpoint: &mut Self| endpoint.$take($crate::wait::Timeout::Zero);
            let taken = $crate::channel::in_task(self, $error::System, take).await?;
            $(let taken = self.$open(taken)$($fails)?;)?
            Ok(taken)
        }
    )+};
}

pub(crate) use async_verb;
pub(crate) use verb;
