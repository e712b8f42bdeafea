//! Hostile bytes in shared memory. Attaching, reading and opening either return an error that names
//! the problem, or return usable data. They never panic, raise a signal or loop forever.
//!
//! The tests run a few hundred thousand numbered cases in child processes, so that a case that dies
//! of a signal can be named. `hostile/case.rs` defines a case; `fuzz/` runs the same code on inputs
//! from libFuzzer. To run one case again, give its number or a file that libFuzzer left:
//!
//! ```sh
//! HOSTILE_CASE=ring:1234 cargo test --test hostile one_case
//! HOSTILE_CASE=ring:fuzz/artifacts/ring/crash-… cargo test --test hostile one_case
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "hostile/beside.rs"]
mod beside;
#[path = "hostile/case.rs"]
mod case;
#[cfg(feature = "dynamic")]
#[path = "hostile/dynamic.rs"]
mod dynamic;
#[path = "hostile/named.rs"]
mod named;
mod support;

use case::{attach, board, message, packet, ring, worker_slot};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use support::Noise;
use support::peer::{self, Peer, Role};

/// Cases per child process: small enough that each process finishes well within the timeout.
const BATCH: u64 = 1000;

/// The function that runs the cases of a target.
fn target(name: &str) -> fn(&[u8]) {
    match name {
        "attach" => attach::run,
        "board" => board::run,
        "ring" => ring::run,
        "packet" => packet::run,
        "message" => message::run,
        #[cfg(feature = "dynamic")]
        "dynamic" => dynamic::run,
        "worker_slot" => worker_slot::run,
        other => panic!("{other}"),
    }
}

/// The bytes of a numbered case.
fn bytes(number: u64) -> Vec<u8> {
    let mut noise = Noise::of(1, number);
    let len = 8 + noise.below(160);
    noise.bytes(len)
}

/// Runs the cases `0..cases` of a target.
fn run_all(name: &str, cases: u64) {
    for first in (0..cases).step_by(BATCH as usize) {
        let batch = Batch { place: place_of(name), name };
        batch.run(first, cases.min(first + BATCH));
    }
}

/// The file in which a child process records the number of its current case.
fn place_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}-{}", std::process::id()))
}

/// A range of cases that one child process runs.
struct Batch<'a> {
    name: &'a str,
    place: PathBuf,
}

impl Batch<'_> {
    fn run(&self, first: u64, end: u64) {
        fs::write(&self.place, [0; 8]).unwrap();
        let place = self.place.display();
        let mut peer = Peer::start(&format!("cases {} {first} {end} {place}", self.name));
        let _cleanup = Leftovers(peer.pid());
        match peer.rest().as_deref() {
            Some("sound") => peer.finish(),
            Some(failed) => panic!("{failed}"),
            None => panic!("the process died: {}", self.at()),
        }
    }

    /// The case that the child process runs, or ran last.
    fn at(&self) -> String {
        let word = fs::read(&self.place).unwrap();
        let number = u64::from_le_bytes(word.try_into().unwrap());
        format!("HOSTILE_CASE={}:{number}", self.name)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For a case that hung.
            eprintln!("last case: {}", self.at());
        }
        let _ = fs::remove_file(&self.place);
    }
}

/// Removes the rings that a failed child process left behind.
struct Leftovers(u32);

impl Drop for Leftovers {
    fn drop(&mut self) {
        let own = [format!("hostile-{}-", self.0), format!("hostile-packet-{}-", self.0)];
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let ring = name.strip_prefix("packetring.");
            if ring.is_some_and(|ring| own.iter().any(|prefix| ring.starts_with(prefix))) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "cases" => run_cases(&role),
        "beside-a-writer" => beside::play(&role),
        "board-beside-a-writer" => beside::play_board(&role),
        other => named::play(other, &role),
    }
}

/// Runs cases. Arguments: target, first, end, file for the number of the current case.
fn run_cases(role: &Role) {
    let (run, name) = (target(&role.arguments[0]), &role.arguments[0]);
    let place = OpenOptions::new().write(true).open(&role.arguments[3]).unwrap();
    for number in role.number(1)..role.number(2) {
        place.write_all_at(&number.to_le_bytes(), 0).unwrap();
        let bytes = bytes(number);
        if catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err() {
            return peer::say(&format!("panicked: HOSTILE_CASE={name}:{number}"));
        }
    }
    peer::say("sound");
}

#[test]
fn damaged_segments_are_attached_safely() {
    run_all("attach", 60_000);
}

#[test]
fn rings_with_a_hostile_peer_are_safe() {
    run_all("ring", 60_000);
}

#[test]
fn boards_with_a_hostile_peer_are_safe() {
    run_all("board", 20_000);
}

#[test]
fn packets_damaged_in_their_slots_are_safe() {
    run_all("packet", 200_000);
}

#[cfg(feature = "dynamic")]
#[test]
fn damaged_packets_are_read_by_schema_as_by_type() {
    run_all("dynamic", 100_000);
}

#[test]
fn inboxes_with_a_hostile_peer_are_safe() {
    run_all("message", 4_000);
}

#[test]
fn directories_with_a_hostile_peer_are_safe() {
    run_all("worker_slot", 4_000);
}

/// Writes the seed inputs of the fuzzers if asked to; see `fuzz/README.md`.
#[test]
fn write_seeds() {
    if std::env::var_os("HOSTILE_WRITE_SEEDS").is_none() {
        return;
    }
    let write = |name: &str, seeds: Vec<Vec<u8>>| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{number:02}")), seed).unwrap();
        }
    };
    write("attach", attach::images());
    write("packet", packet::images());
    // Long seeds, so that each one runs many operations.
    for name in ["ring", "board", "message", "worker_slot"] {
        write(name, (0..16).map(|number| Noise::of(2, number).bytes(200)).collect());
    }
}

/// The seed images are valid segments and archives, so the library accepts them.
#[test]
fn seeds_are_valid_segments_and_archives() {
    attach::images().iter().for_each(|seed| assert!(attach::accepts(seed)));
    packet::images().iter().for_each(|seed| assert!(packet::accepts(seed)));
    #[cfg(feature = "dynamic")]
    packet::images().iter().for_each(|seed| assert!(dynamic::accepts(seed)));
}

/// Runs the case that `HOSTILE_CASE` names; does nothing without it.
#[test]
fn one_case() {
    let Ok(case) = std::env::var("HOSTILE_CASE") else { return };
    let (name, which) = case.split_once(':').unwrap();
    let bytes = match which.parse() {
        Ok(number) => bytes(number),
        Err(_) => fs::read(which).unwrap(),
    };
    target(name)(&bytes);
}
