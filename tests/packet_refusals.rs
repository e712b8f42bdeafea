//! Types that cannot be packets are rejected at compile time. The error points at the field and
//! names an alternative. So is code that uses an endpoint while a guard over it lives.

#[test]
fn unsupported_types_fail_to_compile_with_a_hint() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    #[cfg(feature = "async")]
    cases.compile_fail("tests/ui/tasks/*.rs");
}
