//! A letter in hand.

use super::inbox::Inbox;
use std::marker::PhantomData;

/// A packet in an inbox. Dropped without `done`, it comes again, flagged.
#[derive(Debug)]
pub struct Letter<'a>(PhantomData<&'a mut Inbox>);
