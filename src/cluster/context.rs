//! What a handler of events may do.

use std::marker::PhantomData;

/// What a handler may do.
#[derive(Debug)]
pub struct Context<'a>(PhantomData<&'a ()>);
