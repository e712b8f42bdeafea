//! `bench`: plausible figures, and nothing that stays.

use crate::support::{Running, command, eventually, run, signal};
use std::process::Stdio;

fn start(arguments: &[&str]) -> Running {
    let mut bench = command(&[&["bench"], arguments].concat());
    Running::start(bench.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// The files of the rings of this run.
fn files(pid: u32) -> usize {
    let start = format!("packetring.packetring-bench-{pid}:");
    let files = std::fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap().file_name());
    files.filter(|name| name.to_string_lossy().starts_with(&start)).count()
}

#[test]
fn figures_are_plausible_and_nothing_stays() {
    let child = start(&["--seconds", "0.4", "--json"]);
    let pid = child.id();
    let ran = child.end();
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    let result = ran.result();
    let list = |name: &str| result[name].as_array().unwrap().clone();
    let has_two = std::thread::available_parallelism().unwrap().get() > 1;
    assert_eq!(list("round_trips").len(), if has_two { 2 } else { 1 }, "{result}");
    for one in list("round_trips") {
        let number = |name: &str| one[name].as_u64().unwrap();
        assert!(number("rounds") > 0 && number("p50_ns") > 0, "{one}");
        assert!(number("p50_ns") <= number("p99_ns"), "{one}");
        assert!(number("p99_ns") <= number("p999_ns"), "{one}");
        assert_eq!(one["floors"].is_number(), has_two, "{one}");
    }
    for one in list("streams") {
        let number = |name: &str| one[name].as_f64().unwrap();
        assert!(number("packets") >= 256.0 && number("packets_per_second") > 0.0, "{one}");
        let per_second = number("packets_per_second") * number("ns_per_packet") / 1e9;
        assert!((per_second - 1.0).abs() < 1e-6, "{one}");
        let bytes = number("bytes_per_second") / number("packets_per_second");
        assert!((bytes - 64.0).abs() < 1e-6, "{one}");
    }
    assert_eq!(result["packet_bytes"], 48);
    assert_eq!(files(pid), 0);
}

#[test]
fn one_core_leaves_out_what_needs_two_and_says_so() {
    let core = run(&["bench", "--seconds", "0.2", "--json"]).result()["cores"][0].to_string();
    let ran = run(&["bench", "--seconds", "0.2", "--cores", &format!("{core},{core}")]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("one core: spin and the floor are left out"), "{}", ran.out);
    assert!(ran.out.contains("park") && !ran.out.contains("\nspin  "), "{}", ran.out);
    for (cores, says) in [("0", "give two cores"), ("0,99999", "may not use core 99999")] {
        let ran = run(&["bench", "--cores", cores]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.error.contains(says), "{}", ran.error);
    }
}

#[test]
fn a_signal_ends_both_processes_and_removes_the_rings() {
    let child = start(&["--seconds", "60"]);
    let pid = child.id();
    eventually("the rings", || (files(pid) > 0).then_some(()));
    signal(pid, "INT");
    let ran = child.end();
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.error.contains("ended by a signal"), "{}", ran.error);
    assert_eq!(files(pid), 0);
}
