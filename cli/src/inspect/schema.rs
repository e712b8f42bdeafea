//! The schema of a packet type as text that reads like Rust.

use crate::text::plain;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write;

/// The structs and enums of a schema, the packet's type first. `None` if the text is no schema.
pub(crate) fn rust(schema: &str) -> Option<String> {
    let root: Value = serde_json::from_str(schema).ok()?;
    let (mut seen, mut waiting, mut out) = (HashSet::new(), vec![&root], String::new());
    while let Some(of) = waiting.pop() {
        let name = name(of);
        let is_known = !seen.insert(name.clone());
        if is_known {
            continue;
        }
        match of["kind"].as_str()? {
            "struct" => put_struct(&mut out, &name, of),
            "enum" => put_enum(&mut out, &name, of),
            _ => {}
        }
        let mut parts = parts(of);
        parts.reverse();
        waiting.append(&mut parts);
    }
    if out.is_empty() {
        let _ = writeln!(out, "type Packet = {};{}", name(&root), size(&root));
    }
    Some(out)
}

fn name(of: &Value) -> String {
    let name = of["name"].as_str().or(of["self"].as_str()).unwrap_or("?");
    plain(name).into_owned()
}

fn size(of: &Value) -> String {
    match (of["size"].as_u64(), of["align"].as_u64()) {
        (Some(size), Some(align)) => format!(" // {size} bytes, aligned to {align}"),
        _ => String::new(),
    }
}

fn list<'a>(of: &'a Value, member: &str) -> &'a [Value] {
    of[member].as_array().map_or(&[], Vec::as_slice)
}

/// The types that a type contains.
fn parts(of: &Value) -> Vec<&Value> {
    let fields = list(of, "fields").iter().map(|field| &field["type"]);
    let variants = list(of, "variants").iter().flat_map(|variant| list(variant, "fields"));
    fields.chain(variants.map(|field| &field["type"])).chain(list(of, "of")).collect()
}

fn is_named(fields: &[Value]) -> bool {
    !fields.iter().all(is_index)
}

fn is_index(field: &Value) -> bool {
    field["name"].as_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
}

fn field_name(field: &Value) -> String {
    plain(field["name"].as_str().unwrap_or("?")).into_owned()
}

fn put_struct(out: &mut String, path: &str, of: &Value) {
    let fields = list(of, "fields");
    if !is_named(fields) {
        let _ = writeln!(out, "struct {path}{};{}", unnamed(fields), size(of));
        return;
    }
    let _ = writeln!(out, "struct {path} {{{}", size(of));
    let declared = fields.iter().map(|field| {
        let offset = field["offset"].as_u64().unwrap_or_default();
        (format!("{}: {},", field_name(field), name(&field["type"])), offset)
    });
    let declared: Vec<_> = declared.collect();
    let width = declared.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(40);
    for (text, offset) in declared {
        let _ = writeln!(out, "    {text:width$} // at {offset}");
    }
    out.push_str("}\n");
}

fn put_enum(out: &mut String, path: &str, of: &Value) {
    let _ = writeln!(out, "enum {path} {{{}", size(of));
    for variant in list(of, "variants") {
        let (name, fields) = (field_name(variant), list(variant, "fields"));
        let content = match fields {
            [] => String::new(),
            fields if is_named(fields) => format!(" {{ {} }}", named(fields)),
            fields => unnamed(fields),
        };
        let _ = writeln!(out, "    {name}{content},");
    }
    out.push_str("}\n");
}

fn named(fields: &[Value]) -> String {
    let field = |field: &Value| format!("{}: {}", field_name(field), name(&field["type"]));
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

fn unnamed(fields: &[Value]) -> String {
    match fields {
        [] => String::new(),
        fields => {
            let types = fields.iter().map(|field| name(&field["type"])).collect::<Vec<_>>();
            format!("({})", types.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_that_is_no_schema_is_none() {
        assert_eq!(super::rust("{"), None);
        assert_eq!(super::rust("[]"), None);
    }
}
