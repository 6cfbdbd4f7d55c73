//! What was worked out before, by all the bytes that it was worked out from.
//!
//! A hit is proven by comparing those bytes, never by a digest alone. An attacker who makes two keys
//! fall on one hash gains that one of them is worked out again.

use std::collections::BTreeMap;

/// Beside key and value: the map's slot and what the allocator adds.
const ENTRY_BYTES: usize = 160;

/// The bytes that decide something, in parts whose borders count.
#[derive(Clone, Debug)]
pub(crate) struct Key<'a> {
    parts: Vec<&'a [u8]>,
    hash: u64,
}

impl<'a> Key<'a> {
    pub(crate) fn new(parts: Vec<&'a [u8]>) -> Self {
        let hash = parts
            .iter()
            .fold(0, |hash, part| mix(mix(hash, border(part)), spread(part)));
        Self { parts, hash }
    }

    fn len(&self) -> usize {
        let parts = self.parts.iter();
        parts.fold(0, |sum, part| {
            sum.saturating_add(part.len()).saturating_add(BORDER)
        })
    }

    fn to_bytes(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.len());
        for part in &self.parts {
            bytes.extend(border(part).to_le_bytes());
            bytes.extend(*part);
        }
        bytes.into()
    }

    fn is(&self, mut bytes: &[u8]) -> bool {
        for part in &self.parts {
            let rest = bytes.strip_prefix(&border(part).to_le_bytes());
            let Some((same, rest)) = rest.and_then(|rest| rest.split_at_checked(part.len())) else {
                return false;
            };
            if !are_equal(same, part) {
                return false;
            }
            bytes = rest;
        }
        bytes.is_empty()
    }
}

const BORDER: usize = size_of::<u64>();

fn border(part: &[u8]) -> u64 {
    u64::try_from(part.len()).unwrap_or(u64::MAX)
}

/// In wasm many times as fast as octet by octet.
const BLOCK: usize = 4 * BORDER;

fn words(block: &[u8; BLOCK]) -> impl Iterator<Item = u64> {
    let (words, _) = block.as_chunks();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let ((blocks, rest), (other_blocks, other_rest)) = (one.as_chunks(), other.as_chunks());
    let is_same = |(block, other)| {
        let differences = words(block)
            .zip(words(other))
            .map(|(one, other)| one ^ other);
        differences.fold(0, |all, difference| all | difference) == 0
    };
    one.len() == other.len() && blocks.iter().zip(other_blocks).all(is_same) && rest == other_rest
}

/// Spreads keys, and keeps no attacker out: see above. No word of a block waits for another.
fn spread(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks();
    let mut lanes = [0; BLOCK / BORDER];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(words(block)) {
            *lane = mix(*lane, word);
        }
    }
    let rest = rest.iter().copied().map(u64::from);
    lanes.into_iter().chain(rest).fold(0, mix)
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Values by their keys, bounded in bytes. The bound is for two generations: when the newer one is
/// full, the older one goes, so that what is asked for now and then stays.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    newer: Generation<V>,
    older: Generation<V>,
    generation_bytes: usize,
}

#[derive(Debug)]
struct Generation<V> {
    entries: BTreeMap<u64, Entry<V>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    key: Box<[u8]>,
    value: V,
    bytes: usize,
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
        }
    }
}

impl<V> Generation<V> {
    fn take(&mut self, key: &Key<'_>) -> Option<Entry<V>> {
        if !self.entries.get(&key.hash)?.is(key) {
            return None;
        }
        let entry = self.entries.remove(&key.hash)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        Some(entry)
    }

    fn put(&mut self, hash: u64, entry: Entry<V>) {
        self.bytes = self.bytes.saturating_add(entry.bytes);
        if let Some(replaced) = self.entries.insert(hash, entry) {
            self.bytes = self.bytes.saturating_sub(replaced.bytes);
        }
    }
}

impl<V> Entry<V> {
    fn is(&self, key: &Key<'_>) -> bool {
        key.is(&self.key)
    }
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            newer: Generation::default(),
            older: Generation::default(),
            generation_bytes: bytes / 2,
        }
    }

    pub(crate) fn get(&mut self, key: &Key<'_>) -> Option<V> {
        if let Some(entry) = self.newer.entries.get(&key.hash)
            && entry.is(key)
        {
            return Some(entry.value.clone());
        }
        let entry = self.older.take(key)?;
        let value = entry.value.clone();
        self.keep(key.hash, entry);
        Some(value)
    }

    /// Whether the value is kept: one that alone is over the bound is not. `bytes`: what it holds.
    pub(crate) fn insert(&mut self, key: &Key<'_>, value: V, bytes: usize) -> bool {
        let bytes = bytes.saturating_add(ENTRY_BYTES).saturating_add(key.len());
        if bytes > self.generation_bytes {
            return false;
        }
        self.older.take(key);
        let key_bytes = key.to_bytes();
        self.keep(
            key.hash,
            Entry {
                key: key_bytes,
                value,
                bytes,
            },
        );
        true
    }

    fn keep(&mut self, hash: u64, entry: Entry<V>) {
        if self.newer.bytes.saturating_add(entry.bytes) > self.generation_bytes {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.put(hash, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(parts: &[&'a str]) -> Key<'a> {
        Key::new(parts.iter().map(|part| part.as_bytes()).collect())
    }

    fn bytes(cache: &Cache<u32>) -> usize {
        let generations = [&cache.newer, &cache.older];
        let entries = generations.map(|one| one.entries.values().map(|entry| entry.bytes).sum());
        assert_eq!(entries, generations.map(|one| one.bytes));
        entries.iter().sum()
    }

    #[test]
    fn borders_count() {
        let mut cache = Cache::new(10_000);
        cache.insert(&key(&["ab", "c"]), 1, 0);
        assert_eq!(cache.get(&key(&["ab", "c"])), Some(1));
        for other in [&["a", "bc"][..], &["abc"], &["ab", "c", ""], &["ab"], &[]] {
            assert_eq!(cache.get(&key(other)), None, "{other:?}");
        }
    }

    /// Nothing is believed for its hash.
    #[test]
    fn one_hash_is_not_one_key() {
        let mut cache = Cache::new(10_000);
        let first = key(&["first"]);
        let second = Key {
            hash: first.hash,
            ..key(&["second"])
        };
        cache.insert(&first, 1, 0);
        assert_eq!(cache.get(&second), None);
        cache.insert(&second, 2, 0);
        assert_eq!((cache.get(&first), cache.get(&second)), (None, Some(2)));
        bytes(&cache);
    }

    /// In whole blocks and in what is left of them.
    #[test]
    fn every_octet_counts() {
        for length in 0..100 {
            let text = "a".repeat(length);
            let first = key(&[&text]);
            let mut cache = Cache::new(10_000);
            cache.insert(&first, 1, 0);
            assert_eq!(cache.get(&key(&[&text])), Some(1));
            for at in 0..length {
                let mut other = text.clone();
                other.replace_range(at..=at, "b");
                let other = key(&[&other]);
                assert_ne!(other.hash, first.hash, "{at} of {length}");
                let other = Key {
                    hash: first.hash,
                    ..other
                };
                assert_eq!(cache.get(&other), None, "{at} of {length}");
            }
        }
    }

    #[test]
    fn bounded_and_the_used_ones_stay() {
        let mut cache = Cache::new(20_000);
        let used = "used".to_owned();
        cache.insert(&key(&[&used]), 7, 100);
        for number in 0..1000 {
            let name = format!("other {number}");
            cache.insert(&key(&[&name]), number, 200);
            assert_eq!(cache.get(&key(&[&used])), Some(7), "{number}");
            assert!(bytes(&cache) <= 20_000);
        }
        assert_eq!(cache.get(&key(&["other 0"])), None);
        assert_eq!(cache.get(&key(&["other 999"])), Some(999));
        assert!(!cache.insert(&key(&["large"]), 1, 10_000));
        assert_eq!(cache.get(&key(&["large"])), None);
        // A newer value takes the place of the older one.
        cache.insert(&key(&[&used]), 8, 100);
        assert_eq!(cache.get(&key(&[&used])), Some(8));
        bytes(&cache);
    }

    #[test]
    fn nothing_is_kept_in_no_bytes() {
        let mut cache = Cache::new(0);
        cache.insert(&key(&[]), 1, 0);
        assert_eq!(cache.get(&key(&[])), None);
    }
}
