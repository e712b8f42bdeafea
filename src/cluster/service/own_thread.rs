//! The servers of this process, and the thread that waited at each of them last.
//!
//! A thread that calls a service waits for a server. If every server of the service is its own, no
//! thread can serve the call: the thread would wait for itself. Only this process knows its
//! threads, so the list is local to it.
//!
//! A server may have moved to another thread that has not waited yet. So the answer is a reason to
//! give up a long wait, and not a proof. A receive that need not wait is not recorded: that would
//! cost each request some instructions.
//!
//! With it, the error of a timeout says which server a call waits for.

use crate::channel::{EntryId, RequestStatus, Ring, consumers};
use crate::cluster::calls::ServiceLink;
use crate::cluster::directory;
use crate::cluster::error::{ServerProcess, WaitingForServer};
use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls after which a thread yields its core once.
const LONGEST_RUN: u32 = 128;

/// All servers of this process, and those of a parent that forked it.
static SERVERS: Mutex<Vec<Arc<ServerThread>>> = Mutex::new(Vec::new());
/// The number of the next thread.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The number of this thread; 0: none yet.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug)]
struct ServerThread {
    /// The name of the request ring.
    ring: String,
    /// The server's entry there.
    entry: usize,
    /// The process: a forked child has no server of its parent.
    process: u32,
    /// The number of the thread that opened the server or waited at it last.
    thread: AtomicU64,
}

/// A server of this process. Dropping it removes the server from the list.
#[derive(Debug)]
pub(super) struct OwnServer(Arc<ServerThread>);

impl OwnServer {
    /// Adds a server that this thread opens.
    pub(super) fn new(ring: &str, entry: usize) -> Self {
        let process = std::process::id();
        let thread = AtomicU64::new(this_thread());
        let record = Arc::new(ServerThread { ring: ring.to_owned(), entry, process, thread });
        SERVERS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&record));
        Self(record)
    }

    /// Records that this thread waits for requests.
    pub(super) fn touch(&self) {
        let thread = this_thread();
        // A plain look first: the line stays shared.
        if self.0.thread.load(Ordering::Relaxed) != thread {
            self.0.thread.store(thread, Ordering::Relaxed);
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if self.0.process != std::process::id() {
            // In a forked child, another thread may have held the lock at the fork.
            return;
        }
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|record| !Arc::ptr_eq(record, &self.0));
    }
}

fn this_thread() -> u64 {
    THREAD.with(|thread| {
        if thread.get() == 0 {
            thread.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        thread.get()
    })
}

/// Returns true if a server of this request ring lives, and each living one was opened or last
/// waited at by this thread. Costs a system call for each server.
pub(super) fn serves_alone(ring: &Ring) -> bool {
    // Never waits: another thread may have held the lock when this process was forked.
    let Ok(servers) = SERVERS.try_lock() else { return false };
    let (process, thread) = (std::process::id(), this_thread());
    let is_own = |entry: usize| {
        servers.iter().any(|record| {
            record.process == process
                && record.thread.load(Ordering::Relaxed) == thread
                && (record.entry, &*record.ring) == (entry, ring.segment().name())
        })
    };
    let memory = ring.segment().memory();
    let mut living = consumers(memory).filter(|(id, _)| ring.segment().is_alive(*id)).peekable();
    living.peek().is_some()
        && living.all(|(id, _)| matches!(id, EntryId::Subscriber(entry) if is_own(entry)))
}

/// The server that a call waits for whose request has this status. Costs a system call for each
/// server, and an attachment to the directory.
#[cold]
#[inline(never)]
pub(super) fn waiting_for(link: &ServiceLink, status: Option<RequestStatus>) -> WaitingForServer {
    match status {
        Some(RequestStatus::Held(id)) => WaitingForServer::Working(process(link, id)),
        Some(RequestStatus::Over(_)) => match link.living_server() {
            // Its server died a moment ago.
            Some(id) => WaitingForServer::Working(process(link, id)),
            None => WaitingForServer::NoServer,
        },
        Some(RequestStatus::Waiting) | None => untaken(link),
    }
}

/// The server that a request waits for which none has taken.
#[cold]
pub(super) fn untaken(link: &ServiceLink) -> WaitingForServer {
    match link.living_server() {
        Some(_) if serves_alone(&link.requests) => WaitingForServer::OwnThread,
        Some(id) => WaitingForServer::Untaken(process(link, id)),
        None => WaitingForServer::NoServer,
    }
}

fn process(link: &ServiceLink, id: EntryId) -> ServerProcess {
    let pid = link.requests.segment().memory().owner_pid(id);
    ServerProcess { pid, worker: directory::worker_of_process(&link.cluster, pid) }
}

/// Yields the core after a run of calls: if there are more threads than cores, the others would
/// wait for the end of this thread's time slice.
#[inline]
pub(super) fn let_others_run() {
    thread_local! {
        static RUN: Cell<u32> = const { Cell::new(0) };
    }
    RUN.set(RUN.get() + 1);
    if RUN.get() == LONGEST_RUN {
        RUN.set(0);
        std::thread::yield_now();
    }
}
