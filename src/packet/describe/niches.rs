//! Options without a tag: one value that the content never has says `None`.
//!
//! They appear in packets through `#[rkyv(with = Niche)]`, `NicheInto<..>`, `MapNiche<.., ..>` and
//! `DefaultNiche`.

use rkyv::{
    niche::{
        niched_option::NichedOption,
        niching::{Bool, DefaultNiche, NaN, Niching, Null, Zero},
        option_box::ArchivedOptionBox,
    },
    traits::ArchivePointee,
};

use super::{Describe, Name, Shape};

/// Which value says `None`: one that can be told apart in bytes not yet checked.
///
/// Not meant to be implemented outside.
pub trait Absent {
    /// The schema's word for it.
    const WORD: &'static str;
}

macro_rules! absent {
    ($($niche:ident = $word:literal),*) => {$(
        impl Absent for $niche {
            const WORD: &'static str = $word;
        }
    )*};
}

absent!(
    Zero = "option-zero",
    NaN = "option-nan",
    Bool = "option-bool",
    Null = "option-null",
    DefaultNiche = "option-default"
);

// SAFETY: It is laid out as its content, which is checked unless it says `None`; the audit asks it.
unsafe impl<T: Describe, N: Absent + Niching<T>> Describe for NichedOption<T, N> {
    const NAME: Name = Name::generic("Option", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>(N::WORD, Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_ref().is_none_or(|value| value.audit(archive))
    }
}

// SAFETY: It is laid out as a box, whose pointer says `None` if it is 1; the audit asks the content.
unsafe impl<T: Describe + ArchivePointee + ?Sized> Describe for ArchivedOptionBox<T> {
    const NAME: Name = Name::generic("Option", &[Name::generic("Box", &[T::NAME])]);
    const SHAPE: &'static Shape =
        const { &Shape::container::<Self>("option-box", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.as_deref().is_none_or(|value| value.audit(archive))
    }
}
