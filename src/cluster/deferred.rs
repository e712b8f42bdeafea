//! Replies that come later than the handler.

use crate::packet::Packet;
use std::marker::PhantomData;

/// The right to reply later.
#[derive(Debug)]
pub struct Deferred<R: Packet>(PhantomData<fn(R)>);

/// What a deferred reply goes by: the service that the request came to.
pub trait Replier<R> {}
