//! Arguments about borrowed twins that make no sense.

use packetring::{one_of, packet};

#[packet(borowed)]
struct Misspelled {
    name: String,
}

#[packet(borrowed = "Name")]
struct NoName {
    name: String,
}

#[packet(borrowed)]
#[derive(Clone, Copy)]
enum Mood {
    Calm,
    Cross,
}

#[packet(borrowed)]
struct Empty;

#[packet]
struct Job {
    name: String,
}

#[one_of(borrowed)]
enum Work {
    Job(Job),
}

fn main() {}
