//! A list of zero-sized elements could claim billions of elements in a few bytes.

use packetring::packet::{Fingerprint, fingerprint_of};

const UNITS: Fingerprint = fingerprint_of::<Vec<()>>();

fn main() {
    let _ = UNITS;
}
