//! How many streams a client may have open on one connection.
//!
//! It is decided when the connection begins. The protocol's state machine announces it, and refuses more.

/// How many streams a client may have open at least, however few the pool can serve: the others wait. RFC
/// 9113, 6.5.2, advises against fewer than 100.
const FEW_STREAMS: u32 = 128;

/// And at most, however many the pool can serve: a stream may hold its head and a window of its body in
/// memory, and what is done about a connection takes longer the more streams it has.
const MANY_STREAMS: u32 = 1_024;

/// How many streams a client may have open: `option`, or as many requests as the pool serves at once, so that
/// one connection of a proxy can keep all of it busy.
pub(super) fn max_streams(option: Option<u64>, pool_capacity: u32) -> u32 {
    match option {
        Some(streams) => u32::try_from(streams).unwrap_or(u32::MAX),
        None => pool_capacity.clamp(FEW_STREAMS, MANY_STREAMS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_have_as_many_streams_as_the_pool_serves() {
        for (option, pool_capacity, streams) in [
            (None, 0, 128),
            (None, 128, 128),
            (None, 400, 400),
            (None, u32::MAX, 1_024),
            (Some(1), 400, 1),
            (Some(10_000), 0, 10_000),
        ] {
            assert_eq!(max_streams(option, pool_capacity), streams);
        }
    }
}
