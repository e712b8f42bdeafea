//! The machine: its cores, its monotonic clock, random numbers of the kernel, and the processes
//! that have a file mapped, as `/proc` shows them.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::{fs, io};

/// Returns the number of cores that are online. The first call determines it.
///
/// It includes cores that this process may not use: the other side of a ring may run on any core.
pub(crate) fn cores() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        // SAFETY: `sysconf` takes and returns a number.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(count).unwrap_or(1)
    })
}

/// Returns the nanoseconds since an arbitrary time before the start of every process.
///
/// Used for display and for the length of waits only. No protocol decision depends on it.
#[expect(clippy::disallowed_methods, reason = "an `Instant` is of one process")]
pub(crate) fn monotonic() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: The kernel writes at most one `timespec` there. It fails only for unknown clocks.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: A `timespec` consists of integers, which are zero or were written by the kernel.
    let now = unsafe { now.assume_init() };
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000) + now.tv_nsec.unsigned_abs()
}

/// Returns a number of the time namespace of this process, which shifts its monotonic clock; 0 if
/// the system does not tell. The first call determines it, by one system call. A forked child that
/// has another namespace keeps the number.
pub(crate) fn time_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    static NAMESPACE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *NAMESPACE.get_or_init(|| fs::metadata("/proc/self/ns/time").map_or(0, |file| file.ino()))
}

/// Returns 64 random bits from the kernel.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: The call writes at most `bytes.len()` bytes to `bytes`.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        // The kernel never returns fewer than requested for up to 256 bytes.
        8 => Ok(u64::from_le_bytes(bytes)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Processes by device and inode of a file.
pub(crate) type Users = HashMap<(u64, u64), MappingProcesses>;

/// The processes that have a file mapped as shared memory: ids, each ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct MappingProcesses {
    /// Processes that may write to it.
    pub(crate) writing: Vec<u32>,
    /// Processes that may only read it.
    pub(crate) reading: Vec<u32>,
}

/// Returns the processes that have each file mapped as shared memory.
///
/// Processes of other users and of outer pid namespaces are not seen. Costs one read of
/// `/proc/<pid>/maps` for each process of this user.
pub(crate) fn processes_of_shared_mappings() -> Users {
    let mut users = Users::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids: Vec<u32> =
        processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        // The process may be another user's, or have ended.
        let Ok(maps) = fs::read(format!("/proc/{pid}/maps")) else { continue };
        for (file, is_writing) in maps.split(|&byte| byte == b'\n').filter_map(shared_file) {
            users.entry(file).or_default().add(pid, is_writing);
        }
    }
    users
}

impl MappingProcesses {
    /// Adds one of the mappings of a process. A process that attached to an object has parts of it
    /// mapped without the right to write.
    fn add(&mut self, pid: u32, is_writing: bool) {
        if self.writing.last() == Some(&pid) {
            return;
        }
        if is_writing {
            self.writing.push(pid);
            self.reading.pop_if(|last| *last == pid);
        } else if self.reading.last() != Some(&pid) {
            self.reading.push(pid);
        }
    }
}

/// Device and inode of a line such as `7f00-7f01 rw-s 00000000 00:18 42 /dev/shm/x`, and whether
/// the mapping may be written to. `None` for a mapping that is private, or without a file.
fn shared_file(line: &[u8]) -> Option<((u64, u64), bool)> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace().skip(1);
    let access = words.next()?;
    let (is_shared, is_writing) = (access.ends_with('s'), access.contains('w'));
    let (major, minor) = words.nth(1)?.split_once(':')?;
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    let device = libc::makedev(number(major)?, number(minor)?);
    let inode = words.next()?.parse().ok()?;
    (is_shared && inode > 0).then_some(((device, inode), is_writing))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_shared_mappings_of_files_count() {
        let device = libc::makedev(0, 0x18);
        let file = |line: &str| shared_file(line.as_bytes());
        let found = file("7f00-7f01 rw-s 00000000 00:18 42   /dev/shm/x y");
        assert_eq!(found, Some(((device, 42), true)));
        let found = file("7f00-7f01 ---s 00001000 00:18 42 /dev/shm/x (deleted)");
        assert_eq!(found, Some(((device, 42), false)));
        for line in ["7f00-7f01 rw-p 00000000 00:18 42 /x", "7f00-7f01 rw-s 0 00:00 0", "", "7f00"]
        {
            assert_eq!(file(line), None, "{line}");
        }
    }

    #[test]
    fn a_process_that_may_write_to_any_part_does_not_only_read() {
        let mut processes = MappingProcesses::default();
        for (pid, is_writing) in
            [(1, false), (2, false), (2, true), (3, true), (3, false), (4, false), (4, false)]
        {
            processes.add(pid, is_writing);
        }
        assert_eq!((processes.writing, processes.reading), (vec![2, 3], vec![1, 4]));
    }
}
