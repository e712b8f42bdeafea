//! The number of system calls that `ls` makes for each ring.

use crate::support::{Prefix, command};
use std::process::{Command, Stdio};

/// Most calls for a ring with one publisher and one subscriber. The guide states the number.
const MOST: usize = 58;

/// The number of system calls of `ls`. `None` if this machine does not trace.
fn calls(prefix: &Prefix) -> Option<usize> {
    let ls = command(&["ls", "--prefix", &prefix.0]);
    let log = std::env::temp_dir().join(format!("packetring-strace-{}", prefix.0));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&log).arg(ls.get_program()).args(ls.get_args());
    let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    // Nothing was traced: there is no strace, or a filter forbids it.
    (status.is_ok_and(|status| status.success()) && text.contains("exit_group"))
        .then(|| text.lines().count())
}

#[test]
fn ls_makes_a_bounded_number_of_system_calls_for_each_ring() {
    const MANY: usize = 500;
    const FEW: usize = 20;
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("0").unwrap();
    let _ends = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    // Copies are rings whose processes died. They cost as many calls as living ones, and need no
    // descriptors here.
    let copy = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            std::fs::copy(prefix.file("0"), prefix.file(&number.to_string())).unwrap();
        }
    };
    copy(1..FEW);
    let Some(few) = calls(&prefix) else {
        println!("skipped: no strace here");
        return;
    };
    copy(FEW..MANY);
    let many = calls(&prefix).unwrap();
    let each = (many - few) as f64 / (MANY - FEW) as f64;
    println!("{each:.1} system calls for each ring");
    assert!(each <= MOST as f64, "{each:.1} system calls for each of {MANY} rings");
}
