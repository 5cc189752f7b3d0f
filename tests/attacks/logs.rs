//! Rows 54 to 56: what clients send does not forge log lines, and keys are not in what is told.

use std::io::Write;

use serde_json::Value;

use crate::frames::{Client, END_HEADERS, END_STREAM, HEADERS, chat_block, frame};
use crate::http1::{ask, chat, connect, head, post, read_all};
use crate::recorder::{self, Recorder};
use crate::{KEY, gateway, support::Gateway};

/// Requests with bytes in them that a terminal or a line reader would obey.
fn forge(gateway: &Gateway) -> usize {
    let escapes = "\u{1b}[2J\u{1b}]0;owned\u{7}\\n{\\\"level\\\":\\\"FORGED\\\"}\\u001b[31m\\u009b31m\\r\\nFORGED";
    let paths = ["/v1/x%0aFORGED%1b[31m", "/v1/\u{9b}31mFORGED", "/v1/\u{202e}FORGED", "/v1/\u{7f}FORGED"];
    let mut exchanges = 0;
    for path in paths {
        let answer = ask(gateway.address(0), format!("{}\r\n", head(&format!("GET {path}"))));
        // A path that is no URI at all is hyper's to refuse, before there is an exchange.
        exchanges += usize::from(answer.head.contains("x-request-id"));
    }
    for model in ["a\\u001b[31mFORGED", "\u{202e}FORGED", "a\\nFORGED", escapes, "\\u0085\\u009bFORGED"] {
        ask(gateway.address(0), post("/v1/chat/completions", &format!("{{\"model\":\"{model}\"}}")));
        exchanges += 1;
    }
    for id in [&b"a\tFORGED"[..], b"\xc2\x9b31mFORGED", b"\xff\xfe", &[b'x'; 4000], b"{\"level\":\"FORGED\"}"] {
        let request = [head("GET /v1/models").as_bytes(), b"x-request-id: ", id, b"\r\n\r\n"].concat();
        let mut stream = connect(gateway.address(0));
        stream.write_all(&request).expect("sent");
        crate::http1::read_answer(&mut stream);
        exchanges += 1;
    }
    // A method is a token, but any token.
    ask(gateway.address(0), format!("{}\r\n", head("F`O|R~G'E!D /v1/models")));
    exchanges + 1
}

/// The log once it has a line for each exchange.
fn log(gateway: &Gateway, exchanges: usize) -> String {
    gateway
        .until("every exchange is logged", |gateway| gateway.log().matches("exchange ended").count() >= exchanges);
    gateway.log()
}

#[test]
fn in_json_each_exchange_is_one_line_that_parses() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "[log]\nformat = \"json\"\nfilter = \"debug\"");
    let exchanges = forge(&gateway);
    let log = log(&gateway, exchanges);
    let records = log.lines().skip_while(|line| !line.starts_with('{'));
    let lines: Vec<Value> = records.map(|line| serde_json::from_str(line).expect(line)).collect();
    let access = lines.iter().filter(|line| line["target"] == "millstream::access").count();
    assert_eq!(access, exchanges);
    assert!(lines.iter().all(|line| line["level"] != "FORGED"));
    assert!(!log.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n'), "{log}");
}

#[test]
fn in_text_no_control_character_gets_through() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "[log]\nformat = \"text\"\nfilter = \"debug\"");
    let exchanges = forge(&gateway);
    let log = log(&gateway, exchanges);
    for line in log.lines().skip_while(|line| !line.starts_with("20")) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.starts_with("20"), "a line of its own: {line:?}");
    }
    assert_eq!(log.matches("exchange ended").count(), exchanges);
}

#[test]
fn keys_are_in_no_log_metric_or_answer_even_at_trace() {
    let upstream = Recorder::start();
    let gateway = gateway(&upstream, "", "[log]\nformat = \"text\"\nfilter = \"trace\"");
    let mut told = String::new();
    let mut tell = |bytes: &[u8]| {
        let mut stream = connect(gateway.address(0));
        stream.write_all(bytes).expect("sent");
        stream.peek(&mut [0]).expect("an answer");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        told += &String::from_utf8_lossy(&read_all(&mut stream));
    };
    tell(chat("m").as_bytes());
    for field in ["x-api-key", "api-key", "cookie"] {
        tell(format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{field}: {KEY}\r\n\r\n").as_bytes());
    }
    tell(format!("{}bad header\r\n\r\n", head("GET /v1/models")).as_bytes());
    tell(format!("{}content-length: x\r\n\r\n", head("POST /v1/models")).as_bytes());
    let mut client = Client::connect(gateway.address(0), &[]);
    client.chat(1, "{\"model\":\"m\"}");
    client.until(|frame| frame.ends(1)).expect("an answer");
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &chat_block(&[("x", "a\nb")])));
    client.until(|frame| frame.ends(3) || frame.goes_away().is_some());
    let log = log(&gateway, 5);
    let metrics = gateway.admin_get("/metrics");
    for (where_, text) in [("an answer", &told), ("the log", &log), ("the metrics", &metrics)] {
        for key in [KEY, recorder::KEY] {
            let line = text.lines().find(|line| line.contains(key));
            assert!(line.is_none(), "{where_}: {line:?}");
        }
    }
    assert!(log.contains("TRACE"), "the log is at its finest");
}
