//! The server's side of a service.

use crate::packet::Packet;
use std::marker::PhantomData;

/// Requests to be replied to.
#[derive(Debug)]
pub struct Service<Q: Packet, R: Packet>(PhantomData<fn(Q) -> R>);

/// A request, read in place.
#[derive(Debug)]
pub struct Request<'a, Q: Packet, R: Packet>(PhantomData<&'a (Q, R)>);
