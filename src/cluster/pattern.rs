//! Patterns of event names: `*` is one part between `::`, `**` any number.
