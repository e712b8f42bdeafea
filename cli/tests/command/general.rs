//! All commands: help, usage, exit status, colors, a broken pipe, completions and man pages.

use crate::support::{Prefix, Running, command, run};
use std::process::Stdio;

#[test]
fn wrong_arguments_have_status_2_and_say_which() {
    for arguments in [&["lss"][..], &["ls", "--sort", "x"], &["ls", "--kind", "x"], &[]] {
        let ran = run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
        assert!(!ran.error.is_empty() && ran.out.is_empty(), "{ran:?}");
    }
    assert!(run(&["ls", "--kind", "x"]).error.contains("the kinds are ring, board"));
}

#[test]
fn errors_of_arguments_say_what_to_give() {
    for (arguments, says) in [
        (&["tail", "x", "--for", "soon"][..], "give seconds, as in 1.5"),
        (&["record", "f", "x", "--for", "soon"], "give seconds, as in 1.5"),
        (&["hz", "x", "--for=-1"], "give seconds, as in 1.5"),
        (&["hz", "x", "--interval", "often"], "give seconds, as in 1.5"),
        (&["top", "--interval", ""], "give seconds, as in 1.5"),
        (&["export", "--listen", "9464"], "give an IP address and a port, as in 127.0.0.1:9464"),
        (&["record", "f", "x", "--rotate", "big"], "give a size, as in 64M"),
        (&["record", "f", "x", "--rotate", "64.5M"], "give a size, as in 64M"),
        (&["replay", "f", "--print", "--speed", "fast"], "give a number above 0, or max"),
        (&["tail", "x", "--where", "a >"], "--where 'a >': expected"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
        assert!(ran.error.contains(says), "{arguments:?}: {}", ran.error);
        for words in ["float literal", "socket address syntax", "Some(", "digit found"] {
            assert!(!ran.error.contains(words), "{arguments:?}: {}", ran.error);
        }
    }
}

#[test]
fn errors_of_arguments_are_json_with_json() {
    for (arguments, command, says) in [
        (&["ls", "--jsn", "--json"][..], "ls", "unexpected argument '--jsn' found; tip: "),
        (&["--json", "tail", "x", "--for", "soon"], "tail", "give seconds, as in 1.5"),
        (&["ls", "--sort", "x", "--json"], "ls", "[possible values: name, size, age]; see --help"),
        (&["send", "--json"], "send", "the following required arguments were not provided: <NAME>"),
        (&["lss", "--json"], "packetring", "unrecognized subcommand 'lss'; tip: "),
        (&["--json"], "packetring", "no command given; see `packetring --help`"),
    ] {
        let ran = run(arguments);
        assert_eq!((ran.status, ran.error.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        let line: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&line["format"], &line["command"]), (&1.into(), &command.into()), "{line}");
        assert!(line["error"]["message"].as_str().unwrap().contains(says), "{line}");
    }
    // The name of an object is no option, and help stays help.
    assert!(run(&["ls", "--sort", "x", "--", "--json"]).error.contains("possible values"));
    let help = run(&["ls", "--json", "--help"]);
    assert!(help.status == 0 && help.out.contains("Usage: packetring ls"), "{help:?}");
}

#[test]
fn a_cluster_or_a_prefix_that_is_not_there_is_an_error() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("selected").unwrap();
    let worker = packetring::Worker::builder().prefix(&prefix.0).join("shop", "web").unwrap();
    for command in [&["ls"][..], &["clean"], &["export"], &["top", "--once"]] {
        let ran = run(&[command, &["--prefix", "nope"]].concat());
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{command:?}: {ran:?}");
        assert!(ran.error.contains("no object has the prefix \"nope\""), "{}", ran.error);
        assert!(ran.error.contains("; the prefixes are "), "{}", ran.error);
        let ran = run(&[command, &["--prefix", &prefix.0, "--cluster", "nope"]].concat());
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{command:?}: {ran:?}");
        let says = "no object is of the cluster \"nope\"; the clusters are shop";
        assert!(ran.error.contains(says), "{}", ran.error);
        let ran = run(&[command, &["--prefix", "", "--json"]].concat());
        assert!(!ran.out.contains("\"error\""), "{command:?}: {ran:?}");
    }
    drop((ring, worker));
}

#[test]
fn the_help_has_the_exit_statuses_and_the_names() {
    let ran = run(&["--help"]);
    assert_eq!(ran.status, 0);
    for text in ["Exit status:", "CLUSTER/KIND/NAME", "NO_COLOR", "--json"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
}

#[test]
fn colors_are_for_terminals_unless_asked_for() {
    let prefix = Prefix::new();
    let _ring = prefix.ring().open("selected").unwrap();
    let arguments = ["ls", "--prefix", &prefix.0];
    assert!(!run(&arguments).out.contains('\x1b'));
    let always = [&arguments[..], &["--color", "always"]].concat();
    assert!(run(&always).out.contains("\x1b[32min use\x1b[0m"));
}

#[test]
fn a_broken_pipe_ends_the_command_quietly() {
    for arguments in [&["ls"][..], &["ls", "--json"], &["man"], &["completions", "bash"]] {
        let mut ls = command(arguments);
        let mut child = Running::start(ls.stdout(Stdio::piped()).stderr(Stdio::piped()));
        drop(child.stdout.take());
        let ran = child.end();
        assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn errors_are_json_too() {
    let ran = run(&["ls", "--json", "no-such-ring"]);
    assert_eq!((ran.status, ran.error.as_str()), (1, ""));
    let line: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&line["format"], &line["command"]), (&1.into(), &"ls".into()));
    assert!(line["error"]["message"].as_str().unwrap().contains("no-such-ring"));
    assert!(line.get("result").is_none());
}

#[test]
fn completions_and_man_pages_name_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.status, 0);
        assert!(ran.out.contains("doctor"), "{shell}");
    }
    let page = run(&["man"]);
    assert!(page.out.contains(".TH packetring 1") && page.out.contains("doctor"), "{}", page.out);

    let folder = std::env::temp_dir().join(format!("packetring-man-{}", std::process::id()));
    let ran = run(&["man", "--json", "--to", folder.to_str().unwrap()]);
    let files = ran.result()["files"].as_array().unwrap().len();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), files);
    let page = std::fs::read_to_string(folder.join("packetring-ls.1")).unwrap();
    assert!(page.contains("packetring\\-ls") && page.contains("\\-\\-cluster"), "{page}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_doctor_judges_this_machine() {
    let ran = run(&["doctor", "--json"]);
    let result = ran.result();
    let checks = result["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    for name in ["kernel", "mount", "/dev/shm", "membarrier", "futex_waitv", "io_uring", "bounce"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for check in checks {
        let is_ok = check["level"] == "ok";
        assert_eq!(is_ok, check["remedy"].is_null(), "{check}");
    }
    let has_problem = checks.iter().any(|check| check["level"] == "problem");
    assert_eq!(ran.status, i32::from(has_problem));
    let quick = run(&["doctor", "--quick"]);
    assert!(!quick.out.contains("bounce") && quick.out.contains("membarrier"), "{}", quick.out);
}
