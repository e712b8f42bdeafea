//! The results as JSON: a list of objects, for programs.
//!
//! `name`, `payload` (bytes), `unit`, `value`, `min`, `max`, `floor`, `ratio` are always there;
//! `floor` and `ratio` are null where there is no floor. Latencies, in nanoseconds, come beside
//! them where they were recorded: percentiles over all runs together, and the mean of the middle
//! half, which is finer than the steps of a coarse clock.

use super::results::Results;
use crate::harness::Outcome;
use serde_json::{Map, Value, json};

/// The list; `all` is what targets may refer to.
pub(crate) fn text(some: &[&Results], all: &[Results]) -> Outcome<String> {
    let list: Vec<Value> = some.iter().map(|one| object(one, all)).collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn object(one: &Results, all: &[Results]) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("name", one.name.clone().into());
    put("payload", one.payload.into());
    put("unit", one.unit.label().into());
    put("value", number(one.work.median()));
    put("min", number(one.work.min()));
    put("max", number(one.work.max()));
    put("floor", number(one.floor.median()));
    put("ratio", number(one.ratio()));
    for (key, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        if let Some(nanoseconds) = one.work.latency_at(quantile) {
            put(key, number(Some(nanoseconds)));
        }
        if let Some(nanoseconds) = one.floor.latency_at(quantile) {
            put(&format!("floor_{key}"), number(Some(nanoseconds)));
        }
    }
    for (key, series) in [("middle_ns", &one.work), ("floor_middle_ns", &one.floor)] {
        if let Some(nanoseconds) = series.middle() {
            put(key, number(Some(nanoseconds)));
        }
    }
    let verdict = |(text, met): (String, Option<bool>)| json!({ "target": text, "met": met });
    put("targets", one.verdicts(all).into_iter().map(verdict).collect());
    Value::Object(object)
}

/// With as many digits as mean something.
fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| ((value * 1e4).round() / 1e4).into())
}
