//! Row 10: more connections than may be.

use std::io::Write;

use crate::http1::{ask, chat, connect, read_all, read_answer};
use crate::recorder::Recorder;
use crate::{gateway, support::Gateway};

const CONNECTIONS: usize = 32;
const MORE: usize = 16;

/// Open connections, as they are told.
fn connections(gateway: &Gateway) -> String {
    let metrics = gateway.admin_get("/metrics");
    let line = metrics.lines().find(|line| line.starts_with("millstream_connections{"));
    line.expect("a sample").to_owned()
}

fn count(connections: usize) -> String {
    format!("millstream_connections{{worker=\"0\"}} {connections}")
}

#[test]
fn beyond_the_cap_connections_are_refused_and_the_admin_listener_is_not() {
    let upstream = Recorder::start();
    let server = format!("connections_max = {CONNECTIONS}\nheader_timeout = \"20s\"");
    let gateway = gateway(&upstream, &server, "");
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(gateway.address(0));
        stream.write_all(chat("held").as_bytes()).expect("sent");
        assert_eq!(read_answer(&mut stream).status, 200);
        held.push(stream);
    }
    for _ in 0..MORE {
        assert_eq!(read_all(&mut connect(gateway.address(0))), b"");
    }
    // A client of the admin listener needs no place among them.
    assert_eq!(connections(&gateway), count(CONNECTIONS));
    gateway.until("the refused are counted", |gateway| {
        gateway.admin_get("/metrics").contains(&format!("\nmillstream_connections_refused_total {MORE}\n"))
    });
    assert!(gateway.admin_get("/readyz").starts_with("HTTP/1.1 200"));
    // Who is in stays in, and who leaves makes room.
    held[0].write_all(chat("held").as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut held[0]).status, 200);
    drop(held.pop());
    gateway.until("the place is free", |gateway| connections(gateway) == count(CONNECTIONS - 1));
    assert_eq!(ask(gateway.address(0), chat("next")).status, 200);
}

#[test]
fn idle_connections_make_room() {
    let upstream = Recorder::start();
    let server = format!("connections_max = {CONNECTIONS}\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"");
    let gateway = gateway(&upstream, &server, "");
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = connect(gateway.address(0));
        if number % 2 == 0 {
            stream.write_all(chat("idle").as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut stream).status, 200);
        }
        idle.push(stream);
    }
    for mut stream in idle {
        assert_eq!(read_all(&mut stream), b"");
    }
    gateway.until("all are closed", |gateway| gateway.metric("millstream_connections{worker=\"0\"}") == 0.0);
    assert_eq!(ask(gateway.address(0), chat("next")).status, 200);
}
