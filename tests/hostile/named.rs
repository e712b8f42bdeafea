//! Damage that has a name, and exactly what is said about it.

use crate::support::peer::Role;

pub(crate) fn play(name: &str, _: &Role) {
    panic!("{name}")
}
