//! Waiting for the first of several: subscribers, inboxes, members of groups, services, clients,
//! events, watches.
//!
//! It guarantees that one thread sleeps in one place for all of them, is woken by any, starves
//! none, and finds out within a bounded sleep who of the others died. It takes nothing: what it
//! found is what the next receive gets.

use crate::segment::layout::EventCount;
use crate::sys::futex;
use crate::wait::{self, Deadline, IDLE, PENDING, Timeout, Wait, wait_until};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// What can be waited for, alone or together with others: it has a bell that is rung when there
/// may be something for it.
pub(crate) trait Waitable {
    /// Whether its next receive would return at once. Releases what was in hand; what it finds is
    /// kept for that receive.
    fn has_next(&mut self) -> bool;

    /// Whether [`has_next`](Self::has_next) may find something: a look without consequences, for
    /// the moment between announcing a sleep and sleeping. To say so for nothing costs a look; not
    /// to say so costs a bounded sleep.
    fn is_ready(&self) -> bool;

    /// What is rung for it.
    fn event_count(&self) -> &EventCount;

    /// What else is rung for it, where one bell is not all.
    fn other_event_count(&self) -> Option<&EventCount> {
        None
    }

    /// Whether it waits for something that is known to be under way, so that the sleep is short:
    /// the one who is at it may die.
    fn is_pending(&self) -> bool;

    /// After a sleep in which nothing came: asks the kernel who lives, and clears away what must
    /// be.
    fn reap_dead(&mut self);

    /// How it waits: one that spins has all of them spin.
    fn wait(&self) -> Wait {
        Wait::park()
    }

    /// Whether those who ring its bell wake whoever sleeps on the bell's word.
    fn sleeps_on_futex(&self) -> bool {
        true
    }
}

/// Something that can be waited for together with others. Implemented by the library's own.
pub trait Selectable {
    #[doc(hidden)]
    fn selectee(&mut self) -> Selectee<'_>;
}

/// The part of something selectable that `select` needs.
#[doc(hidden)]
pub struct Selectee<'a>(&'a mut dyn Waitable);

impl<'a> Selectee<'a> {
    pub(crate) fn new(waitable: &'a mut dyn Waitable) -> Self {
        Self(waitable)
    }
}

impl fmt::Debug for Selectee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selectee")
    }
}

/// Sleep for this long between looks where the kernel cannot wait on several words at once
/// (before Linux 5.16, more than 128 of them), or a ring parks on events.
const POLL: Duration = Duration::from_millis(1);

/// Waits until one of the list has something: a packet, lost packets, its end. Returns its index;
/// its next receive returns at once.
///
/// Looks at them in turn, beginning behind the one that this thread selected last, so that none
/// starves. One whose ring is over has its end to tell each time: leave it out once it
/// said [`Closed`](crate::RecvError::Closed).
///
/// Sleeps in one place for all of them (`futex_waitv`), unless one of them spins. With more than 128,
/// and before Linux 5.16, it looks each millisecond. An empty list waits for ever.
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
pub fn select(list: &mut [&mut dyn Selectable]) -> usize {
    loop {
        if let Some(index) = wait_for_any(list, Timeout::Never) {
            return index;
        }
    }
}

/// The index of the first of the list that has something now: see [`select`].
pub fn try_select(list: &mut [&mut dyn Selectable]) -> Option<usize> {
    wait_for_any(list, Timeout::Zero)
}

/// The index of the first of the list that has something in time: see [`select`].
pub fn select_timeout(list: &mut [&mut dyn Selectable], timeout: Duration) -> Option<usize> {
    wait_for_any(list, Timeout::After(timeout))
}

fn wait_for_any(list: &mut [&mut dyn Selectable], timeout: Timeout) -> Option<usize> {
    if let Some(index) = find(list) {
        return Some(index);
    }
    if matches!(timeout, Timeout::Zero) {
        return None;
    }
    let deadline = timeout.deadline();
    let budget = list.iter_mut().map(|one| one.selectee().0.wait().spin).min();
    spin(list, deadline.cut(budget.unwrap_or_default().min(PENDING)));
    wait_until(list, deadline, find, |list, deadline| {
        park(list, deadline);
        if find(list).is_none() {
            for one in list.iter_mut() {
                one.selectee().0.reap_dead();
            }
        }
    })
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

fn park(list: &mut [&mut dyn Selectable], deadline: Deadline) {
    if list.iter_mut().any(|one| one.selectee().0.wait().only_spins()) {
        return spin(list, deadline.cut(PENDING));
    }
    let list: Vec<&dyn Waitable> = list.iter_mut().map(|one| &*one.selectee().0).collect();
    let event_counts = list
        .iter()
        .flat_map(|one| std::iter::once(one.event_count()).chain(one.other_event_count()));
    let (words, is_sure) = wait::register_waiter_on_all(event_counts);
    // The second look, after the announcements.
    if list.iter().any(|one| one.is_ready()) {
        return;
    }
    let is_pending = list.iter().any(|one| one.is_pending());
    let bound = deadline.cut(if is_pending { PENDING } else { IDLE });
    let can_be_woken = is_sure && list.iter().all(|one| one.sleeps_on_futex());
    if !(can_be_woken && futex::wait_any(&words, bound)) {
        std::thread::sleep(bound.min(POLL));
    }
}
