//! Hostile bytes: whatever lies in shared memory, attaching, reading and opening give an error that
//! says what is wrong, or data that can be used; never a panic, a signal or no end.
//!
//! A few hundred thousand cases with fixed numbers, run by processes of their own so that one that
//! dies of a signal can name its case. `hostile/case.rs` says what a case is; `fuzz/` runs the same
//! code on what libFuzzer comes up with. To run one case again, by its number or from a file that
//! libFuzzer left:
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
#[path = "hostile/named.rs"]
mod named;
mod support;

use case::{attach, desk, letter, packet, ring};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use support::Noise;
use support::peer::{self, Peer, Role};

/// Cases of one process: few enough that it is heard of again in good time.
const BATCH: u64 = 1000;

/// What a target does with the bytes of a case.
fn target(name: &str) -> fn(&[u8]) {
    match name {
        "attach" => attach::run,
        "ring" => ring::run,
        "packet" => packet::run,
        "letter" => letter::run,
        "desk" => desk::run,
        other => panic!("{other}"),
    }
}

/// The bytes of the case with this number.
fn bytes(number: u64) -> Vec<u8> {
    let mut noise = Noise::of(1, number);
    let len = 8 + noise.below(160);
    noise.bytes(len)
}

/// Runs all cases below a number.
fn run_all(name: &str, cases: u64) {
    for first in (0..cases).step_by(BATCH as usize) {
        let batch = Batch { place: place_of(name), name };
        batch.run(first, cases.min(first + BATCH));
    }
}

/// Where a process says which case it is at.
fn place_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}-{}", std::process::id()))
}

/// Cases run by another process.
struct Batch<'a> {
    name: &'a str,
    place: PathBuf,
}

impl Batch<'_> {
    fn run(&self, first: u64, end: u64) {
        fs::write(&self.place, [0; 8]).unwrap();
        let place = self.place.display();
        let mut peer = Peer::start(&format!("cases {} {first} {end} {place}", self.name));
        let _left = Left(peer.pid());
        match peer.rest().as_deref() {
            Some("sound") => peer.finish(),
            Some(failed) => panic!("{failed}"),
            None => panic!("it died: {}", self.at()),
        }
    }

    /// The case that the process is at.
    fn at(&self) -> String {
        let word = fs::read(&self.place).unwrap();
        let number = u64::from_le_bytes(word.try_into().unwrap());
        format!("HOSTILE_CASE={}:{number}", self.name)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For one that hung.
            eprintln!("the last case was {}", self.at());
        }
        let _ = fs::remove_file(&self.place);
    }
}

/// Removes what a process that failed has left of its rings.
struct Left(u32);

impl Drop for Left {
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

/// The other processes of these tests; nothing by itself.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "cases" => run_cases(&role),
        "beside-a-writer" => beside::play(&role),
        other => named::play(other, &role),
    }
}

/// Runs cases. Arguments: target, first, end, where to say which one.
fn run_cases(role: &Role) {
    let (run, name) = (target(&role.arguments[0]), &role.arguments[0]);
    let place = OpenOptions::new().write(true).open(&role.arguments[3]).unwrap();
    for number in role.number(1)..role.number(2) {
        place.write_all_at(&number.to_le_bytes(), 0).unwrap();
        let bytes = bytes(number);
        if catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err() {
            return peer::say(&format!("it panicked: HOSTILE_CASE={name}:{number}"));
        }
    }
    peer::say("sound");
}

#[test]
fn attaching_to_damaged_segments() {
    run_all("attach", 60_000);
}

#[test]
fn rings_that_a_peer_writes_into() {
    run_all("ring", 60_000);
}

#[test]
fn packets_damaged_in_their_slots() {
    run_all("packet", 200_000);
}

#[test]
fn letters_that_a_peer_writes_into() {
    run_all("letter", 4_000);
}

#[test]
fn directories_that_a_peer_writes_into() {
    run_all("desk", 4_000);
}

/// Writes what fuzzing begins with, if asked to: see `fuzz/README.md`.
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
    // Long ones, so that much is done.
    for name in ["ring", "letter", "desk"] {
        write(name, (0..16).map(|number| Noise::of(2, number).bytes(200)).collect());
    }
}

/// The images are what they are meant to be: real, so they are accepted.
#[test]
fn seeds_lead_to_real_segments_and_archives() {
    attach::images().iter().for_each(|seed| assert!(attach::accepts(seed)));
    packet::images().iter().for_each(|seed| assert!(packet::accepts(seed)));
}

/// Runs the case that `HOSTILE_CASE` names; nothing without it.
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
