//! A client's bytes to messages (RFC 6455 5.4 to 5.6, 8.1).
//!
//! It owns the part of a message that has come, which never exceeds the limit. What cannot become a valid
//! message is refused as soon as its bytes show it. Control frames pass between fragments. It does not
//! know what the server sends.

use super::close_frame::CloseFrame;
use super::deflate::{DeflateConfig, Inflater};
use super::errors::{RemoteError, TOO_BIG};
use super::frame::{FrameHead, Mask, Opcode};
use super::message::Message;

/// A message or a control frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Message(Message),
    /// The server must send a Pong with this payload.
    Ping(Vec<u8>),
    Pong,
    /// The decoder must not be used again.
    Close(CloseFrame),
}

/// Reads frames, resumably.
#[derive(Debug)]
pub struct MessageDecoder {
    max_message: u64,
    inflater: Option<Inflater>,
    /// The message whose fragments are being read.
    message: Option<PartialMessage>,
    /// The frame of it whose payload is being read.
    payload: Option<Payload>,
}

#[derive(Debug)]
struct PartialMessage {
    text: bool,
    compressed: bool,
    bytes: Vec<u8>,
    /// How many of them are known to be UTF-8.
    checked: usize,
}

#[derive(Debug)]
struct Payload {
    last: bool,
    mask: Mask,
    left: u64,
}

const NOT_NEGOTIATED: RemoteError =
    RemoteError::protocol("a compressed frame without permessage-deflate");
const NOTHING_TO_CONTINUE: RemoteError = RemoteError::protocol("a continuation of no message");
const NOT_FINISHED: RemoteError = RemoteError::protocol("a message before the end of another");
const NOT_UTF8: RemoteError = RemoteError::invalid_data("a text that is not UTF-8");

impl MessageDecoder {
    /// A decoder of messages of at most `max_message` bytes, before and after decompression.
    #[must_use]
    pub fn new(max_message: u64, deflated: Option<&DeflateConfig>) -> Self {
        Self {
            max_message,
            inflater: deflated.map(Inflater::new),
            message: None,
            payload: None,
        }
    }

    /// Reads on. Returns how many bytes it took and what they held; `None` if more must come. The caller
    /// offers the bytes that were not taken again, with more behind them.
    ///
    /// # Errors
    /// [`RemoteError`], to close the connection with. The decoder must not be used again.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), RemoteError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.payload.is_some() {
                let (taken, message) = self.read_payload(rest)?;
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
                self.begin_frame(&head)?;
                at += head.size;
            }
        }
    }

    /// How much memory an incomplete message takes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let message = self.message.as_ref();
        message.map_or(0, |message| message.bytes.capacity())
    }

    /// Begins a data frame, and with it perhaps a message.
    fn begin_frame(&mut self, head: &FrameHead) -> Result<(), RemoteError> {
        if head.compressed && self.inflater.is_none() {
            return Err(NOT_NEGOTIATED);
        }
        let message = match (&mut self.message, head.opcode) {
            (Some(message), Opcode::Continuation) => message,
            (None, Opcode::Continuation) => return Err(NOTHING_TO_CONTINUE),
            (Some(_), _) => return Err(NOT_FINISHED),
            (message, opcode) => message.insert(PartialMessage {
                text: opcode == Opcode::Text,
                compressed: head.compressed,
                bytes: Vec::new(),
                checked: 0,
            }),
        };
        if head.len > self.max_message.saturating_sub(message.bytes.len() as u64) {
            return Err(TOO_BIG);
        }
        self.payload = Some(Payload {
            last: head.last,
            mask: head.mask,
            left: head.len,
        });
        Ok(())
    }

    /// Reads what has come of a frame's payload. Returns the message if this is the end of it.
    fn read_payload(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), RemoteError> {
        let (Some(payload), Some(message)) = (&mut self.payload, &mut self.message) else {
            return Ok((0, None));
        };
        let taken = usize::try_from(payload.left).map_or(input.len(), |left| left.min(input.len()));
        let before = message.bytes.len();
        message
            .bytes
            .extend_from_slice(input.get(..taken).unwrap_or_default());
        payload
            .mask
            .unmask(message.bytes.get_mut(before..).unwrap_or_default());
        payload.left -= taken as u64;
        let (done, last) = (payload.left == 0, payload.last);
        if done {
            self.payload = None;
        }
        if !(done && last) {
            message.check_text()?;
            return Ok((taken, None));
        }
        let message = match self.message.take() {
            Some(message) => Some(self.finish(message)?),
            None => None,
        };
        Ok((taken, message))
    }

    fn finish(&mut self, message: PartialMessage) -> Result<Message, RemoteError> {
        let bytes = match &mut self.inflater {
            Some(inflater) if message.compressed => {
                inflater.inflate(message.bytes, self.max_message)?
            }
            _ => message.bytes,
        };
        if message.text {
            let text = String::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
            Ok(Message::Text(text))
        } else {
            Ok(Message::Binary(bytes))
        }
    }
}

impl PartialMessage {
    /// Refuses a text as soon as it cannot become UTF-8 any more. The end of a fragment may cut a
    /// character.
    fn check_text(&mut self) -> Result<(), RemoteError> {
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
    mask.unmask(&mut payload);
    match head.opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Close => CloseFrame::read(&payload).map(Incoming::Close),
        _ => Ok(Incoming::Pong),
    }
}
