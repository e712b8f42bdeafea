//! Limits of this process and of its login session.

use super::Check;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit};
use std::fs;
use std::path::Path;

/// Users with a smaller id are system users, whose objects logind keeps.
const FIRST_NORMAL_USER: u32 = 1000;

/// Whether systemd-logind deletes the objects of this user at its logout.
pub(super) fn remove_ipc() -> Check {
    let runs = Path::new("/run/systemd/system").exists();
    judge_remove_ipc(runs.then(configured_remove_ipc), geteuid().as_raw())
}

/// The last setting of `RemoveIPC`; true without one.
fn configured_remove_ipc() -> bool {
    let folders = ["/usr/lib/systemd", "/etc/systemd", "/run/systemd"];
    let mut files: Vec<_> = folders.map(|folder| format!("{folder}/logind.conf").into()).into();
    let mut parts: Vec<_> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(format!("{folder}/logind.conf.d")).ok())
        .flat_map(|folder| folder.filter_map(Result::ok).map(|file| file.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    // The file names decide about the order, not their folders.
    parts.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    files.append(&mut parts);
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.filter_map(|text| setting(&text)).next_back().unwrap_or(true)
}

fn setting(text: &str) -> Option<bool> {
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix("RemoveIPC="));
    let value = values.next_back()?.trim().to_ascii_lowercase();
    Some(!matches!(value.as_str(), "no" | "false" | "0" | "off" | "n" | "f"))
}

fn judge_remove_ipc(removes: Option<bool>, user: u32) -> Check {
    match removes {
        None => Check::ok("RemoveIPC", "no systemd runs here: nothing deletes objects at a logout"),
        Some(false) => Check::ok("RemoveIPC", "is off: a logout deletes no objects"),
        Some(true) if user < FIRST_NORMAL_USER => Check::ok(
            "RemoveIPC",
            format!("is on, and does not concern user {user}, a system user"),
        ),
        Some(true) => Check::warning(
            "RemoveIPC",
            format!("is on: the logout of user {user} deletes its rings under running processes"),
            "set RemoveIPC=no in /etc/systemd/logind.conf, or run services as a system user",
        ),
    }
}

/// The number of descriptors.
pub(super) fn nofile() -> Check {
    judge_nofile(getrlimit(Resource::Nofile))
}

fn judge_nofile(limit: Rlimit) -> Check {
    let Some(soft) = limit.current else {
        return Check::ok("nofile", "a process may have any number of descriptors");
    };
    let most = limit.maximum.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    let has = format!("a process may have {soft} descriptors, 2 for each endpoint");
    match soft {
        0..64 => {
            Check::problem("nofile", has, format!("ulimit -n {most}, or LimitNOFILE= in systemd"))
        }
        64..1024 => {
            Check::warning("nofile", has, format!("ulimit -n {most}, or LimitNOFILE= in systemd"))
        }
        _ => Check::ok("nofile", format!("{has} (ulimit -n raises it up to {most})")),
    }
}

/// The memory that a process may lock.
pub(super) fn memlock() -> Check {
    judge_memlock(getrlimit(Resource::Memlock).current)
}

fn judge_memlock(limit: Option<u64>) -> Check {
    match limit {
        None => Check::ok("memlock", "a process may lock any amount of memory"),
        Some(bytes) if bytes < 64 * 1024 => Check::warning(
            "memlock",
            format!("a process may lock {}: before Linux 5.12 io_uring needs more", kib(bytes)),
            "ulimit -l 8192, or LimitMEMLOCK= in systemd",
        ),
        Some(bytes) => Check::ok(
            "memlock",
            format!("a process may lock {}; packetring locks none", kib(bytes)),
        ),
    }
}

fn kib(bytes: u64) -> String {
    crate::text::bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_last_setting_counts() {
        assert_eq!(setting("[Login]\n#RemoveIPC=no\n"), None);
        assert_eq!(setting("RemoveIPC=yes\n RemoveIPC=No\n"), Some(false));
    }

    #[test]
    fn only_normal_users_lose_their_objects() {
        for (removes, user, level) in [
            (None, 1000, Level::Ok),
            (Some(true), 0, Level::Ok),
            (Some(true), 1000, Level::Warning),
            (Some(false), 1000, Level::Ok),
        ] {
            assert_eq!(judge_remove_ipc(removes, user).level, level);
        }
    }

    #[test]
    fn small_limits_are_reported() {
        let of = |soft| judge_nofile(Rlimit { current: soft, maximum: Some(4096) }).level;
        assert_eq!(
            [Some(20), Some(256), Some(1024), None].map(of),
            [Level::Problem, Level::Warning, Level::Ok, Level::Ok]
        );
        assert_eq!(judge_memlock(Some(0)).level, Level::Warning);
        assert_eq!(judge_memlock(Some(1 << 23)).level, Level::Ok);
    }
}
