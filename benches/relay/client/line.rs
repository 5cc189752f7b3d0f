//! One connection of the client, with the streams on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail, ensure};
use rustls::ClientConfig;

use super::downstream::Downstream;
use super::h2::Multiplex;
use crate::framing::{Framing, Item};
use crate::link::Link;
use crate::outcome::Tally;
use crate::wire::{Event, KEY, now};

/// How it is spoken on.
enum Speech {
    /// HTTP/1.1: one stream at a time.
    One(Framing),
    /// HTTP/2
    Many(Multiplex),
}

/// What all connections of a client share.
pub(crate) struct Shared {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) h2: bool,
    pub(crate) event: Event,
    pub(crate) tally: Tally,
    pub(crate) buffer: Vec<u8>,
}

/// A connection.
pub(crate) struct Line {
    pub(crate) link: Link,
    speech: Speech,
    pub(crate) streams: Vec<Downstream>,
}

impl Line {
    /// Connects.
    pub(crate) fn open(shared: &Shared) -> Result<Self> {
        let mut link = Link::connect(shared.addr, shared.tls.as_ref())?;
        let speech = if shared.h2 {
            let mut output = Vec::new();
            let speech = Multiplex::begin(&mut output);
            send(&mut link, output)?;
            Speech::Many(speech)
        } else {
            Speech::One(Framing::default())
        };
        Ok(Self { link, speech, streams: Vec::new() })
    }

    /// Sends the request of stream `at`. A fresh or drained socket takes it whole.
    pub(crate) fn ask(&mut self, at: usize, shared: &Shared) -> Result<()> {
        let Some(stream) = self.streams.get_mut(at) else {
            bail!("no stream {at}");
        };
        let body = stream.request();
        let mut output = Vec::new();
        match &mut self.speech {
            Speech::One(_) => {
                let head = format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {KEY}\r\n\
                     content-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n{body}",
                    shared.addr,
                    body.len()
                );
                output.extend_from_slice(head.as_bytes());
            }
            Speech::Many(h2) => {
                let scheme = if shared.tls.is_some() { "https" } else { "http" };
                h2.ask(at, scheme, &shared.addr.to_string(), &body, &mut output)
                    .map_err(|why| anyhow!("stream {}: {why}", stream.id))?;
            }
        }
        stream.sent_at = now();
        send(&mut self.link, output)
    }

    /// Takes in what is there.
    pub(crate) fn receive(&mut self, shared: &mut Shared) -> Result<()> {
        loop {
            let id = self.streams.first().map_or(0, |stream| stream.id);
            let read = match self.link.read(&mut shared.buffer) {
                Ok(read) if read > 0 => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Ok(_) => bail!("the gateway closed the connection of stream {id}"),
                Err(error) => bail!("the connection of stream {id}: {error}"),
            };
            let arrived = now();
            let Shared { event, tally, buffer, .. } = shared;
            let (data, streams) = (&buffer[..read], &mut self.streams);
            let mut take = |at: usize, item: Item<'_>| {
                if let Some(stream) = streams.get_mut(at) {
                    stream.take(&item, event, arrived, tally);
                }
            };
            let mut output = Vec::new();
            match &mut self.speech {
                Speech::One(framing) => framing.read(data, &mut |item| take(0, item)),
                Speech::Many(h2) => h2.read(data, &mut output, &mut take),
            }
            .map_err(|why| anyhow!("the connection of stream {id}: {why}"))?;
            if !output.is_empty() {
                send(&mut self.link, output)?;
            }
            if !self.link.hides_bytes() {
                return Ok(());
            }
        }
    }

    /// Whether the gateway said that this connection takes no other request.
    pub(crate) fn closes(&self) -> bool {
        matches!(&self.speech, Speech::One(framing) if framing.closes())
    }
}

fn send(link: &mut Link, mut output: Vec<u8>) -> Result<()> {
    link.flush(&mut output)?;
    ensure!(output.is_empty() && !link.holds_bytes(), "the gateway does not take a request");
    Ok(())
}
