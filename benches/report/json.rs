//! The results as JSON: a list with an object for each scenario and phase.
//!
//! Keys that are always present:
//!
//! - `name`, `payload` (bytes), `unit`;
//! - `phase`: `siblings`, `coupled`, `apart`, `one-core` or `any`;
//! - `value`, `min`, `max`, `floor`, `ratio`: statistics of the runs of that phase. They are null
//!   without runs; `floor` and `ratio` are also null without a floor;
//! - `runs`, `floor_runs`: number of runs behind these statistics;
//! - `floor_name`: the floor of these statistics, the best one in that phase. Null without a floor;
//! - `states`, `floor_states`: the two states of the runs if they have two, each with `value`,
//!   `min`, `max` and `runs`; otherwise null. With two states, `value` is the median of both
//!   together;
//! - `mixed`, `floor_mixed`: runs of the scenario that were left out of all phases, because the
//!   phase changed during each attempt;
//! - `bounce_ns`: minimum, median and maximum round trip of a cache line in that phase, over the
//!   whole report. Null if the phase needs no probe;
//! - `targets`: each with `target` and `met`.
//!
//! Scenarios that record latencies also have percentiles in nanoseconds over all runs of the phase,
//! and `middle_ns`: the mean of the middle half, which is finer than the steps of a coarse clock.

use super::row::Row;
use crate::harness::{Outcome, Probe, Spread, State};
use serde_json::{Map, Value, json};

/// The list of `some`. Targets may refer to any row of `all`.
pub(crate) fn text(some: &[&Row<'_>], all: &[Row<'_>], probe: &Probe) -> Outcome<String> {
    let list: Vec<Value> = some.iter().map(|row| object(row, all, probe)).collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn object(row: &Row<'_>, all: &[Row<'_>], probe: &Probe) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("name", row.results.name.clone().into());
    put("payload", row.results.payload.into());
    put("unit", row.results.unit.label().into());
    put("phase", row.phase.name().into());
    put("value", number(row.work.median()));
    put("min", number(row.work.min()));
    put("max", number(row.work.max()));
    put("floor", number(row.floor.median()));
    put("floor_name", row.best_floor.map(|floor| floor.name.clone()).into());
    put("ratio", number(row.ratio()));
    put("runs", row.work.runs.into());
    put("floor_runs", row.floor.runs.into());
    put("mixed", row.results.work.mixed().into());
    put("floor_mixed", row.results.mixed_of_floors().into());
    put("states", row.work.states.map_or(Value::Null, states));
    put("floor_states", row.floor.states.map_or(Value::Null, states));
    put("bounce_ns", probe.bounces(row.phase).map_or(Value::Null, bounces));
    for (key, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        if let Some(nanoseconds) = row.work.latency_at(quantile) {
            put(key, number(Some(nanoseconds)));
        }
        if let Some(nanoseconds) = row.floor.latency_at(quantile) {
            put(&format!("floor_{key}"), number(Some(nanoseconds)));
        }
    }
    for (key, series) in [("middle_ns", &row.work), ("floor_middle_ns", &row.floor)] {
        if let Some(nanoseconds) = series.middle() {
            put(key, number(Some(nanoseconds)));
        }
    }
    let verdict = |(text, met): (String, Option<bool>)| json!({ "target": text, "met": met });
    put("targets", row.verdicts(all).into_iter().map(verdict).collect());
    Value::Object(object)
}

fn bounces(Spread { min, median, max }: Spread) -> Value {
    [min, median, max].into_iter().map(|value| number(Some(value))).collect()
}

fn states(both: [State; 2]) -> Value {
    let state = |State { spread, runs }| {
        let (value, min, max) = (spread.median, spread.min, spread.max);
        let [value, min, max] = [value, min, max].map(|at| number(Some(at)));
        json!({ "value": value, "min": min, "max": max, "runs": runs })
    };
    both.into_iter().map(state).collect()
}

/// Rounds to four decimal places.
fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| ((value * 1e4).round() / 1e4).into())
}
