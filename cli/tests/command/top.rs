//! `top`: once for scripts, and in a real terminal.

use crate::support::{OnDrop, Prefix, eventually, run};
use packetring::inspect::Counters;
use packetring::{Overflow, Publisher, Subscriber};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

#[test]
fn figures_for_scripts_are_those_of_one_interval() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("full").unwrap();
    let (mut out, _idle) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let mut sent = 0;
    while out.try_send(&7).is_ok() {
        sent += 1;
    }
    // A ring that is full comes before one that is busy, and before one of a lower name.
    let busy = prefix.ring().capacity(64 * 1024).open("busy").unwrap();
    let mut busy = busy.publisher::<u64>().unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let arguments = ["top", "--once", "--interval", "0.05", "--prefix", &prefix.0];
    let json = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                busy.send(&7).unwrap();
            }
        });
        let _end = OnDrop(|| is_over.store(true, std::sync::atomic::Ordering::Relaxed));
        run(&[&arguments[..], &["--json"]].concat()).result()
    });
    assert!(json["rings"][1]["packets_per_second"].as_f64().unwrap() > 0.0, "{json}");
    let row = &json["rings"][0];
    assert_eq!(row["name"], format!("{}:full", prefix.0));
    assert_eq!((&row["backlog"]["packets"], &row["slots_per_second"]), (&sent.into(), &0.0.into()));
    assert_eq!(row["blocker"]["pid"], std::process::id());
    assert_eq!(row["endpoints"][1]["role"], "subscriber 0");
    let text = run(&arguments);
    let pid = std::process::id();
    assert!(text.out.contains(&format!("held back by process {pid}")), "{}", text.out);
    assert!(text.out.contains("see why process"), "{}", text.out);

    let no_terminal = run(&["top"]);
    assert_eq!(no_terminal.status, 2);
    assert!(no_terminal.error.contains("use --once"), "{}", no_terminal.error);
}

/// The figures of an endpoint as `top` and `inspect` print them.
fn counts(all: &[Counters]) -> Value {
    let sum = |number: fn(&Counters) -> u64| all.iter().map(number).sum::<u64>();
    json!({
        "packets": sum(|one| one.packets),
        "bytes": sum(|one| one.bytes),
        "full": sum(|one| one.full),
        "evicted": sum(|one| one.evicted),
        "missed": sum(|one| one.missed),
        "skipped": sum(|one| one.skipped),
        "redelivered": sum(|one| one.redelivered),
        "parks": sum(|one| one.parks),
        "wakes": sum(|one| one.wakes),
        "recoveries": sum(|one| one.recoveries),
        "blocked_seconds": all.iter().map(|one| one.blocked).sum::<Duration>().as_secs_f64(),
    })
}

#[test]
fn totals_equal_the_counters_of_the_endpoints() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("busy").unwrap();
    let mut writers = [ring.publisher::<[u64; 9]>().unwrap(), ring.publisher().unwrap()];
    let mut readers = [ring.subscriber::<[u64; 9]>().unwrap(), ring.subscriber().unwrap()];
    let lossy = prefix.ring().capacity(1024).overflow(Overflow::DropOldest).open("lossy").unwrap();
    let (mut out, mut reader) =
        (lossy.publisher::<u64>().unwrap(), lossy.subscriber::<u64>().unwrap());
    // Packets of two slots, several rounds of each ring, and sleeps on both sides.
    let [writer, other] = writers.each_mut();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                writer.send(&[number; 9]).unwrap();
            }
        });
        for reader in &mut readers {
            scope.spawn(move || {
                for number in 0..50_u64 {
                    std::thread::sleep(Duration::from_millis(number % 2));
                    drop(reader.recv().unwrap());
                }
            });
        }
    });
    other.send(&[7; 9]).unwrap();
    while other.try_send(&[7; 9]).is_ok() {}
    for number in 0..100 {
        out.send(&number).unwrap();
    }
    (0..20).for_each(|_| drop(reader.try_recv()));

    let json = run(&["top", "--once", "--json", "--interval", "0.05", "--prefix", &prefix.0]);
    let json = json.result();
    let row = |name: &str| {
        let name = format!("{}:{name}", prefix.0);
        json["rings"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
    };
    let sent = writers.each_ref().map(Publisher::counters);
    let received = readers.each_ref().map(Subscriber::counters);
    assert_eq!((sent[0].packets, received[1].packets), (50, 50));
    assert!(sent[0].parks + received[0].parks + received[1].parks > 0, "{sent:?} {received:?}");
    let (busy, dropped) = (row("busy"), row("lossy"));
    assert_eq!((&busy["sent"], &busy["received"]), (&counts(&sent), &counts(&received)));
    let endpoints = sent.iter().chain(&received);
    for (shown, counted) in busy["endpoints"].as_array().unwrap().iter().zip(endpoints) {
        assert_eq!(shown["counters"], counts(&[*counted]), "{shown}");
    }
    assert!(reader.counters().missed > 0 && out.counters().evicted > 0);
    assert_eq!(dropped["sent"], counts(&[out.counters()]));
    assert_eq!(dropped["received"], counts(&[reader.counters()]));
    let inspected = run(&["inspect", "--json", &format!("{}:lossy", prefix.0)]).result();
    let shown = &inspected["ring"]["endpoints"];
    assert_eq!(shown[0]["counters"], counts(&[out.counters()]));
    assert_eq!(shown[1]["counters"], counts(&[reader.counters()]));
}

/// Runs a command in tmux with a socket of its own.
pub(crate) struct Terminal(pub(crate) String);

impl Terminal {
    pub(crate) fn tmux(&self, arguments: &[&str]) -> std::io::Result<String> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.0, "-f", "/dev/null"]).args(arguments);
        Ok(String::from_utf8_lossy(&tmux.output()?.stdout).into_owned())
    }

    /// Waits until the screen has a text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        eventually(text, || Some(self.screen()).filter(|screen| screen.contains(text)))
    }

    /// Waits until the screen has a text no longer.
    fn wait_without(&self, text: &str) {
        let what = format!("a screen without {text:?}");
        eventually(&what, || (!self.screen().contains(text)).then_some(()));
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

#[test]
fn the_screen_is_live_in_a_terminal() {
    let prefix = Prefix::new();
    let terminal = Terminal(format!("packetring-{}", prefix.0));
    if terminal.tmux(&["-V"]).is_err() {
        println!("skipped: no tmux here");
        return;
    }
    let ring = prefix.ring().capacity(1024).open("slow").unwrap();
    let (mut out, mut reader) =
        (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let top = env!("CARGO_BIN_EXE_packetring");
    let shell = format!("{top} top --interval 0.1 --prefix {}; echo ended $?; cat", prefix.0);
    terminal.tmux(&["new-session", "-d", "-x", "150", "-y", "24", &shell]).unwrap();

    let screen = terminal.wait_for("1 ring ");
    assert!(screen.contains(":slow") && !screen.contains("held back"), "{screen}");
    while out.try_send(&7).is_ok() {}
    let screen = terminal.wait_for("1 held back");
    assert!(screen.contains("16 packets behind, 0 of 16 slots free"), "{screen}");
    for _ in 0..16 {
        drop(reader.recv().unwrap());
    }
    // The red line goes with its cause.
    terminal.wait_without("held back");
    terminal.tmux(&["send-keys", "s"]).unwrap();
    assert!(!terminal.wait_for("order: name").contains("held back"));
    terminal.tmux(&["send-keys", "/", "x"]).unwrap();
    terminal.wait_for("filter: x_");
    terminal.wait_for("no ring fits `x` (Esc clears)");
    terminal.tmux(&["send-keys", "Enter", "Escape"]).unwrap();
    terminal.wait_for("no filter");
    terminal.tmux(&["send-keys", "?"]).unwrap();
    terminal.wait_for("this help");
    terminal.tmux(&["send-keys", "Escape"]).unwrap();
    terminal.wait_for("PACKETS/S");
    terminal.tmux(&["send-keys", "q"]).unwrap();
    terminal.wait_for("ended 0");
}

#[test]
fn a_terminal_has_colors_unless_no_color_is_set() {
    let prefix = Prefix::new();
    let _ring = prefix.ring().capacity(1024).open("colored").unwrap();
    let ls = format!("{} ls --prefix {}", env!("CARGO_BIN_EXE_packetring"), prefix.0);
    for (environment, has_colors) in [("", true), ("NO_COLOR=1 ", false)] {
        let terminal = Terminal(format!("packetring-{}", Prefix::new().0));
        if terminal.tmux(&["-V"]).is_err() {
            println!("skipped: no tmux here");
            return;
        }
        let shell = format!("unset NO_COLOR; {environment}{ls}; cat");
        terminal.tmux(&["new-session", "-d", "-x", "150", "-y", "24", &shell]).unwrap();
        terminal.wait_for("1 object, ");
        let screen = terminal.tmux(&["capture-pane", "-p", "-e"]).unwrap();
        assert_eq!(screen.contains("\u{1b}[32min use"), has_colors, "{screen}");
    }
}
