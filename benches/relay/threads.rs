//! A relay of the kind that a stream blocks: 25 threads, and each carries one stream at a time. It is the picture
//! that Millstream is put beside, not a product; it only copies bytes, and is quick at that.
#![expect(clippy::disallowed_types, reason = "threads that wait for each other are what it shows")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, anyhow};
use memchr::memmem;
use socket2::{Domain, Socket, Type};

use crate::exchange::content_length;
use crate::framing::{Framing, Item};

/// A common number for a server of threads.
const THREADS: usize = 25;

/// Connections that wait for a thread: more than any load opens.
const WAITING_MAX: usize = 16 * 1024;

/// Accepts on `listen` and relays to `to` until it is killed.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..THREADS {
        let receiver = Arc::clone(&receiver);
        thread::spawn(move || {
            loop {
                let client = receiver.lock().map(|queue| queue.recv());
                let Ok(Ok(client)) = client else {
                    return;
                };
                // A stream that breaks is the client's to notice.
                relay(client, to).ok();
            }
        });
    }
    loop {
        sender.send(listener.accept()?.0)?;
    }
}

/// One request, its whole answer, and the end of the connection.
fn relay(mut client: TcpStream, to: SocketAddr) -> Result<()> {
    client.set_nodelay(true)?;
    let (mut request, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while !is_whole(&request) {
        let read = client.read(&mut buffer)?;
        (read > 0).then_some(()).context("a client without a request")?;
        request.extend_from_slice(&buffer[..read]);
    }
    let mut upstream = TcpStream::connect(to)?;
    upstream.set_nodelay(true)?;
    upstream.write_all(&request)?;
    let (mut framing, mut ended) = (Framing::default(), false);
    let mut told = false;
    while !ended {
        let read = upstream.read(&mut buffer)?;
        (read > 0).then_some(()).context("an upstream without an end")?;
        let data = &buffer[..read];
        framing.read(data, &mut |item| ended |= matches!(item, Item::End)).map_err(|why| anyhow!(why))?;
        if told {
            client.write_all(data)?;
        } else {
            // The mock writes a head in one piece; the status line is the first of it.
            let line = memmem::find(data, b"\r\n").context("no status line")? + 2;
            client.write_all(&[&data[..line], b"connection: close\r\n", &data[line..]].concat())?;
            told = true;
        }
    }
    Ok(())
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = memmem::find(request, b"\r\n\r\n").map(|at| at + 4) else {
        return false;
    };
    request.len() >= head + content_length(&request[..head]).unwrap_or(0)
}
