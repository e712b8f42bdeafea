//! Texts of schemas, valid and damaged.

use super::types::*;
use super::{Archive, Sample, layout_of, run};
use packetring::Packet;
use packetring::packet::{fingerprint_of, schema_of};
use packetring_dynamic::{EncodeProblem, Schema, SchemaError, SchemaProblem};
use serde_json::json;

fn parse(text: &str) -> Result<Schema, SchemaError> {
    Schema::parse(text, 7)
}

fn problem(text: &str) -> SchemaProblem {
    parse(text).map(|_| ()).unwrap_err().problem().clone()
}

#[test]
fn a_schema_has_the_name_and_the_text_of_its_type() {
    let schema = layout_of::<Padded>().unwrap();
    assert_eq!((schema.name(), schema.text()), ("Padded", &*schema_of::<Padded>()));
    assert_eq!(schema.fingerprint(), fingerprint_of::<Padded>().0);
    assert_eq!(parse(schema.text()).unwrap().fingerprint(), 7);
}

/// Every text that is cut or changed gives a schema or an error. What a schema reads does not
/// panic.
#[test]
fn damaged_texts_are_errors_or_schemas() {
    fn damage<T: Packet + Sample>() {
        let text = schema_of::<T>();
        let values: Vec<Vec<u8>> = {
            let found = std::cell::RefCell::new(Vec::new());
            run::<T>(|value| {
                if found.borrow().len() < 2 {
                    found.borrow_mut().push(Archive::of(&value).unwrap().bytes().to_vec());
                }
            });
            found.into_inner()
        };
        for at in (0..text.len()).step_by(3) {
            assert!(!text.is_char_boundary(at) || parse(&text[..at]).is_err());
            for byte in *b"019\"{,a" {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                match parse(&changed) {
                    Ok(schema) => values.iter().for_each(|bytes| {
                        if let Ok(value) = schema.read(bytes) {
                            let json = serde_json::from_str(&value.to_string()).unwrap();
                            let _ = schema.encode(&json);
                        }
                    }),
                    Err(error) => assert!(error.to_string().starts_with("invalid schema at ")),
                }
            }
        }
    }
    damage::<Padded>();
    damage::<Niches>();
    damage::<Containers>();
    damage::<Choice>();
    damage::<Family>();
    damage::<Odd>();
}

#[test]
fn hostile_schemas_are_refused() {
    assert!(matches!(problem(&" ".repeat(1 << 20)), SchemaProblem::TooLong { .. }));
    assert!(matches!(problem(&"[".repeat(100_000)), SchemaProblem::NotJson(_)));
    assert!(matches!(problem("[]"), SchemaProblem::Member { .. }));
    assert!(matches!(problem(r#"{"kind":"u9"}"#), SchemaProblem::Member { .. }));
    let unknown = r#"{"kind":"heap","name":"H","size":1,"align":1}"#;
    assert_eq!(problem(unknown), SchemaProblem::UnknownKind("heap".into()));
    let wide = r#"{"kind":"primitive","name":"u32","size":8,"align":4}"#;
    let number = SchemaProblem::Number { what: "size", found: 8, expected: 4 };
    assert_eq!(problem(wide), number);

    // A type in itself, a list of nothing, an array of nothing, and types within types.
    let inside = r#"{"kind":"struct","name":"S","size":8,"align":1,"fields":[{"name":"a","offset":0,"type":{"kind":"self","self":"S"}}]}"#;
    assert_eq!(problem(inside), SchemaProblem::Recursion("S".into()));
    let nowhere =
        r#"{"kind":"box","name":"B","size":4,"align":4,"of":[{"kind":"self","self":"T"}]}"#;
    assert_eq!(problem(nowhere), SchemaProblem::Recursion("T".into()));
    let unit = r#"{"kind":"tuple","name":"()","size":0,"align":1,"fields":[]}"#;
    let list = format!(r#"{{"kind":"vec","name":"V","size":8,"align":4,"of":[{unit}]}}"#);
    assert!(matches!(problem(&list), SchemaProblem::NoBytes { elements: 0, .. }));
    let array = |of: &str, len: u64| {
        format!(r#"{{"kind":"array","name":"A","size":0,"align":1,"len":{len},"of":[{of}]}}"#)
    };
    assert!(parse(&array(unit, 4096)).is_ok());
    assert!(matches!(problem(&array(unit, 4097)), SchemaProblem::NoBytes { elements: 4097, .. }));
    assert!(matches!(problem(&array(&array(unit, 100), 100)), SchemaProblem::NoBytes { .. }));
    assert!(matches!(problem(&array(unit, u64::MAX >> 1)), SchemaProblem::NoBytes { .. }));
    let byte = r#"{"kind":"primitive","name":"u8","size":1,"align":1}"#.to_owned();
    let wrap =
        |of, _| format!(r#"{{"kind":"array","name":"A","size":1,"align":1,"len":1,"of":[{of}]}}"#);
    assert!(parse(&(0..31).fold(byte.clone(), wrap)).is_ok());
    assert!(matches!(problem(&(0..32).fold(byte, wrap)), SchemaProblem::TooDeep { limit: 32 }));

    // Fields that overlap, leave their type, or occur twice.
    let fields = |a: &str, second: u32, size: u32| {
        let of = r#"{"kind":"primitive","name":"u8","size":1,"align":1}"#;
        format!(
            r#"{{"kind":"struct","name":"S","size":{size},"align":1,"fields":[{{"name":"{a}","offset":0,"type":{of}}},{{"name":"b","offset":{second},"type":{of}}}]}}"#
        )
    };
    assert!(parse(&fields("a", 1, 2)).is_ok());
    assert!(matches!(problem(&fields("a", 0, 2)), SchemaProblem::Number { what: "offset", .. }));
    assert!(matches!(problem(&fields("a", 2, 2)), SchemaProblem::Number { .. }));
    assert_eq!(problem(&fields("b", 1, 2)), SchemaProblem::Twice("b".into()));
}

/// A list whose members are this number of structs deep.
fn nested_list(depth: usize) -> String {
    #[packetring::packet]
    struct List {
        next: Option<Box<List>>,
    }

    let list: serde_json::Value = serde_json::from_str(&schema_of::<List>()).unwrap();
    let mut part = list["fields"][0]["type"].clone();
    for level in (0..depth).rev() {
        let name = if level == 0 { list["name"].clone() } else { json!(format!("L{level}")) };
        part = json!({
            "kind": "struct", "name": name, "size": list["size"], "align": list["align"],
            "fields": [{ "name": "next", "offset": 0, "type": part }],
        });
    }
    part.to_string()
}

/// Types that contain themselves nest as deeply as an archive has pointers. So they nest less
/// deeply between two pointers than other types do.
#[test]
fn a_recursive_type_nests_less_deeply_between_pointers() {
    let schema = parse(&nested_list(10)).unwrap();
    let list = |links: usize| {
        (0..links)
            .fold(json!(null), |inner, _| (0..10).fold(inner, |inner, _| json!({ "next": inner })))
    };
    let archive = schema.encode(&list(3)).unwrap();
    let printed: serde_json::Value =
        serde_json::from_str(&schema.read(&archive).unwrap().to_string()).unwrap();
    assert_eq!(printed, list(3));
    assert_eq!(problem(&nested_list(11)), SchemaProblem::TooDeep { limit: 12 });
    assert_eq!(problem(&nested_list(29)), SchemaProblem::TooDeep { limit: 12 });
}

#[test]
fn errors_name_the_place() {
    let text =
        schema_of::<Padded>().replace(r#""name":"u16","size":2"#, r#""name":"u16","size":4"#);
    let error = parse(&text).map(|_| ()).unwrap_err();
    assert_eq!(error.path(), ".fields[3].type");
    assert_eq!(
        error.to_string(),
        "invalid schema at .fields[3].type: size is 4, expected 2; read the type with the program that registered it"
    );

    let schema = layout_of::<Vec<Padded>>().unwrap();
    let padded = json!({ "a": 1, "b": 2, "c": true, "d": 3, "e": "x" });
    let mut archive = schema.encode(&json!([padded, padded])).unwrap();
    archive[24 + 16] = 9;
    let error = schema.read(&archive).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "invalid packet at [1].c: 9 is not a valid bool");

    let refused = |json| schema.encode(&json).map(|_| ()).unwrap_err();
    let mut wrong = padded.clone();
    wrong["d"] = json!(70_000);
    let error = refused(json!([padded, wrong]));
    assert_eq!(error.to_string(), "value not encoded at [1].d: 70000 is no value of u16");
    wrong["d"] = json!([3]);
    let error = refused(json!([wrong]));
    assert_eq!(
        error.to_string(),
        "value not encoded at [0].d: expected a value of u16, found an array of 1"
    );
    wrong["f"] = json!(3);
    let error = refused(json!([wrong]));
    let known = r#""a", "b", "c", "d", "e""#.to_owned();
    let unknown = EncodeProblem::UnknownField { found: "f".into(), known };
    assert_eq!((error.path(), error.problem()), ("[0]".into(), &unknown));
    assert_eq!(
        refused(json!([{ "a": 1 }])).to_string(),
        r#"value not encoded at [0]: field "b" is missing; add it"#
    );
}

#[test]
fn encoding_accepts_more_than_printing_gives() {
    fn same<T: Packet>(one: serde_json::Value, other: serde_json::Value) {
        let schema = layout_of::<T>().unwrap();
        assert_eq!(*schema.encode(&one).unwrap(), *schema.encode(&other).unwrap());
    }
    same::<u64>(json!("18446744073709551615"), json!(u64::MAX));
    same::<i8>(json!("-3"), json!(-3));
    same::<f64>(json!(3), json!(3.0));
    same::<std::ffi::CString>(json!("ab"), json!([97, 98]));
    same::<Unit>(json!({}), json!(null));
    same::<Color>(json!({ "Red": null }), json!("Red"));
    same::<std::net::IpAddr>(json!({ "V4": { "octets": [1, 2, 3, 4] } }), json!("1.2.3.4"));
    same::<Choice>(json!({ "Named": { "a": 1 } }), json!({ "Named": { "a": 1, "b": null } }));
    same::<std::collections::BTreeSet<u8>>(json!([3, 1, 2]), json!([1, 2, 3]));
}

#[test]
fn encoding_refuses_what_is_no_value() {
    fn refused<T: Packet>(json: serde_json::Value) -> EncodeProblem {
        let schema = layout_of::<T>().unwrap();
        schema.encode(&json).map(|_| ()).unwrap_err().problem().clone()
    }
    assert!(matches!(refused::<u8>(json!(256)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<u8>(json!(-1)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<u8>(json!(1.5)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<std::num::NonZeroU8>(json!(0)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<f32>(json!(1e300)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<f64>(json!("NaN(0x7)")), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<char>(json!("ab")), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<bool>(json!(1)), EncodeProblem::Range { .. }));
    assert!(matches!(refused::<String>(json!(1)), EncodeProblem::Type { .. }));
    assert!(matches!(refused::<std::ffi::CString>(json!("a\0")), EncodeProblem::Type { .. }));
    assert!(matches!(refused::<[u8; 2]>(json!([1])), EncodeProblem::Length { .. }));
    assert!(matches!(refused::<Color>(json!("Pink")), EncodeProblem::UnknownVariant { .. }));
    assert!(matches!(refused::<Choice>(json!("Newtype")), EncodeProblem::Type { .. }));
    assert!(matches!(refused::<std::net::Ipv4Addr>(json!("1.2.3")), EncodeProblem::Range { .. }));
    assert!(matches!(
        refused::<std::collections::BTreeSet<u8>>(json!([1, 2, 1])),
        EncodeProblem::Twice(_)
    ));
    assert!(matches!(
        refused::<std::collections::BTreeMap<u8, u8>>(json!({ "1": 1, "01": 2 })),
        EncodeProblem::Twice(_)
    ));
}

/// Structs of few and many fields, and of names with equal ends, are read by name alike. The last
/// numbers are behind all others, so that no eight bytes of the packet begin there.
#[test]
fn each_field_is_found_by_its_name_and_no_other_name_is() {
    let numbered = |count: usize| (0..count).map(|number| format!("field_{number}")).collect();
    let alike = |middle: &str| format!("a_long_name_{middle}_that_ends_alike");
    let two = ["first", "other"].map(&alike).to_vec();
    for names in [numbered(1), numbered(7), numbered(64), numbered(65), numbered(300), two] {
        let names: Vec<String> = names;
        for (number, size) in
            [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8), ("i8", 1), ("i16", 2), ("i64", 8)]
        {
            let of =
                format!(r#"{{"kind":"primitive","name":"{number}","size":{size},"align":{size}}}"#);
            let field = |(index, name): (usize, &String)| {
                let offset = index * size;
                format!(r#"{{"name":"{name}","offset":{offset},"type":{of}}}"#)
            };
            let fields: Vec<_> = names.iter().enumerate().map(field).collect();
            let (fields, len) = (fields.join(","), names.len() * size);
            let head = format!(r#""kind":"struct","name":"S","size":{len},"align":{size}"#);
            let schema = parse(&format!(r#"{{{head},"fields":[{fields}]}}"#)).unwrap();
            let expected = |index: usize| (index % 100 + 1) as u8;
            let mut archive = vec![0; len];
            (0..names.len()).for_each(|index| archive[index * size] = expected(index));
            let value = schema.read(&archive).unwrap();
            for (index, name) in names.iter().enumerate() {
                let (read, once) = (value.get(name).unwrap(), schema.field(name).unwrap());
                let numbers = [read, value.field(&once).unwrap(), value.at(index).unwrap()];
                for read in numbers {
                    assert_eq!(read.as_u64(), Some(expected(index).into()), "{number} {name}");
                    assert_eq!(read.as_i64(), Some(expected(index).into()), "{number} {name}");
                }
            }
            let others = (0..100).map(|number| alike(&format!("{number:05}")));
            for other in ["", "field_", "field_01"].map(String::from).into_iter().chain(others) {
                assert!(value.get(&other).is_none() && schema.field(&other).is_none(), "{other}");
            }
            // A negative number is no unsigned one, and keeps its sign.
            if number.starts_with('i') {
                archive[len - size..].fill(0xff);
                let value = schema.read(&archive).unwrap();
                let last = value.get(&names[names.len() - 1]).unwrap();
                assert_eq!((last.as_i64(), last.as_u64()), (Some(-1), None), "{number}");
            }
        }
    }
}
