//! What cannot be a packet is refused by the compiler, at the field, saying what to use instead.

#[test]
fn unfit_types_are_refused_with_advice() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
