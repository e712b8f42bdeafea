//! Items that `#[one_of]` refuses.

use packetring::{one_of, packet};

#[packet]
struct Job;

type Same = Job;

#[one_of]
enum Twice {
    One(Job),
    Other(Job),
}

#[one_of]
enum Alias {
    One(Job),
    Other(Same),
}

#[one_of]
enum Pair {
    Both(Job, u32),
}

#[one_of]
enum Named {
    Job { job: Job },
}

#[one_of]
enum Empty {}

#[one_of]
enum Generic<T> {
    Job(T),
}

#[one_of]
struct Struct(Job);

fn main() {}
