//! Descriptions of options without a tag byte. A *niche*, a value that the content never has, is
//! `None`.
//!
//! Packets contain them through `#[rkyv(with = Niche)]`, `NicheInto<..>`, `MapNiche<.., ..>` and
//! `DefaultNiche`.

use rkyv::{
    niche::{
        niched_option::NichedOption,
        niching::{Bool, DefaultNiche, NaN, Niching, Null, Zero},
        option_box::ArchivedOptionBox,
    },
    traits::ArchivePointee,
};

use super::{Describe, Shape, TypeName};

/// A niche that packets may use: rkyv can detect it safely in bytes that were not checked yet.
///
/// Not meant to be implemented by hand.
pub trait DetectableNiche {
    /// The kind of such an option in the schema.
    const WORD: &'static str;
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
    NaN = "option-nan",
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
