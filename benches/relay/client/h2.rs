//! HTTP/2 as the client speaks it: requests out, responses in, by stream.

use std::collections::HashMap;

use crate::frames::{self, END_HEADERS, END_STREAM, Frame, Kind, PREFACE, SETTING_PUSH, SETTING_WINDOW, WINDOW};
use crate::framing::{Body, Item};
use crate::wire::KEY;

/// Window of each stream: more than any run fills, so that it is never given anew.
const STREAM_WINDOW: u32 = 0x7fff_ffff;

/// Window of the connection, given anew when half of it is used.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// State of one connection.
pub(crate) struct Multiplex {
    input: Vec<u8>,
    /// Number of the next stream.
    next: u32,
    /// Which place a stream is for, and what is left of its event.
    open: HashMap<u32, (usize, Body)>,
    /// What we may still send.
    window: i64,
    /// What was received since the connection's window was given.
    used: u32,
}

impl Multiplex {
    /// Says what a client says first.
    pub(crate) fn begin(output: &mut Vec<u8>) -> Self {
        output.extend_from_slice(PREFACE);
        frames::put_settings(&[(SETTING_PUSH, 0), (SETTING_WINDOW, STREAM_WINDOW)], output);
        frames::put(Kind::Window, 0, 0, &CONNECTION_WINDOW.to_be_bytes(), output);
        Self { input: Vec::new(), next: 1, open: HashMap::new(), window: WINDOW, used: 0 }
    }

    /// Asks for place `at`.
    pub(crate) fn ask(
        &mut self,
        at: usize,
        scheme: &str,
        authority: &str,
        body: &str,
        output: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        self.window -= i64::try_from(body.len()).unwrap_or(i64::MAX);
        if self.window < 0 {
            return Err("the gateway gives no window for requests");
        }
        let mut block = Vec::with_capacity(256);
        // `:method POST`, `:scheme`, then `:path`, `:authority`, `authorization`, `content-type`, `content-length`
        frames::put_known(3, &mut block);
        frames::put_known(if scheme == "https" { 7 } else { 6 }, &mut block);
        frames::put_field(4, "/v1/chat/completions", &mut block);
        frames::put_field(1, authority, &mut block);
        frames::put_field(23, &format!("Bearer {KEY}"), &mut block);
        frames::put_field(31, "application/json", &mut block);
        frames::put_field(28, &body.len().to_string(), &mut block);
        frames::put(Kind::Headers, END_HEADERS, self.next, &block, output);
        frames::put(Kind::Data, END_STREAM, self.next, body.as_bytes(), output);
        self.open.insert(self.next, (at, Body::default()));
        self.next += 2;
        Ok(())
    }

    /// Reads `data` to its end; `take` gets what belongs to a place.
    pub(crate) fn read(
        &mut self,
        data: &[u8],
        output: &mut Vec<u8>,
        take: &mut impl FnMut(usize, Item<'_>),
    ) -> Result<(), &'static str> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(data);
        let mut at = 0;
        while let Some((frame, length)) = Frame::first(&input[at..])? {
            self.frame(&frame, output, take)?;
            at += length;
        }
        input.drain(..at);
        self.input = input;
        if self.used > CONNECTION_WINDOW / 2 {
            frames::put(Kind::Window, 0, 0, &self.used.to_be_bytes(), output);
            self.used = 0;
        }
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        output: &mut Vec<u8>,
        take: &mut impl FnMut(usize, Item<'_>),
    ) -> Result<(), &'static str> {
        match frame.kind {
            Kind::Data | Kind::Headers => return self.part(frame, take),
            Kind::Reset => return Err("a stream was reset"),
            Kind::GoAway => return Err("the gateway ends the connection"),
            Kind::Settings | Kind::Ping => frames::acknowledge(frame, output),
            Kind::Window if frame.stream == 0 => self.window += i64::from(frame.number()),
            Kind::Window | Kind::Continuation | Kind::Other => {}
        }
        Ok(())
    }

    /// A part of a response.
    fn part(&mut self, frame: &Frame<'_>, take: &mut impl FnMut(usize, Item<'_>)) -> Result<(), &'static str> {
        let (at, body) = self.open.get_mut(&frame.stream).ok_or("a frame of no stream")?;
        let at = *at;
        if frame.kind == Kind::Data {
            self.used += u32::try_from(frame.weight).unwrap_or(0);
            body.read(frame.payload, &mut |item| take(at, item));
        } else if frame.payload.first().is_some_and(|_| !frame.has(END_STREAM)) {
            // Trailers come with the end of the stream; a head of ours never does.
            *body = Body::of(true);
            take(at, Item::Head { status: frame.status() });
        }
        if frame.has(END_STREAM) {
            body.end()?;
            self.open.remove(&frame.stream);
            take(at, Item::End);
        }
        Ok(())
    }
}
