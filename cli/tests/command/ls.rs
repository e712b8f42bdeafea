//! `ls`, and the names of objects.

use crate::support::{Prefix, Ran, Running, command, eventually, run};
use insta::assert_snapshot;
use packetring::{Board, Worker};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

#[test]
fn all_kinds_of_objects_are_listed() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(64 * 1024).open("prices").unwrap();
    let _reader = ring.durable::<u64>("log").unwrap();
    let _state = Board::<u64>::builder().prefix(&prefix.0).open::<u64>("state").unwrap();
    let worker = Worker::builder().prefix(&prefix.0).join("my shop", "billing").unwrap();
    let _inbox = worker.inbox().unwrap();
    let _topic = worker.topic("quotes").publisher::<u64>().unwrap();
    let _jobs = worker.queue_publisher::<u64>("jobs").unwrap();
    prefix.leave("old");

    let ran = run(&["ls", "--prefix", &prefix.0]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    insta::with_settings!({ filters => [
        (r"\d+\.?\d* (B|[KMG]iB)", "SIZE"), (r"\d+ s\b", "AGE"), (r" +", " "),
    ] }, {
        assert_snapshot!(prefix.redact(&ran.out), @r"
        NAME KIND SIZE AGE PROCESSES WRITERS READERS BACKLOG TYPES STATE
        P:my shop/directory directory SIZE AGE PID - - - - in use, workers: billing
        P:my shop/inbox/billing inbox SIZE AGE PID 0 1 0 - in use, keeps its messages
        P:my shop/queue/jobs queue SIZE AGE PID 1 0 0 u64 in use
        P:my shop/topic/quotes topic SIZE AGE PID 1 0 - u64 in use
        P:old ring SIZE AGE - 0 0 - - left
        P:prices ring SIZE AGE PID 0 1 0 u64 in use, durable: log
        P:state board SIZE AGE PID 0 0 - u64 in use
        7 objects, SIZE; 1 object left: `packetring clean` removes such objects
        ");
    });

    let json = run(&["ls", "--json", "--prefix", &prefix.0, "--kind", "ring,topic"]).result();
    let objects = json["objects"].as_array().unwrap();
    let names: Vec<_> = objects.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let name = |rest: &str| format!("{}:{rest}", prefix.0);
    assert_eq!(names, [name("my shop/topic/quotes"), name("old"), name("prices")]);
    let prices = &objects[2];
    assert_eq!(prices["kept"]["durable"][0], "log");
    assert_eq!(prices["processes"][0], std::process::id());
    assert_eq!((&prices["state"], &objects[1]["state"]), (&"in_use".into(), &"left".into()));
    assert_eq!(prices["bytes"], std::fs::metadata(prefix.file("prices")).unwrap().len());

    let left = run(&["ls", "--json", "--prefix", &prefix.0, "--left"]).result();
    assert_eq!(left["objects"].as_array().unwrap().len(), 1);
    drop(worker);
}

#[test]
fn names_select_objects_in_each_form() {
    let prefix = Prefix::new();
    let _ring = prefix.ring().open("prices").unwrap();
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "a").unwrap();
    let _topic = worker.topic("prices").publisher::<u64>().unwrap();
    let listed = |name: &str| {
        let ran = run(&["ls", "--json", "--prefix", &prefix.0, name]);
        assert_eq!(ran.status, 0, "{name}: {ran:?}");
        ran.result()["objects"].as_array().unwrap().len()
    };
    let full = format!("{}:shop/topic/prices", prefix.0);
    for (name, count) in [
        ("prices", 1),
        ("shop/prices", 1),
        (&full, 1),
        (&prefix.file("prices"), 1),
        ("shop", 2),
        ("*prices", 2),
        ("*/directory", 1),
    ] {
        assert_eq!(listed(name), count, "{name}");
    }
    worker.leave().unwrap();
}

#[test]
fn a_name_that_nothing_has_is_an_error_with_candidates() {
    let prefix = Prefix::new();
    let name = format!("quotes-{}", prefix.0);
    let _ring = prefix.ring().open(&name).unwrap();
    let ran = run(&["ls", &name.replacen("quotes", "qoutes", 1)]);
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert!(ran.error.contains(&format!("similar names: {}:{name}", prefix.0)), "{}", ran.error);
    let ran = run(&["ls", &format!("unlike-all-{}", "x".repeat(60))]);
    assert!(ran.error.contains("`packetring ls` lists all objects"), "{}", ran.error);
}

#[test]
fn objects_of_another_layout_and_damaged_ones_are_listed_as_such() {
    let prefix = Prefix::new();
    let _newer = prefix.ring().open("newer").unwrap();
    prefix.leave("damaged");
    let open =
        |name: &str| std::fs::OpenOptions::new().write(true).open(prefix.file(name)).unwrap();
    open("newer").write_all_at(&1000_u32.to_le_bytes(), 16).unwrap();
    open("damaged").set_len(8192).unwrap();
    std::fs::write(prefix.file("strange"), "no segment").unwrap();

    let ran = run(&["ls", "--prefix", &prefix.0]);
    assert!(ran.out.contains("in use, layout 1000, this command reads "), "{}", ran.out);
    let json = run(&["ls", "--json", "--prefix", &prefix.0]).result();
    let mut states: Vec<_> = json["objects"].as_array().unwrap().iter().collect();
    states.sort_by_key(|one| one["path"].as_str().unwrap());
    let states: Vec<_> = states.iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["damaged", "other_layout", "foreign"]);
    assert_eq!(run(&["ls", &prefix.file("strange")]).status, 0);
}

#[test]
fn an_observer_is_told_from_a_user() {
    let prefix = Prefix::new();
    let _ring = prefix.ring().capacity(1024).open("watched").unwrap();
    let name = format!("{}:watched", prefix.0);
    let tail = Running::start(command(&["tail", &name]).stdout(Stdio::null()));
    let found = eventually("the observer", || {
        let json = run(&["ls", "--json", &name]).result()["objects"][0].clone();
        (json["observers"] != serde_json::json!([])).then_some(json)
    });
    assert_eq!(found["observers"], serde_json::json!([tail.id()]));
    assert_eq!(found["processes"], serde_json::json!([std::process::id()]));
    let listed = run(&["ls", &name]).out;
    assert!(listed.contains(&format!("in use, observed by {}", tail.id())), "{listed}");
}

#[test]
fn each_command_says_clearly_that_it_cannot_read_another_layout() {
    let prefix = Prefix::new();
    let _newer = prefix.ring().open("newer").unwrap();
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "a").unwrap();
    for name in ["newer", "shop~d"] {
        let object = std::fs::OpenOptions::new().write(true).open(prefix.file(name)).unwrap();
        object.write_all_at(&1000_u32.to_le_bytes(), 16).unwrap();
    }
    let (name, cluster) = (format!("{}:newer", prefix.0), format!("{}:shop", prefix.0));
    let file = std::env::temp_dir().join(format!("packetring-{}.rec", prefix.0));
    let file = file.to_str().unwrap();
    for arguments in [
        &["inspect", &name][..],
        &["tail", &name],
        &["hz", &name],
        &["record", file, &name],
        &["top", "--once", &name],
        &["workers", &cluster],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.status, 1, "{arguments:?}: {ran:?}");
        for says in ["its version is 1000, this build has", "use the command of the version"] {
            assert!(ran.error.contains(says), "{arguments:?}: {ran:?}");
        }
    }
    assert!(!std::path::Path::new(file).exists());
    let top = run(&["top", "--once", "--interval", "0.05", "--prefix", &prefix.0]).out;
    assert!(top.contains("not shown: 2 objects of another layout"), "{top}");
    let doctor = run(&["doctor", "--quick"]).out;
    assert!(doctor.contains(&format!("{name} has layout 1000, this command ")), "{doctor}");
    for arguments in [&["--prefix", &prefix.0][..], &["--kept", &name]] {
        let ran = run(&[&["clean", "--yes"], arguments].concat());
        let says = format!("process {} uses it, with layout 1000", std::process::id());
        assert!(ran.out.contains(&says), "{arguments:?}: {ran:?}");
    }
    // The worker finds its own layout again, to leave.
    for name in ["newer", "shop~d"] {
        let object = std::fs::OpenOptions::new().write(true).open(prefix.file(name)).unwrap();
        object.write_all_at(&packetring::inventory::LAYOUT_VERSION.to_le_bytes(), 16).unwrap();
    }
    worker.leave().unwrap();
}

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root may act as another user");
    }
    is_root
}

#[test]
fn objects_of_another_user_are_listed_as_such_and_left_alone() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let _own = prefix.ring().capacity(1024).open("own").unwrap();
    std::fs::write(prefix.file("theirs"), [0; 100]).unwrap();
    chown(prefix.file("theirs"), Some(NOBODY), None).unwrap();
    let theirs = format!("{}:theirs", prefix.0);

    let json = run(&["ls", "--json", "--prefix", &prefix.0]).result();
    assert_eq!(json["objects"].as_array().unwrap().len(), 1);
    let other = &json["of_other_users"][0];
    assert_eq!((&other["name"], &other["owner"]), (&theirs.as_str().into(), &NOBODY.into()));
    assert_eq!((&other["bytes"], &other["state"]), (&100.into(), &"other_user".into()));
    let listed = run(&["ls", "--prefix", &prefix.0]).out;
    assert!(listed.contains(&format!("of another user: nobody ({NOBODY})")), "{listed}");
    assert!(listed.contains("1 object of another user: nobody (65534)"), "{listed}");
    assert!(listed.contains("`sudo -u nobody packetring ls` shows more"), "{listed}");
    let left = run(&["ls", "--left", "--json", "--prefix", &prefix.0]).result();
    assert_eq!(left["of_other_users"], serde_json::json!([]));

    for arguments in [&["inspect"][..], &["tail"], &["hz"], &["clean", "--yes", "--kept"]] {
        let ran = run(&[arguments, &[&theirs]].concat());
        assert_eq!(ran.status, 1, "{arguments:?}: {ran:?}");
        let says = "belongs to another user, nobody (65534); run the command as that user";
        assert!(ran.error.contains(says), "{arguments:?}: {ran:?}");
    }
    let cleaned = run(&["clean", "--yes", "--prefix", &prefix.0]);
    assert!(cleaned.out.contains("of another user: nobody (65534), and is left alone"));
    assert_eq!(std::fs::metadata(prefix.file("theirs")).unwrap().len(), 100);
    let top = run(&["top", "--once", "--interval", "0.05", "--prefix", &prefix.0]);
    assert!(top.out.contains("not shown: 1 object of another user"), "{}", top.out);
    let doctor = run(&["doctor", "--quick"]).out;
    assert!(doctor.contains("not checked; `sudo -u"), "{doctor}");
}

#[test]
fn a_user_without_access_sees_whose_objects_there_are() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let _ring = prefix.ring().capacity(1024).open("root").unwrap();
    // The user cannot reach the folder of the build.
    let copy = std::env::temp_dir().join(format!("packetring-{}", prefix.0));
    // By a process of its own: a child that another test starts meanwhile would hold the file open
    // for writing, and a program in such a file does not start.
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg(env!("CARGO_BIN_EXE_packetring")).arg(&copy).status().unwrap().success());
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&copy);
        command.args(arguments).current_dir("/").uid(NOBODY).gid(NOBODY);
        Ran::of(&command.output().unwrap())
    };
    let listed = as_nobody(&["ls", "--prefix", &prefix.0]);
    assert!(listed.out.contains("of another user: root (0)"), "{listed:?}");
    let cleaned = as_nobody(&["clean", "--yes", "--json", "--prefix", &prefix.0]).result();
    let reason = "of another user: root (0), and is left alone";
    assert_eq!(cleaned["stays"][0]["reason"], reason);
    assert!(cleaned["removed"].as_array().unwrap().is_empty());
    let inspected = as_nobody(&["inspect", &format!("{}:root", prefix.0)]);
    assert!(inspected.error.contains("belongs to another user, root (0)"), "{inspected:?}");
    std::fs::remove_file(copy).unwrap();
}
