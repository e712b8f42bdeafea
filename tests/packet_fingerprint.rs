//! Fingerprints: equal across programs with the same type definition, different after any edit to
//! the type.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's own functions")]

use std::{env, fs, path::Path, process::Command};

use packetring::packet::{Fingerprint, fingerprint_of};

/// The types that the fixture defines too.
#[allow(unreachable_pub, reason = "the fixture includes these types at its crate root")]
mod types {
    use packetring as ring;

    include!("fixtures/fingerprint/src/types.rs");
}

/// Copies the fixture to a directory in which it can be built. Uses this crate's lock file, so that
/// the fixture builds offline wherever this crate did.
fn lay_out_fixture(at: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = root.join("tests/fixtures/fingerprint");
    fs::create_dir_all(at.join("src")).unwrap();
    let manifest = fs::read_to_string(fixture.join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("../../..", root.to_str().unwrap());
    fs::write(at.join("Cargo.toml"), manifest).unwrap();
    for file in ["main.rs", "types.rs"] {
        fs::copy(fixture.join("src").join(file), at.join("src").join(file)).unwrap();
    }
    if let Ok(lock) = fs::read(root.join("Cargo.lock")) {
        fs::write(at.join("Cargo.lock"), lock).unwrap();
    }
}

fn run_fixture(at: &Path, options: &[&str]) -> Option<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release"])
        .args(options)
        .arg("--target-dir")
        .arg(at.join("target"))
        .current_dir(at)
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn two_separately_built_programs_agree() {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fingerprint");
    lay_out_fixture(&at);
    let output = run_fixture(&at, &["--offline"]).or_else(|| run_fixture(&at, &[]));
    let output = output.expect("the fixture failed to build or run");
    assert_eq!(output, types::table());
    assert_eq!(output.lines().count(), 8);
}

/// Defines modules with a struct and an enum: the original version, and versions with one edit
/// each.
macro_rules! versions {
    ($($version:ident { $($item:item)* })*) => {$(
        mod $version {
            $(#[packetring::packet] $item)*
        }
    )*};
}

versions! {
    original {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    copied {
        /// Docs, visibility and the order of items do not matter.
        #[derive(Debug, Clone)]
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
        #[derive(Debug, Clone)]
        pub struct Order { pub id: u32, note: String, sides: [u8; 4], state: State }
    }
    renamed_type {
        pub struct Request { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    renamed_field {
        pub struct Order { id: u32, text: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    swapped_fields {
        pub struct Order { note: String, id: u32, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    changed_field_type {
        pub struct Order { id: i32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    changed_array_length {
        pub struct Order { id: u32, note: String, sides: [u8; 3], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    added_field {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State, more: () }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
    reordered_variants {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Filled { at: u64 }, Open, Closed(u8) }
    }
    added_variant {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8), Lost }
    }
    renamed_variant {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Ended(u8) }
    }
    renumbered_variant {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        #[repr(u8)]
        pub enum State { Open, Filled { at: u64 }, Closed(u8) = 9 }
    }
    changed_variant {
        pub struct Order { id: u32, note: String, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: i64 }, Closed(u8) }
    }
    boxed_field {
        pub struct Order { id: u32, note: Box<str>, sides: [u8; 4], state: State }
        pub enum State { Open, Filled { at: u64 }, Closed(u8) }
    }
}

#[test]
fn equal_schemas_have_equal_fingerprints() {
    assert_eq!(fingerprint_of::<original::Order>(), fingerprint_of::<copied::Order>());
    assert_eq!(fingerprint_of::<original::State>(), fingerprint_of::<copied::State>());
}

fn assert_all_differ(fingerprints: &[(&str, Fingerprint)]) {
    for (i, (name, fingerprint)) in fingerprints.iter().enumerate() {
        for (other_name, other) in &fingerprints[..i] {
            assert_ne!(fingerprint, other, "{name} and {other_name}");
        }
    }
}

macro_rules! orders {
    ($($version:ident),*) => {
        [("renamed_type", fingerprint_of::<renamed_type::Request>()),
        $((stringify!($version), fingerprint_of::<$version::Order>())),*]
    };
}

#[test]
fn each_edit_changes_the_fingerprint() {
    assert_all_differ(&orders!(
        original,
        renamed_field,
        swapped_fields,
        changed_field_type,
        changed_array_length,
        added_field,
        reordered_variants,
        added_variant,
        renamed_variant,
        renumbered_variant,
        changed_variant,
        boxed_field
    ));
}

mod parameters {
    use std::marker::PhantomData;

    use packetring::packet;

    #[packet]
    pub struct Metres;

    #[packet]
    pub struct Feet;

    #[packet]
    pub struct Length<Unit> {
        value: f64,
        unit: PhantomData<Unit>,
    }

    #[packet]
    pub struct Version<const N: i16, const STABLE: bool> {
        value: f64,
    }
}

#[test]
fn unused_type_parameters_change_the_fingerprint() {
    use parameters::{Feet, Length, Metres, Version};
    assert_all_differ(&[
        ("metres", fingerprint_of::<Length<Metres>>()),
        ("feet", fingerprint_of::<Length<Feet>>()),
        ("1, true", fingerprint_of::<Version<1, true>>()),
        ("-1, true", fingerprint_of::<Version<-1, true>>()),
        ("1, false", fingerprint_of::<Version<1, false>>()),
    ]);
}

#[test]
fn kinds_of_the_same_size_differ() {
    use std::{collections::VecDeque, num::NonZeroU32};
    assert_all_differ(&[
        ("u32", fingerprint_of::<u32>()),
        ("i32", fingerprint_of::<i32>()),
        ("f32", fingerprint_of::<f32>()),
        ("char", fingerprint_of::<char>()),
        ("nonzero", fingerprint_of::<NonZeroU32>()),
        ("array", fingerprint_of::<[u8; 4]>()),
        ("tuple", fingerprint_of::<(u32,)>()),
        ("box", fingerprint_of::<Box<u32>>()),
        ("vec", fingerprint_of::<Vec<u32>>()),
        ("vec of i32", fingerprint_of::<Vec<i32>>()),
        ("boxed slice", fingerprint_of::<Box<[u32]>>()),
        ("text", fingerprint_of::<String>()),
        ("boxed text", fingerprint_of::<Box<str>>()),
    ]);
    // These types share their archived form, so they share the fingerprint.
    assert_eq!(fingerprint_of::<Vec<u8>>(), fingerprint_of::<VecDeque<u8>>());
}

#[test]
fn a_fingerprint_is_stable_across_versions() {
    const ORDER: Fingerprint = fingerprint_of::<original::Order>();
    // If this fails, packets of older programs can no longer be read: increase the format version.
    assert_eq!(ORDER.to_string(), "0260ae5f161516b45a16418f7ebcc06d");
}
