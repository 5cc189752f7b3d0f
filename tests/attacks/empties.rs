//! Row 45, from the other side: an upstream that floods its connection with empty frames.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::KEY;
use crate::frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, block, frame, settings};
use crate::http1::{ask, chat, connect, post, read_all, read_answer};
use crate::support::Gateway;

/// h2 ends a connection at its 101st.
const EMPTY_FRAMES: usize = 150;

/// An upstream by frames. Says where it is, and counts its connections.
fn start() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || serve(stream));
        }
    });
    (address, connections)
}

fn serve(mut stream: TcpStream) {
    if stream.read_exact(&mut [0; PREFACE.len()]).is_err() || stream.write_all(&settings(&[])).is_err() {
        return;
    }
    let mut peer = Client { stream, read: Vec::new() };
    while let Some(found) = peer.next() {
        if found.kind != DATA {
            continue;
        }
        let id = found.stream;
        let body = String::from_utf8_lossy(&found.payload).into_owned();
        let content_type = if body.contains("stream") { "text/event-stream" } else { "application/json" };
        let head = [&[0x88][..], &block(&[("content-type", content_type)])].concat();
        peer.send(&frame(HEADERS, END_HEADERS, id, &head));
        if body.contains("stream") {
            peer.send(&frame(
                DATA,
                0,
                id,
                b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
            ));
        } else if body.contains("empties") {
            peer.send(&frame(DATA, 0, id, b"").repeat(EMPTY_FRAMES));
        } else {
            peer.send(&frame(DATA, END_STREAM, id, b"{}"));
        }
    }
}

#[test]
fn an_upstream_that_sends_empty_frames_loses_its_connection_and_nothing_more() {
    let (address, connections) = start();
    let config = format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 1
pin = false
idle_timeout = "1s"
[admin]
listen = "127.0.0.1:0"
[[keys]]
name = "tester"
key_env = "CLIENT_KEY"
[[upstreams]]
name = "frames"
base_url = "http://{address}/v1"
protocol = "http2"
[retry]
same_target_max = 0
"#
    );
    let gateway = Gateway::start_with(&config, &[("CLIENT_KEY", KEY)]);
    let mut sibling = connect(gateway.address(0));
    let body = "{\"model\":\"m\",\"stream\":true}";
    sibling.write_all(post("/v1/chat/completions", body).as_bytes()).expect("sent");
    let mut begun = Vec::new();
    while !begun.ends_with(b"}]}\n\n") {
        let mut byte = [0];
        sibling.read_exact(&mut byte).expect("its first event");
        begun.push(byte[0]);
        assert!(!begun.ends_with(b"\r\n0\r\n"), "{}", String::from_utf8_lossy(&begun));
    }
    assert_eq!(ask(gateway.address(0), chat("other")).status, 200);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "they share a connection");
    // Its own answer breaks, and with the connection the sibling's: which is told so, and not just ended.
    let mut flooded = connect(gateway.address(0));
    flooded.write_all(chat("empties").as_bytes()).expect("sent");
    let answer = read_answer(&mut flooded);
    assert_eq!((answer.status, answer.error().as_str()), (502, "upstream_error"), "{answer:?}");
    let rest = String::from_utf8_lossy(&read_all(&mut sibling)).into_owned();
    assert!(rest.contains("stream_truncated"), "{rest}");
    // Everybody else is served over a new one.
    for _ in 0..3 {
        assert_eq!(ask(gateway.address(0), chat("next")).status, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
