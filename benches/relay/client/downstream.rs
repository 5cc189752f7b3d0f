//! One stream of the client: what was asked for, and whether what comes is that.

use memchr::memmem;

use crate::framing::Item;
use crate::outcome::Tally;
use crate::scenario::Load;
use crate::wire::{DONE, Event, Wish, now, unary_mark};

/// A place for one stream after another.
pub(crate) struct Downstream {
    /// Its number among all of the client.
    pub(crate) id: u64,
    /// How many requests were sent before.
    pub(crate) turn: u64,
    pub(crate) wish: Wish,
    pub(crate) sent_at: u64,
    /// When its last request was to be sent.
    pub(crate) due_at: u64,
    /// Number of the event that has to come next.
    pub(crate) sequence: u64,
    /// After how many events the client leaves.
    pub(crate) leaves_after: Option<u64>,
    /// Whether its first events are timed: of probes only, where there are probes.
    pub(crate) timed: bool,
    /// Whether its very first event or answer has come.
    pub(crate) begun: bool,
    /// Whether the response is complete and no other request was sent.
    pub(crate) ended: bool,
    done: bool,
    status: u16,
    /// Body of a whole answer so far.
    answer: Vec<u8>,
}

impl Downstream {
    /// Place `id`, before its first request.
    pub(crate) fn new(id: u64, load: &Load) -> Self {
        Self {
            id,
            turn: 0,
            wish: load.wish(id, 0),
            sent_at: 0,
            due_at: now(),
            sequence: 0,
            leaves_after: load.leaves_after(id, 0),
            timed: !load.probe.is_some() || id >= load.streams,
            begun: false,
            ended: false,
            done: false,
            status: 0,
            answer: Vec::new(),
        }
    }

    /// Makes ready for the next request.
    pub(crate) fn again(&mut self, load: &Load) {
        self.turn += 1;
        self.wish = load.wish(self.id, self.turn);
        self.leaves_after = load.leaves_after(self.id, self.turn);
        self.sequence = 0;
        self.ended = false;
        self.done = false;
        self.answer.clear();
    }

    /// The body of the request.
    pub(crate) fn request(&self) -> String {
        let stream = !matches!(self.wish, Wish::Unary { .. });
        format!(
            "{{\"model\":\"bench\",\"stream\":{stream},\"user\":\"{}\",\"messages\":[{{\"role\":\"system\",\
             \"content\":\"You are a miller.\"}},{{\"role\":\"user\",\"content\":\"How does the wheel turn?\"}}]}}",
            self.wish.text()
        )
    }

    /// Whether the client has had enough of it.
    pub(crate) fn leaves(&self) -> bool {
        !self.ended && self.leaves_after.is_some_and(|enough| self.sequence >= enough)
    }

    /// Takes in what `arrived` now.
    pub(crate) fn take(&mut self, item: &Item<'_>, event: &Event, arrived: u64, tally: &mut Tally) {
        match item {
            Item::Head { status } => self.status = *status,
            Item::Piece(piece) => self.piece(piece, event, arrived, tally),
            Item::End => {
                self.ended = true;
                self.begun = true;
                self.end(arrived, tally);
            }
        }
    }

    /// One event, or a piece of a whole answer.
    fn piece(&mut self, piece: &[u8], event: &Event, arrived: u64, tally: &mut Tally) {
        if self.status != 200 || matches!(self.wish, Wish::Unary { .. }) {
            self.answer.extend_from_slice(piece);
            return;
        }
        if let Some(marks) = event.read(piece) {
            if marks.id != self.wish.id() || marks.sequence != self.sequence || self.done {
                tally.wrong();
            }
            if self.sequence == 0 && self.timed {
                tally.first(arrived.saturating_sub(self.sent_at));
            }
            tally.unit(arrived.saturating_sub(marks.at));
            self.sequence = marks.sequence + 1;
            self.begun = true;
        } else if piece == DONE {
            self.done = true;
        } else if !piece.starts_with(b":") {
            // Comments keep a connection alive; everything else is not what the mock sent.
            tally.wrong();
        }
    }

    /// The response is complete: was it the right one?
    fn end(&mut self, arrived: u64, tally: &mut Tally) {
        let expected = match self.wish {
            _ if self.status != 200 => {
                let text: String = String::from_utf8_lossy(&self.answer).chars().take(200).collect();
                return tally.failed(&format!("status {}: {text}", self.status));
            }
            Wish::Unary { id, turn } => {
                tally.unit(arrived.saturating_sub(self.sent_at));
                if memmem::find(&self.answer, unary_mark(id, turn).as_bytes()).is_none() {
                    return tally.wrong();
                }
                return tally.ended();
            }
            Wish::Paced { count, .. } | Wish::Flood { count, .. } => count,
            Wish::Silent { .. } => u64::MAX,
        };
        if self.done && self.sequence == expected {
            tally.ended();
        } else {
            tally.truncated();
        }
    }
}
