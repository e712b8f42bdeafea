//! Events of a cluster: emitting them, and the loop that runs their handlers.

use std::marker::PhantomData;

/// Events of a cluster, and a worker's handlers of them.
#[derive(Debug)]
pub struct Events<'h>(PhantomData<&'h ()>);

/// One handler of one [`Events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(pub(crate) u64);
