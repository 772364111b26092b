//! Caches that begin small.

use std::{hash::Hash, num::NonZeroUsize};

use lru::LruCache;

/// A cache of at most so many entries. It takes its memory as they come: the crate's own constructor takes all of it at
/// once, which a program that does one thing would wait for.
pub(crate) fn lru<K: Hash + Eq, V>(most: NonZeroUsize) -> LruCache<K, V> {
    let mut cache = LruCache::unbounded();
    cache.resize(most);
    cache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_was_used_last_and_no_more() {
        let mut cache = lru(NonZeroUsize::new(2).unwrap());
        for key in 0..3 {
            cache.put(key, ());
        }
        assert_eq!((cache.len(), cache.contains(&0)), (2, false));
    }
}
