//! Calls of a service, and their replies.

use crate::packet::Packet;
use std::marker::PhantomData;

/// Calls a service.
#[derive(Debug)]
pub struct Client<Q: Packet, R: Packet>(PhantomData<fn(Q) -> R>);

/// A reply, read in place.
#[derive(Debug)]
pub struct Reply<'a, R: Packet>(PhantomData<&'a R>);
