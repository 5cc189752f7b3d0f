//! One HTTP/2 connection of the mock: many answers, each by its schedule and within its window.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::mem;

use crate::answer::{Answer, Next, Sink};
use crate::frames::{
    self, END_HEADERS, END_STREAM, Frame, HEAD, Kind, PREFACE, SETTING_STREAMS_MAX, SETTING_WINDOW, WINDOW,
};
use crate::wire::{DONE, Event, Marks, Wish};

/// Streams of one connection, as servers commonly allow.
const STREAMS_MAX: u32 = 100;

/// Bytes written in one turn, so that no connection keeps the others waiting.
const TURN_BYTES: usize = 64 * 1024;

/// One stream.
struct Stream {
    /// The request body so far.
    body: Vec<u8>,
    answer: Option<Answer>,
    window: i64,
}

/// State of one connection.
pub(crate) struct Session {
    input: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    pub(crate) output: Vec<u8>,
    greeted: bool,
    streams: HashMap<u32, Stream>,
    /// What can be written on, as soon as there is room.
    ready: VecDeque<u32>,
    /// What waits for a window.
    blocked: Vec<u32>,
    /// (due, stream)
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// Window of the connection.
    window: i64,
    /// Window of a new stream.
    initial: i64,
    /// Answers that nobody wants any more, by their ids.
    pub(crate) abandoned: Vec<u64>,
}

impl Session {
    /// A connection on which nothing was said.
    pub(crate) fn new() -> Self {
        let mut output = Vec::new();
        frames::put_settings(&[(SETTING_STREAMS_MAX, STREAMS_MAX)], &mut output);
        Self {
            input: Vec::new(),
            output,
            greeted: false,
            streams: HashMap::new(),
            ready: VecDeque::new(),
            blocked: Vec::new(),
            due: BinaryHeap::new(),
            window: WINDOW,
            initial: WINDOW,
            abandoned: Vec::new(),
        }
    }

    /// Takes bytes in; `false` if they break the protocol or are no request of ours.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> bool {
        let mut input = mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        if !self.greeted && input.len() >= PREFACE.len() {
            self.greeted = input.starts_with(PREFACE);
            at = PREFACE.len();
            if !self.greeted {
                return false;
            }
        }
        let mut good = true;
        while self.greeted && good {
            match Frame::first(&input[at..]) {
                Ok(Some((frame, length))) => {
                    good = self.frame(&frame);
                    at += length;
                }
                Ok(None) => break,
                Err(_) => good = false,
            }
        }
        input.drain(..at);
        self.input = input;
        good
    }

    fn frame(&mut self, frame: &Frame<'_>) -> bool {
        match frame.kind {
            Kind::Headers => {
                let fresh = Stream { body: Vec::new(), answer: None, window: self.initial };
                self.streams.entry(frame.stream).or_insert(fresh);
                // A request of ours has a body.
                !frame.has(END_STREAM)
            }
            Kind::Data => self.body(frame),
            Kind::Reset => {
                let stream = self.streams.remove(&frame.stream);
                self.abandoned.extend(stream.and_then(|stream| stream.answer).map(|answer| answer.id()));
                true
            }
            Kind::Settings => {
                if !frame.has(END_STREAM) {
                    let initial = frame.settings().filter(|(name, _)| *name == SETTING_WINDOW).last();
                    if let Some((_, initial)) = initial {
                        let grown = i64::from(initial) - self.initial;
                        self.initial = i64::from(initial);
                        self.streams.values_mut().for_each(|stream| stream.window += grown);
                    }
                    frames::acknowledge(frame, &mut self.output);
                    self.ready.extend(self.blocked.drain(..));
                }
                true
            }
            Kind::Ping => {
                frames::acknowledge(frame, &mut self.output);
                true
            }
            Kind::Window => {
                let more = i64::from(frame.number());
                if frame.stream == 0 {
                    self.window += more;
                } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.window += more;
                }
                self.ready.extend(self.blocked.drain(..));
                true
            }
            Kind::GoAway | Kind::Continuation | Kind::Other => true,
        }
    }

    /// A piece of a request body.
    fn body(&mut self, frame: &Frame<'_>) -> bool {
        if frame.weight > 0 {
            let weight = u32::try_from(frame.weight).unwrap_or(0).to_be_bytes();
            frames::put(Kind::Window, 0, 0, &weight, &mut self.output);
        }
        let Some(stream) = self.streams.get_mut(&frame.stream) else {
            return true;
        };
        stream.body.extend_from_slice(frame.payload);
        if !frame.has(END_STREAM) {
            return true;
        }
        stream.answer = Wish::find(&stream.body).map(Answer::new);
        stream.body = Vec::new();
        self.ready.push_back(frame.stream);
        stream.answer.is_some()
    }

    /// Appends to the output what is due at `now`.
    pub(crate) fn produce(&mut self, event: &Event, now: u64) -> Next {
        if self.output.len() >= TURN_BYTES {
            return Next::More;
        }
        while let Some(&Reverse((due, stream))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.ready.push_back(stream);
        }
        for _ in 0..self.ready.len() {
            if self.output.len() >= TURN_BYTES {
                break;
            }
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            self.write(id, event, now);
        }
        if !self.ready.is_empty() {
            return Next::More;
        }
        self.due.peek().map_or(Next::Never, |Reverse((due, _))| Next::At(*due))
    }

    fn write(&mut self, id: u32, event: &Event, now: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let Some(answer) = stream.answer.as_mut() else {
            return;
        };
        if stream.window.min(self.window) < i64::try_from(answer.bytes_max(event)).unwrap_or(i64::MAX) {
            return self.blocked.push(id);
        }
        let mut sink = Framed { out: &mut self.output, id, sent: 0 };
        let next = answer.produce(event, now, &mut sink);
        let sent = sink.sent;
        stream.window -= sent;
        self.window -= sent;
        match next {
            Next::Complete => drop(self.streams.remove(&id)),
            Next::Never => {}
            Next::More => self.ready.push_back(id),
            Next::At(due) => self.due.push(Reverse((due, id))),
        }
    }

    /// The ids of all answers that are not complete.
    pub(crate) fn open(&self) -> impl Iterator<Item = u64> {
        self.streams.values().filter_map(|stream| Some(stream.answer.as_ref()?.id()))
    }
}

/// A DATA frame for each event.
struct Framed<'a> {
    out: &'a mut Vec<u8>,
    id: u32,
    /// Bytes that count in windows.
    sent: i64,
}

impl Framed<'_> {
    fn count(&mut self, bytes: usize) {
        self.sent += i64::try_from(bytes).unwrap_or(0);
    }

    fn head(&mut self, kind: &str) {
        let mut block = Vec::with_capacity(64);
        // `:status 200`, `content-type`
        frames::put_known(8, &mut block);
        frames::put_field(31, kind, &mut block);
        frames::put(Kind::Headers, END_HEADERS, self.id, &block, self.out);
    }
}

impl Sink for Framed<'_> {
    fn stream_head(&mut self) {
        self.head("text/event-stream");
    }

    fn event(&mut self, event: &Event, marks: Marks) {
        self.out.reserve(HEAD + event.len());
        frames::put_head(Kind::Data, 0, self.id, event.len(), self.out);
        event.put(marks, self.out);
        self.count(event.len());
    }

    fn done(&mut self) {
        frames::put(Kind::Data, END_STREAM, self.id, DONE, self.out);
        self.count(DONE.len());
    }

    fn whole(&mut self, body: &str) {
        self.head("application/json");
        frames::put(Kind::Data, END_STREAM, self.id, body.as_bytes(), self.out);
        self.count(body.len());
    }
}
