//! A request's body while it comes.
//!
//! Owns: how far its decoding is, what of it was collected, and the pace that
//! it must keep. The application either gets it whole (`Phase::Collecting`) or
//! has begun and asks for one part after another. Always holds: while the
//! application does not want it, nothing is read from the socket, so a client
//! sends no faster than the application takes, and that time does not count
//! for its pace. Knows no connection: bytes come from the caller.

use crate::body::{Body, Spool};
use prefork_wire::{BodyDecoder, Limits, RemoteError};
use std::io;

/// The minimum rate of a body is judged over windows of this length.
const RATE_WINDOW_MS: u64 = 5_000;

/// A part of a body, as the application reads it.
#[derive(Default)]
pub struct BodyPart {
    pub data: Vec<u8>,
    /// The body ends with it.
    pub last: bool,
}

/// What of an exchange's body was not read; nothing if there is none, or all of it was.
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

    /// What comes, if it will be read.
    #[inline]
    pub(crate) fn coming(&self) -> Option<&RequestBody> {
        self.0.as_deref().filter(|body| !body.is_dropped())
    }

    #[inline]
    pub(crate) fn coming_mut(&mut self) -> Option<&mut RequestBody> {
        self.0.as_deref_mut().filter(|body| !body.is_dropped())
    }

    /// The rest will not be read, so what follows it on the connection cannot be either.
    #[inline]
    pub(crate) fn drop_rest(&mut self) {
        if let Some(body) = &mut self.0 {
            body.window = Window::Dropped;
            body.body = Body::Memory(Vec::new());
        }
    }

    /// The application waits for more of it.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.coming().is_some_and(RequestBody::is_wanted)
    }
}

/// The current window, which passes only while the body is wanted.
enum Window {
    Held {
        left_ms: u64,
    },
    Runs {
        until_ms: u64,
    },
    /// There is none any more: the rest will not be read.
    Dropped,
}

/// What became of a collected body.
pub(crate) enum Collected {
    /// The peer has to send more first.
    More,
    /// All of it has come, or the reason why it cannot be kept.
    All(io::Result<Body>),
}

pub(crate) struct RequestBody {
    decoder: BodyDecoder,
    /// What was collected.
    body: Body,
    /// Bytes that came in the current window.
    in_window: u64,
    window: Window,
}

impl RequestBody {
    fn new(decoder: BodyDecoder) -> Self {
        RequestBody {
            decoder,
            body: Body::Memory(Vec::new()),
            in_window: 0,
            window: Window::Held {
                left_ms: RATE_WINDOW_MS,
            },
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(self.window, Window::Dropped)
    }

    fn is_wanted(&self) -> bool {
        matches!(self.window, Window::Runs { .. })
    }

    pub(crate) fn want(&mut self, now_ms: u64) {
        if let Window::Held { left_ms } = self.window {
            let until_ms = now_ms + left_ms;
            self.window = Window::Runs { until_ms };
        }
    }

    fn hold(&mut self, now_ms: u64) {
        if let Window::Runs { until_ms } = self.window {
            let left_ms = until_ms.saturating_sub(now_ms);
            self.window = Window::Held { left_ms };
        }
    }

    /// When its pace is to be judged; `None` while it is not wanted.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        match self.window {
            Window::Held { .. } | Window::Dropped => None,
            Window::Runs { until_ms } => Some(until_ms),
        }
    }

    /// Ends a window; whether enough came in it.
    pub(crate) fn keeps_pace(&mut self, rate: u64, now_ms: u64) -> bool {
        self.window = Window::Runs {
            until_ms: now_ms + RATE_WINDOW_MS,
        };
        std::mem::take(&mut self.in_window) >= rate * RATE_WINDOW_MS / 1000
    }

    /// Adds what is in `input` to what was collected; returns also how many
    /// bytes of `input` were used.
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
        loop {
            let input = input.get(used..).unwrap_or_default();
            let decoded = self.decoder.decode(input, limits)?;
            used += decoded.consumed;
            let data = input.get(decoded.data.clone()).unwrap_or_default();
            self.in_window += data.len() as u64;
            if let Err(error) = self.body.push(data, spool) {
                return Ok((used, Collected::All(Err(error))));
            }
            if decoded.done {
                let rewound = self.body.rewind();
                let body = std::mem::replace(&mut self.body, Body::Memory(Vec::new()));
                return Ok((used, Collected::All(rewound.map(|()| body))));
            }
            if decoded.consumed == 0 {
                return Ok((used, Collected::More));
            }
        }
    }

    /// Decodes all of `input` that belongs to the body; returns also how many
    /// bytes were used. `None`: the peer has to send more first.
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

    /// The application has been given `part`, and asks for the next when it likes.
    pub(crate) fn gave(&mut self, part: &BodyPart, now_ms: u64) {
        self.in_window += part.data.len() as u64;
        self.hold(now_ms);
    }
}
