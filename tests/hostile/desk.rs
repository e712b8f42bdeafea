//! A directory: a peer that writes into desks between any two operations of workers.

use super::cast::Cast;
use super::{Choices, damage};

/// Operations of one case.
const MOST: usize = 24;

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut cast = Cast::new();
    for _ in 0..MOST {
        if choices.are_over() {
            break;
        }
        match choices.below(10) {
            0 | 1 => damage::forge_desk(cast.directory(), &mut choices),
            2 => damage::strike_desk(cast.directory(), &mut choices),
            3 if choices.one_in(2) => damage::strike_inside(cast.directory(), &mut choices),
            3 if choices.one_in(2) => damage::strike(cast.directory(), &mut choices),
            4 => cast.exchange(&mut choices),
            _ => cast.govern(&mut choices),
        }
    }
    // What is left behind is damaged once more.
    damage::forge_desk(cast.directory(), &mut choices);
}
