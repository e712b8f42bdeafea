//! `clean`: removes what was left, and nothing else.

use crate::support::{Prefix, run};
use insta::assert_snapshot;
use std::path::Path;

fn exists(prefix: &Prefix, name: &str) -> bool {
    Path::new(&prefix.file(name)).exists()
}

#[test]
fn nothing_is_removed_without_consent_and_nothing_in_use_at_all() {
    let prefix = Prefix::new();
    let _live = prefix.ring().capacity(64 * 1024).open("live").unwrap();
    prefix.leave("left");
    std::fs::write(prefix.file("strange"), "no segment").unwrap();

    let shown = run(&["clean", "--prefix", &prefix.0]);
    assert_eq!((shown.status, shown.error.as_str()), (1, ""));
    insta::with_settings!({ filters => [
        (r"\d+\.?\d* (B|[KMG]iB)", "SIZE"), (r" +", " "),
    ] }, {
        assert_snapshot!(prefix.redact(&shown.out), @r"
        WOULD REMOVE SIZE REASON
        P:left SIZE left

        STAYS SIZE REASON
        P:live SIZE process PID uses it
        /dev/shm/packetring.P:strange SIZE a file of another program, which this command leaves alone
        nothing was removed: add --yes to remove
        ");
    });
    let json = run(&["clean", "--json", "--prefix", &prefix.0]);
    assert_eq!(json.status, 1);
    assert_eq!(json.result()["would_remove"][0]["name"], format!("{}:left", prefix.0));
    assert!(exists(&prefix, "left"), "it was removed without consent");

    let done = run(&["clean", "--yes", "--prefix", &prefix.0]);
    assert_eq!((done.status, done.error.as_str()), (0, ""));
    assert!(done.out.contains("removed 1 object, "), "{}", done.out);
    assert!(!exists(&prefix, "left"));
    assert!(exists(&prefix, "live") && exists(&prefix, "strange"));

    let again = run(&["clean", "--prefix", &prefix.0]);
    assert_eq!(again.status, 0);
    assert!(again.out.starts_with("nothing to remove\n"), "{}", again.out);
}

#[test]
fn durable_readers_and_objects_of_other_prefixes_stay() {
    let (prefix, other) = (Prefix::new(), Prefix::new());
    drop(prefix.ring().open("kept").unwrap().durable::<u64>("log").unwrap());
    other.leave("left");
    let json = run(&["clean", "--yes", "--json", "--prefix", &prefix.0]).result();
    assert!(json["removed"].as_array().unwrap().is_empty());
    assert_eq!(json["stays"][0]["reason"], "kept, durable: log");
    assert!(exists(&prefix, "kept") && exists(&other, "left"));
}
