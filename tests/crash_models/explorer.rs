//! Explores every state that a model can come to, breadth first, so that the first
//! counterexample is a shortest one.
//!
//! It guarantees that a model is explored whole: there is no bound on the number of states but
//! the model's own. It knows nothing of rings.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol: what can happen, and what must never.
pub(super) trait Model {
    /// Everything that all processes and the shared memory are at one instant. Small.
    type State: Copy + Eq + Hash;
    /// A promise that was broken, and by whom.
    type Harm: Copy + Eq + Debug;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// Everything that can happen next.
    fn next(&self, state: &Self::State, next: &mut Next<Self::State>);

    /// The promise that is broken in this state, if one is.
    fn harm(&self, state: &Self::State) -> Option<Self::Harm>;

    /// What is still to come about; nothing: the goal. Said as the harm it is if it never does.
    fn unmet(&self, state: &Self::State) -> Vec<Self::Harm>;
}

/// Collects what can happen next.
pub(super) struct Next<S> {
    follows: Vec<Follow<S>>,
    sights: Vec<&'static str>,
}

struct Follow<S> {
    state: S,
    /// Not counted on: whoever asks whether the goal can be reached does not hope for it.
    is_fate: bool,
    who: &'static str,
    text: &'static str,
    numbers: [u8; 3],
}

impl<S> Next<S> {
    /// `who` does one step of its program. Each `{}` of the text stands for a number.
    pub(super) fn step(&mut self, who: &'static str, text: &'static str, n: &[u8], state: S) {
        self.add(false, who, text, n, state);
    }

    /// What may happen and need not: a kill, somebody leaves, somebody comes.
    pub(super) fn fate(&mut self, who: &'static str, text: &'static str, n: &[u8], state: S) {
        self.add(true, who, text, n, state);
    }

    /// Notes that the model came to a situation for which it was made.
    pub(super) fn see(&mut self, sight: &'static str) {
        self.sights.push(sight);
    }

    fn add(&mut self, is_fate: bool, who: &'static str, text: &'static str, n: &[u8], state: S) {
        let mut numbers = [0; 3];
        numbers[..n.len()].copy_from_slice(n);
        self.follows.push(Follow { state, is_fate, who, text, numbers });
    }
}

impl<S> Follow<S> {
    fn words(&self) -> String {
        let mut text = self.text.to_owned();
        for number in self.numbers {
            text = text.replacen("{}", &number.to_string(), 1);
        }
        format!("{}{} {text}", if self.is_fate { "☠ " } else { "  " }, self.who)
    }
}

/// How a promise is broken.
#[derive(Debug)]
pub(super) struct Counterexample<H> {
    /// What is broken; what can never come about any more, if it wedges.
    pub(super) harms: Vec<H>,
    /// The steps that lead there, in words.
    pub(super) trace: Vec<String>,
}

/// What an exploration found.
pub(super) struct Report<H> {
    pub(super) states: usize,
    /// Situations, and how often a step came to them.
    pub(super) sights: BTreeMap<&'static str, usize>,
    pub(super) counterexample: Option<Counterexample<H>>,
}

/// Whether the bigger bounds were asked for.
pub(super) fn is_large() -> bool {
    std::env::var("PACKETRING_MODEL_BOUND").is_ok_and(|bound| bound == "large")
}

/// The protocol holds, and the exploration came to each of these situations.
pub(super) fn holds<M: Model>(name: &str, model: &M, sights: &[&str]) {
    let report = Exploration::new(model).run();
    println!("{name}: holds in {} states", report.states);
    for (sight, count) in &report.sights {
        println!("    {count:>8} × {sight}");
    }
    if let Some(found) = &report.counterexample {
        panic!("{name}: {:?} after\n{}", found.harms, found.trace.join("\n"));
    }
    for sight in sights {
        assert!(report.sights.contains_key(sight), "{name}: never came to: {sight}");
    }
}

/// The protocol does not hold, and what breaks first is this promise. It is what is wrong with
/// the variant, not with the model: the right protocol passes the same exploration.
pub(super) fn breaks<M: Model>(name: &str, model: &M, harm: M::Harm) {
    let report = Exploration::new(model).run();
    let Some(found) = report.counterexample else {
        panic!("{name}: no counterexample in {} states", report.states);
    };
    println!(
        "{name}: {:?} after {} steps, {} states",
        found.harms,
        found.trace.len(),
        report.states
    );
    if std::env::var("PACKETRING_MODEL_TRACES").is_ok() {
        println!("{}\n", found.trace.join("\n"));
    }
    assert!(
        found.harms.contains(&harm),
        "{name}: expected {harm:?}, found {:?} after\n{}",
        found.harms,
        found.trace.join("\n")
    );
}

struct Exploration<'a, M: Model> {
    model: &'a M,
    states: Vec<M::State>,
    /// Where each state was first reached from, and by which of the steps there.
    origins: Vec<(u32, u8)>,
    known: HashMap<M::State, u32, BuildHasherDefault<Mixer>>,
    /// Steps that are counted on, from and to.
    edges: Vec<(u32, u32)>,
    sights: BTreeMap<&'static str, usize>,
}

impl<'a, M: Model> Exploration<'a, M> {
    fn new(model: &'a M) -> Self {
        let mut new = Self {
            model,
            states: Vec::new(),
            origins: Vec::new(),
            known: HashMap::default(),
            edges: Vec::new(),
            sights: BTreeMap::new(),
        };
        new.meet(model.start(), (0, 0));
        new
    }

    fn run(mut self) -> Report<M::Harm> {
        let counterexample = self.safety().or_else(|| self.liveness());
        Report { states: self.states.len(), sights: self.sights, counterexample }
    }

    /// Comes to every state, or to the first that breaks a promise.
    fn safety(&mut self) -> Option<Counterexample<M::Harm>> {
        let mut at = 0;
        while at < self.states.len() {
            let next = follow(self.model, &self.states[at]);
            for sight in next.sights {
                *self.sights.entry(sight).or_default() += 1;
            }
            for (ordinal, follow) in next.follows.into_iter().enumerate() {
                let known = self.states.len();
                let index = self.meet(follow.state, (at as u32, ordinal as u8));
                let harm = self.model.harm(&follow.state);
                if let Some(harm) = harm.filter(|_| self.states.len() > known) {
                    return Some(Counterexample { harms: vec![harm], trace: self.trace(index) });
                }
                if !follow.is_fate {
                    self.edges.push((at as u32, index));
                }
            }
            at += 1;
        }
        None
    }

    /// The index of a state, which may be new.
    fn meet(&mut self, state: M::State, origin: (u32, u8)) -> u32 {
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

    /// From every state the goal can be reached, or the first from which it cannot.
    fn liveness(&self) -> Option<Counterexample<M::Harm>> {
        let hopeful = self.hopeful();
        let stuck = hopeful.iter().position(|&is_hopeful| !is_hopeful)? as u32;
        let harms = self.never(stuck);
        Some(Counterexample { harms, trace: self.trace(stuck) })
    }

    /// Which states lead to the goal: backwards from those that are it.
    fn hopeful(&self) -> Vec<bool> {
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
        let mut hopeful: Vec<bool> =
            self.states.iter().map(|state| self.model.unmet(state).is_empty()).collect();
        let mut queue: Vec<usize> = (0..hopeful.len()).filter(|&at| hopeful[at]).collect();
        while let Some(at) = queue.pop() {
            for &source in &sources[firsts[at] as usize..firsts[at + 1] as usize] {
                if !std::mem::replace(&mut hopeful[source as usize], true) {
                    queue.push(source as usize);
                }
            }
        }
        hopeful
    }

    /// What never comes about from here: what is unmet where nothing goes on, or the least that
    /// is unmet anywhere.
    fn never(&self, from: u32) -> Vec<M::Harm> {
        let mut met = HashSet::from([from]);
        let mut queue = vec![from];
        let mut ends = Vec::new();
        while let Some(at) = queue.pop() {
            let mut goes_on = false;
            for follow in follow(self.model, &self.states[at as usize]).follows {
                let index = self.known[&follow.state];
                goes_on |= !follow.is_fate && index != at;
                if !follow.is_fate && met.insert(index) {
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
            let next = follow(self.model, &self.states[origin as usize]);
            trace.push(next.follows[usize::from(ordinal)].words());
            index = origin;
        }
        trace.reverse();
        trace
    }
}

fn follow<M: Model>(model: &M, state: &M::State) -> Next<M::State> {
    let mut next = Next { follows: Vec::new(), sights: Vec::new() };
    model.next(state, &mut next);
    next
}

/// Mixes a word at a time. Fast, and good enough for states that nobody chose to collide.
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
        // The map takes its bits from both ends.
        self.0 ^ self.0 >> 29
    }
}
