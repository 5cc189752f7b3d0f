//! Rows 8 and 9: clients that never finish what they send.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::frames::{self, Client, END_HEADERS, frame};
use crate::http1::{answers, chat, connect, drip, head, read_all, read_answer};
use crate::recorder::Recorder;
use crate::{gateway, support::Gateway};

/// The deadlines of this file.
const DEADLINE: Duration = Duration::from_secs(1);
const SERVER: &str = "header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"1s\"";

/// Runs `attack`, which must end at the deadline: not before it, and not much later.
fn assert_ends_in_time(what: &str, attack: impl FnOnce()) {
    let began = Instant::now();
    attack();
    let took = began.elapsed();
    assert!(took >= DEADLINE * 9 / 10 && took < DEADLINE * 5, "{what} took {took:?}");
}

/// The bytes of `text`, and then header fields for ever.
fn never_over(text: &'static [u8]) -> impl Iterator<Item = u8> {
    text.iter().copied().chain(b"x-slow: 1\r\n".iter().copied().cycle())
}

#[test]
fn a_head_that_never_ends_is_cut_however_it_drips() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let beginnings: [(&str, &'static [u8]); 4] = [
        ("a request line", b"GET /v1/models HTTP/1.1\r\n"),
        ("blank lines", b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n"),
        ("most of the preface of HTTP/2", &frames::PREFACE[..20]),
        ("a request line that looks like the preface", b"PRI / HTTP/1.1\r\n"),
    ];
    for (what, beginning) in beginnings {
        assert_ends_in_time(what, || {
            let mut stream = connect(gateway.address(0));
            let sent = if what.contains("preface of") {
                drip(&mut stream, beginning.iter().copied())
            } else {
                drip(&mut stream, never_over(beginning))
            };
            assert!(sent >= 15, "{what}: closed after {sent} bytes");
            read_all(&mut stream);
        });
    }
}

#[test]
fn silence_is_cut() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    for beginning in [&b""[..], b"P", b"\r\n", b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"] {
        assert_ends_in_time("silence", || {
            let mut stream = connect(gateway.address(0));
            stream.write_all(beginning).expect("sent");
            assert_eq!(read_all(&mut stream), b"");
        });
    }
    // And after an answer.
    let mut stream = connect(gateway.address(0));
    stream.write_all(chat("a").as_bytes()).expect("sent");
    assert_eq!(read_answer(&mut stream).status, 200);
    assert_ends_in_time("the second head", || {
        drip(&mut stream, never_over(b"GET /v1/models HTTP/1.1\r\n"));
        read_all(&mut stream);
    });
    assert_nothing_is_left(&gateway);
}

#[test]
fn an_http2_connection_without_a_request_is_cut() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    assert_ends_in_time("settings alone", || {
        Client::connect(gateway.address(0), &[]).read_to_the_end();
    });
    let half_a_head = frame(frames::HEADERS, 0, 1, &frames::chat_block(&[]));
    let begun = [frames::PREFACE, &frames::settings(&[]), &half_a_head].concat();
    for (what, bytes) in [("the preface alone", frames::PREFACE), ("a head without its end", &begun)] {
        assert_ends_in_time(what, || {
            let mut stream = connect(gateway.address(0));
            stream.write_all(bytes).expect("sent");
            read_all(&mut stream);
        });
    }
    assert_nothing_is_left(&gateway);
}

#[test]
fn a_tls_handshake_that_never_ends_is_cut() {
    let upstream = Recorder::start();
    let folder = tempfile::tempdir().expect("a folder");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    let tls = format!("{SERVER}\n[server.tls]\ncert = {cert:?}\nkey = {key:?}");
    let gateway = gateway(&upstream, &tls, "");
    // The head of a handshake record that announces far more than comes.
    let record = [0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3];
    for count in [0, 1, record.len()] {
        assert_ends_in_time("a handshake", || {
            let mut stream = connect(gateway.address(0));
            stream.write_all(&record[..count]).expect("sent");
            read_all(&mut stream);
        });
    }
    assert_ends_in_time("a dripping handshake", || {
        let mut stream = connect(gateway.address(0));
        drip(&mut stream, record.into_iter().chain(std::iter::repeat(0)));
        read_all(&mut stream);
    });
    assert_nothing_is_left(&gateway);
}

#[test]
fn a_body_that_never_ends_is_answered_408_however_it_drips() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    for framing in ["content-length: 100000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n"] {
        for drips in [false, true] {
            assert_ends_in_time(framing, || {
                let mut stream = connect(gateway.address(0));
                write!(stream, "{}{framing}", head("POST /v1/chat/completions")).expect("sent");
                if drips {
                    drip(&mut stream, b"1\r\n{\r\n".iter().copied().cycle());
                }
                let answers = answers(&read_all(&mut stream));
                assert_eq!(answers.len(), 1, "{answers:?}");
                assert_eq!((answers[0].status, answers[0].error().as_str()), (408, "request_timeout"));
                assert!(answers[0].head.contains("connection: close\r\n"), "{answers:?}");
            });
        }
    }
    assert!(upstream.requests().is_empty());
    assert_nothing_is_left(&gateway);
}

#[test]
fn a_slow_body_on_http2_is_answered_408_beside_its_siblings() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, SERVER, "");
    let mut client = Client::connect(gateway.address(0), &[]);
    assert_ends_in_time("an HTTP/2 body", || {
        client.send(&frame(frames::HEADERS, END_HEADERS, 1, &frames::chat_block(&[])));
        client.chat(3, "{\"model\":\"a\"}");
        let mut writer = client.writer();
        let (answered, stop) = sync_channel::<()>(0);
        let dripping = thread::spawn(move || {
            // Whole frames, because the other thread sends its own between them.
            let byte = frame(frames::DATA, 0, 1, b"{");
            while stop.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                drop(writer.write_all(&byte));
            }
        });
        client.until(|frame| frame.ends(1)).expect("an answer");
        drop(answered);
        dripping.join().expect("no panic");
    });
    assert!(String::from_utf8_lossy(&client.body(1)).contains("request_timeout"));
    assert!(String::from_utf8_lossy(&client.body(3)).contains("recorded"));
    assert_eq!(upstream.requests().len(), 1);
}

fn assert_nothing_is_left(gateway: &Gateway) {
    gateway.until("its connections are closed", |gateway| {
        gateway.metric("millstream_connections{worker=\"0\"}") == 0.0
    });
}
