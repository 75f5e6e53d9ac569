//! A client's bytes to whole messages (RFC 6455 5.4 to 5.6, 8.1).
//!
//! It owns what has come of a message. It always holds that this is within the limit, that what
//! cannot become a valid message is refused as early as its bytes show it, and that control frames
//! pass between fragments. It must not know what is answered.

use super::Message;
use super::closing::{CloseCode, CloseFrame, RemoteError};
use super::deflate::{DeflateConfig, Inflater};
use super::frame::{FrameHead, Mask, Opcode};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Message(Message),
    /// To be answered by a Pong with this payload.
    Ping(Vec<u8>),
    Pong,
    /// Nothing after it is read.
    Close(CloseFrame),
}

/// Reads frames, resumably.
#[derive(Debug)]
pub struct MessageDecoder {
    max_message: u64,
    inflater: Option<Inflater>,
    /// The message whose fragments come.
    begun: Option<Begun>,
    /// The frame of it whose payload comes.
    payload: Option<Payload>,
}

#[derive(Debug)]
struct Begun {
    text: bool,
    compressed: bool,
    bytes: Vec<u8>,
    /// So many of them are known to be UTF-8.
    checked: usize,
}

#[derive(Debug)]
struct Payload {
    last: bool,
    mask: Mask,
    left: u64,
}

const NOT_ASKED: RemoteError =
    RemoteError::protocol("a compressed frame without permessage-deflate");
const NOTHING_TO_CONTINUE: RemoteError = RemoteError::protocol("a continuation of no message");
const NOT_FINISHED: RemoteError = RemoteError::protocol("a message before the end of another");
pub(super) const TOO_BIG: RemoteError = RemoteError {
    code: CloseCode::TOO_BIG,
    reason: "a message over the limit",
};
const NOT_UTF8: RemoteError = RemoteError {
    code: CloseCode::INVALID_DATA,
    reason: "a text that is not UTF-8",
};

impl MessageDecoder {
    /// A decoder of messages of at most `max_message` bytes, before and after decompression.
    #[must_use]
    pub fn new(max_message: u64, deflated: Option<&DeflateConfig>) -> Self {
        Self {
            max_message,
            inflater: deflated.map(Inflater::new),
            begun: None,
            payload: None,
        }
    }

    /// Reads on. Returns how many bytes it took and what they brought; `None` when more must come.
    /// Bytes that were not taken are to be offered again, with more behind them.
    ///
    /// # Errors
    /// The [`RemoteError`] to close with. The decoder must not be used again.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), RemoteError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.payload.is_some() {
                let (taken, message) = self.take(rest)?;
                at += taken;
                if message.is_some() || at == input.len() {
                    return Ok((at, message.map(Incoming::Message)));
                }
            } else {
                let Some(head) = FrameHead::read(rest)? else {
                    return Ok((at, None));
                };
                if head.opcode.is_control() {
                    let end = head.size + head.len as usize;
                    let Some(payload) = rest.get(head.size..end) else {
                        return Ok((at, None));
                    };
                    return Ok((at + end, Some(control(&head, payload)?)));
                }
                self.enter(&head)?;
                at += head.size;
            }
        }
    }

    /// A frame of data begins.
    fn enter(&mut self, head: &FrameHead) -> Result<(), RemoteError> {
        if head.compressed && self.inflater.is_none() {
            return Err(NOT_ASKED);
        }
        let begun = match (&mut self.begun, head.opcode) {
            (Some(begun), Opcode::Continuation) => begun,
            (None, Opcode::Continuation) => return Err(NOTHING_TO_CONTINUE),
            (Some(_), _) => return Err(NOT_FINISHED),
            (begun, opcode) => begun.insert(Begun {
                text: opcode == Opcode::Text,
                compressed: head.compressed,
                bytes: Vec::new(),
                checked: 0,
            }),
        };
        if head.len > self.max_message.saturating_sub(begun.bytes.len() as u64) {
            return Err(TOO_BIG);
        }
        self.payload = Some(Payload {
            last: head.last,
            mask: head.mask,
            left: head.len,
        });
        Ok(())
    }

    /// Takes what has come of a frame's payload; the message if that was its end.
    fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), RemoteError> {
        let (Some(payload), Some(begun)) = (&mut self.payload, &mut self.begun) else {
            return Ok((0, None));
        };
        let taken = usize::try_from(payload.left).map_or(input.len(), |left| left.min(input.len()));
        let before = begun.bytes.len();
        begun
            .bytes
            .extend_from_slice(input.get(..taken).unwrap_or_default());
        payload
            .mask
            .lift(begun.bytes.get_mut(before..).unwrap_or_default());
        payload.left -= taken as u64;
        let (done, last) = (payload.left == 0, payload.last);
        if done {
            self.payload = None;
        }
        if !(done && last) {
            begun.check()?;
            return Ok((taken, None));
        }
        let message = match self.begun.take() {
            Some(begun) => Some(self.finish(begun)?),
            None => None,
        };
        Ok((taken, message))
    }

    fn finish(&mut self, begun: Begun) -> Result<Message, RemoteError> {
        let bytes = match &mut self.inflater {
            Some(inflater) if begun.compressed => {
                inflater.inflate(begun.bytes, self.max_message)?
            }
            _ => begun.bytes,
        };
        if begun.text {
            let text = String::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
            Ok(Message::Text(text))
        } else {
            Ok(Message::Binary(bytes))
        }
    }
}

impl Begun {
    /// Refuses a text as soon as it cannot become UTF-8 any more; a character may be cut by the end
    /// of a fragment.
    fn check(&mut self) -> Result<(), RemoteError> {
        if !self.text || self.compressed {
            return Ok(());
        }
        let fresh = self.bytes.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(fresh) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(NOT_UTF8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

fn control(head: &FrameHead, payload: &[u8]) -> Result<Incoming, RemoteError> {
    let mut payload = payload.to_vec();
    let mut mask = head.mask;
    mask.lift(&mut payload);
    match head.opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Close => CloseFrame::read(&payload).map(Incoming::Close),
        _ => Ok(Incoming::Pong),
    }
}
