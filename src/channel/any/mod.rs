//! Endpoints for packets of any type, and the guards and views of what they receive.

mod endpoints;
mod received;

pub use endpoints::{AnyPublisher, AnySubscriber};
pub use received::{AnyBatch, AnyBatchIter, AnyPacket, AnyReceived};
