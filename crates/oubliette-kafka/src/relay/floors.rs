//! Where the records of a relay must come to: behind all that its topics held, in the partitions that they had. Kafka finds a
//! topic by its name alone, so that one which was made anew takes records too, from its first offset on.

use super::RelayError;
use crate::session::Arrival;

/// One of a relay's topics.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Events,
    Forgotten,
}

/// The lowest offset that a record may come to, for each partition of each topic.
#[derive(Debug)]
pub(super) struct Floors {
    events: Floor,
    forgotten: Option<Floor>,
}

/// The partition of a key where there are so many: `murmur2`, by which librdkafka chooses it as Java's clients do.
pub(super) fn partition(key: &[u8], partitions: usize) -> usize {
    const M: u32 = 0x5bd1_e995;
    // Java's clients count the bytes in 32 bits too; no key is longer.
    let mut hash = 0x9747_b28c ^ u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed = (mixed ^ (mixed >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff) as usize % partitions.max(1)
}

#[derive(Debug)]
struct Floor {
    topic: String,
    partitions: Vec<u64>,
}

impl Floors {
    /// With where the partitions of the topic end.
    pub(super) fn new(topic: &str, ends: Vec<u64>) -> Self {
        Self { events: Floor { topic: topic.to_owned(), partitions: ends }, forgotten: None }
    }

    pub(super) fn with_forgotten(mut self, topic: String, ends: Vec<u64>) -> Self {
        self.forgotten = Some(Floor { topic, partitions: ends });
        self
    }

    /// How many partitions the topic of the events has.
    pub(super) fn partitions(&self) -> usize {
        self.events.partitions.len()
    }

    fn of(&self, which: Which) -> Option<&Floor> {
        match which {
            Which::Events => Some(&self.events),
            Which::Forgotten => self.forgotten.as_ref(),
        }
    }

    pub(super) fn topic(&self, which: Which) -> Option<&str> {
        self.of(which).map(|floor| floor.topic.as_str())
    }

    /// Whether all records came to where they may be. `topics` says for each record which topic it is of.
    pub(super) fn check(&self, topics: &[Which], arrivals: &[Arrival]) -> Result<(), RelayError> {
        for (which, arrival) in topics.iter().zip(arrivals) {
            let Some(floor) = self.of(*which) else { continue };
            let topic = || floor.topic.clone();
            let lowest = usize::try_from(arrival.partition)
                .ok()
                .and_then(|partition| floor.partitions.get(partition));
            match lowest {
                None => return Err(RelayError::Partitions { topic: topic() }),
                Some(lowest) if arrival.offset < *lowest => {
                    return Err(RelayError::Lost { topic: topic() });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Nothing comes before these any more.
    pub(super) fn raise(&mut self, topics: &[Which], arrivals: &[Arrival]) {
        for (which, arrival) in topics.iter().zip(arrivals) {
            let floor = match which {
                Which::Events => Some(&mut self.events),
                Which::Forgotten => self.forgotten.as_mut(),
            };
            let lowest = floor.and_then(|floor| {
                floor.partitions.get_mut(usize::try_from(arrival.partition).ok()?)
            });
            if let Some(lowest) = lowest {
                *lowest = (*lowest).max(arrival.offset + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tests of Apache Kafka's own `Utils.murmur2` expect, and librdkafka's.
    #[test]
    fn a_key_has_the_partition_that_javas_clients_choose() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            let wanted = (hash & 0x7fff_ffff) as usize;
            assert_eq!(partition(key.as_bytes(), 1 << 31), wanted, "{key}");
            assert_eq!(partition(key.as_bytes(), 7), wanted % 7, "{key}");
        }
    }

    #[test]
    fn records_come_behind_all_that_is_there_in_partitions_that_are_known() {
        let mut floors =
            Floors::new("events", vec![5, 0]).with_forgotten("gone".to_owned(), vec![9]);
        let at = |partition, offset| Arrival { partition, offset };
        let (both, there) = ([Which::Events, Which::Forgotten], [at(1, 0), at(0, 9)]);
        floors.check(&both, &there).unwrap();
        floors.raise(&both, &there);
        for (topics, arrivals, lost) in [
            (both, there, "events"),
            (both, [at(1, 1), at(0, 9)], "gone"),
            ([Which::Events; 2], [at(1, 1), at(0, 4)], "events"),
        ] {
            let error = floors.check(&topics, &arrivals).unwrap_err();
            assert!(matches!(&error, RelayError::Lost { topic } if topic == lost), "{error:?}");
        }
        let error = floors.check(&[Which::Events], &[at(2, 0)]).unwrap_err();
        assert!(matches!(error, RelayError::Partitions { .. }), "{error:?}");
    }
}
