//! What comes from the peer, through the layer that is between the socket and the protocol.
//!
//! Always holds: what TLS replies to the input is sent before the protocol gets the input.

use super::{Layer, Received, Transport, layer_of};
use crate::introduction::Introduced;
use crate::tcp_info::tcp_info;
use crate::tls::Ended;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use std::os::fd::AsFd;

impl Transport {
    /// Reads into the spare capacity of `buffer`.
    #[inline]
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> Received {
        match self.layer.as_deref() {
            None | Some(Layer::Lent(_)) => self.receive_bytes(buffer),
            Some(Layer::Tls(_)) => self.receive_encrypted(buffer),
            Some(Layer::Introduction(_)) => self.receive_introduction(buffer),
        }
    }

    #[inline]
    fn receive_bytes(&self, buffer: &mut Vec<u8>) -> Received {
        let room_bytes = buffer.capacity() - buffer.len();
        let room = rustix::buffer::spare_capacity(buffer);
        match rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Received::End,
            Ok((len, _)) => Received::Bytes {
                len,
                all_room: len == room_bytes,
            },
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Reset,
        }
    }

    #[inline(never)] // plain bytes are read at the same place, and that is short
    fn receive_encrypted(&mut self, buffer: &mut Vec<u8>) -> Received {
        let start = buffer.len();
        let Some(tls) = self.tls_mut() else {
            return Received::Nothing;
        };
        if let Some(ended) = tls.ended() {
            return received_at(ended);
        }
        tls.restore_rest(buffer);
        let received = self.receive_bytes(buffer);
        self.open(buffer, start, received)
    }

    /// `buffer` has ciphertext from `start` on, which `received` is the last part of.
    fn open(&mut self, buffer: &mut Vec<u8>, start: usize, received: Received) -> Received {
        let Some(tls) = self.tls_mut() else {
            return received;
        };
        tls.open(buffer, start);
        let ended = tls.ended();
        let replied = self.reply();
        let all_room = match received {
            Received::Bytes { all_room, .. } => all_room,
            // The end of a record that will not come.
            Received::End | Received::Reset => return received,
            _ => false,
        };
        let len = buffer.len() - start;
        match ended {
            _ if len > 0 => Received::Bytes { len, all_room },
            Some(ended) => received_at(ended),
            None if matches!(replied, Ok(()) | Err(Errno::AGAIN)) => Received::Nothing,
            None => Received::Reset,
        }
    }

    #[inline(never)]
    fn receive_introduction(&mut self, buffer: &mut Vec<u8>) -> Received {
        let start = buffer.len();
        let Some(Layer::Introduction(introducing)) = self.layer.as_deref_mut() else {
            return Received::Nothing;
        };
        if let Some(reason) = introducing.refusal() {
            return Received::Refused(reason);
        }
        introducing.restore_part(buffer);
        let received = self.receive_bytes(buffer);
        let Some(Layer::Introduction(introducing)) = self.layer.as_deref_mut() else {
            return received;
        };
        match introducing.read(buffer, start) {
            Introduced::Part if matches!(received, Received::Bytes { .. }) => Received::Nothing,
            Introduced::Part => received,
            Introduced::Refused(reason) => Received::Refused(reason),
            Introduced::All { introduction, tls } => {
                self.layer = layer_of(tls);
                Received::Introduced(introduction)
            }
        }
    }

    /// Reads what is in `buffer` and has come behind a header.
    pub(crate) fn receive_rest(&mut self, buffer: &mut Vec<u8>) -> Received {
        let received = match buffer.len() {
            0 => Received::Nothing,
            len => Received::Bytes {
                len,
                all_room: false,
            },
        };
        self.open(buffer, 0, received)
    }

    /// Sends what the record layer or the handshake replies, after input was opened.
    fn reply(&mut self) -> Result<(), Errno> {
        let replied = self.flush();
        if self.tls().is_some_and(|tls| tls.ended().is_some()) {
            // The socket reports its end, also if data is read first.
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
        }
        replied
    }

    /// Continues the handshake of an encrypted connection without its owner, and reads
    /// nothing of what is behind it.
    #[inline]
    pub(crate) fn shake_hands(&mut self) {
        if self.layer.is_some() {
            self.read_handshake();
        }
    }

    fn read_handshake(&mut self) {
        let mut record = Vec::new();
        while let Some(Layer::Tls(tls)) = self.layer.as_deref_mut() {
            let Some(missing) = tls.missing_of_handshake() else {
                return;
            };
            tls.restore_rest(&mut record);
            let start = record.len();
            record.resize(start + missing, 0);
            let room = record.get_mut(start..).unwrap_or_default();
            let received = rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT);
            let received = received.map_or(0, |(received, _)| received);
            record.truncate(start + received);
            tls.open(&mut record, 0);
            // What goes wrong here is left to the owner.
            if self.reply().is_err() || received == 0 {
                return;
            }
        }
    }

    /// How long ago the peer's last bytes came, in nanoseconds. The kernel counts in milliseconds or in ticks of
    /// its timer. `None`: of a socket that does not tell, as a Unix socket.
    pub(crate) fn received_ago_ns(&self) -> Option<u64> {
        let info = tcp_info(self.socket.as_fd())?;
        Some(u64::from(info.tcpi_last_data_recv) * 1_000_000)
    }

    /// Whether the peer has sent something that is not read yet.
    pub(crate) fn has_input(&self) -> bool {
        let peeked = rustix::net::recv(
            &self.socket,
            &mut [0; 1],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        peeked.is_ok_and(|(len, _)| len > 0)
    }
}

fn received_at(ended: Ended) -> Received {
    match ended {
        Ended::Closed => Received::End,
        Ended::Failed => Received::Failed,
    }
}
