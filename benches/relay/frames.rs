//! As much of HTTP/2 as mock and client need: frames, and heads without Huffman coding or dynamic table.

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Largest payload of a frame that anybody may send us: we do not allow more.
const PAYLOAD_MAX: usize = 16 * 1024;

/// Bytes before a payload.
pub(crate) const HEAD: usize = 9;

/// The window that everybody has at first.
pub(crate) const WINDOW: i64 = 65_535;

/// The kinds of frames that we act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Of a body.
    Data = 0,
    /// A head, or its beginning.
    Headers = 1,
    /// The end of one stream.
    Reset = 3,
    /// What the other side wants.
    Settings = 4,
    /// Are you there?
    Ping = 6,
    /// No new streams.
    GoAway = 7,
    /// More may be sent.
    Window = 8,
    /// The rest of a head.
    Continuation = 9,
    /// Anything else, which may be ignored.
    Other = 255,
}

/// Of DATA and HEADERS: the last of its stream. Of SETTINGS and PING: an acknowledgement.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION: the head is complete.
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Settings that we name or read.
pub(crate) const SETTING_STREAMS_MAX: u16 = 3;
/// The same.
pub(crate) const SETTING_WINDOW: u16 = 4;
/// The same.
pub(crate) const SETTING_PUSH: u16 = 2;

/// One frame as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its flags.
    pub(crate) flags: u8,
    /// Its stream; 0 is the connection.
    pub(crate) stream: u32,
    /// Its payload, without padding and priority.
    pub(crate) payload: &'a [u8],
    /// Bytes of the payload as windows count them.
    pub(crate) weight: usize,
}

impl<'a> Frame<'a> {
    /// The first frame of `input` and the length of it; `None` if it is not complete.
    pub(crate) fn first(input: &'a [u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let Some(head) = input.get(..HEAD) else {
            return Ok(None);
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > PAYLOAD_MAX {
            return Err("a frame longer than allowed");
        }
        let Some(payload) = input.get(HEAD..HEAD + length) else {
            return Ok(None);
        };
        let kind = match head[3] {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::Window,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        let stream = number(&head[5..9]) & 0x7fff_ffff;
        let mut frame = Self { kind, flags: head[4], stream, payload, weight: length };
        frame.unwrap().ok_or("broken padding")?;
        Ok(Some((frame, HEAD + length)))
    }

    /// Takes padding and priority away.
    fn unwrap(&mut self) -> Option<()> {
        if !matches!(self.kind, Kind::Data | Kind::Headers) {
            return Some(());
        }
        if self.flags & PADDED != 0 {
            let (padding, rest) = self.payload.split_first()?;
            self.payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == Kind::Headers && self.flags & PRIORITY != 0 {
            self.payload = self.payload.get(5..)?;
        }
        Some(())
    }

    /// Whether a flag is set.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number that a `WINDOW_UPDATE` or `RST_STREAM` carries.
    pub(crate) fn number(&self) -> u32 {
        if self.payload.len() == 4 { number(self.payload) & 0x7fff_ffff } else { 0 }
    }

    /// The pairs of SETTINGS.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload.chunks_exact(6).map(|pair| (u16::from_be_bytes([pair[0], pair[1]]), number(&pair[2..])))
    }

    /// The status of a response, known by how every server writes 200, and 0 otherwise.
    pub(crate) fn status(&self) -> u16 {
        // Before the first field the size of the dynamic table may be set: 001xxxxx, of one byte or more.
        let mut block = self.payload;
        while let [first @ 0x20..=0x3f, rest @ ..] = block {
            let more = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
            block = if *first == 0x3f { rest.get(more..).unwrap_or(&[]) } else { rest };
        }
        if block.first() == Some(&0x88) { 200 } else { 0 }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Appends the head of a frame with a payload of `length` bytes.
pub(crate) fn put_head(kind: Kind, flags: u8, stream: u32, length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind as u8, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends a frame.
pub(crate) fn put(kind: Kind, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    put_head(kind, flags, stream, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends SETTINGS.
pub(crate) fn put_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    put_head(Kind::Settings, 0, 0, settings.len() * 6, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Answers SETTINGS and PING, which each side must.
pub(crate) fn acknowledge(frame: &Frame<'_>, out: &mut Vec<u8>) {
    if !frame.has(END_STREAM) && frame.kind == Kind::Settings {
        put(Kind::Settings, END_STREAM, 0, &[], out);
    } else if !frame.has(END_STREAM) && frame.kind == Kind::Ping {
        put(Kind::Ping, END_STREAM, 0, frame.payload, out);
    }
}

/// Appends a field of the static table, as it stands there.
pub(crate) fn put_known(index: u8, out: &mut Vec<u8>) {
    out.push(0x80 | index);
}

/// Appends a field whose name is in the static table, to be kept in no table. Shorter than 127 bytes.
pub(crate) fn put_field(index: u8, value: &str, out: &mut Vec<u8>) {
    // Four bits for the index; what exceeds them follows.
    if let Some(rest) = index.checked_sub(15) {
        out.extend_from_slice(&[15, rest]);
    } else {
        out.push(index);
    }
    out.push(u8::try_from(value.len()).unwrap_or(126));
    out.extend_from_slice(value.as_bytes());
}
