//! Tasks while another process is frozen inside the control lock of an object: the task waits, and
//! its thread runs others.

use super::{LONG, on_each, unique};
use futures_util::{FutureExt, join};
use packetring::cluster::{JoinError, SendToError};
use packetring::{OpenError, Ring, SendError, Stop, Worker};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// Another holder of a control lock. The lock is released by [`thaw`](Self::thaw); after [`LONG`]
/// too, so that a thread that is blocked ends.
struct Frozen(Sender<()>);

impl Frozen {
    /// Takes the control lock of the object of this name, as a process that does not go on.
    fn hold(object: &str) -> Self {
        let path = format!("/dev/shm/packetring.{object}");
        let file = File::options().read(true).write(true).open(&path).expect(&path);
        // SAFETY: `flock` is a C struct of integers.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_len) = (libc::F_WRLCK as libc::c_short, 1);
        // SAFETY: the call reads one `flock`.
        let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(taken, 0, "the lock of {path} is free");
        let (thaw, frozen) = channel();
        thread::spawn(move || {
            let _ = frozen.recv_timeout(LONG / 6);
            drop(file);
        });
        Self(thaw)
    }

    /// Releases the lock. Another task calls it, so the thread was not blocked.
    fn thaw(self) {
        self.0.send(()).expect("the thread of the task was blocked");
    }
}

#[test]
fn the_first_packet_of_a_type_waits_for_the_control_lock_in_its_task() {
    on_each(|| {
        Box::pin(async {
            let name = unique("first");
            let ring = Ring::builder().open(&name).unwrap();
            let mut subscriber = ring.any_subscriber().unwrap();
            let mut publisher = ring.any_publisher().unwrap();
            let frozen = Frozen::hold(&name);
            let sending = async {
                publisher.send_async(&7_u64).await.unwrap();
                *publisher.reserve_async::<u32>().await.unwrap() = 8.into();
            };
            let ((), ()) = join!(sending, async { frozen.thaw() });
            assert_eq!(*subscriber.recv().unwrap().open_as::<u64>().unwrap(), 7);
        })
    });
}

#[test]
fn a_first_packet_that_waits_for_the_control_lock_is_dropped_and_stopped() {
    on_each(|| {
        Box::pin(async {
            let (name, stop) = (unique("first"), Stop::new());
            let ring = Ring::builder().stop(&stop).open(&name).unwrap();
            let mut subscriber = ring.any_subscriber().unwrap();
            let mut publisher = ring.any_publisher().unwrap();
            let frozen = Frozen::hold(&name);
            // Polled once, and dropped: nothing is published.
            assert!(publisher.send_async(&7_u64).now_or_never().is_none());
            let stopping = async { stop.stop() };
            let (sent, ()) = join!(publisher.send_async(&7_u64), stopping);
            assert!(matches!(sent, Err(SendError::Stopped)), "{sent:?}");
            frozen.thaw();
            publisher.set_stop(&Stop::new());
            publisher.send_async(&8_u32).await.unwrap();
            assert_eq!(*subscriber.recv().unwrap().open_as::<u32>().unwrap(), 8);
        })
    });
}

#[test]
fn a_limit_of_time_ends_a_first_packet_that_waits_for_the_control_lock() {
    on_each(|| {
        Box::pin(async {
            let name = unique("first");
            let limit = Duration::from_millis(20);
            let ring = Ring::builder().open_timeout(limit).open(&name).unwrap();
            let mut publisher = ring.any_publisher().unwrap();
            let frozen = Frozen::hold(&name);
            let blocking = publisher.send(&7_u64).unwrap_err();
            let in_task = publisher.send_async(&7_u64).await.unwrap_err();
            assert_eq!(in_task.to_string(), blocking.to_string());
            assert!(matches!(in_task, SendError::System(_)), "{in_task:?}");
            frozen.thaw();
        })
    });
}

#[test]
fn messages_wait_for_the_control_lock_of_the_inbox_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("inbox");
            let shop = Worker::join(&cluster, "shop").unwrap();
            let mut inbox = shop.inbox().unwrap();
            let feed = Worker::join(&cluster, "feed").unwrap();
            // The first message attaches, and later ones register their types.
            let mut frozen = Frozen::hold(&format!("{cluster}~i.shop"));
            let (sent, ()) = join!(feed.send_to_async("shop", &1_u64), async { frozen.thaw() });
            sent.unwrap();
            frozen = Frozen::hold(&format!("{cluster}~i.shop"));
            assert!(feed.send_to_async("shop", &2_u32).now_or_never().is_none());
            let (sent, ()) = join!(feed.send_to_async("shop", &3_u32), async { frozen.thaw() });
            sent.unwrap();
            let message = inbox.recv().unwrap();
            assert_eq!(*message.open_as::<u64>().unwrap(), 1);
            message.ack();
            let message = inbox.recv().unwrap();
            assert_eq!(*message.open_as::<u32>().unwrap(), 3);
            message.ack();
            assert!(inbox.try_recv().is_err());
            drop(inbox);
            shop.leave().unwrap();
        })
    });
}

#[test]
fn a_stop_ends_messages_that_wait_for_the_control_lock() {
    on_each(|| {
        Box::pin(async {
            let (cluster, stop) = (unique("inbox"), Stop::new());
            let shop = Worker::join(&cluster, "shop").unwrap();
            let inbox = shop.inbox().unwrap();
            let feed = Worker::builder().stop(&stop).join(&cluster, "feed").unwrap();
            feed.send_to("shop", &1_u64).unwrap();
            let frozen = Frozen::hold(&format!("{cluster}~i.shop"));
            let (sent, ()) = join!(feed.send_to_async("shop", &2_u32), async { stop.stop() });
            assert!(matches!(sent, Err(SendToError::Stopped)), "{sent:?}");
            frozen.thaw();
            drop(inbox);
            shop.leave().unwrap();
        })
    });
}

#[test]
fn events_and_joins_wait_for_the_control_lock_in_their_tasks() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("locked");
            let first = Worker::join(&cluster, "first").unwrap();
            let mut emitter = first.emitter().unwrap();
            let frozen = Frozen::hold(&format!("{cluster}~e"));
            let emitting = emitter.emit_async("sold", &7_u64);
            let (emitted, ()) = join!(emitting, async { frozen.thaw() });
            emitted.unwrap();
            let frozen = Frozen::hold(&format!("{cluster}~d"));
            assert!(Worker::join_async(&cluster, "second").now_or_never().is_none());
            let (joined, ()) =
                join!(Worker::join_async(&cluster, "third"), async { frozen.thaw() });
            let names: Vec<_> = joined.unwrap().workers().into_iter().map(|it| it.name).collect();
            assert_eq!(names, ["first", "third"], "a join that is dropped takes no place");
        })
    });
}

#[test]
fn a_limit_of_time_and_a_stop_end_a_join_that_waits_for_the_control_lock() {
    on_each(|| {
        Box::pin(async {
            let (cluster, stop) = (unique("locked"), Stop::new());
            let first = Worker::join(&cluster, "first").unwrap();
            let frozen = Frozen::hold(&format!("{cluster}~d"));
            let limit = Duration::from_millis(20);
            let limited = || Worker::builder().join_timeout(limit);
            let blocking = limited().join(&cluster, "second").unwrap_err();
            let in_task = limited().join_async(&cluster, "second").await.unwrap_err();
            assert_eq!(in_task.to_string(), blocking.to_string());
            assert!(matches!(in_task, JoinError::Open(OpenError::Busy { .. })), "{in_task}");
            let joining = Worker::builder().stop(&stop).join_async(&cluster, "second");
            let (joined, ()) = join!(joining, async { stop.stop() });
            assert!(matches!(joined, Err(JoinError::Stopped)));
            frozen.thaw();
            drop(first);
        })
    });
}

#[test]
fn a_limit_of_time_ends_a_message_that_waits_for_the_control_lock() {
    on_each(|| {
        Box::pin(async {
            let cluster = unique("locked");
            let shop = Worker::join(&cluster, "shop").unwrap();
            let inbox = shop.inbox().unwrap();
            let limit = Duration::from_millis(20);
            let feed = Worker::builder().join_timeout(limit).join(&cluster, "feed").unwrap();
            let frozen = Frozen::hold(&format!("{cluster}~i.shop"));
            assert!(matches!(feed.send_to("shop", &1_u64), Err(SendToError::Open(_))));
            let sent = feed.send_to_async("shop", &1_u64).await;
            assert!(
                matches!(&sent, Err(SendToError::Open(error))
                    if matches!(**error, OpenError::Busy { .. })),
                "{sent:?}"
            );
            frozen.thaw();
            drop(inbox);
            shop.leave().unwrap();
        })
    });
}
