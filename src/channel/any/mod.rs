//! Endpoints for packets of any type, with their guards and views.

mod publisher;
mod received;
mod subscriber;

pub use publisher::AnyPublisher;
pub use received::{AnyBatch, AnyBatchIter, AnyPacket, AnyReceived};
pub use subscriber::AnySubscriber;
