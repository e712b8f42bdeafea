//! Topics: rings under the cluster's name.

use super::worker::Worker;

/// Chooses a topic's settings.
#[derive(Debug)]
pub struct TopicBuilder<'a>(&'a Worker);
