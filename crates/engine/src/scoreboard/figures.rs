//! What a worker counts for people: its responses by status, and how long requests took.
//!
//! Owns: the layout of these counts, and the one kind of histogram that there is. Always holds: a bucket is
//! as wide as a sixteenth of the power of two that it is in, so its middle differs from any time in it by
//! less than 3.2 %. What is shorter than the first bucket, or longer than the last, is counted there. The
//! same buckets of all times are side by side, so that a worker with quick requests has one page of them.
//! No reader panics on what a worker wrote, nor takes longer for it.

use super::word::Word;

/// The classes of statuses, 1xx to 5xx.
pub const CLASSES: usize = 5;

/// The statuses that are counted by themselves: those of the registry (RFC 9110, section 16.2.1). Others are
/// counted by their class. One word for each status that there can be would be a page more of each worker.
pub const STATUSES: [u16; 62] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304,
    305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415,
    416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505,
    506, 507, 508, 510, 511,
];

/// Words of statuses: each of `STATUSES`, and the others of each class.
const RESPONSES: usize = STATUSES.len() + CLASSES;
const LEAST_STATUS: usize = 100;
/// Where a status is counted, from [`LEAST_STATUS`] on.
#[allow(
    clippy::indexing_slicing,
    reason = "a constant: what is beyond the end does not compile"
)]
const PLACES: [u8; 100 * CLASSES] = {
    let mut places = [0; 100 * CLASSES];
    let mut offset = 0;
    while offset < places.len() {
        places[offset] = (STATUSES.len() + offset / 100) as u8;
        offset += 1;
    }
    let mut place = 0;
    while place < STATUSES.len() {
        places[STATUSES[place] as usize - LEAST_STATUS] = place as u8;
        place += 1;
    }
    places
};

/// A part of the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// From when it could be read to the call of the application.
    Wait,
    /// From the last part of the request that the application was given to the head of its response.
    Application,
    /// From there to when the socket had the last byte of the response.
    LastByte,
}

impl Time {
    pub const ALL: [Time; 3] = [Time::Wait, Time::Application, Time::LastByte];
}

const TIMES: usize = Time::ALL.len();

/// The first bucket begins at 2^10 ns, 1 us; the last one ends at 2^36 ns, 69 s.
const FIRST_BITS: u32 = 10;
const BITS: usize = 26;
/// A power of two is divided into so many.
const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 4;
const BUCKETS: usize = BITS * PARTS;

/// How many buckets [`Histogram::coarse`] has.
pub const COARSE: usize = BITS * COARSE_PARTS;
const COARSE_PARTS: usize = 4;

/// No worker counts so far: a JavaScript number is exact up to there.
pub(super) const MOST: u64 = 1 << 53;
/// No worker serves for so long, all requests together.
pub(super) const MOST_NS: u64 = 1 << 62;

#[inline]
fn bucket_of(time_ns: u64) -> usize {
    let time_ns = time_ns.max(1 << FIRST_BITS);
    let bits = time_ns.ilog2();
    let part = (time_ns >> (bits - PART_BITS)) as usize & (PARTS - 1);
    ((bits - FIRST_BITS) as usize * PARTS + part).min(BUCKETS - 1)
}

/// Where a bucket begins, in nanoseconds. It ends where the next one begins.
fn begin_ns(bucket: usize) -> u64 {
    let bits = FIRST_BITS as usize + bucket / PARTS;
    ((PARTS + bucket % PARTS) as u64) << (bits - PART_BITS as usize)
}

/// Where each bucket of [`Histogram::coarse`] begins, in nanoseconds. It ends where the next one begins.
#[must_use]
pub fn coarse_bounds_ns() -> [u64; COARSE] {
    std::array::from_fn(|index| begin_ns(index * (PARTS / COARSE_PARTS)))
}

// ---- in shared memory ------------------------------------------------------------

/// The counts of one worker, or of all that have ended.
#[repr(C)]
pub(crate) struct SharedFigures {
    /// One past the last bucket that is in use. Readers stop there: reading on would make the kernel
    /// allocate memory.
    reach: Word<u32>,
    responses: [Word<u64>; RESPONSES],
    handshakes: Word<u64>,
    resumed: Word<u64>,
    http2_connections: Word<u64>,
    http2_streams: Word<u64>,
    sums_ns: [Word<u64>; TIMES],
    buckets: [[Word<u64>; TIMES]; BUCKETS],
}

/// The writer only.
impl SharedFigures {
    #[inline]
    pub fn count_status(&self, status: u16) {
        let place = PLACES.get(usize::from(status).wrapping_sub(LEAST_STATUS));
        if let Some(word) = place.and_then(|place| self.responses.get(usize::from(*place))) {
            increase(word, 1);
        }
    }

    #[inline]
    pub fn count_time(&self, time: Time, time_ns: u64) {
        let bucket = bucket_of(time_ns);
        if let Some(word) = self.word(bucket, time) {
            increase(word, 1);
        }
        if let Some(sum) = self.sums_ns.get(time as usize) {
            increase(sum, time_ns);
        }
        if bucket as u32 >= self.reach.get() {
            self.reach.set(bucket as u32 + 1);
        }
    }

    #[cold]
    pub fn count_handshake(&self, is_resumed: bool) {
        increase(&self.handshakes, 1);
        increase(&self.resumed, is_resumed.into());
    }

    #[cold]
    pub fn count_http2_connection(&self) {
        increase(&self.http2_connections, 1);
    }

    #[inline]
    pub fn count_http2_stream(&self) {
        increase(&self.http2_streams, 1);
    }

    /// Adds the counts of a worker that has ended (manager).
    pub fn add(&self, figures: &Figures) {
        let mut sum = self.copy();
        sum.add(figures);
        let Figures {
            responses,
            handshakes,
            resumed,
            http2_connections,
            http2_streams,
            times,
        } = &sum;
        self.responses
            .iter()
            .zip(responses)
            .for_each(|(word, count)| word.set(*count));
        self.handshakes.set(*handshakes);
        self.resumed.set(*resumed);
        self.http2_connections.set(*http2_connections);
        self.http2_streams.set(*http2_streams);
        let reach = times.iter().map(|times| times.buckets.len()).max();
        self.reach.set(reach.unwrap_or(0) as u32);
        for (time, histogram) in Time::ALL.into_iter().zip(times) {
            if let Some(word) = self.sums_ns.get(time as usize) {
                word.set(histogram.sum_ns);
            }
            for (bucket, count) in histogram.buckets.iter().enumerate() {
                if let Some(word) = self.word(bucket, time) {
                    word.set(*count);
                }
            }
        }
    }

    fn word(&self, bucket: usize, time: Time) -> Option<&Word<u64>> {
        self.buckets.get(bucket)?.get(time as usize)
    }
}

impl SharedFigures {
    pub fn copy(&self) -> Figures {
        let reach = (self.reach.get() as usize).min(BUCKETS);
        let used = self.buckets.get(..reach).unwrap_or_default();
        Figures {
            responses: self.responses.each_ref().map(Word::get),
            handshakes: self.handshakes.get(),
            resumed: self.resumed.get(),
            http2_connections: self.http2_connections.get(),
            http2_streams: self.http2_streams.get(),
            times: Time::ALL.map(|time| {
                let counts = used.iter().filter_map(|bucket| bucket.get(time as usize));
                let mut buckets: Vec<u64> = counts.map(Word::get).collect();
                let last = buckets.iter().rposition(|count| *count > 0);
                buckets.truncate(last.map_or(0, |last| last + 1));
                Histogram {
                    sum_ns: self.sums_ns.get(time as usize).map_or(0, Word::get),
                    buckets,
                }
            }),
        }
    }
}

#[inline]
fn increase(word: &Word<u64>, by: u64) {
    word.set(word.get().wrapping_add(by));
}

// ---- as values -------------------------------------------------------------------

/// The counts of one worker, or of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Responses by their status, in the order of [`STATUSES`], and behind them the others of each class.
    responses: [u64; RESPONSES],
    /// Connections of TLS that have brought a request.
    pub handshakes: u64,
    /// Of these, how many had resumed a session.
    pub resumed: u64,
    /// Connections that speak HTTP/2.
    pub http2_connections: u64,
    /// Their requests.
    pub http2_streams: u64,
    times: [Histogram; TIMES],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            responses: [0; RESPONSES],
            handshakes: 0,
            resumed: 0,
            http2_connections: 0,
            http2_streams: 0,
            times: Default::default(),
        }
    }
}

impl Figures {
    /// Responses by each of `STATUSES`.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        STATUSES.into_iter().zip(self.responses)
    }

    /// Responses with other statuses, by their class.
    pub fn others(&self) -> [u64; CLASSES] {
        std::array::from_fn(|class| {
            let count = self.responses.get(STATUSES.len() + class);
            count.copied().unwrap_or(0)
        })
    }

    /// All responses, by the class of their status.
    pub fn classes(&self) -> [u64; CLASSES] {
        let mut classes = self.others();
        for (status, count) in self.statuses() {
            if let Some(sum) = classes.get_mut(usize::from(status / 100).wrapping_sub(1)) {
                *sum = sum.saturating_add(count);
            }
        }
        classes
    }

    pub fn time(&self, time: Time) -> &Histogram {
        let [wait, application, last_byte] = &self.times;
        match time {
            Time::Wait => wait,
            Time::Application => application,
            Time::LastByte => last_byte,
        }
    }

    pub fn add(&mut self, other: &Self) {
        let counts = self.counts_mut().zip(other.counts());
        counts.for_each(|(sum, count)| *sum = sum.saturating_add(count));
        let times = self.times.iter_mut().zip(&other.times);
        times.for_each(|(sum, times)| sum.add(times));
    }

    /// Whether a worker can have counted that.
    pub(super) fn is_plausible(&self) -> bool {
        let counts = self.counts().all(|count| count <= MOST);
        let is_possible = |times: &Histogram| times.count() <= MOST && times.sum_ns <= MOST_NS;
        counts && self.times.iter().all(is_possible)
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.responses.into_iter().chain([
            self.handshakes,
            self.resumed,
            self.http2_connections,
            self.http2_streams,
        ])
    }

    fn counts_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.responses.iter_mut().chain([
            &mut self.handshakes,
            &mut self.resumed,
            &mut self.http2_connections,
            &mut self.http2_streams,
        ])
    }
}

/// How many requests took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    pub sum_ns: u64,
    /// Up to the last one that is in use.
    buckets: Vec<u64>,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The time within which this share of the requests were done, in nanoseconds: the middle of the bucket
    /// of the one that has that rank. `None` without any.
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        let count = self.count();
        // The cast saturates, and makes 0 of what is no number.
        let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0_u64;
        let found = self.buckets.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        })?;
        let begin = begin_ns(found);
        Some(begin + (begin_ns(found + 1) - begin) / 2)
    }

    /// With four buckets for each power of two: see [`coarse_bounds_ns`].
    pub fn coarse(&self) -> [u64; COARSE] {
        let mut counts = [0_u64; COARSE];
        for (bucket, count) in self.buckets.iter().enumerate() {
            if let Some(sum) = counts.get_mut(bucket / (PARTS / COARSE_PARTS)) {
                *sum = sum.saturating_add(*count);
            }
        }
        counts
    }

    /// How many took less than so many nanoseconds, with `parts` buckets for each power of two: 1, 2, 4, 8 or
    /// 16. The last one has no bound, and has all.
    pub fn cumulative(&self, parts: usize) -> Vec<(Option<u64>, u64)> {
        let merged = PARTS / parts.clamp(1, PARTS);
        let mut seen = 0_u64;
        let ends = (0..BUCKETS).filter_map(|bucket| {
            let count = self.buckets.get(bucket).copied();
            seen = seen.saturating_add(count.unwrap_or(0));
            let next = bucket + 1;
            let bound = (next < BUCKETS).then(|| begin_ns(next));
            (next % merged == 0).then_some((bound, seen))
        });
        ends.collect()
    }

    fn add(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        let counts = self.buckets.iter_mut().zip(&other.buckets);
        counts.for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(times_ns: impl IntoIterator<Item = u64>) -> Histogram {
        let mut made = Histogram::default();
        for time_ns in times_ns {
            let bucket = bucket_of(time_ns);
            made.buckets.resize(made.buckets.len().max(bucket + 1), 0);
            made.buckets[bucket] += 1;
            made.sum_ns += time_ns;
        }
        made
    }

    #[test]
    fn a_time_is_counted_in_the_bucket_that_begins_at_it_or_before() {
        let bounds: [u64; BUCKETS] = std::array::from_fn(begin_ns);
        assert_eq!((bounds[0], bounds[1], bounds[16]), (1024, 1088, 2048));
        for (index, bound) in bounds.into_iter().enumerate() {
            assert_eq!(bucket_of(bound), index);
            assert_eq!(bucket_of(bound - 1), index.saturating_sub(1));
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert!(bounds.windows(2).all(|pair| pair[1] * 16 <= pair[0] * 17));
        let coarse = coarse_bounds_ns();
        assert_eq!((coarse[0], coarse[1], coarse[4]), (1024, 1280, 2048));
    }

    #[test]
    fn quantiles_differ_from_exact_ones_by_less_than_five_percent() {
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as f64 / (1_u64 << 31) as f64
        };
        let even: Vec<u64> = (0..5000).map(|_| 2_000 + (random() * 9e6) as u64).collect();
        let skew: Vec<u64> = (0..5000)
            .map(|_| (2_000.0 * (random() * 14.0).exp()) as u64)
            .collect();
        let two: Vec<u64> = (0..500)
            .map(|at| if at % 10 < 9 { 5_000_000 } else { 100_000_000 })
            .collect();
        for mut times in [even, skew, two, vec![1_234_567], vec![3_000; 9]] {
            let counted = histogram(times.iter().copied());
            times.sort_unstable();
            for share in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((share * times.len() as f64).ceil() as usize).max(1);
                let exact = times[rank - 1] as f64;
                let found = counted.quantile_ns(share).unwrap() as f64;
                assert!(
                    (found - exact).abs() <= exact * 0.05,
                    "{share}: {found} {exact}"
                );
            }
        }
        assert_eq!(Histogram::default().quantile_ns(0.5), None);
    }

    #[test]
    fn each_status_is_counted_by_itself_or_by_its_class() {
        assert!(STATUSES.windows(2).all(|pair| pair[0] < pair[1]));
        for (offset, place) in PLACES.into_iter().enumerate() {
            let status = offset + LEAST_STATUS;
            let listed = STATUSES.iter().position(|one| usize::from(*one) == status);
            let expected = listed.unwrap_or(STATUSES.len() + status / 100 - 1);
            assert_eq!(usize::from(place), expected, "{status}");
        }
    }

    #[test]
    fn any_counts_give_some_quantile_soon() {
        let wild = Histogram {
            sum_ns: u64::MAX,
            buckets: vec![u64::MAX; BUCKETS],
        };
        assert_eq!(wild.count(), u64::MAX);
        for share in [f64::NAN, f64::INFINITY, -1.0, 0.5, 2.0] {
            assert!(wild.quantile_ns(share).is_some());
        }
        let mut sum = Figures {
            times: [wild.clone(), wild.clone(), wild.clone()],
            responses: [u64::MAX; RESPONSES],
            ..Figures::default()
        };
        assert!(!sum.is_plausible());
        sum.add(&sum.clone());
        assert_eq!(sum.time(Time::Wait), &wild);
        assert_eq!(sum.classes(), [u64::MAX; CLASSES]);
        assert_eq!(wild.cumulative(2).last(), Some(&(None, u64::MAX)));
        assert_eq!(wild.coarse(), [u64::MAX; COARSE]);
    }

    #[test]
    fn buckets_are_merged_and_none_is_lost() {
        let counted = histogram([0, 1_500, 5_000, 6_500, 1_000_000, u64::MAX >> 8]);
        for parts in [0, 1, 2, 4, 16, 99] {
            let cumulative = counted.cumulative(parts);
            assert_eq!(cumulative.len(), BITS * parts.clamp(1, 16));
            assert_eq!(cumulative.last(), Some(&(None, 6)));
            assert!(cumulative.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            for (bound, count) in cumulative {
                let exact = [0, 1_500, 5_000, 6_500, 1_000_000, u64::MAX >> 8]
                    .iter()
                    .filter(|time| bound.is_none_or(|bound| **time < bound))
                    .count();
                assert_eq!(count, exact as u64);
            }
        }
        assert_eq!(counted.coarse().iter().sum::<u64>(), 6);
    }
}
