//! The progress of long commands: shown on a terminal, and nowhere else.

use crate::recording::record_some;
use crate::support::{Folder, Prefix, eventually, run};
use crate::top::Terminal;
use packetring::Subscriber;

/// A terminal in which one command runs, and all bytes that it got.
struct Watched {
    terminal: Terminal,
    log: String,
}

impl Watched {
    /// Runs a shell command. `None` without tmux.
    fn start(shell: &str, folder: &Folder) -> Option<Self> {
        let name = Prefix::new().0.clone();
        let terminal = Terminal(format!("packetring-{name}"));
        if terminal.tmux(&["-V"]).is_err() {
            println!("skipped: no tmux here");
            return None;
        }
        let log = folder.file(&format!("{name}.log"));
        let shell = format!("read _; {shell}; echo ended $?; cat");
        terminal.tmux(&["new-session", "-d", "-x", "120", "-y", "24", &shell]).unwrap();
        terminal.tmux(&["pipe-pane", &format!("cat > {log}")]).unwrap();
        eventually("the log", || std::fs::metadata(&log).ok());
        terminal.tmux(&["send-keys", "Enter"]).unwrap();
        Some(Self { terminal, log })
    }

    /// Waits for the end of the command. Returns all that was ever shown, and the last screen.
    fn end(&self) -> (String, String) {
        let screen = self.terminal.wait_for("ended 0");
        let log = eventually("the end in the log", || {
            let log = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned();
            Some(log).filter(|log| log.contains("ended 0"))
        });
        (log, screen)
    }
}

/// A command line of the built command.
fn packetring(arguments: &str) -> String {
    format!("{} {arguments}", env!("CARGO_BIN_EXE_packetring"))
}

#[test]
fn a_recording_shows_its_progress_until_it_ends() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let ring = prefix.ring().open("prices").unwrap();
    let (mut out, reader) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    for number in 0..3 {
        out.send(&number).unwrap();
    }
    let record = |file: &str, limit: &str| {
        let record = format!("record {} {}:prices --backlog", folder.file(file), prefix.0);
        Watched::start(&packetring(&format!("{record} {limit}")), &folder)
    };
    let Some(watched) = record("four", "-n 4") else { return };
    let screen = watched.terminal.wait_for(" 75 %, 3 packets");
    assert!(screen.contains("recording ["), "{screen}");
    out.send(&3).unwrap();
    let (_, screen) = watched.end();
    assert!(screen.contains("recorded 4 packets") && !screen.contains("recording"), "{screen}");

    let Some(watched) = record("all", "") else { return };
    let screen = watched.terminal.wait_for("4 packets");
    assert!(screen.contains("recording ") && !screen.contains('%'), "{screen}");
    drop((out, reader, ring));
    let (_, screen) = watched.end();
    assert!(screen.contains("recorded 4 packets") && !screen.contains("recording"), "{screen}");
}

#[test]
fn a_replay_that_waits_shows_how_far_it_is() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let file = record_some(&prefix, &folder, 100);
    let copy = prefix.ring().capacity(1024).open("copy").unwrap();
    let mut reader: Subscriber<u64> = copy.subscriber().unwrap();
    let replay = packetring(&format!("replay {file} --speed max --to {}:copy", prefix.0));
    let Some(watched) = Watched::start(&replay, &folder) else { return };
    // The ring is full long before the last packet.
    watched.terminal.wait_for("replaying [");
    (0..100).for_each(|number| assert_eq!(*reader.recv().unwrap(), number));
    let (_, screen) = watched.end();
    assert!(screen.contains("replayed 100 packets") && !screen.contains("replaying"), "{screen}");
}

#[test]
fn report_bench_and_tail_into_a_file_show_their_progress() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let file = record_some(&prefix, &folder, 10);
    let ring = prefix.ring().open("some").unwrap();
    let (mut out, _reader) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    out.send(&7).unwrap();
    let tail = format!("tail {}:some --backlog -n 1", prefix.0);
    for (arguments, says) in [
        (format!("report {file} --to {}", folder.file("page.html")), "reading ["),
        ("bench --seconds 0.3".to_owned(), "measuring ["),
        (format!("{tail} > {}", folder.file("tail.txt")), "printing ["),
    ] {
        let Some(watched) = Watched::start(&packetring(&arguments), &folder) else { return };
        let (log, screen) = watched.end();
        assert!(log.contains(says), "{arguments}: {log}");
        assert!(!screen.contains(says), "{arguments}: {screen}");
    }
    // Packets on the terminal or in a pipe have no line between them, and JSON has none.
    let json = format!("record --json {} {}:some --backlog -n 1", folder.file("x"), prefix.0);
    for (arguments, says) in [
        (format!("{tail} --json"), r#""value":7"#),
        (format!("{tail} | cat"), "u64 7"),
        (tail.clone(), "u64 7"),
        (format!("replay --print {file}"), "u64 7"),
        (json, r#""packets":1"#),
        (format!("bench --seconds 0.3 2> {}", folder.file("errors")), "ROUND TRIP"),
    ] {
        let Some(watched) = Watched::start(&packetring(&arguments), &folder) else { return };
        let (log, _) = watched.end();
        let has_line = ["printing", "replaying", "recording", "measuring"];
        assert!(log.contains(says) && !has_line.iter().any(|line| log.contains(line)), "{log}");
    }
    assert_eq!(std::fs::read_to_string(folder.file("errors")).unwrap(), "");
}

#[test]
fn without_a_terminal_nothing_is_shown() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let file = record_some(&prefix, &folder, 10);
    let page = folder.file("page.html");
    let to = format!("{}:copy", prefix.0);
    for arguments in [
        &["replay", &file, "--speed", "max", "--to", &to][..],
        &["report", &file, "--to", &page],
        &["bench", "--seconds", "0.3"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{arguments:?}");
        assert!(!ran.out.contains('\r') && !ran.out.contains('['), "{}", ran.out);
    }
}
