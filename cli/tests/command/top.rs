//! `top`: once for scripts, and in a real terminal.

use crate::support::{Prefix, eventually, run};
use std::process::Command;

#[test]
fn figures_for_scripts_are_those_of_one_interval() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("full").unwrap();
    let (mut out, _idle) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let mut sent = 0;
    while out.try_send(&7).is_ok() {
        sent += 1;
    }
    let arguments = ["top", "--once", "--interval", "0.05", "--prefix", &prefix.0];
    let json = run(&[&arguments[..], &["--json"]].concat()).result();
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

/// Runs `top` in tmux with a socket of its own.
struct Terminal(String);

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> std::io::Result<String> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.0, "-f", "/dev/null"]).args(arguments);
        Ok(String::from_utf8_lossy(&tmux.output()?.stdout).into_owned())
    }

    /// Waits until the screen has a text.
    fn wait_for(&self, text: &str) -> String {
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
    terminal.wait_for("SLOTS/S");
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
