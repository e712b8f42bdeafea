//! A minimal executor: one thread, which polls each task that was woken.

use crate::harness::Outcome;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A task for [`run`].
pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = Outcome<()>> + 'a>>;

/// The tasks that were woken, by their indices.
struct Woken {
    indices: Mutex<Vec<usize>>,
    thread: Thread,
}

struct WakesTask {
    index: usize,
    woken: Arc<Woken>,
}

impl Wake for WakesTask {
    fn wake(self: Arc<Self>) {
        self.woken.indices.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        self.woken.thread.unpark();
    }
}

/// Polls the tasks until the first of them ends. Calls `before_sleep` before each sleep.
pub(crate) fn run(mut tasks: Vec<Task<'_>>, before_sleep: impl Fn()) -> Outcome<()> {
    let indices = Mutex::new((0..tasks.len()).collect());
    let woken = Arc::new(Woken { indices, thread: thread::current() });
    let waker = |index| Waker::from(Arc::new(WakesTask { index, woken: Arc::clone(&woken) }));
    let wakers: Vec<Waker> = (0..tasks.len()).map(waker).collect();
    loop {
        let now =
            std::mem::take(&mut *woken.indices.lock().unwrap_or_else(PoisonError::into_inner));
        if now.is_empty() {
            before_sleep();
            thread::park();
        }
        for index in now {
            let mut context = Context::from_waker(&wakers[index]);
            if let Poll::Ready(outcome) = tasks[index].as_mut().poll(&mut context) {
                return outcome;
            }
        }
    }
}
