//! A request's body while it is received.
//!
//! Owns: the decoder, the bytes collected so far, and the window in which the
//! rate is measured. The application gets the body whole (`Phase::Collecting`),
//! or asks for one part after another. Always holds: while the application does
//! not want more of it, nothing is read from the socket: the client cannot send
//! faster than the application reads, and that time does not count for its
//! rate. Knows no connection: the caller passes the bytes.

use crate::body::{Body, Growing, Spool, Store};
use prefork_wire::{BodyDecoder, Limits, RemoteError};
use std::fs::File;
use std::io;

/// An application that reads a body gets so much of it at once, if it is there:
/// each part costs it a turn of its loop, and often a call in a thread.
pub(crate) const PART_BYTES: usize = 512 * 1024;

/// So much is worth waiting for from a client that sends faster than the application reads. By turns they would
/// get the processor for each few packets on a busy machine.
const LARGE_PART_BYTES: usize = PART_BYTES / 2;

/// How long: a client that stops after it was fast is noticed by then, and a tick of the timers.
const LARGE_PART_MS: u64 = 100;

/// The rate of a body is measured over windows of this length.
const RATE_WINDOW_MS: u64 = 5_000;

/// A part of a body, as the application reads it.
#[derive(Default)]
pub struct BodyPart {
    pub data: Vec<u8>,
    /// The body ends with it.
    pub last: bool,
}

/// The unread rest of an exchange's body; `None` if there is no body, or all of it was
/// read.
#[derive(Default)]
pub(crate) struct Incoming(Option<Box<RequestBody>>);

impl Incoming {
    pub(crate) fn new(decoder: BodyDecoder) -> Self {
        Incoming(Some(Box::new(RequestBody::new(decoder))))
    }

    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn complete(&mut self) {
        self.0 = None;
    }

    /// The client sends faster than the body is read. Returns how large a part is worth waiting for from now on,
    /// if that was not known.
    pub(crate) fn outruns(&mut self) -> Option<usize> {
        self.coming_mut()?.outruns()
    }

    /// The body, if it will still be read.
    #[inline]
    pub(crate) fn coming(&self) -> Option<&RequestBody> {
        self.0.as_deref().filter(|body| !body.is_dropped())
    }

    #[inline]
    pub(crate) fn coming_mut(&mut self) -> Option<&mut RequestBody> {
        self.0.as_deref_mut().filter(|body| !body.is_dropped())
    }

    /// Discards the rest. It is not read from the connection, so no further request is
    /// either.
    #[inline]
    pub(crate) fn drop_rest(&mut self) {
        if let Some(body) = &mut self.0 {
            body.window = Window::Dropped;
            body.body.free_memory();
        }
    }

    /// Takes the file of a body that is not used any more.
    #[inline]
    pub(crate) fn take_file(&mut self) -> Option<File> {
        self.0.as_mut()?.body.take_file()
    }

    /// Whether bytes of it are being stored.
    pub(crate) fn is_storing(&self) -> bool {
        self.0.as_ref().is_some_and(|body| body.storing)
    }

    /// Whether the application waits for more.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.coming().is_some_and(RequestBody::is_wanted)
    }
}

/// The current window. Its time passes only while the body is wanted.
enum Window {
    Held {
        left_ms: u64,
    },
    Runs {
        until_ms: u64,
    },
    /// The rest will not be read.
    Dropped,
}

/// The state of a body that is collected.
pub(crate) enum Collected {
    /// Incomplete: more must be received.
    More,
    /// To be stored first.
    Store(Store),
    All(Body),
}

pub(crate) struct RequestBody {
    decoder: BodyDecoder,
    /// The bytes collected so far.
    body: Growing,
    /// Some of them are being stored.
    storing: bool,
    /// Bytes received in the current window.
    in_window: u64,
    window: Window,
    pace: Pace,
}

/// How the client sends it, beside how the application reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each part is what has come when the application asks.
    Follows,
    /// Faster. A part is worth waiting for until it is large, or until then.
    Outruns { until_ms: u64 },
    /// As with `Follows`, to the end: a large part did not come in time, or the rest is short or unknown.
    Settled,
}

impl RequestBody {
    fn new(decoder: BodyDecoder) -> Self {
        RequestBody {
            decoder,
            body: Growing::default(),
            storing: false,
            in_window: 0,
            window: Window::Held {
                left_ms: RATE_WINDOW_MS,
            },
            pace: Pace::Follows,
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(self.window, Window::Dropped)
    }

    fn is_wanted(&self) -> bool {
        matches!(self.window, Window::Runs { .. })
    }

    /// Notes that all of a body in frames has come.
    pub(crate) fn end_frames(&mut self) {
        if let BodyDecoder::Frames { ended } = &mut self.decoder {
            *ended = true;
        }
    }

    /// Whether all of a body in frames has come.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.decoder, BodyDecoder::Frames { ended: true })
    }

    pub(crate) fn want(&mut self, now_ms: u64) {
        if let Window::Held { left_ms } = self.window {
            let until_ms = now_ms + left_ms;
            self.window = Window::Runs { until_ms };
        }
        if let Pace::Outruns { until_ms } = &mut self.pace {
            *until_ms = now_ms + LARGE_PART_MS;
        }
    }

    /// Where the end is not known, waiting would delay it.
    fn outruns(&mut self) -> Option<usize> {
        if self.pace != Pace::Follows {
            return None;
        }
        let end_is_known = matches!(self.decoder, BodyDecoder::Length { .. });
        let (pace, least) = match end_is_known {
            true => (Pace::Outruns { until_ms: u64::MAX }, LARGE_PART_BYTES),
            false => (Pace::Settled, 1),
        };
        self.pace = pace;
        Some(least)
    }

    /// A deadline has passed. Returns whether it was that of a large part.
    pub(crate) fn waited_in_vain(&mut self, now_ms: u64) -> bool {
        let is_late = matches!(self.pace, Pace::Outruns { until_ms } if until_ms <= now_ms);
        if is_late {
            self.pace = Pace::Settled;
        }
        is_late
    }

    /// Whether the rest is too short to wait for a large part of it, and it was not known.
    ///
    /// Under TLS a record may have been received in part: more than a large part must be left.
    pub(crate) fn nears_end(&mut self) -> bool {
        let is_near = matches!(self.pace, Pace::Outruns { .. })
            && matches!(self.decoder, BodyDecoder::Length { left } if left < PART_BYTES as u64);
        if is_near {
            self.pace = Pace::Settled;
        }
        is_near
    }

    pub(crate) fn hold(&mut self, now_ms: u64) {
        if let Window::Runs { until_ms } = self.window {
            let left_ms = until_ms.saturating_sub(now_ms);
            self.window = Window::Held { left_ms };
        }
    }

    /// When the window ends, or the time for a large part; `None` while the body is not wanted.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        match (&self.window, self.pace) {
            (Window::Held { .. } | Window::Dropped, _) => None,
            (Window::Runs { until_ms }, Pace::Outruns { until_ms: large }) => {
                Some(large.min(*until_ms))
            }
            (Window::Runs { until_ms }, _) => Some(*until_ms),
        }
    }

    /// Ends a window and begins the next. Returns whether enough bytes came in
    /// it.
    pub(crate) fn keeps_pace(&mut self, rate: u64, now_ms: u64) -> bool {
        self.window = Window::Runs {
            until_ms: now_ms + RATE_WINDOW_MS,
        };
        std::mem::take(&mut self.in_window) >= rate * RATE_WINDOW_MS / 1000
    }

    /// Decodes and collects what is in `input`. Also returns how many bytes of
    /// `input` were consumed: none while bytes are being stored.
    ///
    /// # Errors
    /// The peer broke the rules.
    pub(crate) fn collect(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spool: &Spool,
    ) -> Result<(usize, Collected), RemoteError> {
        let mut used = 0;
        if self.storing {
            return Ok((used, Collected::More));
        }
        let last = loop {
            let input = input.get(used..).unwrap_or_default();
            let decoded = self.decoder.decode(input, limits)?;
            used += decoded.consumed;
            let data = input.get(decoded.data.clone()).unwrap_or_default();
            self.in_window += data.len() as u64;
            self.body.push(data);
            if decoded.done || decoded.consumed == 0 {
                break decoded.done;
            }
        };
        let collected = match self.body.store(spool, last) {
            Some(store) => {
                self.storing = true;
                Collected::Store(store)
            }
            None if last => Collected::All(self.body.finish()),
            None => Collected::More,
        };
        Ok((used, collected))
    }

    /// Bytes are stored. Returns the body if it is complete.
    ///
    /// # Errors
    /// Why they cannot be stored.
    pub(crate) fn stored(&mut self, store: Store) -> io::Result<Option<Body>> {
        self.storing = false;
        let last = store.last;
        self.body.stored(store)?;
        Ok(last.then(|| self.body.finish()))
    }

    /// Decodes what is in `input` of the body. Also returns how many bytes were
    /// consumed. `None`: more must be received.
    ///
    /// # Errors
    /// The peer broke the rules.
    pub(crate) fn take_part(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Option<BodyPart>), RemoteError> {
        let mut data = Vec::new();
        let mut used = 0;
        loop {
            let input = input.get(used..).unwrap_or_default();
            let decoded = self.decoder.decode(input, limits)?;
            used += decoded.consumed;
            data.extend_from_slice(input.get(decoded.data).unwrap_or_default());
            if decoded.done || decoded.consumed == 0 {
                let last = decoded.done;
                let part = (last || !data.is_empty()).then_some(BodyPart { data, last });
                return Ok((used, part));
            }
        }
    }

    /// The application has got `part`. The window stops until it wants the next
    /// one.
    pub(crate) fn part_given(&mut self, part: &BodyPart, now_ms: u64) {
        self.in_window += part.data.len() as u64;
        self.hold(now_ms);
    }
}
