//! A segment that was damaged before anyone attached, then attached to and used.

use super::ring::use_attached;
use super::stage::{KINDS, Stage, Stages};
use super::{Choices, damage};
use packetring::Ring;
use std::cell::RefCell;

/// Bytes of an image that are laid over a segment: identity, head, entries, and a few types.
pub(crate) const IMAGE: usize = 4096;

thread_local! {
    static STAGES: RefCell<Stages> = RefCell::default();
}

/// The first bytes of real segments, each behind the choices that lay it over one of its kind.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let image = |kind| {
        let all = Stage::new(kind).original().to_vec();
        // Without the zeros at the end, which are there already.
        let end = all[..IMAGE].iter().rposition(|&byte| byte != 0).unwrap_or(0) + 1;
        [&[kind as u8, 3], &all[..end]].concat()
    };
    (0..KINDS).map(image).collect()
}

/// Whether the segment of a case can be attached to.
pub(crate) fn accepts(data: &[u8]) -> bool {
    run(data);
    STAGES.with_borrow(|stages| {
        stages.get(usize::from(data[0])).is_some_and(|stage| Ring::attach(&stage.name).is_ok())
    })
}

/// Runs one case. The first choice is the ring, the second whether the rest is an image of a
/// segment's first bytes, or a list of damages.
pub(crate) fn run(data: &[u8]) {
    STAGES.with_borrow_mut(|stages| {
        let mut choices = Choices::new(data);
        let stage = stages.restored(choices.below(KINDS));
        if choices.one_in(4) {
            let image = choices.rest();
            stage.write_bytes(0, &image[..image.len().min(IMAGE)]);
            let ending = image.get(image.len().saturating_sub(64)..).unwrap_or(image);
            return visit(stage, &mut Choices::new(ending));
        }
        for _ in 0..1 + choices.below(4) {
            damage::strike(stage, &mut choices);
        }
        if choices.one_in(8) {
            change_len(stage, &mut choices);
        }
        visit(stage, &mut choices);
    });
}

fn change_len(stage: &Stage, choices: &mut Choices<'_>) {
    let end = stage.layout.end;
    let len = match choices.below(7) {
        0 => 0,
        1 => end - 1,
        2 => end - 4096,
        3 => end + 1,
        4 => 2 * end,
        5 => choices.pick(&[1, 8, 80, 128, 767, 768, 4096]),
        _ => choices.below(1 << 17) as u64,
    };
    stage.set_len(len);
}

fn visit(stage: &Stage, choices: &mut Choices<'_>) {
    // Opening makes a ring where none is: `attach` more often.
    let attached =
        if choices.one_in(8) { Ring::open(&stage.name) } else { Ring::attach(&stage.name) };
    match attached {
        Ok(ring) => use_attached(stage, &ring, choices),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
