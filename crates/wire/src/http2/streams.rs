//! The streams of a connection that are open, and who writes next.
//!
//! Always holds: a stream is in the table from its head until both sides have ended it or one has
//! reset it; the order is that of the numbers.

use super::priority::Priority;
use std::collections::VecDeque;

/// How many streams that we have reset are remembered at least: the peer may not have seen that yet.
const REMEMBERED: usize = 256;
/// A table with room for more streams is made smaller when the last one ends: a connection may idle for long.
const KEPT: usize = 16;

/// What the caller is told of the data of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Body,
    /// All of it, however much comes.
    Messages,
    /// Nothing: the request is refused.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// How much DATA we may send. It may be negative (RFC 9113 6.9.2).
    pub(super) send_window: i64,
    /// How much DATA the peer may send.
    pub(super) receive_window: i64,
    /// Received and taken by the application, but not given back to the peer.
    pub(super) taken: u32,
    /// What is missing of the Content-Length.
    pub(super) length_left: Option<u64>,
    /// How much data has come.
    pub(super) received: u64,
    pub(super) told: Told,
    /// The peer has ended its side.
    pub(super) ended: bool,
    /// The caller has something to send, except for the window.
    pub(super) is_ready: bool,
    pub(super) priority: Priority,
    /// When it wrote last; streams of the same priority that share take turns.
    turn: u64,
}

#[derive(Debug)]
pub(super) struct Streams {
    /// Those that end are mostly near one of its ends.
    open: VecDeque<Stream>,
    /// How many may be open.
    most: usize,
    reset: VecDeque<u32>,
    turn: u64,
}

impl Streams {
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: VecDeque::new(),
            most,
            reset: VecDeque::new(),
            turn: 0,
        }
    }

    /// Whether no further one may be open.
    pub(super) fn are_full(&self) -> bool {
        self.open.len() >= self.most
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn place(&self, id: u32) -> Result<usize, usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.open.get(self.place(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id).ok()?;
        self.open.get_mut(place)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.iter_mut()
    }

    /// Adds a stream with a higher number than all before.
    pub(super) fn open(&mut self, id: u32, priority: Priority, windows: (i64, i64)) -> &mut Stream {
        let place = self.place(id).unwrap_or_else(|place| place);
        let (send_window, receive_window) = windows;
        self.open.insert(
            place,
            Stream {
                id,
                send_window,
                receive_window,
                taken: 0,
                length_left: None,
                received: 0,
                told: Told::Body,
                ended: false,
                is_ready: false,
                priority,
                turn: 0,
            },
        );
        #[expect(clippy::indexing_slicing, reason = "it was inserted there")]
        &mut self.open[place]
    }

    pub(super) fn close(&mut self, id: u32) -> bool {
        let place = self.place(id);
        let closed = place.map(|place| self.open.remove(place)).is_ok();
        if self.open.is_empty() {
            self.open.shrink_to(KEPT);
        }
        closed
    }

    /// Notes that we have reset a stream. We may reset all that are open, and refuse as many, before the peer
    /// hears of it.
    pub(super) fn remember(&mut self, id: u32) {
        if self.reset.len() >= REMEMBERED.max(2 * self.most) {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    /// Whether we have reset the stream not long ago.
    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    /// The stream that writes next (RFC 9218 10).
    pub(super) fn next(&mut self) -> Option<u32> {
        let ready = self.open.iter_mut();
        let ready = ready.filter(|stream| stream.is_ready && stream.send_window > 0);
        let next = ready.min_by_key(|stream| {
            let Priority {
                urgency,
                incremental,
            } = stream.priority;
            let turn = if incremental { stream.turn } else { 0 };
            (urgency, incremental, turn, stream.id)
        })?;
        self.turn += 1;
        next.turn = self.turn;
        Some(next.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(priorities: &[(u8, bool)]) -> Streams {
        let mut streams = Streams::new(128);
        for (id, (urgency, incremental)) in (1..).step_by(2).zip(priorities) {
            let priority = Priority {
                urgency: *urgency,
                incremental: *incremental,
            };
            streams.open(id, priority, (100, 100)).is_ready = true;
        }
        streams
    }

    #[test]
    fn urgent_ones_go_first_and_incremental_ones_share() {
        let mut streams = streams(&[(3, true), (3, true), (1, false), (1, false), (3, false)]);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.extend(streams.next());
        }
        assert_eq!(order, [5, 5, 5]);
        streams.close(5);
        streams.get_mut(7).unwrap().is_ready = false;
        assert_eq!(streams.next(), Some(9));
        streams.get_mut(9).unwrap().send_window = 0;
        let shared: Vec<_> = (0..4).filter_map(|_| streams.next()).collect();
        assert_eq!(shared, [1, 3, 1, 3]);
    }

    #[test]
    fn what_was_reset_is_remembered_for_a_while() {
        for (most, remembered) in [(1, 256), (128, 256), (1_024, 2_048)] {
            let mut streams = Streams::new(most);
            for id in 1..=remembered + 1 {
                streams.remember(id);
            }
            assert!(!streams.was_reset(1) && streams.was_reset(2), "{most}");
        }
    }

    #[test]
    fn an_empty_table_keeps_little_memory() {
        let mut streams = Streams::new(1_024);
        for id in 0..1_024 {
            assert!(!streams.are_full());
            streams.open(2 * id + 1, Priority::default(), (100, 100));
        }
        assert!(streams.are_full());
        for id in 0..1_024 {
            assert!(streams.close(2 * id + 1) && !streams.close(2 * id + 1));
        }
        assert!(streams.open.capacity() < 64, "{}", streams.open.capacity());
    }
}
