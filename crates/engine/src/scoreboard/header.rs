//! The manager's page: about itself, its limits, and the workers that have exited.

use super::sequence::Sequence;
use super::word::{Cell, Word};

/// A field of the header, for readers that go through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Flag(bool),
    Number(u64),
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

/// Makes the plain `Header` and its image in shared memory from one list of fields.
macro_rules! header {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        /// The manager's page as a value: one consistent copy.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Header {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Header {
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, Value)> {
                [$((stringify!($field), Value::from(self.$field)),)*].into_iter()
            }

            /// Sets a field by its name. False if there is no such field or the number does
            /// not fit it.
            pub fn set(&mut self, name: &str, number: u64) -> bool {
                match name {
                    $(stringify!($field) => {
                        self.$field = <$kind>::from_bits(number);
                        self.$field.to_bits() == number
                    })*
                    _ => false,
                }
            }
        }

        #[repr(C)]
        pub(super) struct SharedHeader {
            sequence: Sequence,
            $(pub $field: Word<$kind>,)*
        }

        impl SharedHeader {
            /// Manager only.
            pub fn store(&self, header: &Header) {
                self.sequence.write(|| {
                    $(self.$field.set(header.$field);)*
                });
            }

            pub fn load(&self) -> Header {
                let copy = || Header { $($field: self.$field.get(),)* };
                // A manager that was killed during a write leaves words of two versions. Each
                // of them is valid.
                self.sequence.read(copy).unwrap_or_else(copy)
            }
        }
    };
}

header! {
    /// Process id of the manager.
    pid: u32,
    /// When the manager started, in seconds since 1970.
    started_unix_s: u64,
    /// The same on the monotonic clock, as are the times of the slots.
    started_ns: u64,
    /// The code that new workers run.
    generation: u32,
    min_spare: u32,
    max_spare: u32,
    max_clients: u32,
    /// Whether another worker may be forked now. If not, no worker needs to wake the
    /// manager.
    may_grow: bool,
    /// No spare is left and the pool may not grow: active workers accept too.
    overcommit: bool,
    /// The server is shutting down.
    stopping: bool,
    /// Workers that exit are replaced: other workers adopt what is in the central
    /// queue.
    kept: bool,
    /// The pool ends, and workers of another one adopt what is in the central queue.
    succeeded: bool,
    /// A worker that has accepted a client goes behind the others, so that each gets some.
    takes_turns: bool,
    /// The lowest level that the log of each process shows, as Python's `logging` counts it; 0 is
    /// that of the start.
    log_level: u32,
    /// No worker writes which paths are asked for.
    hides_paths: bool,
    /// How often the counts of a worker that has ended were added here. Odd: that is being done.
    clears: u64,
    /// Workers forked so far.
    forked: u64,
    /// Of these, how many have exited.
    died: u64,
    /// Of these, how many never became spare.
    boot_failed: u64,
    /// Counters of the workers that have exited.
    retired_requests: u64,
    retired_bytes_in: u64,
    retired_bytes_out: u64,
    retired_handed_off: u64,
    retired_adopted: u64,
    retired_responses: u64,
    retired_errors: u64,
    retired_log_lost: u64,
    retired_limited_address: u64,
    retired_limited_connections: u64,
    retired_limited_queue: u64,
    retired_limited_requests: u64,
    retired_limited_line: u64,
    retired_limited_head: u64,
    retired_limited_body: u64,
    retired_limited_rate: u64,
}
