//! The instrument checks itself before it measures anything: a checker that sees nothing finds nothing.

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::answer::Next;
use crate::client::h2::Multiplex;
use crate::exchange::Exchange;
use crate::framing::{Framing, Item};
use crate::histogram::Histogram;
use crate::session::Session;
use crate::wire::{DONE, Event, Marks, Wish};

/// Fails if a part that judges gateways does not judge right.
pub(crate) fn run() -> Result<()> {
    let event = Event::new();
    let stream = answer(&event, Wish::Flood { count: 3, batch: 3, id: 7 })?;
    for split in 0..stream.len() {
        let (first, second) = stream.split_at(split);
        let read = read(&[first, second]);
        let Ok((pieces, 200, true)) = read else {
            bail!("a good stream split at {split} was not read");
        };
        let marks: Vec<_> = pieces.iter().filter_map(|piece| event.read(piece)).collect();
        let expected: Vec<_> = (0..3).map(|sequence| Marks { id: 7, sequence, at: 5 }).collect();
        ensure!(marks == expected, "split at {split}: {marks:?}");
        ensure!(pieces.last().map(Vec::as_slice) == Some(DONE), "split at {split}: no end");
    }
    let whole = answer(&event, Wish::Unary { id: 1, turn: 2 })?;
    ensure!(matches!(read(&[&whole]), Ok((_, 200, true))), "a good answer was not read");

    ensure!(matches!(read(&[&stream[..stream.len() - 1]]), Ok((_, _, false))), "a cut stream seemed whole");
    let longer = [&stream[..stream.len() - 5], b"x", &stream[stream.len() - 5..]].concat();
    ensure!(read(&[&longer]).is_err(), "broken framing was accepted");
    over_http2(&event)?;
    let mut altered = Vec::new();
    event.put(Marks { id: 1, sequence: 2, at: 3 }, &mut altered);
    for at in 0..altered.len() {
        let mut copy = altered.clone();
        copy[at] ^= 1;
        ensure!(event.read(&copy) != event.read(&altered), "an altered byte at {at} was not seen");
    }
    let mut histogram = Histogram::new();
    (1..=1000).for_each(|us| histogram.add(us * 1000));
    let median = histogram.quantile_us(0.5).unwrap_or(0.0);
    ensure!((490.0..510.0).contains(&median), "the median of 1..1000 is not {median}");
    Ok(())
}

/// The same over HTTP/2: two streams on one connection, their frames cut anywhere.
fn over_http2(event: &Event) -> Result<()> {
    let broken = |why: &str| anyhow!("HTTP/2: {why}");
    let mut said = Vec::new();
    let mut client = Multiplex::begin(&mut said);
    let wishes = [Wish::Flood { count: 3, batch: 2, id: 4 }, Wish::Flood { count: 2, batch: 2, id: 5 }];
    for (at, wish) in wishes.iter().enumerate() {
        let body = format!("{{\"user\":\"{}\"}}", wish.text());
        client.ask(at, "http", "localhost", &body, &mut said).map_err(broken)?;
    }
    let mut session = Session::new();
    said.chunks(7)
        .try_for_each(|piece| session.receive(piece).then_some(()))
        .context("requests not understood")?;
    while matches!(session.produce(event, 5), Next::More) && session.output.len() < 4096 {}
    let heard = session.output;
    for length in 1..heard.len() {
        let mut client = Multiplex::begin(&mut Vec::new());
        for at in 0..wishes.len() {
            client.ask(at, "http", "localhost", "{}", &mut Vec::new()).map_err(broken)?;
        }
        let mut seen = vec![(Vec::new(), 0, false); wishes.len()];
        for piece in heard.chunks(length) {
            let mut take = |at: usize, item: Item<'_>| match item {
                Item::Head { status } => seen[at].1 = status,
                Item::Piece(piece) => seen[at].0.extend(event.read(piece)),
                Item::End => seen[at].2 = true,
            };
            client.read(piece, &mut Vec::new(), &mut take).map_err(broken)?;
        }
        for ((marks, status, ended), (id, count)) in seen.into_iter().zip([(4, 3), (5, 2)]) {
            let expected: Vec<_> = (0..count).map(|sequence| Marks { id, sequence, at: 5 }).collect();
            ensure!(marks == expected && status == 200 && ended, "HTTP/2 in pieces of {length}: {marks:?}");
        }
    }
    Ok(())
}

/// What the mock writes for `wish`.
fn answer(event: &Event, wish: Wish) -> Result<Vec<u8>> {
    let body = format!("{{\"user\":\"{}\"}}", wish.text());
    let request = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut exchange = Exchange::default();
    ensure!(exchange.receive(request.as_bytes()), "the mock does not understand {body}");
    exchange.produce(event, 5);
    Ok(exchange.output)
}

/// Pieces, status, and whether the end was seen.
fn read(parts: &[&[u8]]) -> Result<(Vec<Vec<u8>>, u16, bool), &'static str> {
    let (mut pieces, mut seen, mut ended) = (Vec::new(), 0, false);
    let mut framing = Framing::default();
    for part in parts {
        framing.read(part, &mut |item| match item {
            Item::Head { status } => seen = status,
            Item::Piece(piece) => pieces.push(piece.to_vec()),
            Item::End => ended = true,
        })?;
    }
    Ok((pieces, seen, ended))
}
