//! What is done about a client that is one too many.
//!
//! Always holds: a client is refused without the application, at the cost of one
//! response that is sent as far as the socket takes it at once.

use super::Core;
use crate::context::Context;
use crate::event::{Client, Event, ListenerNews};
use crate::http1::responses::retry_after;
use crate::link::Flushed;
use crate::listener::{Accepted, Listener, Listening};
use crate::peer::Peer;
use crate::scoreboard::Limit;
use crate::transport::Transport;
use prefork_wire::{RemoteError, write_error};
use std::os::fd::OwnedFd;

/// How many waiting clients are refused at once, at most.
const REFUSALS: usize = 256;
/// How often a full worker looks for clients that wait.
const QUEUE_LOOK_MS: u64 = 100;

const TOO_MANY_CONNECTIONS: RemoteError = RemoteError {
    status: 503,
    reason: "too many connections from this address",
};
const TOO_MANY_WAIT: RemoteError = RemoteError {
    status: 503,
    reason: "too many requests wait for the application",
};

impl Core {
    /// Whether the next client of this listener can be accepted. If the worker has as many
    /// connections as it may, one that idles is closed; if none idles, it accepts none for
    /// a while.
    #[inline]
    pub(crate) fn has_room(&mut self, number: u32) -> bool {
        let listener = self.acceptor.get(number);
        let most = listener.map_or(0, |listener| listener.settings.max_connections);
        if most == 0 || (self.connections.len() as u64) < most {
            return true;
        }
        if !listener.is_some_and(Listener::has_client) {
            return false;
        }
        self.report_limit(number, Limit::Connections, None);
        if self.make_room() {
            return true;
        }
        self.acceptor.pause_crowded(&self.set, self.cx.clock.now_ms);
        self.register_queue();
        false
    }

    /// Whether a client's address has as many connections as it may.
    #[inline]
    pub(crate) fn has_too_many(&self, number: u32, peer: &Peer) -> bool {
        let (admission, load) = (&self.cx.admission, &self.cx.load);
        self.acceptor
            .get(number)
            .is_some_and(|listener| admission.has_too_many(load, &listener.settings, peer))
    }

    /// Responds to a client that was just accepted, and closes its connection. One that
    /// speaks TLS gets no response: that would cost a handshake.
    pub(crate) fn refuse(&mut self, number: u32, socket: OwnedFd, peer: Peer, limit: Limit) {
        if let Some(listener) = self.acceptor.get(number).filter(|it| it.tls.is_none()) {
            let error = match limit {
                Limit::Address => TOO_MANY_CONNECTIONS,
                _ => TOO_MANY_WAIT,
            };
            let headers = listener.settings.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_slice(), value.as_slice()));
            let headers = headers.chain(retry_after(&error));
            let mut response = Vec::new();
            let date = self.cx.clock.date();
            write_error(&mut response, &error, headers, &date, false);
            Transport::new(socket, None).respond_and_close(&response);
            self.cx.load.count_refused(error.status);
            self.cx.log_own(Client::new(peer, number), None, &error);
        }
        self.report_limit(number, limit, Some(peer));
    }

    fn report_limit(&mut self, listener: u32, limit: Limit, peer: Option<Peer>) {
        self.cx.load.count_limit(limit);
        let Context {
            admission,
            load,
            clock,
            ..
        } = &mut self.cx;
        if admission.must_report(load, limit, clock.now_ms) {
            let news = ListenerNews::Limited { limit, peer };
            self.cx.events.push_back(Event::Listener { listener, news });
        }
    }

    // ---- those that wait -----------------------------------------------------------

    /// When a full worker looks for clients that wait.
    pub(crate) fn queue_due_ms(&self) -> Option<u64> {
        self.queue_due_ms
    }

    /// At the end of a turn: a full worker refuses the clients that are too many in the
    /// queue. If its main thread is stuck, the guard does so.
    #[inline]
    pub(crate) fn follow_queue(&mut self) {
        let load = &self.cx.load;
        if !load.is_limited() || !load.is_full() || !self.acceptor.limits_queue() {
            self.queue_due_ms = None;
            return;
        }
        let now_ms = self.cx.clock.now_ms;
        if self.queue_due_ms.is_none_or(|due_ms| due_ms <= now_ms) {
            self.queue_due_ms = Some(now_ms + QUEUE_LOOK_MS);
            self.refuse_surplus(&mut Vec::new());
        }
    }

    /// Refuses the requests that are too many while no worker is spare: of those in
    /// `waiting`, connections that have input for a main thread that is stuck, and of the
    /// clients that are not accepted.
    pub(crate) fn refuse_surplus(&mut self, waiting: &mut Vec<u32>) {
        let is_refusable = |key: &u32| {
            let connection = self.connections.get(*key);
            connection.is_some_and(|connection| connection.may_be_refused())
        };
        waiting.retain(is_refusable);
        let Some(slot) = self.cx.load.slot() else {
            return;
        };
        slot.set_waiting(waiting.len() as u32);
        if slot.spares_elsewhere() > 0 || slot.stopping() {
            return;
        }
        let moving = slot.waiting_elsewhere() + self.transfer.queued();
        for number in self.acceptor.numbers() {
            let Some(listener) = self.acceptor.get(number) else {
                continue;
            };
            let most = listener.settings.max_queue as usize;
            let accepts = matches!(listener.state, Listening::On | Listening::Full);
            if most == 0 || !accepts {
                continue;
            }
            for _ in 0..REFUSALS {
                let Some(listener) = self.acceptor.get(number) else {
                    break;
                };
                let unaccepted = listener.waiting();
                if unaccepted + moving + waiting.len() <= most {
                    break;
                }
                if unaccepted > 0 {
                    let Accepted::Client(socket, peer) = listener.accept() else {
                        break;
                    };
                    self.refuse(number, socket, peer, Limit::Queue);
                } else if let Some(key) = waiting.pop() {
                    self.refuse_waiting(key);
                } else {
                    break;
                }
            }
        }
        self.cx
            .load
            .slot()
            .inspect(|slot| slot.set_waiting(waiting.len() as u32));
    }

    fn refuse_waiting(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        self.cx.clock.tick();
        connection.refuse(&mut self.cx, &TOO_MANY_WAIT);
        let client = connection.link.client(0);
        if matches!(connection.link.flush(&mut self.cx), Flushed::All) {
            self.end_connection(key);
        } else {
            self.schedule(key);
        }
        self.cx.log_own(client, None, &TOO_MANY_WAIT);
        self.report_limit(client.listener, Limit::Queue, Some(client.peer));
    }
}
