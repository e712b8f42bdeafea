//! Explores all reachable states of a model, breadth first, so that the first counterexample is a
//! shortest one.
//!
//! It guarantees a complete exploration: the model alone bounds the number of states. It knows
//! nothing of rings.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol: its transitions and its promises.
pub(super) trait Model {
    /// The state of all processes and of the shared memory. Must be small.
    type State: Copy + Eq + Hash;
    /// A broken promise.
    type Violation: Copy + Eq + Debug;

    /// The initial state.
    fn start(&self) -> Self::State;

    /// Adds all transitions from a state.
    fn next(&self, state: &Self::State, next: &mut Next<Self::State>);

    /// Returns the promise that is broken in this state, if any.
    fn violation(&self, state: &Self::State) -> Option<Self::Violation>;

    /// Returns the goals not reached yet, each as the violation if it is never reached. Empty: all
    /// goals are reached.
    fn unmet(&self, state: &Self::State) -> Vec<Self::Violation>;
}

/// Collects the transitions from a state.
pub(super) struct Next<S> {
    transitions: Vec<Transition<S>>,
    situations: Vec<&'static str>,
}

struct Transition<S> {
    state: S,
    /// An external event. Reaching the goals must not depend on it.
    is_external: bool,
    who: &'static str,
    text: &'static str,
    numbers: [u8; 3],
}

impl<S> Next<S> {
    /// Adds a step of the program of `who`. Each `{}` of the text stands for a number.
    pub(super) fn step(&mut self, who: &'static str, text: &'static str, n: &[u8], state: S) {
        self.add(false, who, text, n, state);
    }

    /// Adds an external event that may happen or not: a kill, a process that leaves or joins.
    pub(super) fn external(&mut self, who: &'static str, text: &'static str, n: &[u8], state: S) {
        self.add(true, who, text, n, state);
    }

    /// Records that the exploration reached a situation that the model must cover.
    pub(super) fn cover(&mut self, situation: &'static str) {
        self.situations.push(situation);
    }

    fn add(
        &mut self,
        is_external: bool,
        who: &'static str,
        text: &'static str,
        n: &[u8],
        state: S,
    ) {
        let mut numbers = [0; 3];
        numbers[..n.len()].copy_from_slice(n);
        self.transitions.push(Transition { state, is_external, who, text, numbers });
    }
}

impl<S> Transition<S> {
    fn words(&self) -> String {
        let mut text = self.text.to_owned();
        for number in self.numbers {
            text = text.replacen("{}", &number.to_string(), 1);
        }
        format!("{}{} {text}", if self.is_external { "☠ " } else { "  " }, self.who)
    }
}

/// A broken promise and the steps to it.
#[derive(Debug)]
pub(super) struct Counterexample<H> {
    /// The broken promise, or the goals that can no longer be reached.
    pub(super) violations: Vec<H>,
    /// The steps from the initial state, as text.
    pub(super) trace: Vec<String>,
}

/// Result of an exploration.
pub(super) struct Report<H> {
    pub(super) states: usize,
    /// Covered situations, and the number of transitions that reached each.
    pub(super) situations: BTreeMap<&'static str, usize>,
    pub(super) counterexample: Option<Counterexample<H>>,
}

/// Returns true if larger bounds were requested.
pub(super) fn is_large() -> bool {
    std::env::var("PACKETRING_MODEL_BOUND").is_ok_and(|bound| bound == "large")
}

/// Asserts that the protocol holds, and that the exploration covered each of these situations.
pub(super) fn holds<M: Model>(name: &str, model: &M, situations: &[&str]) {
    let report = Exploration::new(model).run();
    println!("{name}: holds in {} states", report.states);
    for (situation, count) in &report.situations {
        println!("    {count:>8} × {situation}");
    }
    if let Some(found) = &report.counterexample {
        panic!("{name}: {:?} after\n{}", found.violations, found.trace.join("\n"));
    }
    for situation in situations {
        assert!(report.situations.contains_key(situation), "{name}: never covered: {situation}");
    }
}

/// Asserts that this promise breaks first. The fault is in the variant, not in the model: the
/// correct protocol passes the same exploration.
pub(super) fn breaks<M: Model>(name: &str, model: &M, violation: M::Violation) {
    let report = Exploration::new(model).run();
    let Some(found) = report.counterexample else {
        panic!("{name}: no counterexample in {} states", report.states);
    };
    println!(
        "{name}: {:?} after {} steps, {} states",
        found.violations,
        found.trace.len(),
        report.states
    );
    if std::env::var("PACKETRING_MODEL_TRACES").is_ok() {
        println!("{}\n", found.trace.join("\n"));
    }
    assert!(
        found.violations.contains(&violation),
        "{name}: expected {violation:?}, found {:?} after\n{}",
        found.violations,
        found.trace.join("\n")
    );
}

struct Exploration<'a, M: Model> {
    model: &'a M,
    states: Vec<M::State>,
    /// Predecessor of each state on a shortest path, and the number of the transition there.
    origins: Vec<(u32, u8)>,
    known: HashMap<M::State, u32, BuildHasherDefault<Mixer>>,
    /// Transitions other than external events: source and target.
    edges: Vec<(u32, u32)>,
    situations: BTreeMap<&'static str, usize>,
}

impl<'a, M: Model> Exploration<'a, M> {
    fn new(model: &'a M) -> Self {
        let mut new = Self {
            model,
            states: Vec::new(),
            origins: Vec::new(),
            known: HashMap::default(),
            edges: Vec::new(),
            situations: BTreeMap::new(),
        };
        new.add_state(model.start(), (0, 0));
        new
    }

    fn run(mut self) -> Report<M::Violation> {
        let counterexample = self.safety().or_else(|| self.liveness());
        Report { states: self.states.len(), situations: self.situations, counterexample }
    }

    /// Visits every state, or stops at the first state that breaks a promise.
    fn safety(&mut self) -> Option<Counterexample<M::Violation>> {
        let mut at = 0;
        while at < self.states.len() {
            let next = transition(self.model, &self.states[at]);
            for situation in next.situations {
                *self.situations.entry(situation).or_default() += 1;
            }
            for (ordinal, transition) in next.transitions.into_iter().enumerate() {
                let known = self.states.len();
                let index = self.add_state(transition.state, (at as u32, ordinal as u8));
                let violation = self.model.violation(&transition.state);
                if let Some(violation) = violation.filter(|_| self.states.len() > known) {
                    return Some(Counterexample {
                        violations: vec![violation],
                        trace: self.trace(index),
                    });
                }
                if !transition.is_external {
                    self.edges.push((at as u32, index));
                }
            }
            at += 1;
        }
        None
    }

    /// Returns the index of a state, which may be new.
    fn add_state(&mut self, state: M::State, origin: (u32, u8)) -> u32 {
        match self.known.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let index = self.states.len() as u32;
                vacant.insert(index);
                self.states.push(state);
                self.origins.push(origin);
                index
            }
        }
    }

    /// Returns the first state from which the goals cannot be reached, if any.
    fn liveness(&self) -> Option<Counterexample<M::Violation>> {
        let can_finish = self.can_finish();
        let stuck = can_finish.iter().position(|&finishes| !finishes)? as u32;
        let violations = self.never(stuck);
        Some(Counterexample { violations, trace: self.trace(stuck) })
    }

    /// Computes the states from which the goals can be reached, by searching backwards.
    fn can_finish(&self) -> Vec<bool> {
        let mut firsts = vec![0_u32; self.states.len() + 1];
        for &(_, to) in &self.edges {
            firsts[to as usize + 1] += 1;
        }
        for index in 1..firsts.len() {
            firsts[index] += firsts[index - 1];
        }
        let mut sources = vec![0_u32; self.edges.len()];
        let mut filled = firsts.clone();
        for &(from, to) in &self.edges {
            sources[filled[to as usize] as usize] = from;
            filled[to as usize] += 1;
        }
        let mut can_finish: Vec<bool> =
            self.states.iter().map(|state| self.model.unmet(state).is_empty()).collect();
        let mut queue: Vec<usize> = (0..can_finish.len()).filter(|&at| can_finish[at]).collect();
        while let Some(at) = queue.pop() {
            for &source in &sources[firsts[at] as usize..firsts[at + 1] as usize] {
                if !std::mem::replace(&mut can_finish[source as usize], true) {
                    queue.push(source as usize);
                }
            }
        }
        can_finish
    }

    /// Returns the goals never reached from a state: the unmet goals where no step is left, or
    /// otherwise the smallest set of unmet goals.
    fn never(&self, from: u32) -> Vec<M::Violation> {
        let mut met = HashSet::from([from]);
        let mut queue = vec![from];
        let mut ends = Vec::new();
        while let Some(at) = queue.pop() {
            let mut goes_on = false;
            for transition in transition(self.model, &self.states[at as usize]).transitions {
                let index = self.known[&transition.state];
                goes_on |= !transition.is_external && index != at;
                if !transition.is_external && met.insert(index) {
                    queue.push(index);
                }
            }
            ends.push((goes_on, self.model.unmet(&self.states[at as usize])));
        }
        ends.sort_by_key(|(goes_on, unmet)| (*goes_on, unmet.len()));
        ends.swap_remove(0).1
    }

    fn trace(&self, mut index: u32) -> Vec<String> {
        let mut trace = Vec::new();
        while index != 0 {
            let (origin, ordinal) = self.origins[index as usize];
            let next = transition(self.model, &self.states[origin as usize]);
            trace.push(next.transitions[usize::from(ordinal)].words());
            index = origin;
        }
        trace.reverse();
        trace
    }
}

fn transition<M: Model>(model: &M, state: &M::State) -> Next<M::State> {
    let mut next = Next { transitions: Vec::new(), situations: Vec::new() };
    model.next(state, &mut next);
    next
}

/// Mixes one word at a time. Fast, and sufficient for states that are not chosen to collide.
#[derive(Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u8(byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u64(discriminant as u64);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        // The map uses bits from both ends.
        self.0 ^ self.0 >> 29
    }
}
