//! Kernels and sandboxes: system calls that a seccomp filter refuses, on both sides or on one, a
//! timer signal that interrupts each long call, and endpoints that share one core.
//!
//! A sandboxed process works, and it does not burn a core while it waits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{Ring, Wait, select_timeout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::peer::{self, Peer, Role};
use support::seccomp::{self, Refused};
use support::{LONG, Watch, assert_gone, unique, wait_until};

/// The errors with which filters and kernels refuse calls.
const ERRNOS: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL];

/// The calls that a kernel or a filter may refuse, by a name.
fn refused(what: &str) -> Vec<Refused> {
    let call = |call| Refused { call, commands: Vec::new() };
    match what {
        "none" => Vec::new(),
        "futex_waitv" => vec![call(libc::SYS_futex_waitv)],
        "membarrier" => vec![call(libc::SYS_membarrier)],
        "affinity" => vec![call(libc::SYS_sched_getaffinity)],
        "waits" => ["futex_waitv", "membarrier"].into_iter().flat_map(refused).collect(),
        "all" => ["waits", "affinity"].into_iter().flat_map(refused).collect(),
        other => panic!("{other}"),
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "echo" => echo(&role),
        "wait" => wait_idle(&role),
        "interrupted" => interrupted(&role),
        "one_core" => one_core(),
        other => panic!("{other}"),
    }
}

/// Sends back what it receives through `select`. Arguments: ring, ring back, refused calls, errno.
fn echo(role: &Role) {
    seccomp::refuse(&refused(&role.arguments[2]), role.number(3) as i32);
    let mut numbers = Ring::attach(&role.arguments[0]).unwrap().subscriber::<u64>().unwrap();
    let mut out = Ring::attach(&role.arguments[1]).unwrap().publisher::<u64>().unwrap();
    peer::say("here");
    while select_timeout(&mut [&mut numbers], LONG).is_some() {
        let Ok(number) = numbers.recv().map(|number| number.to_native()) else { return };
        out.send(&number).unwrap();
    }
}

#[test]
fn packets_go_both_ways_if_calls_are_refused_on_either_side() {
    let _watch = Watch::start();
    for (index, (what, errno)) in ["futex_waitv", "membarrier", "affinity", "all"]
        .into_iter()
        .flat_map(|what| ERRNOS.map(|errno| (what, errno)))
        .enumerate()
    {
        // The echo has the filter, or the echo of the echo has it.
        let names = [unique("there"), unique("back")];
        let [there, back] = names.each_ref().map(|name| Ring::open(name).unwrap());
        let mut out = there.publisher::<u64>().unwrap();
        let mut echoes = back.subscriber::<u64>().unwrap();
        let roles = if index % 2 == 0 { [what, "none"] } else { ["none", what] };
        let mut peers = roles.map(|what| {
            let mut peer = Peer::start(&format!("echo {} {} {what} {errno}", names[0], names[1]));
            peer.expect("here");
            peer
        });
        for number in 0..20 {
            // Both peers may sleep or not.
            if number % 4 == 0 {
                std::thread::sleep(Duration::from_micros(number * 100));
            }
            out.send(&number).unwrap();
            for _ in &peers {
                assert_eq!(*echoes.recv_timeout(LONG).unwrap(), number, "{what} {errno}");
            }
        }
        there.close().unwrap();
        for peer in &mut peers {
            assert!(peer.wait().success(), "{what} {errno}");
        }
    }
}

/// Waits in `select` while nothing comes. Arguments: ring, refused calls, errno. Says
/// what part of the time it used a core, in percent.
fn wait_idle(role: &Role) {
    seccomp::refuse(&refused(&role.arguments[1]), role.number(2) as i32);
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let mut others = ring.subscriber::<u64>().unwrap();
    let (started, before) = (Instant::now(), core_time());
    for _ in 0..2 {
        let timeout = Duration::from_millis(100);
        assert!(select_timeout(&mut [&mut numbers, &mut others], timeout).is_none());
    }
    let used = (core_time() - before).as_nanos() * 100 / started.elapsed().as_nanos();
    peer::say(&used.to_string());
}

/// The time for which this process has used a core.
#[expect(clippy::disallowed_methods, reason = "`Instant` does not know the time on a core")]
fn core_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_wait_burns_no_core_if_calls_are_refused() {
    let name = unique("idle");
    let ring = Ring::open(&name).unwrap();
    let _publisher = ring.publisher::<u64>().unwrap();
    for (what, errno) in [
        ("none", 0),
        ("futex_waitv", libc::EPERM),
        ("futex_waitv", libc::EACCES),
        ("futex_waitv", libc::ENOSYS),
        ("membarrier", libc::EPERM),
        ("all", libc::EINVAL),
    ] {
        let mut peer = Peer::start(&format!("wait {name} {what} {errno}"));
        let used: u64 = peer.hear().parse().unwrap();
        assert!(used < 25, "{what} {errno}: {used} percent of a core");
    }
}

#[test]
fn examples_run_where_calls_are_refused() {
    let examples: [(&str, &[&str]); 5] = [
        ("ping_pong", &["--rounds", "50"]),
        ("workers", &[]),
        ("service", &[]),
        ("jobs", &[]),
        ("events", &[]),
    ];
    for (index, (example, arguments)) in examples.into_iter().enumerate() {
        let errno = ERRNOS[index % ERRNOS.len()];
        let mut command = Command::new(program(example));
        command.args(arguments).stdout(Stdio::null());
        // SAFETY: between fork and exec the closure allocates, which is safe here: no other thread
        // of this process holds the allocator's lock across a fork of the C library.
        unsafe {
            command.pre_exec(move || {
                seccomp::refuse(&refused("waits"), errno);
                Ok(())
            })
        };
        assert!(command.status().unwrap().success(), "{example} without calls: {errno}");
    }
}

/// The path of an example, which cargo builds with the tests.
fn program(example: &str) -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(example)
}

/// Makes a large ring while a timer interrupts it. Kernels differ in whether a signal ends a
/// `fallocate` that is under way. Arguments: ring.
fn interrupted(role: &Role) {
    extern "C" fn ignore(_: libc::c_int) {}
    let every = libc::timespec { tv_sec: 0, tv_nsec: 500_000 };
    let interval = libc::itimerspec { it_interval: every, it_value: every };
    // SAFETY: the handler does nothing. The structs are C structs for which zero is valid; without
    // SA_RESTART the signal interrupts calls. The timer signals this thread, not another one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        let none = std::ptr::null_mut();
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, none), 0);
        let mut event: libc::sigevent = std::mem::zeroed();
        (event.sigev_notify, event.sigev_signo) = (libc::SIGEV_THREAD_ID, libc::SIGALRM);
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = std::mem::zeroed();
        let made = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        let set = libc::timer_settime(timer, 0, &raw const interval, std::ptr::null_mut());
        assert_eq!((made, set), (0, 0));
    }
    let ring = Ring::builder().capacity(128 << 20).open(&role.arguments[0]).unwrap();
    assert_eq!(ring.settings().capacity, 128 << 20);
}

#[test]
fn a_large_ring_is_made_under_a_timer_that_interrupts_each_call() {
    let name = unique("timer");
    Peer::start(&format!("interrupted {name}")).finish();
    assert_gone(&name);
}

/// Runs two publishers that spin and a reader that spins on one core, until each publisher has sent
/// a number of packets.
fn one_core() {
    const ENOUGH: u64 = 2_000;
    // SAFETY: `cpu_set_t` is a C struct of integers. The call binds this process to its first core.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut cores);
        libc::sched_setaffinity(0, size_of_val(&cores), &raw const cores);
    }
    let ring = Ring::builder().capacity(4096).shared().wait(Wait::spin()).heap().unwrap();
    let mut numbers = ring.subscriber::<u64>().unwrap();
    let (sent, is_over) = ([AtomicU64::new(0), AtomicU64::new(0)], AtomicBool::new(false));
    std::thread::scope(|scope| {
        for count in &sent {
            let mut out = ring.publisher::<u64>().unwrap();
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    out.send(&1).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let _ = numbers.recv_timeout(Duration::from_millis(100));
            }
            while numbers.recv_timeout(Duration::from_millis(100)).is_ok() {}
        });
        wait_until("both publishers send", || {
            sent.iter().all(|count| count.load(Ordering::Relaxed) > ENOUGH)
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let [one, two] = sent.map(AtomicU64::into_inner);
    peer::say(&format!("{one} {two}"));
}

#[test]
fn publishers_that_spin_on_one_core_do_not_starve_each_other() {
    let mut peer = Peer::start("one_core");
    let said = peer.hear();
    let sent: Vec<u64> = said.split(' ').map(|count| count.parse().unwrap()).collect();
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    // Without sleeps one publisher sent a thousand times as much.
    assert!(most / least < 100, "{said}");
}
