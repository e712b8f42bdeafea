//! Types that cannot be packets are rejected at compile time. The error points at the field and
//! names an alternative.

#[test]
fn unsupported_types_fail_to_compile_with_a_hint() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
