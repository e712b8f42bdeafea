//! A publisher whose readers are awake, and a reader whose packet is there, make no system call.
//!
//! Shown by the kernel: a process of its own forbids itself every system call but `write` and
//! `exit_group` (seccomp), and then sends and receives 100,000 packets in each way there is, many
//! laps of the ring. One forbidden call would kill it with SIGSYS. Both sides are in that one
//! process, so nobody sleeps. In the other tests somebody does, or something else calls the
//! kernel: then it must be killed, so the filter works.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{Claims, Overflow, Publisher, Ring, Subscriber, Tail, Wait, packet};
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::unique;

/// Packets that are sent and received in each way.
const PACKETS: u64 = 100_000;
/// Packets sent before they are received: fewer than the ring holds.
const BURST: u64 = 100;
/// Longer than what is stored in line.
const NAME: &str = "somebody with a name of some length";

#[packet]
struct Chat {
    name: String,
    number: u64,
}

/// The other processes of these tests; nothing by itself.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let outcome = match role.name.as_str() {
        "stream" => stream(&role),
        "calls" => calls(),
        "wakes" => wakes(&role),
        other => panic!("{other}"),
    };
    // The harness would make system calls.
    // SAFETY: ends this process.
    unsafe { libc::_exit(i32::from(outcome.is_none())) }
}

/// From here on, this thread dies with its process of any system call but `write` and
/// `exit_group`.
fn forbid_system_calls() {
    let jump = |number: i64| statement(libc::BPF_JMP | libc::BPF_JEQ, number as u32);
    let answer = |answer: u32| statement(libc::BPF_RET, answer);
    let mut program = [
        // The number of the system call, at the start of the filter's data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jt: 2, ..jump(libc::SYS_write) },
        libc::sock_filter { jt: 1, ..jump(libc::SYS_exit_group) },
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first changes a flag of this thread; the second reads `program`.
    let outcomes = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
        ]
    };
    assert_eq!(outcomes, [0, 0], "{}", std::io::Error::last_os_error());
}

fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

/// Sends and receives in one way. Arguments: ring, claims, overflow, way.
fn stream(role: &Role) -> Option<()> {
    let [name, claims, overflow, way] = &role.arguments[..] else { panic!("{role:?}") };
    let ring = Ring::builder().capacity(1 << 16).wait(Wait::park());
    let ring = if claims == "Exclusive" { ring.exclusive() } else { ring.shared() };
    let oldest = overflow == "DropOldest";
    let ring = ring.overflow(if oldest { Overflow::DropOldest } else { Overflow::Block });
    let ring = ring.open(name).unwrap();
    match way.as_str() {
        "send" => {
            repeat(&ring, |out: &mut Publisher<[u64; 6]>, n| out.send(&[n; 6]).ok().map(drop), one)
        }
        "send_all" => repeat(&ring, send_all, drain),
        "reserve" => repeat(&ring, reserve, one),
        "reserve_tail" => tails(&ring),
        "text" => texts(&ring),
        other => panic!("{other}"),
    }
}

/// Everything once before it is forbidden to call the kernel: pages and buffers are there then.
fn repeat<T: packetring::Packet>(
    ring: &Ring,
    mut send: impl FnMut(&mut Publisher<T>, u64) -> Option<()>,
    mut receive: impl FnMut(&mut Subscriber<T>, u64) -> Option<()>,
) -> Option<()> {
    let mut inbox = ring.subscriber::<T>().unwrap();
    let mut out = ring.publisher::<T>().unwrap();
    // It has slept: a publisher that went on waking it would be found out.
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
    // The endpoints would leave, and that takes system calls.
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) }
}

fn one(inbox: &mut Subscriber<[u64; 6]>, number: u64) -> Option<()> {
    let packet =
        if number.is_multiple_of(2) { inbox.recv().ok()? } else { inbox.try_recv().ok()? };
    (packet[5] == number).then_some(())
}

/// All of a burst at its first packet, two at a time.
fn send_all(out: &mut Publisher<[u64; 6]>, number: u64) -> Option<()> {
    if number.is_multiple_of(2) {
        out.send_all(&[[number; 6], [number + 1; 6]]).ok()
    } else {
        Some(())
    }
}

/// All of a burst at its first packet.
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
    packet.commit();
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

/// Calls the kernel although that is forbidden.
fn calls() -> Option<()> {
    forbid_system_calls();
    // SAFETY: asks for a number.
    (unsafe { libc::getppid() } == 0).then_some(())
}

/// Sends where somebody announced that it sleeps. Arguments: ring.
fn wakes(role: &Role) -> Option<()> {
    let mut out = Ring::attach(&role.arguments[0]).unwrap().publisher::<u64>().unwrap();
    out.send(&0).ok()?;
    peer::say("sent");
    peer::hear();
    forbid_system_calls();
    out.send(&1).ok().map(drop)
}

#[test]
fn a_forbidden_call_is_the_end() {
    assert_eq!(Peer::start("calls").died_of(), Some(libc::SIGSYS));
}

#[test]
fn whoever_wakes_a_sleeper_calls_the_kernel() {
    let name = unique("wakes");
    let ring = Ring::builder().wait(Wait::park().spin_for(Duration::ZERO)).open(&name).unwrap();
    let mut inbox = ring.subscriber::<u64>().unwrap();
    let mut peer = Peer::start(&format!("wakes {name}"));
    peer.expect("sent");
    assert_eq!(*inbox.recv().unwrap(), 0);
    // Sleeps, and so is announced from here on.
    assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err());
    peer.tell("send");
    assert_eq!(peer.died_of(), Some(libc::SIGSYS));
}

#[test]
fn streams_make_no_system_call() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            for way in ["send", "send_all", "reserve", "reserve_tail", "text"] {
                let name = unique("stream");
                let role = format!("stream {name} {claims:?} {overflow:?} {way}");
                let status = Peer::start(&role).wait();
                // It has not left its ring.
                Ring::remove(&name).unwrap();
                assert!(status.success(), "{role}: {status}");
            }
        }
    }
}
