//! Compact sets of keys: one bit for each key where keys are dense, as ids of new orders are.

use crate::limits::KEY_BLOCKS_MAX;
use std::collections::BTreeMap;

/// Keys in a block: 64 words of 64 bits.
const BLOCK: i64 = 64 * 64;

/// A set of positive keys, of [`KEY_BLOCKS_MAX`] blocks of 512 bytes at most. A million consecutive keys take 128 KB.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    blocks: BTreeMap<i64, Box<[u64; 64]>>,
    len: u64,
}

/// The set has no block left for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the set of keys is full: there are too many keys, or they are too far apart")]
pub struct Full;

impl Keys {
    /// Inserts a key.
    pub fn insert(&mut self, key: i64) -> Result<(), Full> {
        let (block, word, bit) = position(key);
        if self.blocks.len() >= KEY_BLOCKS_MAX && !self.blocks.contains_key(&block) {
            return Err(Full);
        }
        let words = self.blocks.entry(block).or_insert_with(|| Box::new([0; 64]));
        self.len += u64::from(words[word] & bit == 0);
        words[word] |= bit;
        Ok(())
    }

    /// Whether the set contains a key.
    pub fn contains(&self, key: i64) -> bool {
        let (block, word, bit) = position(key);
        self.blocks.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    /// The number of keys.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the set is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.blocks.iter().flat_map(|(block, words)| {
            let is_set = move |at: &i64| {
                let (_, word, bit) = position(*at);
                words[word] & bit != 0
            };
            (0..BLOCK).filter(is_set).map(move |at| block * BLOCK + at)
        })
    }
}

/// The position of a key: block, word in the block, bit in the word.
fn position(key: i64) -> (i64, usize, u64) {
    let at = usize::try_from(key.rem_euclid(BLOCK)).unwrap_or_default();
    (key.div_euclid(BLOCK), at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(keys in proptest::collection::vec(prop_oneof![0..20_000_i64, any::<i64>()], 0..300)) {
            let mut set = Keys::default();
            for key in &keys {
                set.insert(*key).expect("room");
            }
            let expected: BTreeSet<_> = keys.iter().copied().collect();
            prop_assert!(set.iter().eq(expected.iter().copied()));
            prop_assert_eq!(set.len(), expected.len() as u64);
            prop_assert!(expected.iter().all(|key| set.contains(*key)));
            prop_assert_eq!(set.contains(20_001), expected.contains(&20_001));
        }
    }

    #[test]
    fn it_has_a_bound() {
        let mut set = Keys::default();
        let far = |nth: usize| i64::try_from(nth).expect("a number") * BLOCK;
        for nth in 0..KEY_BLOCKS_MAX {
            set.insert(far(nth)).expect("room");
        }
        assert_eq!(set.insert(far(KEY_BLOCKS_MAX)), Err(Full));
        assert_eq!(set.insert(7), Ok(()), "near keys still have room");
    }
}
