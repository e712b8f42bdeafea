//! Endpoints for packets of any type, and the guards and views of what they receive.

mod publisher;
mod received;
mod subscriber;

pub use publisher::AnyPublisher;
pub use received::{AnyBatch, AnyBatchIter, AnyPacket, AnyReceived};
pub use subscriber::AnySubscriber;
