//! The file system at `/dev/shm`: its size, its room and its mount options.

use super::Check;
use crate::text;
use rustix::fs::{Access, StatVfs, access, statvfs};
use std::fs;

const FOLDER: &str = "/dev/shm";
/// Docker gives a container this much.
const SMALL: u64 = 64 << 20;
/// A ring with default settings takes this much.
const RING: u64 = 2_124 * 1024;

/// All checks of `/dev/shm`.
pub(super) fn checks() -> Vec<Check> {
    let vfs = match statvfs(FOLDER) {
        Ok(vfs) => vfs,
        Err(error) => {
            return vec![Check::problem(
                "/dev/shm",
                format!("is not there ({error}), and packetring keeps its objects in it"),
                "mount a tmpfs at /dev/shm",
            )];
        }
    };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    vec![judge_mount(mount(&mounts), is_writable()), judge_space(&Space::of(&vfs))]
}

fn is_writable() -> bool {
    access(FOLDER, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Type and options of the last mount at `/dev/shm`.
fn mount(mounts: &str) -> Option<(&str, &str)> {
    let mut lines = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == FOLDER).then_some((words.next()?, words.next()?))
    });
    lines.next_back()
}

fn judge_mount(mount: Option<(&str, &str)>, is_writable: bool) -> Check {
    let name = "mount";
    let (kind, options) = mount.unwrap_or(("no mount of its own", ""));
    let has = |option: &str| options.split(',').any(|one| one == option);
    let is = format!("/dev/shm is {kind} ({options})");
    if has("ro") {
        return Check::problem(name, is, "mount -o remount,rw /dev/shm");
    }
    if !is_writable {
        return Check::problem(
            name,
            format!("{is}, and this user may not write there"),
            "chmod 1777 /dev/shm",
        );
    }
    if kind != "tmpfs" {
        return Check::warning(
            name,
            format!("{is}: its packets could be written to a disk"),
            "mount a tmpfs at /dev/shm",
        );
    }
    if has("huge=always") {
        return Check::warning(
            name,
            format!("{is}: each object takes whole huge pages, a default ring twice its size"),
            "mount -o remount,huge=within_size /dev/shm",
        );
    }
    Check::ok(name, is)
}

/// The room of a file system.
#[derive(Clone, Copy, Debug)]
struct Space {
    bytes: u64,
    free: u64,
    inodes: u64,
    free_inodes: u64,
}

impl Space {
    fn of(vfs: &StatVfs) -> Self {
        Self {
            bytes: vfs.f_blocks * vfs.f_frsize,
            free: vfs.f_bavail * vfs.f_frsize,
            inodes: vfs.f_files,
            free_inodes: vfs.f_ffree,
        }
    }
}

fn judge_space(space: &Space) -> Check {
    let name = "/dev/shm";
    let Space { bytes, free, inodes, free_inodes } = *space;
    let has = format!("{} of {} are free", text::bytes(free), text::bytes(bytes));
    if inodes > 0 && free_inodes < 100 {
        let has = format!("{free_inodes} of {inodes} inodes are free, and each object takes one");
        let remedy = "`packetring clean`, or mount -o remount,nr_inodes=1m /dev/shm";
        let check = if free_inodes == 0 { Check::problem } else { Check::warning };
        return check(name, has, remedy);
    }
    let remedy = "`packetring clean` removes what dead processes left; mount -o \
                  remount,size=1g /dev/shm enlarges it, docker run --shm-size=1g that of a container";
    if free < RING {
        return Check::problem(name, format!("{has}: a ring of default size does not fit"), remedy);
    }
    if bytes <= SMALL {
        let rings = free / RING;
        return Check::warning(
            name,
            format!("{has}: room for {rings} rings of default size"),
            remedy,
        );
    }
    if free < bytes / 10 {
        return Check::warning(name, has, remedy);
    }
    Check::ok(name, has)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_last_mount_counts() {
        let mounts = "a /dev/shm tmpfs ro 0 0\nb /x ext4 rw 0 0\nc /dev/shm tmpfs rw,size=1g 0 0\n";
        assert_eq!(mount(mounts), Some(("tmpfs", "rw,size=1g")));
        assert_eq!(mount("b /x ext4 rw 0 0"), None);
    }

    #[test]
    fn mounts_are_judged() {
        for (found, is_writable, level) in [
            (Some(("tmpfs", "rw,nosuid")), true, Level::Ok),
            (Some(("tmpfs", "ro")), true, Level::Problem),
            (Some(("tmpfs", "rw")), false, Level::Problem),
            (Some(("tmpfs", "rw,huge=always")), true, Level::Warning),
            (Some(("ext4", "rw")), true, Level::Warning),
            (None, true, Level::Warning),
        ] {
            assert_eq!(judge_mount(found, is_writable).level, level, "{found:?}");
        }
    }

    #[test]
    fn room_is_judged() {
        let gib = 1 << 30;
        let usual = Space { bytes: gib, free: gib, inodes: 1000, free_inodes: 1000 };
        for (space, level) in [
            (usual, Level::Ok),
            (Space { free: gib / 11, ..usual }, Level::Warning),
            (Space { free: 1 << 20, ..usual }, Level::Problem),
            (Space { bytes: SMALL, free: SMALL, ..usual }, Level::Warning),
            (Space { free_inodes: 0, ..usual }, Level::Problem),
            (Space { free_inodes: 9, ..usual }, Level::Warning),
            (Space { inodes: 0, free_inodes: 0, ..usual }, Level::Ok),
        ] {
            assert_eq!(judge_space(&space).level, level, "{space:?}");
        }
    }
}
