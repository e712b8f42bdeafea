//! Checks that bytes are an archive of a type.
//!
//! The rules are those of rkyv and of the audits of packetring (`packet::check`):
//!
//! - A pointer leads to bytes before the value that has it, and behind the contents of all pointers
//!   before it. So no two pointers share bytes, and the check takes time proportional to the number
//!   of bytes, times a constant of the schema.
//! - At most 62 pointers lead from one to the next.
//!
//! Two rules of typed reading are missing, because schemas do not have them: checks of one type
//! alone (`#[rkyv(bytecheck(verify))]`, and that a `Duration` has less than a second of
//! nanoseconds), and the alignment of the bytes in memory, which reads here do not need.

use super::error::{ArchiveError, ArchiveProblem, element, field};
use super::layout::{
    ENTRIES, Fields, LayoutKind, NULL, NicheKind, NicheLayout, TreeLayout, TypeIndex, TypeLayout,
};
use simdutf8::basic::from_utf8;

/// Most pointers within each other, the root counted as one.
pub(super) const MAX_DEPTH: usize = 63;

type Checked<T = ()> = Result<T, ArchiveError>;

/// Checks an archive. Returns the position of its root.
#[inline(always)]
pub(super) fn check(types: &[TypeLayout], archive: &[u8]) -> Checked<usize> {
    match types.first() {
        // Numbers alone.
        Some(root) if root.is_any_bits && root.size == archive.len() => Ok(0),
        _ => check_slow(types, archive),
    }
}

#[inline(never)]
fn check_slow(types: &[TypeLayout], archive: &[u8]) -> Checked<usize> {
    let Some(root) = types.first() else { return Ok(0) };
    let len = archive.len();
    // Pointers reach no further than `i32::MAX` bytes.
    let fits = if root.is_flat { len == root.size } else { len >= root.size };
    let fits = fits && i32::try_from(len).is_ok();
    if !fits {
        return Err(ArchiveError::new(ArchiveProblem::Length { len, root: root.size }));
    }
    let mut checker = Checker { types, archive, start: 0, end: len, depth: 0 };
    let at = len - root.size;
    if root.is_flat {
        checker.value(0, at)?;
    } else {
        let content =
            PointerTarget { position: at as i64, size: root.size as u64, align: root.align };
        checker.inside(content, |checker, at| checker.value(0, at))?;
    }
    Ok(at)
}

/// What a pointer leads to.
struct PointerTarget {
    position: i64,
    size: u64,
    align: usize,
}

struct Checker<'a> {
    types: &'a [TypeLayout],
    archive: &'a [u8],
    /// The bytes that are left for the contents of pointers.
    start: usize,
    end: usize,
    depth: usize,
}

impl<'a> Checker<'a> {
    /// Checks the content of a pointer. Bytes before it are left for its own pointers, and bytes
    /// behind it for the next pointers.
    fn inside<T>(
        &mut self,
        PointerTarget { position, size, align }: PointerTarget,
        check: impl FnOnce(&mut Self, usize) -> Checked<T>,
    ) -> Checked<T> {
        let (start, end) = (self.start, self.end);
        let is_inside = position >= start as i64 && size <= (end as i64 - position).max(0) as u64;
        if !is_inside || position > end as i64 {
            let problem = ArchiveProblem::Outside { position, size, start, end };
            return Err(ArchiveError::new(problem));
        }
        let at = position as usize;
        if !at.is_multiple_of(align) {
            return Err(ArchiveError::new(ArchiveProblem::Unaligned { position: at, align }));
        }
        if self.depth == MAX_DEPTH {
            return Err(ArchiveError::new(ArchiveProblem::TooDeep { limit: MAX_DEPTH }));
        }
        self.depth += 1;
        self.end = at;
        let found = check(self, at)?;
        self.depth -= 1;
        (self.start, self.end) = (at + size as usize, end);
        Ok(found)
    }

    fn value(&mut self, of: TypeIndex, at: usize) -> Checked {
        let types = self.types;
        let layout = &types[of as usize];
        if layout.is_any_bits {
            return Ok(());
        }
        match &layout.kind {
            LayoutKind::Number(_) | LayoutKind::OptionNonZero(_) | LayoutKind::Phantom => Ok(()),
            LayoutKind::NonZero(number) => self.non_zero(at, number.size()),
            LayoutKind::Bool => match self.byte(at) {
                0 | 1 => Ok(()),
                found => Err(invalid("bool", found.into())),
            },
            LayoutKind::Char => {
                let found = u32::from_le_bytes(self.word(at));
                char::from_u32(found).map(|_| ()).ok_or_else(|| invalid("char", found.into()))
            }
            LayoutKind::Struct(fields) => self.fields(fields, at),
            LayoutKind::Enum(variants) => {
                let tag = self.byte(at);
                match variants.iter().find(|variant| variant.tag == tag) {
                    Some(variant) => self
                        .fields(&variant.fields, at)
                        .map_err(|error| error.within(|| field(&variant.name))),
                    None => Err(invalid("tag of an enum", tag.into())),
                }
            }
            LayoutKind::Array { of, len } => self.elements(*of, at, *len),
            LayoutKind::Option { of, offset } => match self.byte(at) {
                0 => Ok(()),
                1 => self.value(*of, at + offset),
                found => Err(invalid("tag of an option", found.into())),
            },
            LayoutKind::NicheOption { of, niche } => {
                if is_niche(self.archive, at, *niche) {
                    return Ok(());
                }
                self.value(*of, at)
            }
            LayoutKind::OptionBox { boxed } => {
                if i32::from_le_bytes(self.word(at)) == NULL {
                    return Ok(());
                }
                self.value(*boxed, at)
            }
            LayoutKind::Box { of } => {
                let content = &types[*of as usize];
                let (size, align) = (content.size as u64, content.align);
                let target = PointerTarget { position: self.target(at, at), size, align };
                self.inside(target, |checker, at| checker.value(*of, at))
            }
            LayoutKind::BoxText => self.text(self.target(at, at), self.count(at + 4)),
            LayoutKind::List { of } => {
                let (content, len) = (&types[*of as usize], self.count(at + 4));
                let size = len as u64 * content.size as u64;
                let target =
                    PointerTarget { position: self.target(at, at), size, align: content.align };
                self.inside(target, |checker, at| checker.elements(*of, at, len))
            }
            LayoutKind::Text => self.string(at),
            LayoutKind::CText => self.c_text(at),
            LayoutKind::Map(tree) | LayoutKind::Set(tree) => self.tree(tree, at),
        }
    }

    fn fields(&mut self, fields: &Fields, at: usize) -> Checked {
        fields.list.iter().try_for_each(|part| {
            self.value(part.of, at + part.offset)
                .map_err(|error| error.within(|| field(&part.name)))
        })
    }

    fn elements(&mut self, of: TypeIndex, at: usize, len: usize) -> Checked {
        let layout = &self.types[of as usize];
        if layout.is_any_bits {
            return Ok(());
        }
        let size = layout.size;
        (0..len).try_for_each(|index| {
            self.value(of, at + index * size).map_err(|error| error.within(|| element(index)))
        })
    }

    fn non_zero(&self, at: usize, size: usize) -> Checked {
        let bytes = self.archive.get(at..at + size).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) { Ok(()) } else { Err(invalid("NonZero", 0)) }
    }

    fn string(&mut self, at: usize) -> Checked {
        match text_place(self.archive, at) {
            // A text that fits in place is there.
            Some((_, len @ ..=8)) => Err(invalid("length of a text elsewhere", len as u64)),
            Some((position, len)) => self.text(position, len),
            None => utf8(inline_text(self.archive, at)),
        }
    }

    fn text(&mut self, position: i64, len: usize) -> Checked {
        let target = PointerTarget { position, size: len as u64, align: 1 };
        self.inside(target, |checker, at| {
            utf8(checker.archive.get(at..at + len).unwrap_or_default())
        })
    }

    fn c_text(&mut self, at: usize) -> Checked {
        let len = self.count(at + 4);
        let target = PointerTarget { position: self.target(at, at), size: len as u64, align: 1 };
        self.inside(target, |checker, at| {
            let text = checker.archive.get(at..at + len).unwrap_or_default();
            match text.iter().position(|byte| *byte == 0) {
                Some(zero) if zero + 1 == len => Ok(()),
                _ => Err(ArchiveError::new(ArchiveProblem::Text { len })),
            }
        })
    }

    fn tree(&mut self, tree: &TreeLayout, at: usize) -> Checked {
        let len = self.count(at + 4);
        if len == 0 {
            return Ok(());
        }
        let found = self.node(tree, self.target(at, at))?;
        if found == len {
            return Ok(());
        }
        Err(ArchiveError::new(ArchiveProblem::Entries { found, len }))
    }

    /// Checks a node and all below it. Returns the number of entries.
    fn node(&mut self, tree: &TreeLayout, position: i64) -> Checked<usize> {
        let (start, end) = (self.start, self.end);
        let is_inside = position >= start as i64 && position < end as i64;
        let kind = if is_inside { self.byte(position as usize) } else { 0 };
        let size = match kind {
            0 => tree.leaf_size,
            1 => tree.inner_size,
            found => return Err(invalid("kind of a node", found.into())),
        };
        let target = PointerTarget { position, size: size as u64, align: tree.align };
        self.inside(target, |checker, at| {
            if kind == 1 {
                return checker.inner(tree, at);
            }
            let len = checker.count(at + tree.tail);
            match len {
                0 => Err(ArchiveError::new(ArchiveProblem::Tree("is an empty leaf"))),
                1..=ENTRIES => checker.entries(tree, at, len).map(|()| len),
                _ => Err(invalid("number of entries of a leaf", len as u64)),
            }
        })
    }

    fn inner(&mut self, tree: &TreeLayout, at: usize) -> Checked<usize> {
        let mut total = ENTRIES;
        for index in 0..=ENTRIES {
            let place = at + tree.tail + 4 * index;
            if i32::from_le_bytes(self.word(place)) != NULL {
                total += self.node(tree, self.target(place, place))?;
            } else if index == 0 {
                return Err(ArchiveError::new(ArchiveProblem::Tree("has no first child")));
            }
        }
        self.entries(tree, at, ENTRIES)?;
        Ok(total)
    }

    fn entries(&mut self, tree: &TreeLayout, at: usize, len: usize) -> Checked {
        (0..len).try_for_each(|index| {
            self.value(tree.key, at + tree.keys + index * tree.key_size)
                .map_err(|error| error.within(|| String::from(".key")))?;
            self.value(tree.value, at + tree.values + index * tree.value_size)
                .map_err(|error| error.within(|| String::from(".value")))
        })
    }

    /// The position that the pointer at `place` leads to, seen from `base`.
    fn target(&self, place: usize, base: usize) -> i64 {
        base as i64 + i64::from(i32::from_le_bytes(self.word(place)))
    }

    fn count(&self, at: usize) -> usize {
        u32::from_le_bytes(self.word(at)) as usize
    }

    fn byte(&self, at: usize) -> u8 {
        self.archive.get(at).copied().unwrap_or_default()
    }

    fn word(&self, at: usize) -> [u8; 4] {
        word(self.archive, at)
    }
}

/// Four bytes of an archive; zeros behind its end.
#[inline]
pub(super) fn word(archive: &[u8], at: usize) -> [u8; 4] {
    archive.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

/// True if the option at this position is `None`.
#[inline]
pub(super) fn is_niche(archive: &[u8], at: usize, niche: NicheLayout) -> bool {
    let at = at + niche.offset;
    match niche.kind {
        NicheKind::Zero(size) => {
            let bytes = archive.get(at..at + size).unwrap_or_default();
            bytes.iter().all(|byte| *byte == 0)
        }
        NicheKind::Bool => archive.get(at).is_none_or(|byte| *byte > 1),
        NicheKind::Null => i32::from_le_bytes(word(archive, at)) == NULL,
    }
}

/// The position and the length of a string's text. `None` if the text is in place.
#[inline]
pub(super) fn text_place(archive: &[u8], at: usize) -> Option<(i64, usize)> {
    let word_ = u32::from_le_bytes(word(archive, at));
    if word_ & 0xc0 != 0x80 {
        return None;
    }
    let len = (word_ & 0x3f) | ((word_ & !0xff) >> 2);
    let offset = i32::from_le_bytes(word(archive, at + 4));
    Some((at as i64 + i64::from(offset), len as usize))
}

/// The text of a string in place.
#[inline]
pub(super) fn inline_text(archive: &[u8], at: usize) -> &[u8] {
    let bytes = archive.get(at..at + 8).unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
    &bytes[..end]
}

fn utf8(text: &[u8]) -> Checked {
    match from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(ArchiveError::new(ArchiveProblem::Text { len: text.len() })),
    }
}

#[cold]
fn invalid(expected: &'static str, found: u64) -> ArchiveError {
    ArchiveError::new(ArchiveProblem::Invalid { expected, found })
}
