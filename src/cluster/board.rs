//! Boards and latest values of a cluster: cells under the cluster's name, created by the first
//! process on either side.

use super::names::ClusterObject;
use super::worker::Worker;
use crate::channel::{Board, BoardBuilder, Latest, Name};
use crate::error::OpenError;
use crate::packet::Packet;

impl Worker {
    /// Opens the latest value of this name in the cluster, or creates it with the default settings:
    /// see [`Latest`]. It goes with its last attachment, not with the worker.
    ///
    /// ```
    /// # let cluster = format!("latest-{}", std::process::id());
    /// let worker = packetring::Worker::join(&cluster, "meter")?;
    /// let level = worker.latest::<f64>("level")?;
    /// level.writer()?.write(&0.7)?;
    /// assert_eq!(*level.reader()?.read()?, 0.7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Latest::open`].
    pub fn latest<T: Packet>(&self, name: &str) -> Result<Latest<T>, OpenError> {
        self.latest_with(name, BoardBuilder::default())
    }

    /// As [`latest`](Self::latest), with chosen settings. The cluster's prefix, mode and group
    /// count, and not those of the builder.
    ///
    /// # Errors
    ///
    /// As [`BoardBuilder::open_latest`].
    pub fn latest_with<T: Packet>(
        &self,
        name: &str,
        settings: BoardBuilder,
    ) -> Result<Latest<T>, OpenError> {
        let (name, settings) = self.board_settings(name, settings)?;
        self.with_space(|| settings.clone().open_latest_named(&name))
    }

    /// Opens the board of this name in the cluster, or creates it with the default settings: see
    /// [`Board`]. It goes with its last attachment, not with the worker. Boards and latest values
    /// share their names.
    ///
    /// # Errors
    ///
    /// As [`Board::open`].
    pub fn board<T: Packet>(&self, name: &str) -> Result<Board<T>, OpenError> {
        self.board_with(name, BoardBuilder::default())
    }

    /// As [`board`](Self::board), with chosen settings. The cluster's prefix, mode and group count,
    /// and not those of the builder.
    ///
    /// # Errors
    ///
    /// As [`BoardBuilder::open`].
    pub fn board_with<T: Packet>(
        &self,
        name: &str,
        settings: BoardBuilder,
    ) -> Result<Board<T>, OpenError> {
        let (name, settings) = self.board_settings(name, settings)?;
        self.with_space(|| settings.clone().open_named(&name))
    }

    /// The name of a board of the cluster, and its settings with the choices of this worker.
    fn board_settings(
        &self,
        name: &str,
        settings: BoardBuilder,
    ) -> Result<(Name, BoardBuilder), OpenError> {
        self.refuse_outsiders()?;
        let settings = settings.limited(self.choices.limit());
        Ok((ClusterObject::Board(name).name(&self.cluster)?, settings))
    }
}
