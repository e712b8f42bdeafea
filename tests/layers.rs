//! The folder tree is the architecture: each layer of `src` imports only from earlier layers, and
//! the files of one folder do not import each other in a circle. A `mod.rs` and the files of its
//! folder may know each other: the parent has what its children share, and re-exports them.
//!
//! Each type name stands for one thing: no two types or traits of `src` have the same name.
//!
//! The crate `dynamic` is outside the layers: it knows nothing of `packetring`, and the rules of
//! circles and of names hold for it too.
//!
//! The table of files in `docs/internals/architecture.md` names what `src` and `dynamic/src` have,
//! and nothing else.
//!
//! The tests of imports read `use` lines and paths that start with `crate::` or `super::`. Unit
//! tests are left out: they may look at any layer.

#![allow(clippy::expect_used, reason = "a test may stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and the layers that it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("sync", &[]),
    ("failpoint", &["sync"]),
    ("trace", &[]),
    ("sys", &["sync", "failpoint"]),
    ("segment", &["error", "failpoint", "sync", "sys", "trace"]),
    ("wait", &["failpoint", "segment", "sync", "sys"]),
    ("ring", &["failpoint", "segment", "sync"]),
    ("packet", &["ring", "sync", "with"]),
    ("with", &[]),
    (
        "channel",
        &["error", "failpoint", "packet", "ring", "segment", "sync", "sys", "trace", "wait"],
    ),
    ("cluster", &["channel", "error", "failpoint", "packet", "sync", "sys", "trace", "wait"]),
    ("inventory", &["channel", "cluster", "error", "segment"]),
    (
        "inspect",
        &["channel", "cluster", "error", "inventory", "packet", "ring", "segment", "sync", "sys"],
    ),
    ("observe", &["channel", "cluster", "error", "inventory", "packet", "ring", "segment"]),
];

/// The one folder of `cluster` that knows how a segment is laid out.
const DIRECTORY: (&str, &str) = ("cluster::directory", "segment");

/// The crate of packets without types: the folder of its sources, and its name here.
const DYNAMIC: (&str, &str) = ("dynamic/src", "dynamic");

/// One file of `src` or `dynamic/src`: its module path and the absolute paths that it mentions.
struct Module {
    path: Vec<String>,
    mentions: BTreeSet<Vec<String>>,
    /// Names that this file re-exports from its children, with the child.
    exports: BTreeMap<String, String>,
}

#[test]
fn each_layer_imports_only_lower_layers() {
    let modules = modules();
    let mut wrong = BTreeSet::new();
    for module in &modules {
        let Some(layer) = module.path.first() else { continue };
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| name == layer)
            .unwrap_or_else(|| panic!("no layer is declared for src/{layer}: add it to LAYERS"));
        for mention in &module.mentions {
            let target = mention[0].as_str();
            let is_layer = LAYERS.iter().any(|(name, _)| *name == target);
            let is_directory =
                module.path.join("::").starts_with(DIRECTORY.0) && target == DIRECTORY.1;
            if is_layer && target != layer && !allowed.contains(&target) && !is_directory {
                wrong.insert(format!("{} imports {}", module.path.join("::"), mention.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", lines(&wrong));
}

#[test]
fn no_folder_has_a_circle_of_imports() {
    let mut modules = modules();
    let own = modules_of(DYNAMIC.0, Some(DYNAMIC.1));
    assert!(own.len() > 10, "only {} files of dynamic were found", own.len());
    modules.extend(own);
    let exports: BTreeMap<_, _> = modules.iter().map(|m| (m.path.clone(), &m.exports)).collect();
    // For each folder: an edge from one child to another if a file below the first mentions the
    // second, or a name that the folder re-exports from it.
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for module in &modules {
        for mention in &module.mentions {
            let common = module.path.iter().zip(mention).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (module.path.get(common), mention.get(common)) else {
                continue;
            };
            let folder = module.path[..common].to_vec();
            let is_child = modules.iter().any(|m| m.path.starts_with(&mention[..=common]));
            let to = if is_child {
                Some(to)
            } else {
                exports.get(&folder).and_then(|names| names.get(to))
            };
            if let Some(to) = to.filter(|to| *to != from) {
                let edges = folders.entry(folder).or_default();
                edges.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut circles = BTreeSet::new();
    for (folder, edges) in folders.iter().filter(|(folder, _)| !folder.is_empty()) {
        for start in edges.keys() {
            if let Some(circle) = circle_from(start, edges) {
                circles.insert(format!("{}: {}", folder.join("::"), circle.join(" -> ")));
            }
        }
    }
    assert!(circles.is_empty(), "circles of imports:\n{}", lines(&circles));
}

#[test]
fn no_two_types_have_the_same_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    collect(&root.join(DYNAMIC.0), &mut files);
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        let code = code_of(&fs::read_to_string(file).expect("src is readable"));
        for name in code.lines().filter_map(defined_type) {
            places.entry(name.to_owned()).or_default().push(file.display().to_string());
        }
    }
    assert!(places.len() > 200, "only {} types were found", places.len());
    let twice = places.iter().filter(|(_, files)| files.len() > 1);
    let twice = twice.map(|(name, files)| format!("{name}: {}", files.join(", "))).collect();
    assert!(lines(&twice).is_empty(), "names of several types:\n{}", lines(&twice));
}

/// It can be built and published without `packetring`. Its tests compare it with that crate.
#[test]
fn the_crate_of_packets_without_types_knows_nothing_of_packetring() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("dynamic/Cargo.toml"));
    let manifest = manifest.expect("the manifest is readable");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").expect("it has a list");
    let (dependencies, _) = dependencies.split_once("\n[").expect("another list follows");
    assert!(dependencies.contains("serde_json") && !dependencies.contains("packetring"));
    let mut files = Vec::new();
    collect(&root.join(DYNAMIC.0), &mut files);
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("src is readable"));
    let code: Vec<String> = texts.map(|text| code_of(&text)).collect();
    assert!(code.iter().all(|code| !code.contains("packetring")));
    let forbids = code.iter().filter(|code| code.contains("#![forbid(unsafe_code)]"));
    assert_eq!(forbids.count(), 1, "the root of the crate forbids unsafe code");
}

#[test]
fn re_exports_are_read_with_attributes_and_new_names() {
    let code = "fn f() {}\n#[cfg(not(loom))]\npub(crate) use {\n    a::{A, B as C},\n    b::D,\n};\n\
                pub use c::E;\nuse d::F;\npub use crate::other::G;\n";
    let found = exports(code);
    let expected = [("A", "a"), ("C", "a"), ("D", "b"), ("E", "c")];
    assert_eq!(found, expected.map(|(name, child)| (name.to_owned(), child.to_owned())).into());
}

/// In the table a name ends with `/` if it is a folder, which then covers all files in it. Code
/// with a capital letter is no name of a file. A `mod.rs` is named with any part of its folder.
#[test]
fn the_page_of_the_architecture_names_each_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/internals/architecture.md"));
    let page = page.expect("the page is readable");
    let (_, table) = page.split_once("\n## Files\n").expect("the page has a list of files");
    let (table, _) = table.split_once("\n## ").expect("another section follows");

    let mut named = BTreeSet::new();
    let is_row = |line: &&str| line.starts_with("| `src/") || line.starts_with("| `dynamic/");
    for row in table.lines().filter(is_row) {
        let mut cells = row.split('|').skip(1);
        let folder = cells.next().unwrap_or_default().trim().trim_matches('`');
        for code in cells.next().unwrap_or_default().split('`').skip(1).step_by(2) {
            let is_file =
                code.bytes().all(|byte| byte.is_ascii_lowercase() || b"_/{}, ".contains(&byte));
            if !is_file {
                continue;
            }
            let (inner, names) = match code.split_once('{') {
                Some((inner, names)) => (inner, names.trim_end_matches('}')),
                None => ("", code),
            };
            named.extend(names.split(',').map(|name| format!("{folder}{inner}{}", name.trim())));
        }
    }
    let as_path = |name: &String| match name.ends_with('/') {
        true => root.join(name),
        false => root.join(format!("{name}.rs")),
    };
    let mut wrong: BTreeSet<String> = named
        .iter()
        .filter(|name| !as_path(name).exists())
        .map(|name| format!("{name} is named and does not exist"))
        .collect();

    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    collect(&root.join(DYNAMIC.0), &mut files);
    let paths: Vec<PathBuf> = named.iter().map(as_path).collect();
    for file in &files {
        // A named file is the path itself; a named folder is a part of it.
        let is_named = paths.iter().any(|path| match file.parent().filter(|_| is_mod(file)) {
            Some(folder) => path.starts_with(folder) || folder.starts_with(path),
            None => file.starts_with(path),
        });
        if !is_named {
            let file = file.strip_prefix(root).expect("below the root").display();
            wrong.insert(format!("{file} is not named"));
        }
    }
    assert!(files.len() > 100, "only {} source files were found", files.len());
    assert!(wrong.is_empty(), "the table of files in architecture.md:\n{}", lines(&wrong));
}

fn is_mod(file: &Path) -> bool {
    file.ends_with("mod.rs")
}

/// The name of the type or trait whose definition begins in this line.
fn defined_type(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !is_word(c as u8)).filter(|word| !word.is_empty());
    words.find(|word| ["struct", "enum", "trait"].contains(word))?;
    // A macro defines `$name`.
    words.next().filter(|name| name.starts_with(char::is_uppercase))
}

/// A shortest way from a child back to itself.
fn circle_from(start: &String, edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut paths = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut next = Vec::new();
        for path in paths {
            for to in path.last().and_then(|last| edges.get(last)).into_iter().flatten() {
                let mut longer = path.clone();
                longer.push(to.clone());
                if to == start {
                    return Some(longer);
                }
                if seen.insert(to.clone()) {
                    next.push(longer);
                }
            }
        }
        paths = next;
    }
    None
}

fn lines(set: &BTreeSet<String>) -> String {
    set.iter().map(|line| format!("  {line}\n")).collect()
}

fn modules() -> Vec<Module> {
    let modules = modules_of("src", None);
    assert!(modules.len() > 100, "only {} source files were found", modules.len());
    modules
}

/// The files of a folder of sources. `name`: paths in it begin with this name.
fn modules_of(folder: &str, name: Option<&str>) -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&src, &mut files);
    files.iter().filter_map(|file| read(&src, file, name)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && !is_test {
            files.push(path);
        }
    }
}

/// Reads one file; `None` for the crate root, unless it has a name.
fn read(src: &Path, file: &Path, name: Option<&str>) -> Option<Module> {
    let text = fs::read_to_string(file).expect("src is readable");
    let inner = file.strip_prefix(src).expect("below src").with_extension("");
    let root: Vec<String> = name.map(str::to_owned).into_iter().collect();
    let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
    let mut path: Vec<String> = root.iter().cloned().chain(parts).collect();
    if path.last().is_some_and(|last| last == "mod") || inner == Path::new("lib") {
        path.pop();
    }
    if path.is_empty() {
        return None;
    }
    let code = code_of(&text);
    let mut mentions = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        if start == 0 || !is_word(code.as_bytes()[start - 1]) {
            mentions.extend(paths(&root, &code[start + "crate::".len()..]).into_values());
        }
    }
    let parent = &path[..path.len() - 1];
    for (start, _) in code.match_indices("super::") {
        let before = code[..start].chars().next_back();
        if before.is_none_or(|before| before != ':' && !is_word(before as u8)) {
            let mut rest = &code[start + "super::".len()..];
            let mut base = parent;
            while let Some(higher) = rest.strip_prefix("super::") {
                (rest, base) = (higher, base.split_last().map_or(&[][..], |(_, base)| base));
            }
            mentions.extend(paths(base, rest).into_values());
        }
    }
    let exports = exports(&code);
    Some(Module { path, mentions, exports })
}

/// The text without comments, and without what follows the first `#[cfg(test)]` module.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_test = line.contains("cfg(test)") || line.contains("cfg(all(test");
        if is_test && lines.peek().is_some_and(|next| next.trim().starts_with("mod ")) {
            // An inline module ends at the next brace in the first column.
            if lines.peek().is_some_and(|next| next.trim_end().ends_with('{')) {
                for inside in lines.by_ref() {
                    if inside == "}" {
                        break;
                    }
                }
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// The re-exports of children, as `pub(crate) use child::{A, B as C};`: each name with its child.
/// Each item begins in a line of its own, behind its attributes.
fn exports(code: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    let mut start = 0;
    for line in code.split_inclusive('\n') {
        let from = start;
        start += line.len();
        let Some((visibility, _)) = line.split_once("use ") else { continue };
        if !visibility.trim_start().starts_with("pub") {
            continue;
        }
        let tree = &code[from + visibility.len() + "use ".len()..];
        let tree = tree.split(';').next().unwrap_or_default();
        for (name, path) in paths(&[], tree) {
            if path.len() > 1 && path[0] != "crate" {
                exports.insert(name, path[0].clone());
            }
        }
    }
    exports
}

/// Every path of a `use` tree, or the one path that begins here, by the name that it gives.
fn paths(base: &[String], text: &str) -> BTreeMap<String, Vec<String>> {
    let mut path = base.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            let items = split(&group[..closing(group)]);
            return items.into_iter().flat_map(|item| paths(&path, item)).collect();
        }
        let len = rest.bytes().take_while(|byte| is_word(*byte)).count();
        let word = &rest[..len];
        if !word.is_empty() && word != "self" {
            path.push(word.to_owned());
        }
        rest = &rest[len..];
        match rest.strip_prefix("::") {
            Some(after) if !after.starts_with('<') => rest = after,
            _ => break,
        }
    }
    let renamed = rest.strip_prefix(" as ").map(|new| new.split(|c| !is_word(c as u8)).next());
    match renamed.flatten().or(path.last().map(String::as_str)) {
        Some(name) => BTreeMap::from([(name.to_owned(), path)]),
        None => BTreeMap::new(),
    }
}

fn closing(group: &str) -> usize {
    let mut depth = 0;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return index,
            '}' => depth -= 1,
            _ => {}
        }
    }
    group.len()
}

/// The items of a group, split at its own commas.
fn split(group: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(group[from..index].trim());
                from = index + 1;
            }
            _ => {}
        }
    }
    items.push(group[from..].trim());
    items.retain(|item| !item.is_empty());
    items
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
