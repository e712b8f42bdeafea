//! Sending and receiving do not allocate in steady state.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    Overflow, Packet, Publisher, RecvTimeoutError, Reserved, Ring, SendTimeoutError, Subscriber,
    Tail, TryRecvError, TrySendError, one_of, packet, try_select,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{SHORT, on_all};

/// A global allocator that counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is exiting has dropped its counter, and no test reads it any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is forwarded to the system allocator. Counting does not allocate: the cell is
// const-initialized and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same as that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same as that of `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same as that of `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Warms up, then repeats `work` often enough to wrap the ring many times, and asserts that nothing
/// was allocated.
#[track_caller]
fn assert_no_allocations(mut work: impl FnMut()) {
    (0..100).for_each(|_| work());
    let before = ALLOCATIONS.get();
    (0..1000).for_each(|_| work());
    assert_eq!(ALLOCATIONS.get() - before, 0, "steady state allocated");
}

#[packet(borrowed)]
struct Chat {
    name: String,
    age: u32,
    lines: Vec<Vec<String>>,
}

#[packet]
struct Stop;

#[one_of]
enum Known {
    Chat(Chat),
    Stop(Stop),
}

fn chat() -> Chat {
    let line = || vec!["one".to_owned(), "another, longer than the first".to_owned()];
    Chat { name: "ada".to_owned(), age: 36, lines: vec![line(), vec![], line()] }
}

fn pair<T: Packet>(ring: &Ring) -> (Publisher<T>, Subscriber<T>) {
    let subscriber = ring.subscriber().unwrap();
    (ring.publisher().unwrap(), subscriber)
}

/// Runs `body` over rings of every kind.
fn on_every(body: impl Fn(Ring)) {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        on_all(|| Ring::builder().capacity(4096).overflow(overflow), &body);
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    let mut list = vec![std::hint::black_box(1)];
    list.reserve_exact(100);
    assert_eq!(ALLOCATIONS.get() - before, 2);
}

#[test]
fn flat_packets() {
    on_every(|ring| {
        let (mut out, mut numbers) = pair::<[u64; 9]>(&ring);
        assert_no_allocations(|| {
            out.send(&[1; 9]).unwrap();
            out.try_send(&[2; 9]).unwrap();
            out.send_timeout(&[3; 9], SHORT).unwrap();
            assert_eq!(numbers.recv().unwrap()[8], 1);
            assert_eq!(numbers.try_recv().unwrap()[8], 2);
            assert_eq!(numbers.recv_timeout(SHORT).unwrap()[8], 3);
        });
    });
}

#[test]
fn packets_with_text_and_nested_lists() {
    on_every(|ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        let chat = chat();
        assert_no_allocations(|| {
            out.send(&chat).unwrap();
            assert_eq!(chats.recv().unwrap().lines[2][1], chat.lines[2][1]);
        });
    });
}

#[test]
fn borrowed_packets_with_text_and_nested_lists() {
    on_every(|ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        let text = "ada one another, longer than the first";
        assert_no_allocations(|| {
            let (name, rest) = text.split_at(3);
            let (one, another) = rest[1..].split_at(4);
            out.send(ChatRef { name, age: 36, lines: &[&[one, another], &[], &[another]] })
                .unwrap();
            let chat = chats.recv().unwrap();
            assert_eq!(chat.name, "ada");
            assert_eq!(chat.lines[2][0], "another, longer than the first");
            drop(chat);
            let ages = [36, 37];
            let lines: &[&[&str]] = &[&[one]];
            out.send_all(ages.map(|age| ChatRef { name, age, lines })).unwrap();
            let batch = chats.drain().unwrap();
            assert!(batch.iter().map(|chat| chat.age.to_native()).eq(ages));
        });
    });
}

#[test]
fn batches() {
    on_every(|ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        let all: Vec<Chat> = (0..5).map(|_| chat()).collect();
        assert_no_allocations(|| {
            out.send_all(&all).unwrap();
            let mut seen = 0;
            for chat in &chats.drain().unwrap() {
                assert_eq!(chat.age, 36);
                seen += 1;
            }
            assert_eq!(seen, 5);
        });
    });
}

#[test]
fn reservations_committed_and_cancelled() {
    on_every(|ring| {
        let (mut out, mut numbers) = pair::<[u64; 9]>(&ring);
        assert_no_allocations(|| {
            drop(out.reserve().unwrap());
            let mut room = out.reserve().unwrap();
            room[0] = 7.into();
            Reserved::commit(room);
            assert_eq!(numbers.recv().unwrap()[0], 7);
        });
    });
}

#[test]
fn tails() {
    on_every(|ring| {
        let (mut out, mut lines) = pair::<Tail<u64, u8>>(&ring);
        assert_no_allocations(|| {
            for len in [0, 5, 300] {
                let mut room = out.reserve_tail(len).unwrap();
                *room.head_mut() = 1.into();
                room.tail_mut().fill(7);
                room.commit();
                assert_eq!(lines.recv().unwrap().tail.len(), len);
            }
        });
    });
}

#[test]
fn copies_and_conditional_receives() {
    on_every(|ring| {
        let (mut out, mut chats) = pair::<Chat>(&ring);
        let chat = chat();
        assert_no_allocations(|| {
            out.send(&chat).unwrap();
            out.send(&chat).unwrap();
            assert_eq!(chats.recv_copied().unwrap().name, "ada");
            assert_eq!(chats.recv_where(|chat| chat.age == 36).unwrap().age, 36);
        });
    });
}

#[test]
fn packets_of_any_type() {
    on_every(|ring| {
        let mut inbox = ring.any_subscriber().unwrap();
        let mut out = ring.any_publisher().unwrap();
        let chat = chat();
        assert_no_allocations(|| {
            out.send(&chat).unwrap();
            out.send(&Stop).unwrap();
            assert!(matches!(inbox.recv().unwrap().open().unwrap(), Some(Known::Chat(_))));
            assert_eq!(try_select(&mut [&mut inbox]), Some(0));
            let packets_of_any_type = inbox.recv().unwrap();
            packets_of_any_type.open_as::<Stop>().unwrap();
            assert!(!packets_of_any_type.info().redelivered);
        });
    });
}

#[cfg(feature = "dynamic")]
#[packet]
struct Report {
    id: u64,
    host: String,
    sizes: [u32; 3],
    lines: Vec<String>,
    note: Option<Box<str>>,
    tags: std::collections::BTreeMap<String, u32>,
    kind: Kind,
    inner: Inner,
}

#[cfg(feature = "dynamic")]
#[packet]
enum Kind {
    Sized { width: u32 },
    Plain,
}

#[cfg(feature = "dynamic")]
#[packet]
struct Inner {
    share: f64,
    flag: bool,
    letter: char,
}

#[cfg(feature = "dynamic")]
#[test]
fn packets_read_by_their_schemas() {
    let long = "a text that is out of line".to_owned();
    let report = Report {
        id: 7,
        host: long.clone(),
        sizes: [1, 2, 3],
        lines: vec!["inline".to_owned(), long.clone()],
        note: Some("a note".into()),
        tags: (0..30).map(|number| (format!("tag {number:02}"), number)).collect(),
        kind: Kind::Sized { width: 9 },
        inner: Inner { share: 0.5, flag: true, letter: 'x' },
    };
    let _ = Kind::Plain;
    on_every(|ring| {
        let mut inbox = ring.any_subscriber().unwrap();
        let mut out = ring.any_publisher().unwrap();
        out.send(&report).unwrap();
        let schema = inbox.recv().unwrap().schema().unwrap();
        let [id, host, share] =
            ["id", "host", "inner.share"].map(|path| schema.field(path).unwrap());
        assert_no_allocations(|| {
            out.send(&report).unwrap();
            let packet = inbox.recv().unwrap();
            let value = packet.value(&schema).unwrap();
            assert_eq!(value.field(&id).unwrap().as_u64(), Some(7));
            assert_eq!(value.field(&host).unwrap().as_str(), Some(&*long));
            assert_eq!(value.field(&share).unwrap().as_f64(), Some(0.5));
            assert_eq!(value.at(0).unwrap().as_u64(), Some(7));
            assert_eq!(value.get("id").unwrap().as_i64(), Some(7));
            assert_eq!(value.get("host").unwrap().as_bytes(), Some(long.as_bytes()));
            assert!(value.get("no such field").is_none());
            let inner = value.get("inner").unwrap();
            assert_eq!(inner.get("flag").unwrap().as_bool(), Some(true));
            assert_eq!(inner.get("letter").unwrap().as_char(), Some('x'));
            let sizes = value.get("sizes").unwrap();
            assert_eq!(sizes.iter().filter_map(|size| size.as_u64()).sum::<u64>(), 6);
            let lines = value.get("lines").unwrap();
            assert_eq!(lines.iter().filter_map(|line| line.as_str()).last(), Some(&*long));
            assert_eq!(value.get("note").unwrap().as_str(), Some("a note"));
            let tags = value.get("tags").unwrap();
            assert!(tags.entries().map(|(_, number)| number.as_u64()).eq((0..30).map(Some)));
            let kind = value.get("kind").unwrap();
            assert_eq!(kind.variant(), Some("Sized"));
            assert_eq!(kind.get("width").unwrap().as_u128(), Some(9));
            assert_eq!(value.fields().count(), 8);
        });
    });
}

#[test]
fn full_empty_missed_and_timeout_results() {
    on_every(|ring| {
        let (mut out, mut numbers) = pair::<u64>(&ring);
        assert_no_allocations(|| {
            while !matches!(numbers.try_recv().map(drop), Err(TryRecvError::Empty)) {}
            for number in 0..100 {
                let sent = out.try_send(&number);
                assert!(matches!(sent, Ok(_) | Err(TrySendError::Full { .. })));
            }
            assert_eq!(out.subscribers(), 1);
            assert!(out.backlog() > 0);
        });
        while !matches!(numbers.try_drain().map(drop), Err(TryRecvError::Empty)) {}
        (0..64).for_each(|number| {
            out.send(&number).unwrap();
        });
        let before = ALLOCATIONS.get();
        if ring.settings().overflow == Overflow::Block {
            assert!(matches!(out.send_timeout(&0, SHORT), Err(SendTimeoutError::Timeout { .. })));
        }
        while numbers.try_recv().is_ok() {}
        assert!(matches!(numbers.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        assert_eq!(ALLOCATIONS.get() - before, 0, "steady state allocated");
    });
}
