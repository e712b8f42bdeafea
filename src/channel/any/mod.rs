//! Endpoints for packets of any type, and the guards and views of what they receive.

mod endpoints;
mod received;

pub use endpoints::{MixedPublisher, MixedSubscriber};
pub use received::{Mail, MailBatch, MailBatchIter, Parcel};
