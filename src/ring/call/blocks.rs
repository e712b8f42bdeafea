//! The free blocks of the reply memory of one call area. Only the process of the caller has the
//! list, so a kill leaves nothing half done.

use super::NoPlace;
use crate::segment::layout::SLOT;

/// A block of the reply memory, in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyBlock {
    pub(super) first: u32,
    pub(super) slots: u32,
}

impl ReplyBlock {
    /// Bytes of the block.
    pub(super) fn bytes(self) -> usize {
        self.slots as usize * SLOT
    }

    /// The block as one word, in which no block is 0: its first slot in the low half, its length in
    /// the high half.
    pub(super) fn word(self) -> u64 {
        u64::from(self.first) | u64::from(self.slots) << 32
    }

    /// Decodes a word. `None`: no block.
    pub(super) fn of_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { first: word as u32, slots: (word >> 32) as u32 })
    }

    fn end(self) -> u32 {
        self.first + self.slots
    }
}

/// Free blocks in the order of their places. No two of them touch.
#[derive(Debug)]
pub(super) struct FreeBlocks(Vec<ReplyBlock>);

impl FreeBlocks {
    /// All slots are free.
    pub(super) fn of(slots: u32) -> Self {
        Self(vec![ReplyBlock { first: 0, slots }])
    }

    /// Takes the first block that is large enough.
    pub(super) fn take(&mut self, bytes: usize) -> Result<ReplyBlock, NoPlace> {
        let slots = bytes.div_ceil(SLOT);
        let fits = |block: &ReplyBlock| block.slots as usize >= slots;
        let Some(index) = self.0.iter().position(fits) else {
            let free = self.0.iter().map(|block| block.bytes()).max().unwrap_or(0);
            return Err(NoPlace::Memory { free });
        };
        let rest = &mut self.0[index];
        let taken = ReplyBlock { first: rest.first, slots: slots as u32 };
        (rest.first, rest.slots) = (taken.end(), rest.slots - taken.slots);
        if rest.slots == 0 {
            self.0.remove(index);
        }
        Ok(taken)
    }

    /// Returns a block, and joins it with its neighbours.
    pub(super) fn give_back(&mut self, block: ReplyBlock) {
        let index = self.0.partition_point(|other| other.first < block.first);
        let mut block = block;
        if self.0.get(index).is_some_and(|next| block.end() == next.first) {
            block.slots += self.0.remove(index).slots;
        }
        match index.checked_sub(1).and_then(|before| self.0.get_mut(before)) {
            Some(before) if before.end() == block.first => before.slots += block.slots,
            _ => self.0.insert(index, block),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_as_one() {
        let mut free = FreeBlocks::of(16);
        let all: Vec<ReplyBlock> =
            [64, 65, 1024 - 192].map(|bytes| free.take(bytes).unwrap()).into();
        assert_eq!(all.iter().map(|block| block.slots).collect::<Vec<_>>(), [1, 2, 13]);
        assert_eq!(free.take(1), Err(NoPlace::Memory { free: 0 }));
        for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2]] {
            let mut free = FreeBlocks(Vec::new());
            order.iter().for_each(|&index| free.give_back(all[index]));
            assert_eq!(free.0, [ReplyBlock { first: 0, slots: 16 }], "{order:?}");
        }
        let mut free = FreeBlocks(Vec::new());
        free.give_back(all[1]);
        assert_eq!(free.take(129), Err(NoPlace::Memory { free: 128 }));
    }
}
