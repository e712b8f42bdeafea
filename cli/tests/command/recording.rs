//! `record` and `replay`: equal packets, kills, rotation, damaged files.

use crate::support::{self, Folder, Prefix, Running, command, eventually, run, signal, stop};
use packetring::any::AnySubscriber;
use packetring::{Ring, packet};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

#[packet]
struct Trade {
    symbol: String,
    amount: u64,
}

fn trade(amount: u64) -> Trade {
    Trade { symbol: format!("symbol {amount}"), amount }
}

/// The packets that a recording prints.
pub(crate) fn printed(files: &[&str]) -> Vec<Value> {
    let ran = run(&[&["replay", "--print", "--json"], files].concat());
    assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{ran:?}");
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["result"].clone()).collect()
}

fn amounts(packets: &[Value]) -> Vec<u64> {
    packets.iter().map(|packet| packet["value"]["amount"].as_u64().unwrap()).collect()
}

#[test]
fn a_recording_replays_to_equal_packets() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().open("trades").unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    let mut out = ring.any_publisher().unwrap();
    for amount in 0..500 {
        out.send(&trade(amount)).unwrap();
        out.send(&(amount, amount as f64 / 3.0)).unwrap();
    }
    let (name, file) = (format!("{}:trades", prefix.0), folder.file("a.rec"));
    let ran = run(&["record", &file, &name, "--backlog", "-n", "1000"]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    assert!(ran.out.starts_with("recorded 1000 packets, "), "{}", ran.out);
    let again = run(&["record", &file, &name]);
    assert!(again.status == 1 && again.error.contains("--force"), "{again:?}");

    let copy = prefix.ring().open("copy").unwrap();
    let mut copies = copy.any_subscriber().unwrap();
    let to = format!("{}:copy", prefix.0);
    let ran = run(&["replay", &file, "--to", &to, "--speed", "max", "--json"]);
    assert_eq!((ran.status, &ran.result()["packets"]), (0, &1000.into()), "{ran:?}");
    for number in 0..1000 {
        let (one, other) = (reader.recv().unwrap(), copies.recv().unwrap());
        assert_eq!(one.fingerprint(), other.fingerprint(), "{number}");
        let values = [&one, &other].map(|packet| {
            let schema = packet.schema().unwrap();
            packet.value(&schema).unwrap().archive().unwrap().to_vec()
        });
        assert_eq!(values[0], values[1], "{number}");
    }
    let ran = run(&["replay", &file, "--to", &to, "--speed", "max", "--stream", "other"]);
    assert!(ran.status == 1 && ran.error.contains(&name), "{ran:?}");
    assert_eq!(run(&["replay", &file]).status, 2);
    assert_eq!(run(&["replay", &file, "--to", &to, "--speed", "0"]).status, 2);
}

/// Records until it is ended.
pub(crate) fn start_recording(arguments: &[&str]) -> Running {
    let mut record = command(&[&["record"], arguments].concat());
    Running::start(record.stdout(Stdio::piped()))
}

/// Records the numbers from 0 to this one from a ring of its own. Returns the file.
pub(crate) fn record_some(prefix: &Prefix, folder: &Folder, end: u64) -> String {
    let ring = prefix.ring().open("numbers").unwrap();
    let (mut out, _reader) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    for number in 0..end {
        out.send(&number).unwrap();
    }
    let (name, file) = (format!("{}:numbers", prefix.0), folder.file("numbers.rec"));
    let ran = run(&["record", &file, &name, "--backlog", "-n", &end.to_string()]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    file
}

/// Waits until a recording has so many packets in whole blocks.
pub(crate) fn wait_for(file: &str, packets: usize) {
    eventually("the recording", || {
        let has_blocks = std::fs::metadata(file).is_ok_and(|file| file.len() > 8);
        (has_blocks && printed(&[file]).len() >= packets).then_some(())
    });
}

/// A ring `trades` with packets of these amounts ahead of a reader.
struct Trades {
    name: String,
    _ring: Ring,
    _reader: AnySubscriber,
}

impl Trades {
    fn new(prefix: &Prefix, amounts: Range<u64>) -> Self {
        let ring = prefix.ring().open("trades").unwrap();
        let reader = ring.any_subscriber().unwrap();
        let mut out = ring.publisher::<Trade>().unwrap();
        for amount in amounts {
            out.send(&trade(amount)).unwrap();
        }
        Self { name: format!("{}:trades", prefix.0), _ring: ring, _reader: reader }
    }
}

/// The files that a recording with JSON names.
fn files_of(result: &Value) -> Vec<&str> {
    result["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect()
}

#[test]
fn a_killed_recorder_leaves_what_it_wrote_and_a_signal_ends_it_in_order() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let trades = Trades::new(&prefix, 0..100);
    let name = trades.name.as_str();
    for signal in ["KILL", "TERM"] {
        let file = folder.file(signal);
        let child = start_recording(&[&file, name, "--backlog"]);
        wait_for(&file, 100);
        support::signal(child.id(), signal);
        let ran = child.end();
        if signal == "TERM" {
            assert_eq!(ran.status, 0);
            assert!(ran.out.starts_with("recorded 100 packets"), "{}", ran.out);
        }
        assert_eq!(amounts(&printed(&[&file])), (0..100).collect::<Vec<_>>());
    }

    // A block that was not written whole, as a full disk leaves it.
    let file = folder.file("KILL");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let ran = run(&["replay", "--print", &file]);
    assert_eq!(ran.status, 0);
    assert!(ran.out.contains("is not whole: the recording ends before it"), "{}", ran.out);
    std::fs::write(&file, "something else").unwrap();
    let ran = run(&["replay", "--print", &file]);
    assert!(ran.status == 1 && ran.error.contains("no recording"), "{ran:?}");
}

#[test]
fn each_file_of_a_rotation_is_a_recording() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let trades = Trades::new(&prefix, 0..500);
    let (name, file) = (trades.name.as_str(), folder.file("r"));
    let ran = run(&["record", &file, name, "--backlog", "-n", "500", "--rotate", "8K", "--json"]);
    let result = ran.result();
    let files = files_of(&result);
    assert!(files.len() > 3, "{files:?}");
    assert_eq!(amounts(&printed(&files)), (0..500).collect::<Vec<_>>());
    for file in &files {
        assert!(std::fs::metadata(file).unwrap().len() <= 8192 + 1024, "{file}");
        assert!(!printed(&[file]).is_empty());
    }
    // A shell sorts `r.10` before `r.2`.
    let mut sorted = files.clone();
    sorted.sort_unstable();
    sorted.reverse();
    assert_eq!(amounts(&printed(&sorted)), (0..500).collect::<Vec<_>>());
    let report = run(&[&["report", "--json"], &sorted[..]].concat()).result();
    assert_eq!(files_of(&report), files);
    let kept = folder.file("k");
    let ran = run(&[
        "record",
        &kept,
        name,
        "--backlog",
        "-n",
        "500",
        "--rotate",
        "8K",
        "--keep",
        "2",
        "--json",
    ]);
    assert_eq!(ran.result()["files"].as_array().unwrap().len(), 2);
    assert!(!Path::new(&kept).exists());
}

#[test]
fn gaps_are_in_the_file() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().capacity(1024).open("small").unwrap();
    let (mut out, mut reader) =
        (ring.publisher::<Trade>().unwrap(), ring.subscriber::<Trade>().unwrap());
    let (name, file) = (format!("{}:small", prefix.0), folder.file("g"));
    let mut child = start_recording(&[&file, &name, "--json"]);
    wait_for(&file, 0);
    // It runs, so it has opened the ring: packets from now on are its own.
    out.send(&trade(0)).unwrap();
    drop(reader.recv().unwrap());
    wait_for(&file, 1);
    stop(child.id());
    for amount in 1..100 {
        out.send(&trade(amount)).unwrap();
        drop(reader.recv().unwrap());
    }
    signal(child.id(), "CONT");
    out.send(&trade(100)).unwrap();
    eventually("the last packet", || {
        let found = printed(&[&file]);
        found.last().filter(|last| last["value"]["amount"] == 100).map(|_| ())
    });
    signal(child.id(), "TERM");
    child.wait().unwrap();
    let found = printed(&[&file]);
    let gaps: u64 = found.iter().filter_map(|line| line["skipped_slots"].as_u64()).sum();
    let packets = found.iter().filter(|line| line["value"].is_object()).count() as u64;
    assert!(gaps > 0 && packets + gaps == 101, "{packets} packets, {gaps} slots");
}

#[test]
fn files_of_an_earlier_rotation_are_not_mixed_with_new_ones() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let trades = Trades::new(&prefix, 0..500);
    let (name, file) = (trades.name.as_str(), folder.file("r"));
    let earlier = [folder.file("r.3"), folder.file("r.40")];
    let others = [folder.file("r.x"), folder.file("r.03"), folder.file("rr.3")];
    for path in earlier.iter().chain(&others) {
        std::fs::write(path, "earlier").unwrap();
    }
    let arguments = ["record", &file, name, "--backlog", "-n", "500", "--rotate", "8K"];
    let ran = run(&arguments);
    assert_eq!(ran.status, 1, "{ran:?}");
    for path in &earlier {
        assert!(ran.error.contains(path), "{}", ran.error);
    }
    assert!(ran.error.contains("--force") && !ran.error.contains("r.x"), "{}", ran.error);
    assert!(!Path::new(&file).exists());
    for path in earlier.iter().chain(&others) {
        assert_eq!(std::fs::read_to_string(path).unwrap(), "earlier");
    }

    let ran = run(&[&arguments[..], &["--force", "--json"]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let result = ran.result();
    let files = files_of(&result);
    assert_eq!(amounts(&printed(&files)), (0..500).collect::<Vec<_>>());
    assert!(!Path::new(&earlier[1]).exists());
    for path in &others {
        assert_eq!(std::fs::read_to_string(path).unwrap(), "earlier");
    }
}

#[test]
fn packets_of_deleted_files_are_not_counted_as_kept() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let trades = Trades::new(&prefix, 0..500);
    let name = trades.name.as_str();
    let record = |file: &str, more: &str| {
        let keep = ["record", file, name, "--backlog", "-n", "500", "--rotate", "8K"];
        let ran = run(&[&keep[..], &["--keep", "2", more]].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        ran
    };
    let done = record(&folder.file("k"), "--json").result();
    let files = files_of(&done);
    let kept = amounts(&printed(&files));
    assert!(kept.len() < 500 && kept.last() == Some(&499), "{kept:?}");
    let bytes: u64 = files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert_eq!(done["packets"], 500);
    assert_eq!((&done["kept_packets"], &done["kept_bytes"]), (&kept.len().into(), &bytes.into()));

    let text = record(&folder.file("t"), "--force").out;
    let says = format!("recorded 500 packets; the 2 kept files have the last {}, ", kept.len());
    assert!(text.starts_with(&says), "{text}");
}

#[test]
fn a_damaged_block_is_not_the_end_of_a_recording() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let trades = Trades::new(&prefix, 0..20);
    let (name, file) = (trades.name.as_str(), folder.file("d"));
    assert_eq!(run(&["record", &file, name, "--backlog", "-n", "20"]).status, 0);
    let whole = std::fs::read(&file).unwrap();
    // The first block has the streams, the next one the packets.
    let second = 16 + u32::from_le_bytes(whole[8..12].try_into().unwrap()) as usize;
    let mut damaged = whole.clone();
    damaged[second + 100] ^= 1;
    damaged.extend(&whole[second..]);
    std::fs::write(&file, &damaged).unwrap();
    let to = format!("{}:copy", prefix.0);
    let says = format!(
        "damaged at byte {second}: the {} bytes from there on were not read",
        damaged.len() - second
    );
    for arguments in [&["--print"][..], &["--to", &to]] {
        let ran = run(&[&["replay", &file, "--speed", "max"], arguments].concat());
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.error.contains(&says) && ran.error.contains(&file), "{}", ran.error);
    }
    let ran = run(&["replay", &file, "--print", "--json"]);
    assert!(ran.status == 1 && ran.out.contains(&says), "{ran:?}");
}

#[test]
fn each_packet_of_several_rings_has_its_ring() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let names = ["one", "two"].map(|name| format!("{}:{name}", prefix.0));
    let rings = ["one", "two"].map(|name| prefix.ring().open(name).unwrap());
    let _readers = rings.each_ref().map(|ring| ring.any_subscriber().unwrap());
    for (amount, ring) in rings.iter().enumerate() {
        ring.publisher::<u64>().unwrap().send(&(amount as u64 + 7)).unwrap();
    }
    let (both, single) = (folder.file("both"), folder.file("single"));
    let record = ["record", &both, &names[0], &names[1], "--backlog", "-n", "2"];
    assert_eq!(run(&record).status, 0);
    assert_eq!(run(&["record", &single, &names[0], "--backlog", "-n", "1"]).status, 0);

    let text = run(&["replay", "--print", &both]);
    assert_eq!(prefix.redact(&text.out), "P:one 0 u64 7\nP:two 0 u64 8\n");
    let rings: Vec<_> = printed(&[&both]).iter().map(|line| line["ring"].clone()).collect();
    assert_eq!(rings, names);
    // Also a file with one ring, beside a file with others.
    assert_eq!(printed(&[&single, &both])[0]["ring"], names[0].as_str());
    assert_eq!(run(&["replay", "--print", &single]).out, "0 u64 7\n");
    let second = run(&["replay", "--print", &both, "--stream", &names[1]]);
    assert_eq!(prefix.redact(&second.out), "P:two 0 u64 8\n");

    let ran = run(&["replay", "--print", &both, "--stream", "nope"]);
    let says = format!("the recording has the rings {}, {}", names[0], names[1]);
    assert!(ran.status == 1 && ran.error.contains(&says), "{ran:?}");
}
