//! A strict, incremental reader of responses: head, transfer coding, events.

use memchr::{memchr, memmem};

/// Bytes of a head, of a size line, of an event: more is an error.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What was read.
pub(crate) enum Item<'a> {
    /// The head is complete.
    Head {
        /// Its status.
        status: u16,
    },
    /// A whole event, blank line included; or a piece of a body that is not a stream of events.
    Piece(&'a [u8]),
    /// The response ended as its framing says it should.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Size,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    Whole(usize),
}

/// Reader of one connection.
#[derive(Default)]
pub(crate) struct Framing {
    state: State,
    /// The part of a head or line that has been seen.
    line: Vec<u8>,
    body: Body,
    closes: bool,
}

/// Splits a body into events, if it consists of them.
#[derive(Default)]
pub(crate) struct Body {
    /// The part of an event that has been seen.
    event: Vec<u8>,
    events: bool,
}

impl Body {
    /// A body that consists of events, or does not.
    pub(crate) fn of(events: bool) -> Self {
        Self { event: Vec::new(), events }
    }

    /// Takes the next bytes in.
    pub(crate) fn read(&mut self, mut data: &[u8], take: &mut impl FnMut(Item<'_>)) {
        if !self.events {
            return take(Item::Piece(data));
        }
        while !self.event.is_empty() && !data.is_empty() {
            // The event's end may lie on the border, so go on byte by byte of lines until it is found.
            let end = memchr(b'\n', data).map_or(data.len(), |at| at + 1);
            let (now, rest) = data.split_at(end);
            self.event.extend_from_slice(now);
            data = rest;
            if self.event.ends_with(b"\n\n") {
                take(Item::Piece(&self.event));
                self.event.clear();
            }
        }
        while let Some(at) = memmem::find(data, b"\n\n") {
            let (now, rest) = data.split_at(at + 2);
            take(Item::Piece(now));
            data = rest;
        }
        self.event.extend_from_slice(data);
    }

    /// The body is complete; an error if an event is not.
    pub(crate) fn end(&self) -> Result<(), &'static str> {
        if self.event.is_empty() { Ok(()) } else { Err("the transfer ended within an event") }
    }
}

impl Framing {
    /// Reads `data` to its end. An error means that the peer broke the protocol.
    pub(crate) fn read(&mut self, mut data: &[u8], take: &mut impl FnMut(Item<'_>)) -> Result<(), &'static str> {
        while !data.is_empty() {
            match self.state {
                State::Head => {
                    data = self.line(data)?;
                    if self.line.ends_with(b"\r\n\r\n") {
                        self.head(take)?;
                    }
                }
                State::Size => {
                    data = self.line(data)?;
                    if self.line.ends_with(b"\n") {
                        let size = size(&self.line).ok_or("a broken size line")?;
                        self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                        self.line.clear();
                    }
                }
                State::Chunk(left) => {
                    let (now, rest) = data.split_at(left.min(data.len()));
                    self.body.read(now, take);
                    data = rest;
                    self.state = if now.len() == left { State::ChunkEnd } else { State::Chunk(left - now.len()) };
                }
                State::ChunkEnd => {
                    data = self.line(data)?;
                    if self.line.ends_with(b"\n") {
                        if self.line != b"\r\n" {
                            return Err("a chunk longer than its size");
                        }
                        self.line.clear();
                        self.state = State::Size;
                    }
                }
                State::Trailer => {
                    data = self.line(data)?;
                    if self.line == b"\r\n" {
                        self.end(take)?;
                    } else if self.line.ends_with(b"\n") {
                        self.line.clear();
                    }
                }
                State::Whole(left) => {
                    let (now, rest) = data.split_at(left.min(data.len()));
                    self.body.read(now, take);
                    data = rest;
                    self.state = State::Whole(left - now.len());
                    if now.len() == left {
                        self.end(take)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the peer said that it will close the connection after this response.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// Moves bytes up to the end of a line into `line`, and gives back the rest.
    fn line<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], &'static str> {
        let end = memchr(b'\n', data).map_or(data.len(), |at| at + 1);
        let (now, rest) = data.split_at(end);
        self.line.extend_from_slice(now);
        if self.line.len() > HEAD_BYTES_MAX { Err("an endless line") } else { Ok(rest) }
    }

    fn head(&mut self, take: &mut impl FnMut(Item<'_>)) -> Result<(), &'static str> {
        let head = String::from_utf8_lossy(&self.line).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        self.body = Body::of(value("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
        self.closes = value("connection").is_some_and(|value| value.contains("close"));
        self.state = match (value("transfer-encoding"), value("content-length")) {
            (Some("chunked"), None) => State::Size,
            (None, Some(length)) => State::Whole(length.parse().map_err(|_| "a broken length")?),
            _ => return Err("no framing, or two"),
        };
        self.line.clear();
        take(Item::Head { status });
        if self.state == State::Whole(0) { self.end(take) } else { Ok(()) }
    }

    fn end(&mut self, take: &mut impl FnMut(Item<'_>)) -> Result<(), &'static str> {
        self.line.clear();
        self.state = State::Head;
        self.body.end()?;
        take(Item::End);
        Ok(())
    }
}

fn size(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r\n")?;
    let plain = !line.is_empty() && line.len() <= 8 && line.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| usize::from_str_radix(str::from_utf8(line).ok()?, 16).ok())?
}
