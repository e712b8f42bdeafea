//! The dashboard in `docs/grafana` uses metrics and labels that `export` writes.

use crate::support::{Prefix, run};
use packetring::Worker;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The labels of each metric that `export` prints, for an object of each kind that has figures.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("orders").unwrap();
    let (mut out, _idle) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    out.send(&1).unwrap();
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "web").unwrap();
    let ran = run(&["export", "--prefix", &prefix.0]);
    assert_eq!(ran.status, 0, "{ran:?}");
    worker.leave().unwrap();
    let mut metrics: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in ran.out.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('{').unwrap();
        let labels = labels.rsplit_once('}').unwrap().0.split(',');
        let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
        metrics.entry(name.to_owned()).or_default().extend(labels);
    }
    metrics
}

/// The words of a text that begin so.
fn words<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(start)).collect()
}

#[test]
fn the_dashboard_uses_metrics_that_are_exported() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana/packetring.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let metrics = exported();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().into_iter().flatten();
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            let names = words(expression, "packetring_");
            assert!(!names.is_empty(), "{target}");
            for name in names {
                let Some(labels) = metrics.get(name) else {
                    panic!("the panel {} uses {name}, which is not exported", panel["title"])
                };
                let legend = target["legendFormat"].as_str().unwrap();
                let shown = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap());
                for label in shown {
                    assert!(labels.contains(label), "{name} has no label {label}");
                }
            }
        }
    }
    let variables = dashboard["templating"]["list"].to_string();
    for name in words(&variables, "packetring_") {
        assert!(metrics.contains_key(name), "a variable uses {name}, which is not exported");
    }
}
