//! The bytes that mock and client agree on: the event, its marks, and the wish in a request.

use memchr::{memchr, memmem};
use rustix::time::{ClockId, clock_gettime};

/// The virtual key of the benchmark.
pub(crate) const KEY: &str = "sk-bench-0123456789abcdef";

/// The end of a stream.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// Nanoseconds on the clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// One event of a stream: fixed length, with three marks of fixed width in it.
#[derive(Clone)]
pub(crate) struct Event {
    bytes: Vec<u8>,
    marks: usize,
}

/// The marks of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The stream that the client asked for.
    pub(crate) id: u64,
    /// Position in the stream, from 0.
    pub(crate) sequence: u64,
    /// When the mock sent it.
    pub(crate) at: u64,
}

const ID: usize = 8;
const SEQUENCE: usize = 8;
const AT: usize = 20;
/// `00000000-00000000-00000000000000000000`
const MARKS: usize = ID + 1 + SEQUENCE + 1 + AT;

impl Event {
    /// The event as providers write it, 270 bytes or so.
    pub(crate) fn new() -> Self {
        let head = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
            \"model\":\"bench\",\"system_fingerprint\":\"";
        let tail = "\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" water over the wheel\"},\
            \"logprobs\":null,\"finish_reason\":null}]}\n\n";
        let zeros = format!("{:0ID$}-{:0SEQUENCE$}-{:0AT$}", 0, 0, 0);
        Self { bytes: [head, &zeros, tail].concat().into_bytes(), marks: head.len() }
    }

    /// Bytes of every event.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the event with these marks to `out`.
    pub(crate) fn put(&self, marks: Marks, out: &mut Vec<u8>) {
        let start = out.len() + self.marks;
        out.extend_from_slice(&self.bytes);
        put_digits(&mut out[start..start + ID], marks.id);
        put_digits(&mut out[start + ID + 1..start + ID + 1 + SEQUENCE], marks.sequence);
        put_digits(&mut out[start + MARKS - AT..start + MARKS], marks.at);
    }

    /// The marks of `event` if it is one of ours to the last byte.
    pub(crate) fn read(&self, event: &[u8]) -> Option<Marks> {
        let end = self.marks + MARKS;
        if event.len() != self.bytes.len()
            || event[..self.marks] != self.bytes[..self.marks]
            || event[end..] != self.bytes[end..]
        {
            return None;
        }
        let marks = &event[self.marks..end];
        if marks[ID] != b'-' || marks[ID + 1 + SEQUENCE] != b'-' {
            return None;
        }
        Some(Marks {
            id: digits(&marks[..ID])?,
            sequence: digits(&marks[ID + 1..ID + 1 + SEQUENCE])?,
            at: digits(&marks[MARKS - AT..])?,
        })
    }
}

/// Appends a chunk's size line.
pub(crate) fn put_hex(size: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
}

fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })
}

/// What a request asks the mock for. It travels in the body's `user` field, which gateways do not touch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wish {
    /// `count` events, `rate` a second.
    Paced { rate: f64, count: u64, id: u64 },
    /// `count` events as fast as they go, `batch` in each write.
    Flood { count: u64, batch: u64, id: u64 },
    /// One event, then silence for as long as the connection stays open.
    Silent { id: u64 },
    /// One whole answer that names `id` and `turn`.
    Unary { id: u64, turn: u64 },
}

impl Wish {
    /// The stream that it is for.
    pub(crate) fn id(&self) -> u64 {
        match *self {
            Self::Paced { id, .. } | Self::Flood { id, .. } | Self::Silent { id } | Self::Unary { id, .. } => id,
        }
    }

    /// The text of the wish.
    pub(crate) fn text(&self) -> String {
        match *self {
            Self::Paced { rate, count, id } => format!("paced:{rate}:{count}:{id}"),
            Self::Flood { count, batch, id } => format!("flood:{count}:{batch}:{id}"),
            Self::Silent { id } => format!("silent:{id}"),
            Self::Unary { id, turn } => format!("unary:{id}:{turn}"),
        }
    }

    /// Finds the wish in a request body.
    pub(crate) fn find(body: &[u8]) -> Option<Self> {
        let start = memmem::find(body, b"\"user\":\"")? + 8;
        let rest = body.get(start..)?;
        let text = str::from_utf8(rest.get(..memchr(b'"', rest)?)?).ok()?;
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["paced", rate, count, id] => {
                let (rate, count, id) = (rate.parse().ok()?, count.parse().ok()?, id.parse().ok()?);
                (rate > 0.0).then_some(Self::Paced { rate, count, id })
            }
            ["flood", count, batch, id] => {
                Some(Self::Flood { count: count.parse().ok()?, batch: batch.parse().ok()?, id: id.parse().ok()? })
            }
            ["silent", id] => Some(Self::Silent { id: id.parse().ok()? }),
            ["unary", id, turn] => Some(Self::Unary { id: id.parse().ok()?, turn: turn.parse().ok()? }),
            _ => None,
        }
    }
}

/// What a unary answer contains, so that answers cannot be mixed up unseen.
pub(crate) fn unary_mark(id: u64, turn: u64) -> String {
    format!("\"system_fingerprint\":\"{id:08}-{turn:08}\"")
}
