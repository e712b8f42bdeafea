//! A segment that was damaged before it is attached to and used.

use super::ring::use_attached;
use super::segment::{KINDS, TestSegment, TestSegments};
use super::{Choices, damage};
use packetring::Ring;
use packetring::inspect::{GateHolder, Inspection};
use std::cell::RefCell;

/// Bytes of an image: identity, head, entries, and a few types.
pub(crate) const IMAGE: usize = 4096;

thread_local! {
    static SEGMENTS: RefCell<TestSegments> = RefCell::default();
}

/// Images of real segments, each prefixed by the choices that write it over a segment of its kind.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let image = |kind| {
        let all = TestSegment::new(kind).original().to_vec();
        // Without the zeros at the end, because the segment has zeros there already.
        let end = all[..IMAGE].iter().rposition(|&byte| byte != 0).unwrap_or(0) + 1;
        [&[kind as u8, 3], &all[..end]].concat()
    };
    (0..KINDS).map(image).collect()
}

/// Returns true if the segment of a case can be attached to.
pub(crate) fn accepts(data: &[u8]) -> bool {
    run(data);
    SEGMENTS.with_borrow(|segments| {
        segments
            .get(usize::from(data[0]))
            .is_some_and(|segment| Ring::attach(&segment.name).is_ok())
    })
}

/// Runs one case. The first choice is the kind of ring. The second one decides whether the rest is
/// an image of the segment's first bytes, or a list of damages.
pub(crate) fn run(data: &[u8]) {
    SEGMENTS.with_borrow_mut(|segments| {
        let mut choices = Choices::new(data);
        let segment = segments.restored(choices.below(KINDS));
        if choices.one_in(4) {
            let image = choices.rest();
            segment.write_bytes(0, &image[..image.len().min(IMAGE)]);
            let ending = image.get(image.len().saturating_sub(64)..).unwrap_or(image);
            return use_segment(segment, &mut Choices::new(ending));
        }
        for _ in 0..1 + choices.below(4) {
            damage::damage_any(segment, &mut choices);
        }
        if choices.one_in(8) {
            damage::change_len(segment, &mut choices);
        }
        use_segment(segment, &mut choices);
    });
}

fn use_segment(segment: &TestSegment, choices: &mut Choices<'_>) {
    if choices.one_in(4) {
        inspect(segment);
    }
    // `open` creates a missing ring, so `attach` is used more often.
    let attached =
        if choices.one_in(8) { Ring::open(&segment.name) } else { Ring::attach(&segment.name) };
    match attached {
        Ok(ring) => use_attached(segment, &ring, choices),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Reads the segment from outside. Each figure that is shown is that of a possible ring.
fn inspect(segment: &TestSegment) {
    match segment.info.inspect() {
        Ok(Inspection::Ring(ring)) => {
            for endpoint in &ring.endpoints {
                let lag = endpoint.lag.unwrap_or_default();
                assert!(lag.slots <= ring.slots && lag.packets.is_none_or(|it| it <= lag.slots));
                assert!(endpoint.claim.is_none_or(|claim| claim.slots < ring.slots));
            }
            assert!(ring.gate.is_none_or(|gate| gate.free_slots <= ring.slots));
            let holder = ring.gate.and_then(|gate| gate.holder);
            assert!(!matches!(holder, Some(GateHolder::Endpoint(_))) || ring.holder().is_some());
        }
        Ok(other) => assert!(!format!("{other:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
