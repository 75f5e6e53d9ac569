//! Reads frames, one after the other: what each means for the connection, and whether it may have it.

use super::{
    BAD_SETTING, BAD_SIZE, BAD_STREAM, BAD_WINDOW, Connection, ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH, FRAME_BYTES, Fault, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, INTERRUPTED, Incoming,
    LARGEST_WINDOW, MAX_FRAME_SIZE, MOST_FRAME_BYTES, NO_INCREMENT, NO_PREFACE,
    NO_RFC7540_PRIORITIES, NO_SETTINGS, NOT_BEGUN, PUSHED, Read, Stage,
};
use crate::http2::budget::Cost;
use crate::http2::frame::{self, ErrorCode, FrameHead, HEAD_BYTES, Kind, PREFACE};
use crate::http2::priority::Priority;
use crate::limits::Limits;

impl Connection {
    /// Reads frames until one concerns the caller, and writes the replies to the others to `out`.
    /// `input` begins where the last call has ended. The next call needs more input if nothing was
    /// consumed.
    ///
    /// # Errors
    /// [`Fault`]: write [`Self::write_goaway`] and close the connection.
    pub fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<Read, Fault> {
        self.budget.pass(now_ms);
        let mut at = 0;
        if self.stage == Stage::Preface {
            match Self::is_preface(input) {
                Some(true) => {
                    self.stage = Stage::Settings;
                    at = PREFACE.len();
                }
                Some(false) => return Err(NO_PREFACE),
                None => return Ok(Read::default()),
            }
        }
        let mut incoming = None;
        while incoming.is_none() {
            let rest = input.get(at..).unwrap_or_default();
            let Some(head) = FrameHead::read(rest) else {
                break;
            };
            self.judge(&head)?;
            let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.len) else {
                break;
            };
            at += HEAD_BYTES;
            incoming = self.frame(&head, payload, at, out, limits)?;
            at += head.len;
        }
        Ok(Read {
            consumed: at,
            incoming,
        })
    }

    /// Judges a frame by its head, before its payload has come.
    fn judge(&mut self, head: &FrameHead) -> Result<(), Fault> {
        if self.stage == Stage::Settings && head.kind != Kind::Settings {
            return Err(NO_SETTINGS);
        }
        if head.len > FRAME_BYTES {
            return Err(BAD_SIZE);
        }
        match &self.block {
            Some(block) if head.kind != Kind::Continuation || head.stream != block.stream => {
                Err(INTERRUPTED)
            }
            None if head.kind == Kind::Continuation => Err(NOT_BEGUN),
            _ => Ok(()),
        }
    }

    /// Reads one frame. `at`: where its payload begins in the input.
    fn frame(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        at: usize,
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        match head.kind {
            Kind::Data => self.data(head, payload, at, out, limits),
            Kind::Headers => self.headers(head, payload, out, limits),
            Kind::Continuation => self.continuation(head, payload, out, limits),
            Kind::Priority => self.priority(head, payload, out),
            Kind::Reset => self.reset_by_peer(head, payload),
            Kind::Settings => self.settings(head, payload, out).map(|()| None),
            Kind::Push => Err(PUSHED),
            Kind::Ping => self.ping(head, payload, out).map(|()| None),
            Kind::GoAway if head.stream != 0 => Err(BAD_STREAM),
            Kind::GoAway if head.len < 8 => Err(BAD_SIZE),
            // The client opens no more streams. What is open goes on.
            Kind::GoAway => self.spend(Cost::Ping).map(|()| None),
            Kind::Window => self.window(head, payload, out),
            Kind::PriorityUpdate => self.priority_update(head, payload).map(|()| None),
            Kind::Unknown => self.spend(Cost::Unknown).map(|()| None),
        }
    }
}

// ---- frames of the connection --------------------------------------------------------

impl Connection {
    fn settings(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let is_ack = head.has(frame::ACK);
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        if (is_ack && head.len > 0) || head.len % 6 != 0 {
            return Err(BAD_SIZE);
        }
        if self.stage == Stage::Settings {
            if is_ack {
                return Err(NO_SETTINGS);
            }
            self.stage = Stage::Open;
        } else if !is_ack {
            self.spend(Cost::Settings)?;
        }
        if is_ack {
            return Ok(());
        }
        for setting in payload.chunks_exact(6) {
            let [a, b, rest @ ..] = setting else { continue };
            let value = frame::number(rest).unwrap_or(0);
            self.set(u16::from_be_bytes([*a, *b]), value)?;
        }
        frame::write_settings_ack(out);
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            HEADER_TABLE_SIZE => self.encoder.limit(value as usize),
            ENABLE_PUSH if value > 1 => return Err(BAD_SETTING),
            INITIAL_WINDOW_SIZE => {
                let window = i64::from(value);
                if window > LARGEST_WINDOW {
                    return Err(BAD_WINDOW);
                }
                let change = window - self.peer_window;
                self.peer_window = window;
                for stream in self.streams.iter_mut() {
                    stream.send_window += change;
                    if stream.send_window > LARGEST_WINDOW {
                        return Err(BAD_WINDOW);
                    }
                }
            }
            MAX_FRAME_SIZE if !(16_384..=0xff_ffff).contains(&value) => return Err(BAD_SETTING),
            MAX_FRAME_SIZE => self.peer_frame = (value as usize).min(MOST_FRAME_BYTES),
            ENABLE_CONNECT_PROTOCOL | NO_RFC7540_PRIORITIES if value > 1 => {
                return Err(BAD_SETTING);
            }
            _ => {}
        }
        Ok(())
    }

    fn ping(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        if head.len != 8 {
            return Err(BAD_SIZE);
        }
        self.spend(Cost::Ping)?;
        if !head.has(frame::ACK) {
            frame::write_ping_ack(out, payload);
        }
        Ok(())
    }

    fn window(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Incoming>, Fault> {
        if head.len != 4 {
            return Err(BAD_SIZE);
        }
        self.spend(Cost::Window)?;
        let increment = i64::from(frame::number_31(payload).unwrap_or(0));
        if head.stream == 0 {
            self.send_window += increment;
            return match () {
                () if increment == 0 => Err(NO_INCREMENT),
                () if self.send_window > LARGEST_WINDOW => Err(BAD_WINDOW),
                () => Ok(None),
            };
        }
        self.must_not_be_idle(head.stream)?;
        let Some(stream) = self.streams.get_mut(head.stream) else {
            return Ok(None);
        };
        stream.send_window += increment;
        match stream.send_window > LARGEST_WINDOW {
            _ if increment == 0 => {
                let reason = "a window is increased by 0";
                self.fail(head.stream, ErrorCode::Protocol, reason, out)
            }
            true => {
                let reason = "a window out of its range";
                self.fail(head.stream, ErrorCode::FlowControl, reason, out)
            }
            false => Ok(None),
        }
    }

    fn priority_update(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        let stream = frame::number_31(payload).ok_or(BAD_SIZE)?;
        if stream == 0 {
            return Err(BAD_STREAM);
        }
        self.spend(Cost::Priority)?;
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.priority = Priority::read(payload.get(4..).unwrap_or_default());
        }
        Ok(())
    }
}
