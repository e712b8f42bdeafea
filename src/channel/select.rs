//! Waiting for the first of several subscribers.

use super::endpoint::Patience;
use super::mixed::MixedSubscriber;
use super::receiver::{Receiver, is_ready};
use super::subscriber::Subscriber;
use crate::packet::Packet;
use crate::sync::AtomicU32;
use crate::sys::futex;
use crate::wait::{self, Deadline, IDLE, PENDING};
use std::cell::Cell;
use std::time::Duration;

/// A subscriber that can be waited for together with others. Implemented by the library's own.
pub trait Selectable {
    #[doc(hidden)]
    fn selectee(&mut self) -> Selectee<'_>;
}

/// The part of a subscriber that `select` needs.
#[doc(hidden)]
#[derive(Debug)]
pub struct Selectee<'a>(&'a mut Receiver);

impl<T: Packet> Selectable for Subscriber<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee(&mut self.receiver)
    }
}

impl Selectable for MixedSubscriber {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee(&mut self.receiver)
    }
}

/// Sleep for this long between looks where the kernel cannot wait on several words at once
/// (before Linux 5.16), or a ring parks on events.
const POLL: Duration = Duration::from_millis(1);

/// Waits until one of the subscribers has something: a packet, lost packets, its end. Returns its
/// index; its next receive returns at once.
///
/// Looks at them in turn, beginning behind the one that this thread selected last, so that none
/// starves. A subscriber whose ring is over has its end to tell each time: leave it out once it
/// said [`Closed`](crate::RecvError::Closed).
///
/// Sleeps in one place for all of them (`futex_waitv`), unless one of them spins. An empty list
/// waits for ever.
///
/// ```
/// # let ring = packetring::Ring::builder().heap()?;
/// # let (mut orders, mut prices) = (ring.subscriber::<u64>()?, ring.subscriber::<u64>()?);
/// # ring.publisher::<u64>()?.send(&7)?;
/// match packetring::select(&mut [&mut orders, &mut prices]) {
///     0 => println!("order {}", *orders.recv()?),
///     _ => println!("price {}", *prices.recv()?),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn select(subscribers: &mut [&mut dyn Selectable]) -> usize {
    loop {
        if let Some(index) = wait_for_any(subscribers, Patience::Endless) {
            return index;
        }
    }
}

/// The index of the first subscriber that has something now: see [`select`].
pub fn try_select(subscribers: &mut [&mut dyn Selectable]) -> Option<usize> {
    wait_for_any(subscribers, Patience::None)
}

/// The index of the first subscriber that has something in time: see [`select`].
pub fn select_timeout(subscribers: &mut [&mut dyn Selectable], timeout: Duration) -> Option<usize> {
    wait_for_any(subscribers, Patience::For(timeout))
}

fn wait_for_any(list: &mut [&mut dyn Selectable], patience: Patience) -> Option<usize> {
    if let Some(index) = find(list) {
        return Some(index);
    }
    if matches!(patience, Patience::None) {
        return None;
    }
    let deadline = patience.deadline();
    let budget = list.iter_mut().map(|one| one.selectee().0.endpoint.waiter.wait().spin).min();
    spin(list, deadline.cut(budget.unwrap_or_default().min(PENDING)));
    loop {
        if let Some(index) = find(list) {
            return Some(index);
        }
        if deadline.has_passed() {
            return None;
        }
        pause(list, deadline);
        if let Some(index) = find(list) {
            return Some(index);
        }
        for subscriber in list.iter_mut() {
            subscriber.selectee().0.endpoint.ask_locks();
        }
    }
}

fn find(list: &mut [&mut dyn Selectable]) -> Option<usize> {
    thread_local! {
        /// Where this thread begins to look.
        static FIRST: Cell<usize> = const { Cell::new(0) };
    }
    let first = FIRST.get();
    let count = list.len();
    let mut order = (0..count).map(|step| (first % count + step) % count);
    let found = order.find(|&index| list[index].selectee().0.has_next())?;
    FIRST.set(found + 1);
    Some(found)
}

fn spin(list: &mut [&mut dyn Selectable], bound: Duration) {
    let until = Deadline::after(bound);
    while find(list).is_none() && !until.has_passed() {
        crate::sync::spin_loop();
    }
}

fn pause(list: &mut [&mut dyn Selectable], deadline: Deadline) {
    if list.iter_mut().any(|one| one.selectee().0.endpoint.waiter.only_spins()) {
        return spin(list, deadline.cut(PENDING));
    }
    let receivers: Vec<&Receiver> = list.iter_mut().map(|one| &*one.selectee().0).collect();
    let mut bound = deadline.cut(IDLE);
    let mut can_be_woken = true;
    let mut words: Vec<(&AtomicU32, u32)> = Vec::with_capacity(receivers.len());
    for receiver in &receivers {
        let bell = receiver.endpoint.bell();
        let (seen, is_sure) = wait::announce(bell);
        words.push((&bell.futex, seen));
        can_be_woken &= is_sure && receiver.endpoint.waiter.sleeps_on_futex();
        if receiver.reader.is_claimed() {
            bound = bound.min(PENDING);
        }
    }
    // The second look, after the announcements.
    if receivers.iter().any(|receiver| is_ready(&receiver.reader)) {
        return;
    }
    if !(can_be_woken && futex::wait_any(&words, bound)) {
        std::thread::sleep(bound.min(POLL));
    }
}
