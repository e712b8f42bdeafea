//! Maps and sets: their entries in JSON, and their nodes in the order of rkyv.

use super::encode::{Encoded, Encoder, Image};
use super::error::{element, quoted};
use super::json::is_key;
use super::keys::{self, array, wrong};
use super::layout::{ENTRIES, NULL, TreeLayout, TypeLayout};
use serde_json::Value as Json;

impl Encoder<'_> {
    pub(super) fn map(
        &mut self,
        layout: &TypeLayout,
        tree: &TreeLayout,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let entries = self.map_entries(layout, tree, json)?;
        self.tree(tree, &entries, image, at)
    }

    pub(super) fn set(
        &mut self,
        layout: &TypeLayout,
        tree: &TreeLayout,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let entries = array(layout, json)?.iter().map(|key| (key.clone(), &Json::Null));
        let entries = keys::sort(self.types, tree.key, entries.collect())?;
        self.tree(tree, &entries, image, at)
    }

    fn map_entries<'j>(
        &self,
        layout: &TypeLayout,
        tree: &TreeLayout,
        json: &'j Json,
    ) -> Encoded<Vec<(Json, &'j Json)>> {
        let is_key = is_key(self.types, tree.key);
        let entries = match json {
            Json::Object(object) if is_key => object
                .iter()
                .map(|(key, value)| (keys::named(self.types, tree.key, key), value))
                .collect(),
            Json::Array(list) => {
                let pair = |(index, entry): (usize, &'j Json)| match entry.as_array() {
                    Some(pair) if pair.len() == 2 => Ok((pair[0].clone(), &pair[1])),
                    _ => {
                        let error = wrong(layout, "an array of a key and a value", entry);
                        Err(error.within(|| element(index)))
                    }
                };
                list.iter().enumerate().map(pair).collect::<Encoded<_>>()?
            }
            _ if is_key => return Err(wrong(layout, "an object", json)),
            _ => return Err(wrong(layout, "an array of keys with values", json)),
        };
        keys::sort(self.types, tree.key, entries)
    }

    /// Writes the nodes of a map or set in the order of rkyv, and the pointer to its root.
    fn tree(
        &mut self,
        tree: &TreeLayout,
        entries: &[(Json, &Json)],
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let plan = nodes(entries.len());
        let mut places: Vec<usize> = Vec::with_capacity(plan.len());
        for node in plan {
            let is_leaf = node.children.is_empty();
            let size = if is_leaf { tree.leaf_size } else { tree.inner_size };
            let place = self.behind(size, tree.align, |this, image| {
                for (index, &entry) in node.entries.iter().enumerate() {
                    let Some((key, value)) = entries.get(entry) else { continue };
                    let step = || format!("[{}]", quoted(&key.to_string()));
                    this.value(tree.key, key, image, tree.keys + index * tree.key_size)
                        .map_err(|error| error.within(step))?;
                    this.value(tree.value, value, image, tree.values + index * tree.value_size)
                        .map_err(|error| error.within(step))?;
                }
                if is_leaf {
                    image.put(tree.tail, &(node.entries.len() as u32).to_le_bytes());
                    return Ok(());
                }
                image.put(0, &[1]);
                for index in 0..=ENTRIES {
                    let place = tree.tail + 4 * index;
                    let child = node.children.get(index).copied().flatten();
                    match child.and_then(|child| places.get(child)) {
                        Some(&child) => image.link(place, child),
                        None => image.put(place, &NULL.to_le_bytes()),
                    }
                }
                Ok(())
            })?;
            places.push(place);
        }
        match places.last() {
            Some(&root) => image.link_many(at, root, entries.len()),
            None => image.put(at, &NULL.to_le_bytes()),
        }
        Ok(())
    }
}

/// A node of a map or set, as indices.
struct PlannedNode {
    entries: Vec<usize>,
    /// The nodes before each entry and after the last. Empty for a leaf.
    children: Vec<Option<usize>>,
}

/// The nodes of a map or set with `len` entries, in the order in which rkyv writes them. The root
/// is the last.
fn nodes(len: usize) -> Vec<PlannedNode> {
    let mut plan = Plan { nodes: Vec::new(), child: None };
    if len == 0 {
        return plan.nodes;
    }
    // As `serialize_from_ordered_iter` of rkyv's B-tree maps.
    let height = 1 + len.ilog(ENTRIES + 1);
    let last_level = len - ((ENTRIES + 1).pow(height - 1) - 1);
    let mut open: Vec<Vec<(usize, Option<usize>)>> = (1..height).map(|_| Vec::new()).collect();
    let (mut leaf, mut in_leaves, mut next) = (Vec::new(), 0, 0);
    while next < len {
        leaf.push(next);
        (next, in_leaves) = (next + 1, in_leaves + 1);
        if in_leaves != last_level && leaf.len() < ENTRIES {
            continue;
        }
        plan.leaf(&mut leaf);
        if in_leaves == last_level
            && let Some(mut inner) = open.pop()
        {
            while inner.len() < ENTRIES && next < len {
                inner.push((next, plan.child.take()));
                next += 1;
            }
            plan.inner(&inner);
        }
        let mut closed = 0;
        while let Some(inner) = open.last_mut() {
            if inner.len() < ENTRIES {
                if next < len {
                    inner.push((next, plan.child.take()));
                    next += 1;
                }
                open.extend((0..closed).map(|_| Vec::new()));
                break;
            }
            plan.inner(inner);
            open.pop();
            closed += 1;
        }
    }
    if !leaf.is_empty() {
        plan.leaf(&mut leaf);
    }
    while let Some(inner) = open.pop() {
        plan.inner(&inner);
    }
    plan.nodes
}

struct Plan {
    nodes: Vec<PlannedNode>,
    /// The last node, if no other one has it yet.
    child: Option<usize>,
}

impl Plan {
    fn leaf(&mut self, entries: &mut Vec<usize>) {
        self.add(std::mem::take(entries), Vec::new());
    }

    fn inner(&mut self, entries: &[(usize, Option<usize>)]) {
        let mut children: Vec<_> = entries.iter().map(|(_, child)| *child).collect();
        children.push(self.child.take());
        self.add(entries.iter().map(|(entry, _)| *entry).collect(), children);
    }

    fn add(&mut self, entries: Vec<usize>, children: Vec<Option<usize>>) {
        self.child = Some(self.nodes.len());
        self.nodes.push(PlannedNode { entries, children });
    }
}
