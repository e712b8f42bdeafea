//! Letters: a peer that writes into an inbox, into requests, replies and events between any two
//! operations of those who exchange them.

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
        match choices.below(8) {
            0..3 => damage::forge_letter(cast.letters(&mut choices), &mut choices),
            3 => damage::strike_inside(cast.letters(&mut choices), &mut choices),
            4 if choices.one_in(4) => damage::strike(cast.any(&mut choices), &mut choices),
            _ => cast.exchange(&mut choices),
        }
    }
    // What is left behind is damaged once more.
    damage::strike_inside(cast.letters(&mut choices), &mut choices);
}
