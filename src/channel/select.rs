//! Waiting for the first of several endpoints: subscribers, publishers, inboxes, queue consumers,
//! services, calls, events, watches, latest values.
//!
//! A thread sleeps in one place for all of them. Any of them wakes it, none starves, and deaths of
//! other processes are noticed within a bounded sleep. Selecting takes nothing: the next receive
//! returns the packet that was found.

use super::waitable::{Selectable, Waitable, is_stopped, rearm};
use crate::sys::futex;
use crate::wait::{Deadline, PENDING, Pace, Registrations, Subject, Timeout, wait_until};
use std::cell::Cell;
use std::time::Duration;

/// Sleep between two checks if the kernel cannot wait for all words at once: before Linux 5.16, for
/// more than 128 words, and for rings that park on events.
const POLL: Duration = Duration::from_millis(1);

/// How long a thread waits before it looks whether it waits for itself alone. A thing that this
/// thread did last may be done by another one soon.
pub(crate) const OWN_THREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until one of the receivers has something: a packet, a loss or its end. Returns its index.
/// The next receive of that receiver returns at once.
///
/// The search starts behind the receiver that this thread selected last, so that none starves. A
/// receiver at its end is selected each time: remove it from the list after it returned
/// [`Closed`](crate::RecvError::Closed).
///
/// The thread sleeps in one system call for all receivers (`futex_waitv`), unless one of them
/// spins. With more than 128 receivers, or before Linux 5.16, the thread checks every millisecond.
/// An empty list waits forever.
///
/// A list of nothing but calls to services that only this thread serves would wait for this thread
/// itself. After a second the first of them is selected, and fails with
/// [`WouldDeadlock`](crate::cluster::CallError::WouldDeadlock).
///
/// A receiver whose [`Stop`](crate::Stop) was called counts as ready: its receive returns
/// `Stopped`. A `Stop` can be in the list, too.
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

/// As [`select`], but does not wait. Returns `None` if no receiver has anything.
pub fn try_select(list: &mut [&mut dyn Selectable]) -> Option<usize> {
    wait_for_any(list, Timeout::Zero)
}

/// As [`select`], but waits no longer than `timeout`. Returns `None` if nothing came.
pub fn select_timeout(list: &mut [&mut dyn Selectable], timeout: Duration) -> Option<usize> {
    wait_for_any(list, Timeout::After(timeout))
}

fn wait_for_any(list: &mut [&mut dyn Selectable], timeout: Timeout) -> Option<usize> {
    if let Some(index) = find(list) {
        return Some(index);
    }
    if matches!(timeout, Timeout::Zero) {
        list.iter_mut().for_each(|one| _ = rearm(one.selectee().0));
        return None;
    }
    let deadline = timeout.deadline();
    let budget = list.iter_mut().map(|one| one.selectee().0.wait().spin).min();
    spin(list, deadline.cut(budget.unwrap_or_default().min(PENDING)));
    let (mut pace, mut registrations) = (PACE.get(), Registrations::default());
    let (own_thread_deadline, mut has_slept) = (Deadline::after(OWN_THREAD_TIMEOUT), false);
    let found = wait_until(list, deadline, find, |list, deadline| {
        has_slept = true;
        park(list, deadline, &mut pace, &mut registrations);
        if find(list).is_none() && pace.is_due() {
            let is_long = pace.may_share_checks();
            for one in list.iter_mut() {
                one.selectee().0.check_liveness(is_long);
            }
            if own_thread_deadline.has_passed() {
                end_own_wait(list);
            }
        }
    });
    if has_slept {
        list.iter_mut().for_each(|one| one.selectee().0.end_sleep());
    }
    if found.is_some() {
        pace.end();
    }
    PACE.set(pace);
    found
}

/// Ends one wait if each of the list is one for this thread itself. Anything else may wake this
/// thread, which could then do what the others wait for; a stop only ends its work.
#[cold]
fn end_own_wait(list: &mut [&mut dyn Selectable]) {
    let is_stop = |one: &dyn Waitable| one.event_count().is_none() && one.stop().is_some();
    let mut ends = |one: &mut &mut dyn Selectable| {
        let one = &*one.selectee().0;
        is_stop(one) || one.waits_for_this_thread()
    };
    if !list.iter_mut().all(&mut ends) {
        return;
    }
    let mut own = list.iter_mut().map(|one| one.selectee().0);
    // The others may be served once this thread has the error.
    if let Some(first) = own.find(|one| one.waits_for_this_thread()) {
        first.end_own_wait();
    }
}

thread_local! {
    /// The pace of this thread's selects. A select that found nothing in time goes on in the next
    /// call with the same list.
    static PACE: Cell<Pace> = const { Cell::new(Pace::new()) };
}

/// Tells the lists of one thread apart.
fn id_of(list: &[&dyn Waitable]) -> u64 {
    let first = list.first().map_or(0, |one| std::ptr::from_ref(*one).addr());
    first as u64 ^ (list.len() as u64) << 48
}

fn find(list: &mut [&mut dyn Selectable]) -> Option<usize> {
    thread_local! {
        /// The index at which this thread starts to search.
        static FIRST: Cell<usize> = const { Cell::new(0) };
    }
    let first = FIRST.get();
    let count = list.len();
    let mut order = (0..count).map(|step| (first % count + step) % count);
    let found = order.find(|&index| {
        let one = list[index].selectee().0;
        one.has_next() || is_stopped(one)
    })?;
    FIRST.set(found + 1);
    Some(found)
}

fn spin(list: &mut [&mut dyn Selectable], bound: Duration) {
    let until = Deadline::after(bound);
    while find(list).is_none() && !until.has_passed() {
        crate::sync::spin_loop();
    }
}

fn park(
    list: &mut [&mut dyn Selectable],
    deadline: Deadline,
    pace: &mut Pace,
    registrations: &mut Registrations,
) {
    let must_spin = list.iter_mut().any(|one| one.selectee().0.wait().only_spins());
    let waitables: Vec<&dyn Waitable> = list.iter_mut().map(|one| &*one.selectee().0).collect();
    let is_pending = waitables.iter().any(|one| one.is_pending());
    pace.begin(Subject { id: id_of(&waitables), is_pending });
    if must_spin {
        return spin(list, deadline.cut(PENDING));
    }
    let list = waitables;
    let event_counts =
        list.iter().flat_map(|one| one.event_count().into_iter().chain(one.other_event_count()));
    let (mut words, is_sure) = registrations.renew(event_counts);
    // The second check, after registering.
    if list.iter().any(|one| one.is_ready() || is_stopped(*one)) {
        return;
    }
    // The kernel compares them with 0 before the thread sleeps: see `sys::stop`.
    for stop in list.iter().filter_map(|one| one.stop()) {
        if !words.iter().any(|(word, _)| std::ptr::eq(*word, stop.word())) {
            words.push((stop.word(), 0));
        }
    }
    let bound = pace.sleep(deadline);
    let can_be_woken = is_sure && list.iter().all(|one| one.sleeps_on_futex());
    if !(can_be_woken && futex::wait_any(&words, bound)) {
        std::thread::sleep(bound.min(POLL));
    }
}
