//! What a connection of the mock speaks, found out from its first bytes.

use std::mem;

use crate::answer::{Answer, Next};
use crate::exchange::Exchange;
use crate::session::Session;
use crate::wire::Event;

/// The protocol of one connection, with its state.
pub(crate) enum Talk {
    /// HTTP/1.1, until something else is heard.
    One(Exchange),
    /// HTTP/2
    Many(Box<Session>),
}

impl Talk {
    /// Nothing was said.
    pub(crate) fn new() -> Self {
        Self::One(Exchange::default())
    }

    /// Takes bytes in; `false` if they are no request of ours.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> bool {
        // No request of ours begins so, and gateways send the preface in one piece.
        if matches!(self, Self::One(_)) && bytes.starts_with(b"PRI * ") {
            *self = Self::Many(Box::new(Session::new()));
        }
        match self {
            Self::One(exchange) => exchange.receive(bytes),
            Self::Many(session) => session.receive(bytes),
        }
    }

    /// Appends to the output what is due at `now`.
    pub(crate) fn produce(&mut self, event: &Event, now: u64) -> Next {
        match self {
            Self::One(exchange) => exchange.produce(event, now),
            Self::Many(session) => session.produce(event, now),
        }
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::One(exchange) => &mut exchange.output,
            Self::Many(session) => &mut session.output,
        }
    }

    /// Answers that the other side gave up while the connection lived on, by their ids; each is told once.
    pub(crate) fn abandoned(&mut self) -> impl Iterator<Item = u64> + use<> {
        let gone = match self {
            Self::One(_) => Vec::new(),
            Self::Many(session) => mem::take(&mut session.abandoned),
        };
        gone.into_iter()
    }

    /// Answers that are not complete, by their ids.
    pub(crate) fn open(&self) -> impl Iterator<Item = u64> + use<> {
        let open: Vec<u64> = match self {
            Self::One(exchange) => exchange.answer.iter().map(Answer::id).collect(),
            Self::Many(session) => session.open().collect(),
        };
        open.into_iter()
    }
}
