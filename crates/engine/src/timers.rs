//! One deadline per connection, in a hashed wheel.
//!
//! Owns: when each key is due. Always holds: a key is in at most one bucket,
//! and `places[key]` says where. Knows no connection and no clock: the caller
//! passes milliseconds of a monotonic clock.
//!
//! A busy connection moves its deadline with every request. Moving it *later*
//! costs one store: the key stays in its bucket, and is moved when that bucket
//! expires. (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987,
//! with the laziness of kernel timers.)

const TICK_MS: u64 = 128;
/// 512 ticks of 128 ms are 65 s. A later deadline goes round the wheel more
/// than once.
const BUCKETS: usize = 512;
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Place {
    due_ms: u64,
    bucket: u32,
    index: u32,
}

const UNSET: Place = Place {
    due_ms: u64::MAX,
    bucket: NOWHERE,
    index: 0,
};

pub(crate) struct Timers {
    buckets: Vec<Vec<u32>>,
    places: Vec<Place>,
    /// Every tick before this one is expired.
    tick: u64,
    /// No key is in a bucket before this tick. It may be earlier than the first
    /// key.
    earliest: u64,
    armed: usize,
}

impl Timers {
    pub(crate) fn new(now_ms: u64) -> Self {
        Timers {
            buckets: Vec::new(),
            places: Vec::new(),
            tick: now_ms / TICK_MS,
            earliest: u64::MAX,
            armed: 0,
        }
    }

    /// Sets the deadline of `key`, and replaces an earlier one.
    pub(crate) fn set(&mut self, key: u32, due_ms: u64) {
        let slot = key as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, UNSET);
        }
        let Some(place) = self.places.get_mut(slot) else {
            return;
        };
        let earlier = due_ms < place.due_ms;
        place.due_ms = due_ms;
        if place.bucket == NOWHERE || earlier {
            self.take_out(key);
            self.put_in(key, due_ms);
        }
    }

    /// Removes the deadline of `key`.
    pub(crate) fn clear(&mut self, key: u32) {
        self.take_out(key);
        if let Some(place) = self.places.get_mut(key as usize) {
            *place = UNSET;
        }
    }

    /// The deadline of `key`.
    pub(crate) fn due_ms(&self, key: u32) -> Option<u64> {
        let place = self.places.get(key as usize)?;
        (place.due_ms != UNSET.due_ms).then_some(place.due_ms)
    }

    /// Whether `key` has a deadline.
    pub(crate) fn is_set(&self, key: u32) -> bool {
        self.due_ms(key).is_some()
    }

    /// Appends to `due` every key whose deadline has passed, and clears it.
    pub(crate) fn expire(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        let now_tick = now_ms / TICK_MS;
        if self.armed == 0 || now_tick < self.earliest {
            self.tick = self.tick.max(now_tick);
            return;
        }
        let first = self.tick.max(self.earliest);
        let last = now_tick.min(first + BUCKETS as u64 - 1);
        // Keys that are put back below go behind this tick.
        self.tick = now_tick;
        for tick in first..=last {
            let keys = match self.buckets.get_mut(tick as usize % BUCKETS) {
                Some(bucket) if !bucket.is_empty() => std::mem::take(bucket),
                _ => continue,
            };
            for key in keys {
                self.armed -= 1;
                let Some(place) = self.places.get_mut(key as usize) else {
                    continue;
                };
                place.bucket = NOWHERE;
                if place.due_ms <= now_ms {
                    *place = UNSET;
                    due.push(key);
                } else {
                    let due_ms = place.due_ms;
                    // Not into a bucket that this pass has already visited.
                    self.put_in(key, due_ms.max((now_tick + 1) * TICK_MS));
                }
            }
        }
        self.earliest = self.find_earliest();
    }

    /// When to call [`Timers::expire`] next: never too late, perhaps too early.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        // The end of the tick: by then everything in its bucket is due.
        (self.armed > 0).then(|| (self.earliest + 1) * TICK_MS)
    }

    fn find_earliest(&self) -> u64 {
        if self.armed == 0 {
            return u64::MAX;
        }
        (self.tick..self.tick + BUCKETS as u64)
            .find(|tick| {
                self.buckets
                    .get(*tick as usize % BUCKETS)
                    .is_some_and(|bucket| !bucket.is_empty())
            })
            .unwrap_or(self.tick)
    }

    fn put_in(&mut self, key: u32, due_ms: u64) {
        if self.buckets.is_empty() {
            // Allocated with the first deadline: an idle worker needs none.
            self.buckets.resize_with(BUCKETS, Vec::new);
        }
        let tick = (due_ms / TICK_MS).clamp(self.tick, self.tick + BUCKETS as u64 - 1);
        let number = tick as usize % BUCKETS;
        let (Some(bucket), Some(place)) = (
            self.buckets.get_mut(number),
            self.places.get_mut(key as usize),
        ) else {
            return;
        };
        place.bucket = number as u32;
        place.index = bucket.len() as u32;
        bucket.push(key);
        self.armed += 1;
        self.earliest = self.earliest.min(tick);
    }

    fn take_out(&mut self, key: u32) {
        let Some(place) = self.places.get_mut(key as usize) else {
            return;
        };
        let Some(bucket) = self.buckets.get_mut(place.bucket as usize) else {
            return;
        };
        let index = place.index as usize;
        place.bucket = NOWHERE;
        bucket.swap_remove(index);
        self.armed -= 1;
        if let Some(&moved) = bucket.get(index) {
            if let Some(place) = self.places.get_mut(moved as usize) {
                place.index = index as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(timers: &mut Timers, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        timers.expire(now_ms, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_key_is_due_once_and_not_early() {
        let mut timers = Timers::new(1_000);
        timers.set(3, 5_000);
        assert_eq!(expired(&mut timers, 4_800), []);
        assert_eq!(expired(&mut timers, 5_120), [3]);
        assert_eq!(expired(&mut timers, 9_999_999), []);
    }

    #[test]
    fn later_wins_without_a_move_and_earlier_wins_with_one() {
        let mut timers = Timers::new(0);
        timers.set(1, 1_000);
        timers.set(1, 60_000);
        assert_eq!(expired(&mut timers, 2_000), []);
        timers.set(1, 3_000);
        assert_eq!(expired(&mut timers, 3_100), [1]);
    }

    #[test]
    fn clearing_one_of_a_bucket_leaves_the_others() {
        let mut timers = Timers::new(0);
        for key in 0..10 {
            timers.set(key, 500);
        }
        timers.clear(0);
        timers.clear(9);
        timers.clear(4);
        timers.clear(4);
        assert_eq!(expired(&mut timers, 700), [1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn beyond_the_wheel_waits_in_laps() {
        let mut timers = Timers::new(0);
        timers.set(7, 1_000_000);
        let mut now = 0;
        let mut seen = Vec::new();
        while seen.is_empty() {
            let next = timers.next_ms().expect("armed");
            assert!(next > now);
            now = next;
            timers.expire(now, &mut seen);
        }
        assert!((1_000_000..1_000_400).contains(&now), "{now}");
    }

    #[test]
    fn a_long_sleep_loses_nothing() {
        let mut timers = Timers::new(0);
        for key in 0..2_000u32 {
            timers.set(key, u64::from(key) * 100);
        }
        assert_eq!(expired(&mut timers, 10_000_000).len(), 2_000);
    }

    #[test]
    fn agrees_with_a_plain_list() {
        let mut timers = Timers::new(0);
        let mut plain = std::collections::BTreeMap::new();
        let mut seed = 12345u64;
        let mut now = 0;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let key = (seed >> 33) as u32 % 50;
            match (seed >> 20) % 3 {
                0 => {
                    let due = now + (seed >> 40) % 300_000;
                    timers.set(key, due);
                    plain.insert(key, due);
                }
                1 => {
                    timers.clear(key);
                    plain.remove(&key);
                }
                _ => {
                    now += (seed >> 45) % 2_000;
                    for key in expired(&mut timers, now) {
                        assert!(plain.remove(&key).is_some_and(|due| due <= now));
                    }
                    assert!(plain.values().all(|due| now < due + 2 * TICK_MS));
                }
            }
        }
    }
}
