//! A publisher makes no system call while its readers are awake, and a reader makes none while a
//! packet is available.
//!
//! The kernel proves it: a child process forbids itself every system call except `write` and
//! `exit_group` (seccomp). It then sends and receives 100,000 packets with each method, many laps
//! of the ring. A forbidden call kills the process with SIGSYS. Both sides run in that process, so
//! no thread sleeps. The other tests check the filter: there a reader sleeps, or the code calls the
//! kernel directly, and the process must be killed.
//!
//! A second filter shows that a long wait does not repeat calls that cannot change anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{Claims, Overflow, Publisher, Reserved, Ring, Subscriber, Tail, Wait, packet};
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::seccomp::{Refused, answer, install, statement};
use support::unique;

/// Packets sent and received with each method.
const PACKETS: u64 = 100_000;
/// Packets sent before they are received. Must fit in the ring.
const BURST: u64 = 100;
/// Too long for rkyv's inline strings.
const NAME: &str = "a name that is too long to be inline";

#[packet]
struct Chat {
    name: String,
    number: u64,
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let outcome = match role.name.as_str() {
        "stream" => stream(&role),
        "calls" => calls(),
        "wakes" => wakes(&role),
        "waits" => waits(&role),
        other => panic!("{other}"),
    };
    // Exit here: the test harness would make system calls.
    // SAFETY: `_exit` only ends this process.
    unsafe { libc::_exit(i32::from(outcome.is_none())) }
}

/// Installs the filter: from now on, any system call of this thread except `write` and `exit_group`
/// kills the process.
fn forbid_system_calls() {
    let jump = |number: i64| statement(libc::BPF_JMP | libc::BPF_JEQ, number as u32);
    let answer = |answer: u32| statement(libc::BPF_RET, answer);
    let mut program = [
        // Load the number of the system call, at the start of the filter's data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jt: 2, ..jump(libc::SYS_write) },
        libc::sock_filter { jt: 1, ..jump(libc::SYS_exit_group) },
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    install(&mut program);
}

/// Sends and receives with one method. Arguments: ring, claims, overflow, method.
fn stream(role: &Role) -> Option<()> {
    let [name, claims, overflow, method] = &role.arguments[..] else { panic!("{role:?}") };
    let ring = Ring::builder().capacity(1 << 16).wait(Wait::park());
    let ring = if claims == "Exclusive" { ring.exclusive() } else { ring.shared() };
    let oldest = overflow == "DropOldest";
    let ring = ring.overflow(if oldest { Overflow::DropOldest } else { Overflow::Block });
    let ring = ring.open(name).unwrap();
    match method.as_str() {
        "send" => repeat(
            &ring,
            |out: &mut Publisher<[u64; 6]>, n| out.send(&[n; 6]).ok().map(drop),
            receive_one,
        ),
        "send_all" => repeat(&ring, send_all, drain),
        "reserve" => repeat(&ring, reserve, receive_one),
        "reserve_tail" => tails(&ring),
        "text" => texts(&ring),
        other => panic!("{other}"),
    }
}

/// Runs some rounds before the filter is installed, so that pages and buffers are allocated, and
/// the rest after.
fn repeat<T: packetring::Packet>(
    ring: &Ring,
    mut send: impl FnMut(&mut Publisher<T>, u64) -> Option<()>,
    mut receive: impl FnMut(&mut Subscriber<T>, u64) -> Option<()>,
) -> Option<()> {
    let mut inbox = ring.subscriber::<T>().unwrap();
    let mut out = ring.publisher::<T>().unwrap();
    // The subscriber has slept once. A publisher that still tries to wake it would be detected.
    assert!(inbox.recv_timeout(Duration::from_millis(1)).is_err());
    let mut burst = |first: u64| {
        (first..first + BURST).try_for_each(|number| send(&mut out, number))?;
        (first..first + BURST).try_for_each(|number| receive(&mut inbox, number))
    };
    for round in 0..100 {
        burst(round * BURST)?;
    }
    forbid_system_calls();
    for round in 100..100 + PACKETS / BURST {
        burst(round * BURST)?;
    }
    // Exit here: dropping the endpoints would make system calls.
    // SAFETY: `_exit` only ends this process.
    unsafe { libc::_exit(0) }
}

fn receive_one(inbox: &mut Subscriber<[u64; 6]>, number: u64) -> Option<()> {
    let packet =
        if number.is_multiple_of(2) { inbox.recv().ok()? } else { inbox.try_recv().ok()? };
    (packet[5] == number).then_some(())
}

/// Sends the whole burst, two packets per call.
fn send_all(out: &mut Publisher<[u64; 6]>, number: u64) -> Option<()> {
    if number.is_multiple_of(2) {
        out.send_all(&[[number; 6], [number + 1; 6]]).ok()
    } else {
        Some(())
    }
}

/// Receives the whole burst when called for its first packet.
fn drain(inbox: &mut Subscriber<[u64; 6]>, number: u64) -> Option<()> {
    if !number.is_multiple_of(BURST) {
        return Some(());
    }
    let mut next = number;
    while next < number + BURST {
        for packet in &inbox.drain().ok()? {
            (packet[0] == next).then_some(())?;
            next += 1;
        }
    }
    Some(())
}

fn reserve(out: &mut Publisher<[u64; 6]>, number: u64) -> Option<()> {
    let mut packet = out.reserve().ok()?;
    *packet = [number.into(); 6];
    Reserved::commit(packet);
    Some(())
}

fn tails(ring: &Ring) -> Option<()> {
    let send = |out: &mut Publisher<Tail<u64, u8>>, number: u64| {
        let mut packet = out.reserve_tail(100).ok()?;
        *packet.head_mut() = number.into();
        packet.tail_mut().fill(number as u8);
        packet.commit();
        Some(())
    };
    repeat(ring, send, |inbox, number| {
        let packet = inbox.recv().ok()?;
        (packet.head == number && packet.tail[99] == number as u8).then_some(())
    })
}

fn texts(ring: &Ring) -> Option<()> {
    let mut chat = Chat { name: NAME.into(), number: 0 };
    let send = |out: &mut Publisher<Chat>, number| {
        chat.number = number;
        out.send(&chat).ok().map(drop)
    };
    repeat(ring, send, |inbox, number| {
        let chat = inbox.recv().ok()?;
        (chat.number == number && *chat.name == *NAME).then_some(())
    })
}

/// Waits at an empty ring or in `select`, after a first wait. Arguments: ring, method, forbidden
/// call.
fn waits(role: &Role) -> Option<()> {
    let [name, method, forbidden] = &role.arguments[..] else { panic!("{role:?}") };
    let ring = Ring::builder().wait(Wait::park().spin_for(Duration::ZERO)).open(name).unwrap();
    let _out = ring.publisher::<u64>().unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut other = ring.subscriber::<u64>().unwrap();
    let mut wait = |time| match method.as_str() {
        "recv" => inbox.recv_timeout(time).is_err(),
        "select" => packetring::select_timeout(&mut [&mut inbox, &mut other], time).is_none(),
        other => panic!("{other}"),
    };
    wait(Duration::from_millis(5)).then_some(())?;
    let (call, commands) = match forbidden.as_str() {
        "membarrier" => (libc::SYS_membarrier, vec![]),
        "lock" => (libc::SYS_fcntl, vec![libc::F_OFD_SETLK, libc::F_OFD_SETLKW]),
        "query" => (libc::SYS_fcntl, vec![libc::F_OFD_GETLK]),
        other => panic!("{other}"),
    };
    answer(&[Refused { call, commands }], libc::SECCOMP_RET_KILL_PROCESS);
    // In a single call: a new `select` registers anew.
    let ended = wait(Duration::from_millis(200));
    // SAFETY: `_exit` only ends this process.
    unsafe { libc::_exit(i32::from(!ended)) }
}

/// Makes a forbidden system call.
fn calls() -> Option<()> {
    forbid_system_calls();
    // SAFETY: `getppid` has no preconditions.
    (unsafe { libc::getppid() } == 0).then_some(())
}

/// Sends to a subscriber that has registered as a waiter. Arguments: ring.
fn wakes(role: &Role) -> Option<()> {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    out.send(&0).ok()?;
    peer::say("sent");
    peer::hear();
    forbid_system_calls();
    out.send(&1).ok().map(drop)
}

#[test]
fn a_forbidden_system_call_kills_the_process() {
    assert_eq!(Peer::start("calls").died_of(), Some(libc::SIGSYS));
}

#[test]
fn waking_a_sleeping_subscriber_makes_a_system_call() {
    let name = unique("wakes");
    let ring = Ring::builder().wait(Wait::park().spin_for(Duration::ZERO)).open(&name).unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut peer = Peer::start(&format!("wakes {name}"));
    peer.expect("sent");
    assert_eq!(*inbox.recv().unwrap(), 0);
    // The subscriber sleeps, so it stays registered as a waiter from here on.
    assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err());
    peer.tell("send");
    assert_eq!(peer.died_of(), Some(libc::SIGSYS));
}

#[test]
fn steady_streams_make_no_system_calls() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            for method in ["send", "send_all", "reserve", "reserve_tail", "text"] {
                let name = unique("stream");
                let role = format!("stream {name} {claims:?} {overflow:?} {method}");
                let status = Peer::start(&role).wait();
                // The process did not detach from its ring.
                Ring::remove(&name).unwrap();
                assert!(status.success(), "{role}: {status}");
            }
        }
    }
}

#[test]
fn a_wait_that_goes_on_repeats_neither_barriers_nor_locks() {
    for (method, forbidden) in [("recv", "membarrier"), ("recv", "lock"), ("select", "lock")] {
        let name = unique("waits");
        let role = format!("waits {name} {method} {forbidden}");
        let status = Peer::start(&role).wait();
        Ring::remove(&name).unwrap();
        assert!(status.success(), "{role}: {status}");
    }
}

#[test]
fn a_wait_that_goes_on_asks_whether_others_live() {
    for method in ["recv", "select"] {
        let name = unique("asks");
        assert_eq!(
            Peer::start(&format!("waits {name} {method} query")).died_of(),
            Some(libc::SIGSYS)
        );
        Ring::remove(&name).unwrap();
    }
}
