//! Descriptions of options without a tag byte. A *niche*, a value that the content never has, is
//! `None`.
//!
//! Packets contain them through `#[rkyv(with = Niche)]`, `NicheInto<..>`, `MapNiche<.., ..>` and
//! `DefaultNiche`. A struct provides the niche of one of its fields through `#[rkyv(niche)]`.
//!
//! rkyv's niche `NaN` is excluded: `Some(NaN)` would arrive as `None`.

use rkyv::{
    niche::{
        niched_option::NichedOption,
        niching::{Bool, DefaultNiche, Niching, Null, Zero},
        option_box::ArchivedOptionBox,
    },
    traits::ArchivePointee,
};

use super::{Describe, Shape, TypeName};

/// A niche that packets may use: rkyv can detect it safely in bytes that were not checked yet.
///
/// Sealed: the trait cannot be named outside.
pub trait DetectableNiche {
    /// The kind of such an option in the schema.
    const WORD: &'static str;
}

/// Returns the kind of an option with this niche in the schema.
#[doc(hidden)]
pub const fn niche_word<N: DetectableNiche + ?Sized>() -> &'static str {
    N::WORD
}

macro_rules! detectable {
    ($($niche:ident = $word:literal),*) => {$(
        impl DetectableNiche for $niche {
            const WORD: &'static str = $word;
        }
    )*};
}

detectable!(
    Zero = "option-zero",
    Bool = "option-bool",
    Null = "option-null",
    DefaultNiche = "option-default"
);

// SAFETY: The option has the layout of its content, which rkyv checks unless it is the niche. The
// audit visits the content.
unsafe impl<T: Describe, N: DetectableNiche + Niching<T>> Describe for NichedOption<T, N> {
    const NAME: TypeName = TypeName::generic("Option", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>(N::WORD, Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_ref().is_none_or(|value| value.audit(archive))
    }
}

// SAFETY: The option has the layout of a box; a relative pointer of 1 is `None`. The audit visits
// the content.
unsafe impl<T: Describe + ArchivePointee + ?Sized> Describe for ArchivedOptionBox<T> {
    const NAME: TypeName = TypeName::generic("Option", &[TypeName::generic("Box", &[T::NAME])]);
    const SHAPE: &'static Shape =
        const { &Shape::container::<Self>("option-box", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_deref().is_none_or(|value| value.audit(archive))
    }
}
