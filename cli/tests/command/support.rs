//! Runs the command and child processes.

use packetring::{Ring, RingBuilder, Worker};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A prefix of one test. Its objects are removed at the end.
pub(crate) struct Prefix(pub(crate) String);

impl Prefix {
    /// A prefix that nothing else has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Builds rings with this prefix.
    pub(crate) fn ring(&self) -> RingBuilder {
        Ring::builder().prefix(&self.0)
    }

    /// The path of a plain ring.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("/dev/shm/packetring.{}:{name}", self.0)
    }

    /// The path of an object of a cluster, by its kind and name as in the name of its file.
    pub(crate) fn cluster_file(&self, cluster: &str, object: &str) -> String {
        self.file(&format!("{cluster}~{object}"))
    }

    /// Leaves a ring, as a killed process does.
    pub(crate) fn leave(&self, name: &str) {
        let mut child = start_role("leave", &[&self.0, name]);
        assert!(child.wait().unwrap().success());
    }

    /// Replaces this prefix, process ids, sizes and ages in an output by words.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "P").replace(&std::process::id().to_string(), "PID")
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let files = std::fs::read_dir("/dev/shm").unwrap().map(|file| file.unwrap().path());
        let start = self.file("");
        for file in files.filter(|file| file.to_string_lossy().starts_with(&start)) {
            // A ring that still lives goes with its last endpoint.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A folder that is removed at the end.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new(prefix: &Prefix) -> Self {
        let folder = std::env::temp_dir().join(format!("packetring-record-{}", prefix.0));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the command with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    Ran::of(&command(arguments).output().unwrap())
}

/// The command with these arguments, not started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packetring"));
    command.args(arguments).env_remove("PACKETRING_PREFIX").env_remove("NO_COLOR");
    command.env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// What the command printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    /// The result in the only line of JSON.
    pub(crate) fn result(&self) -> Value {
        let line: Value = serde_json::from_str(self.out.trim_end()).expect(&self.out);
        assert_eq!(line["format"], 1);
        assert!(line["command"].is_string());
        line["result"].clone()
    }
}

/// Tries until there is a result, and fails after half a minute with what was waited for.
#[track_caller]
pub(crate) fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Stops a process, and waits until the kernel reports it as stopped.
pub(crate) fn stop(pid: u32) {
    signal(pid, "STOP");
    eventually("the stop of a process", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") T ").then_some(())
    });
}

/// A child process. It is killed if the test ends before it, so that a test that fails leaves none.
#[derive(Debug)]
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// Waits for its end, and returns what it printed.
    pub(crate) fn end(mut self) -> Ran {
        Ran::of(&self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended, and then nothing is killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Calls a function when it is dropped: also if an assertion fails, where a thread would otherwise
/// run on, and its scope would wait for it.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

const ROLE: &str = "PACKETRING_TEST_ROLE";

/// Starts this test binary in a role.
pub(crate) fn start_role(role: &str, arguments: &[&str]) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(ROLE, format!("{role} {}", arguments.join(" ")));
    Running::start(child.stdin(Stdio::piped()).stdout(Stdio::piped()))
}

/// Runs the role of this process, if it has one.
pub(crate) fn run_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<_> = role.split(' ').collect();
    match *words {
        ["leave", prefix, name] => {
            let _ring = Ring::builder().prefix(prefix).open(name).unwrap();
            std::process::exit(0);
        }
        ["read_none", prefix, name] => {
            let ring = Ring::builder().prefix(prefix).open(name).unwrap();
            let _reader = ring.subscriber::<u64>().unwrap();
            println!("ready");
            // Until the test ends, or ends this process.
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        ["work", prefix, cluster, name] => {
            let worker = Worker::builder().prefix(prefix).join(cluster, name).unwrap();
            println!("ready");
            let _ = std::io::stdin().read_line(&mut String::new());
            drop(worker);
        }
        ["crash", prefix, cluster, name] => {
            let worker = Worker::builder().prefix(prefix).join(cluster, name).unwrap();
            let _inbox = worker.inbox().unwrap();
            worker.send_to(name, &7_u64).unwrap();
            let _topic = worker.subscriber::<u64>("orders").unwrap();
            let _server = worker.service::<u64, u64>("slow").unwrap();
            std::process::exit(0);
        }
        ["take_one", prefix, service] => {
            let worker = packetring::Worker::builder().prefix(prefix).join("shop", "taker");
            let worker = worker.unwrap();
            let mut server = worker.service::<u64, u64>(service).unwrap();
            println!("ready");
            let _request = server.recv().unwrap();
            // Ends without a reply, as a killed process does.
            std::process::exit(0);
        }
        _ => panic!("{role}"),
    }
}

/// Starts this test binary in a role, and waits until it says that it is ready.
pub(crate) fn start_ready(role: &str, arguments: &[&str]) -> Running {
    let mut child = start_role(role, arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("ready") {}
    child
}
