//! Liveness and timeouts do not depend on wall-clock time, process ids, reaping of dead processes,
//! or the process-id namespace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::inspect::Inspection;
use packetring::{
    OpenError, Publisher, RecvTimeoutError, Ring, RingBuilder, SendTimeoutError, TrySendError,
    WaitingFor,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::{LONG, SHORT, assert_gone, object, state_of, unique, wait_until};

/// Holds 16 packets, so that it fills up soon.
fn small() -> RingBuilder {
    Ring::builder().capacity(1024).max_publishers(2).max_subscribers(2)
}

/// Fills a ring that has a subscriber that does not read.
fn fill(out: &mut Publisher<u64>) -> WaitingFor {
    for number in 0.. {
        match out.try_send(&number) {
            Ok(_) => assert!(number < 16),
            Err(TrySendError::Full { waiting_for }) => return waiting_for,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "idle" => idle(&role),
        "claim" => claim(&role),
        "echo" => echo(&role),
        other => panic!("{other}"),
    }
}

/// Joins as a subscriber and reads nothing. Arguments: ring.
fn idle(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let _numbers = ring.subscriber::<u64>().unwrap();
    peer::say(&std::process::id().to_string());
    peer::hear();
}

/// Leaves a claim open. Arguments: ring.
fn claim(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let _open = out.reserve().unwrap();
    peer::say(&std::process::id().to_string());
    peer::hear();
}

/// Kills a peer without reaping it, so that it stays a zombie.
fn kill_unreaped(peer: &Peer) {
    peer.signal(Signal::KILL);
    wait_until("the peer is a zombie", || state_of(peer.pid()) == Some('Z'));
}

#[test]
fn a_zombie_subscriber_does_not_block() {
    let name = unique("zombie-cursor");
    let ring = small().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut peer = Peer::start(&format!("idle {name}"));
    peer.expect(&peer.pid().to_string());
    assert_eq!(fill(&mut out), WaitingFor::Subscriber { pid: peer.pid() });
    kill_unreaped(&peer);
    out.send_timeout(&16, LONG).unwrap();
    assert_eq!(ring.subscribers(), 0);
    assert_eq!(state_of(peer.pid()), Some('Z'), "the process was reaped early");
}

#[test]
fn the_claim_of_a_zombie_is_voided() {
    let name = unique("zombie-claim");
    let ring = small().open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut peer = Peer::start(&format!("claim {name}"));
    peer.expect(&peer.pid().to_string());
    out.send(&1).unwrap();
    assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    kill_unreaped(&peer);
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 1);
    assert_eq!(state_of(peer.pid()), Some('Z'), "the process was reaped early");
}

/// Offsets in the segment of the process ids of the only subscriber and of the second publisher.
const SUBSCRIBER_PID: u64 = 768 + 2 * 256 + 128 + 4;
const PUBLISHER_PID: u64 = 768 + 256 + 128 + 4;

/// Replaces a peer's process id in the segment by that of this live process, as if the id had been
/// reused.
fn reuse_pid(name: &str, at: u64, peer: &Peer) {
    let file = OpenOptions::new().read(true).write(true).open(object(name)).unwrap();
    let mut found = [0; 4];
    file.read_exact_at(&mut found, at).unwrap();
    assert_eq!(u32::from_le_bytes(found), peer.pid(), "wrong offset of the process id");
    file.write_all_at(&std::process::id().to_le_bytes(), at).unwrap();
}

#[test]
fn a_reused_process_id_does_not_keep_a_dead_endpoint_alive() {
    let name = unique("reuse-cursor");
    let ring = small().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut peer = Peer::start(&format!("idle {name}"));
    peer.hear();
    fill(&mut out);
    reuse_pid(&name, SUBSCRIBER_PID, &peer);
    assert!(matches!(out.send_timeout(&16, SHORT), Err(SendTimeoutError::Timeout { .. })));
    peer.kill();
    out.send_timeout(&16, LONG).unwrap();
    drop((out, ring));

    let name = unique("reuse-claim");
    let ring = small().open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut peer = Peer::start(&format!("claim {name}"));
    peer.hear();
    reuse_pid(&name, PUBLISHER_PID, &peer);
    out.send(&1).unwrap();
    assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    peer.kill();
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 1);
}

#[test]
fn an_unused_process_id_does_not_make_its_owner_dead() {
    let name = unique("unused-pid");
    let ring = small().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut peer = Peer::start(&format!("idle {name}"));
    peer.hear();
    fill(&mut out);
    let file = OpenOptions::new().write(true).open(object(&name)).unwrap();
    file.write_all_at(&0x7fff_ffff_u32.to_le_bytes(), SUBSCRIBER_PID).unwrap();
    for _ in 0..3 {
        match out.send_timeout(&16, SHORT).unwrap_err() {
            SendTimeoutError::Timeout { waiting_for: WaitingFor::Subscriber { pid } } => {
                assert_eq!(
                    pid, 0x7fff_ffff,
                    "the stored process id is reported, but not used to detect death"
                );
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!(ring.subscribers(), 1);
}

/// Sends back each number. Arguments: forward ring, return ring.
fn echo(role: &Role) {
    let (there, back) = (&role.arguments[0], &role.arguments[1]);
    let mut numbers = Ring::attach(there).unwrap().subscriber::<u64>().unwrap();
    let mut out = Ring::attach(back).unwrap().publisher::<u64>().unwrap();
    // A timeout by the peer's own clock, whatever that clock shows.
    assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    peer::say(&std::process::id().to_string());
    // Until the test closes the ring or ends.
    while let Ok(number) = numbers.recv_timeout(LONG) {
        let number = number.to_native();
        out.send_timeout(&number, LONG).unwrap();
    }
}

/// Whether a program can be started in a namespace of its own. Prints a note if not.
fn is_permitted(program: &[&str]) -> bool {
    let status = std::process::Command::new(program[0]).args(&program[1..]).arg("true").output();
    let permitted = status.is_ok_and(|output| output.status.success());
    if !permitted {
        println!("skipped: `{}` is not permitted here", program.join(" "));
    }
    permitted
}

/// The child of `unshare --fork`, by its process id in this namespace.
fn child_of(peer: &Peer) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", peer.pid());
    let children = std::fs::read_to_string(path).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

#[test]
fn processes_in_different_pid_namespaces_share_a_ring() {
    const UNSHARE: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];
    if !is_permitted(&UNSHARE) {
        return;
    }
    let name = unique("namespace");
    let ring = small().open(&name).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    // Two processes, each with process id 1 in its own namespace.
    let mut idle_peer = Peer::start_under(&UNSHARE, &format!("idle {name}"));
    let mut claim_peer = Peer::start_under(&UNSHARE, &format!("claim {name}"));
    idle_peer.expect("1");
    claim_peer.expect("1");
    assert_eq!(ring.subscribers(), 2);
    out.send(&0).unwrap();
    assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    kill_process(child_of(&claim_peer), Signal::KILL).unwrap();
    assert_eq!(*numbers.recv_timeout(LONG).unwrap(), 0);
    while numbers.try_recv().is_ok() {}
    drop(numbers);
    let waiting_for = fill(&mut out);
    assert_eq!(
        waiting_for,
        WaitingFor::Subscriber { pid: 1 },
        "the process id in the subscriber's namespace"
    );
    assert!(matches!(out.send_timeout(&1, SHORT), Err(SendTimeoutError::Timeout { .. })));
    kill_process(child_of(&idle_peer), Signal::KILL).unwrap();
    out.send_timeout(&1, LONG).unwrap();
    assert_eq!(ring.subscribers(), 0);
    drop((out, ring));
    assert_gone(&name);
}

#[test]
fn a_process_in_another_namespace_recovers_a_dead_claim() {
    const UNSHARE: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];
    if !is_permitted(&UNSHARE) {
        return;
    }
    let (there, back) = (unique("there"), unique("back"));
    let ring = small().open(&there).unwrap();
    let mut answers = small().open(&back).unwrap().subscriber::<u64>().unwrap();
    let mut echo = Peer::start_under(&UNSHARE, &format!("echo {there} {back}"));
    echo.expect("1");
    let mut claim_peer = Peer::start(&format!("claim {there}"));
    claim_peer.hear();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&7).unwrap();
    assert!(matches!(answers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    // The echo process recovers the claim: it alone waits behind it.
    claim_peer.kill();
    assert_eq!(*answers.recv_timeout(LONG).unwrap(), 7);
    ring.close().unwrap();
    echo.finish();
    drop((ring, out, answers));
    assert_gone(&there);
    assert_gone(&back);
}

#[test]
fn processes_with_different_clocks_share_a_ring() {
    const DAY: [&str; 6] = ["unshare", "--time", "--monotonic", "86400", "--boottime", "86400"];
    if !is_permitted(&DAY) {
        return;
    }
    let (there, back) = (unique("there"), unique("back"));
    let (ring, answers) = (small().open(&there).unwrap(), small().open(&back).unwrap());
    let mut answers = answers.subscriber::<u64>().unwrap();
    let mut echo = Peer::start_under(&DAY, &format!("echo {there} {back}"));
    echo.hear();
    let mut out = ring.publisher::<u64>().unwrap();
    ring.sample_latency(NonZeroU32::new(1));
    for number in 0..100 {
        out.send_timeout(&number, LONG).unwrap();
        assert_eq!(*answers.recv_timeout(LONG).unwrap(), number);
    }
    assert!(matches!(answers.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
    // Its clock is a day ahead, so no latency follows from a probe.
    let objects = packetring::inventory().unwrap();
    let object = objects.iter().find(|object| object.name == there).unwrap();
    let Inspection::Ring(found) = object.inspect().unwrap() else { panic!("{object}") };
    assert_eq!((found.latencies.count, found.latencies.ignored), (0, 100));
    echo.kill();
    assert!(matches!(answers.recv_timeout(LONG).map(drop), Err(RecvTimeoutError::Closed)));
    assert!(!matches!(ring.subscriber::<u64>(), Err(OpenError::Full { .. })));
}
