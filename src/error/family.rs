//! Families of errors: one flat enum for each form of a verb.
//!
//! A verb has up to three forms: it waits (`recv`), it does not (`try_recv`), or it waits for a
//! limited time (`recv_timeout`). Each form has an error that lists only what this form can return.
//! The layers below return one [`Failure`] for all three. [`Form::retry`] makes a form's error of
//! it.

/// Why an operation of an internal layer has no result, for all forms of a verb.
#[derive(Debug)]
pub(crate) enum Failure<E, W> {
    /// The operation failed: every form reports it.
    Error(E),
    /// There was no room or no packet yet, for this reason.
    NotReady(W),
}

impl<E, W> From<E> for Failure<E, W> {
    #[inline]
    fn from(error: E) -> Self {
        Self::Error(error)
    }
}

impl<E, W> Failure<E, W> {
    /// The error that a form of the verb reports; `None` if this form tries again.
    pub(crate) fn report<F: Form<E, W>>(self) -> Option<F> {
        match self {
            Self::Error(error) => Some(error.into()),
            Self::NotReady(reason) => F::not_ready(reason),
        }
    }
}

/// The error of one form of a verb, whose waiting form fails with `E` and waits because of `W`.
pub(crate) trait Form<E, W>: From<E> {
    /// The error if there is no room or no packet yet. `None` for the form that waits.
    fn not_ready(reason: W) -> Option<Self>;

    /// Calls `attempt` until it succeeds or fails in a way that this form reports.
    ///
    /// The waiting form passes [`Timeout::Never`](crate::wait::Timeout), so it does not repeat in
    /// practice. Call it with the type of the form, as in `F::retry(…)?`: `?` converts the error,
    /// so type inference would choose the waiting form, which repeats an attempt that is not ready.
    ///
    /// `attempt` is a slow path that is out of line. A fast path before it returns the form's error
    /// itself: a `Failure` goes through memory, which costs up to 60 instructions per packet.
    #[inline]
    fn retry<R>(mut attempt: impl FnMut() -> Result<R, Failure<E, W>>) -> Result<R, Self> {
        loop {
            match attempt().map_err(Failure::report) {
                Ok(result) => return Ok(result),
                Err(Some(error)) => return Err(error),
                Err(None) => {}
            }
        }
    }
}

/// An internal layer reports both reasons, as the form of a verb that does not wait.
impl<E, W> Form<E, W> for Failure<E, W> {
    fn not_ready(reason: W) -> Option<Self> {
        Some(Self::NotReady(reason))
    }
}

/// Writes the errors of a verb: that of the waiting form first, and for each other form an enum
/// with the same variants and one more. Variants are written as in `enum`, each with its text. A
/// payload marked `#[source]` is what `Error::source` returns.
macro_rules! error_family {
    (
        $(#[$doc:meta])* $base:ident $(waits for $reason:ty)?, $variants:tt
    ) => {
        $crate::error::error_family!(@enum [$(#[$doc])*] $base $variants {});
        $(impl $crate::error::Form<Self, $reason> for $base {
            fn not_ready(_: $reason) -> Option<Self> {
                None
            }
        })?
    };
    (
        $(#[$doc:meta])* $base:ident waits for $reason:ty, $variants:tt
        $(
            $(#[$form_doc:meta])* $form:ident adds {
                $(#[$about:meta])* $extra:ident $({ $(#[$field_doc:meta])* $field:ident })? => $text:tt
            }
        )+
    ) => {
        $crate::error::error_family!($(#[$doc])* $base waits for $reason, $variants);
        $(
            $crate::error::error_family!(@enum [$(#[$form_doc])*] $form $variants {
                $(#[$about])* $extra $({ $(#[$field_doc])* $field: $reason })? => $text
            });
            $crate::error::error_family!(@from $base $form $variants);
            impl $crate::error::Form<$base, $reason> for $form {
                fn not_ready(_reason: $reason) -> Option<Self> {
                    Some(Self::$extra $({ $field: _reason })?)
                }
            }
        )+
    };
    (@enum $docs:tt $error:ident { $($variants:tt)* } { $($extra:tt)* }) => {
        $crate::error::error_family!(@define $docs $error $($variants)* $($extra)*);
    };
    (@define [$(#[$doc:meta])*] $error:ident $(
        $(#[$about:meta])* $variant:ident $((#[source] $source:ident: $source_type:ty))?
        $(($value:ident: $value_type:ty))?
        $({ $($(#[$field_doc:meta])* $field:ident: $field_type:ty),+ $(,)? })? => ($($text:tt)+)
    ),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[non_exhaustive]
        // A tag of one byte would leave seven bytes of padding in the result of a receive. A task
        // moved them by two stores that overlap, and a load of both stalls: 2.7 ns a packet.
        #[repr(u64)]
        pub enum $error {$(
            $(#[$about])*
            $variant $(($source_type))? $(($value_type))?
                $({ $($(#[$field_doc])* $field: $field_type),+ })?,
        )*}

        impl ::std::fmt::Display for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self {$(
                    Self::$variant $(($source))? $(($value))? $({ $($field),+ })? => {
                        write!(f, $($text)+)
                    }
                )*}
            }
        }

        impl ::std::error::Error for $error {
            fn source(&self) -> Option<&(dyn ::std::error::Error + 'static)> {
                $($(if let Self::$variant($source) = self {
                    return Some($source);
                })?)*
                None
            }
        }
    };
    (@from $base:ident $form:ident {$(
        $(#[$about:meta])* $variant:ident $((#[source] $source:ident: $source_type:ty))?
        $(($value:ident: $value_type:ty))?
        $({ $($(#[$field_doc:meta])* $field:ident: $field_type:ty),+ $(,)? })? => $text:tt
    ),* $(,)?}) => {
        impl From<$base> for $form {
            fn from(error: $base) -> Self {
                match error {$(
                    $base::$variant $(($source))? $(($value))? $({ $($field),+ })? => {
                        Self::$variant $(($source))? $(($value))? $({ $($field),+ })?
                    }
                )*}
            }
        }
    };
}

pub(crate) use error_family;
