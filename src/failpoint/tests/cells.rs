//! A process that writes and reads a latest value is killed or frozen at each failpoint.
//!
//! The cell has two buffers and two writers, so that each pin and each lock is in the way of the
//! others. Afterwards:
//!
//! - Every value that the survivor reads is whole, and newer than the one before.
//! - The survivor can write and read. The dead hold nothing back; a frozen process is named.
//! - Nothing is left behind.

use super::process::{GENEROUS, Process, State, Stop};
use super::scenario::{self, Case};
use super::survivor::{Numbered, PEER, SUCCESSOR, numbered};
use crate::Latest;
use crate::board::{CellHolder, CellValue, LatestReader, ReadError, TryWriteError};
use std::time::Duration;

/// Values that a peer writes if it is not stopped before.
const VALUES: u64 = 60;

fn open(name: &str) -> Latest<Numbered> {
    let settings = Latest::<Numbered>::builder().max_writers(3).buffers(2).max_readers(4);
    settings.open_latest(name).unwrap()
}

/// The peer's side.
pub(super) fn live(name: &str) {
    let latest = open(name);
    let (mut writer, mut reader) = (latest.writer().unwrap(), latest.reader().unwrap());
    for sequence in 0..VALUES {
        writer.write(&numbered(PEER, sequence)).unwrap();
        assert!(reader.read().unwrap().is_whole());
    }
}

/// Reads the value, which is whole and not older than `last`.
fn read(reader: &mut LatestReader<Numbered>, last: &mut u64, name: &str) {
    match reader.read() {
        Ok(value) => {
            let version = CellValue::version(&value);
            assert!(value.is_whole() && version >= *last, "{name}: {version} behind {last}");
            *last = version;
        }
        Err(ReadError::NoValue) => assert_eq!(*last, 0, "{name}: the value is lost"),
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Writes and reads, beside a peer that is dead, over or thawed.
fn go_on(
    latest: &Latest<Numbered>,
    reader: &mut LatestReader<Numbered>,
    last: &mut u64,
    name: &str,
) {
    let mut writer = latest.writer().unwrap();
    for sequence in 0..30 {
        let packet = numbered(SUCCESSOR, sequence);
        writer.write_timeout(&packet, GENEROUS).unwrap_or_else(|e| panic!("{name}: {e}"));
        read(reader, last, name);
    }
}

/// Runs one case with a kill. Returns true if the peer was killed at the failpoint.
pub(super) fn survive(stop: Stop) -> bool {
    let name = format!("kill-{}-cells-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let latest = open(&name);
    let (mut reader, mut last) = (latest.reader().unwrap(), 0);
    let mut peer = scenario::start(&name, Case::Cells, stop);
    while peer.state() == State::Running {
        read(&mut reader, &mut last, &name);
        std::thread::sleep(Duration::from_micros(100));
    }
    read(&mut reader, &mut last, &name);
    go_on(&latest, &mut reader, &mut last, &name);
    // The entry of the dead has a successor.
    drop([latest.writer().unwrap(), latest.writer().unwrap(), latest.writer().unwrap()]);
    drop((latest, reader));
    assert_gone(&name);
    peer.state() == State::Killed
}

/// Runs one case with a freeze. Returns true if the peer was frozen at the failpoint.
pub(super) fn outlast(stop: Stop) -> bool {
    let name = format!("freeze-{}-cells-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let latest = open(&name);
    // Joined before the freeze: a join waits for a process that is frozen in the control lock.
    let (mut reader, mut writer, mut last) =
        (latest.reader().unwrap(), latest.writer().unwrap(), 0);
    let mut peer = scenario::start(&name, Case::Cells, stop);
    let state = peer.settle();
    read(&mut reader, &mut last, &name);
    if state == State::Frozen {
        stay_busy(&mut writer, &peer, &name);
        read(&mut reader, &mut last, &name);
        peer.thaw();
        assert_eq!(peer.settle(), State::Finished);
    }
    drop(writer);
    go_on(&latest, &mut reader, &mut last, &name);
    drop((latest, reader));
    assert_gone(&name);
    state == State::Frozen
}

/// Writes beside a frozen peer: a write succeeds, or names the peer.
fn stay_busy(writer: &mut crate::board::LatestWriter<Numbered>, peer: &Process, name: &str) {
    for sequence in 0..5 {
        match writer.try_write(&numbered(SUCCESSOR, sequence)) {
            Ok(()) => {}
            Err(TryWriteError::Busy { holder }) => {
                let (CellHolder::Reader { pid } | CellHolder::Writer { pid }) = holder;
                assert_eq!(pid, peer.pid(), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn assert_gone(name: &str) {
    assert!(!std::path::Path::new(&format!("/dev/shm/packetring.{name}")).exists(), "{name}");
}
