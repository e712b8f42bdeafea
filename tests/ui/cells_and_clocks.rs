//! Types with interior mutability, and types that are meaningful in one process only.

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    sync::{Mutex, RwLock, atomic::AtomicU64},
    time::{Instant, SystemTime},
};

#[packetring::packet]
struct Cells {
    cell: Cell<u32>,
    ref_cell: RefCell<u32>,
    mutex: Mutex<u32>,
    rw_lock: RwLock<Vec<u8>>,
    atomic: AtomicU64,
    instant: Instant,
    time: SystemTime,
    path: Vec<PathBuf>,
    count: usize,
    #[rkyv(with = packetring::with::Identity)]
    small_count: usize,
    #[rkyv(with = packetring::with::AsUnixTime)]
    fine: SystemTime,
}

fn main() {}
