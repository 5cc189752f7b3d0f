//! The log's way out: formatted on the thread that speaks, written to standard error by a thread of its own.
//!
//! A pipe that nobody reads or a full disk must not stop a stream, so the queue between the two is bounded and
//! lossy: what does not fit is dropped and counted (`millstream_log_lines_dropped_total`).

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::{self, MakeWriter};

use crate::config::{Log, LogFormat};

use super::access;

/// Lines that may wait for the writer; about 1 MiB of usual ones.
const LINES_MAX: usize = 4096;

/// At their finest, Amazon's crates tell requests and answers whole: prompts, and keys that were just fetched. What matters
/// of them is in our own lines.
const QUIET: [&str; 5] =
    ["aws_=warn", "aws_config=warn", "aws_sigv4=off", "aws_smithy_runtime=warn", "aws_smithy_runtime_api=warn"];

/// Bytes that are written at once, unless a single line is longer.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// How long the end of the process waits for the lines still queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines that standard error did not take, since the start.
static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.filter` is none.
    #[error("the log filter is not valid")]
    Filter(#[from] ParseError),
    /// No thread for the writer.
    #[error("the log's writer thread could not be started")]
    Thread(#[from] io::Error),
    /// There is a log already.
    #[error("the log was set up before")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Keep it until the process ends: dropping it waits, for a second at most, until queued lines are written.
#[derive(Debug)]
#[must_use = "dropping it is what flushes the log"]
pub struct Flush {
    queue: SyncSender<Message>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Sets up the process's log. `no_color` is the user's wish; colours appear on terminals only.
pub fn init(config: &Log, no_color: bool) -> Result<Flush, LogError> {
    let filter = filter(config)?;
    let (queue, messages) = mpsc::sync_channel(LINES_MAX);
    thread::Builder::new()
        .name("millstream-log".to_owned())
        .spawn(move || write_all(&messages, &mut io::stderr(), &LINES_DROPPED))?;
    let writer = LossyWriter { queue: queue.clone(), dropped: &LINES_DROPPED };
    let color = !no_color && io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(config.format, filter, color, writer))?;
    Ok(Flush { queue })
}

/// Lines dropped since the start of the process.
pub(super) fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = mpsc::sync_channel(1);
        let queue = self.queue.clone();
        // Sending waits while the queue is full, and for ever if the writer is stuck; so a thread waits that
        // the end of the process takes along.
        let asked = thread::Builder::new().spawn(move || queue.send(Message::Flush(done)));
        if asked.is_ok() {
            written.recv_timeout(FLUSH_TIMEOUT).ok();
        }
    }
}

fn filter(config: &Log) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::try_new(&config.filter)?;
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse()?);
    }
    if config.access {
        return Ok(filter);
    }
    Ok(filter.add_directive(format!("{}=off", access::TARGET).parse()?))
}

fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    color: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let log = fmt::Subscriber::builder().with_env_filter(filter).with_writer(writer).with_ansi(color);
    match format {
        LogFormat::Text => Box::new(log.finish()),
        LogFormat::Json => Box::new(log.json().flatten_event(true).finish()),
    }
}

/// The speaking end of the queue.
#[derive(Clone, Debug)]
struct LossyWriter {
    queue: SyncSender<Message>,
    dropped: &'static AtomicU64,
}

impl<'a> MakeWriter<'a> for LossyWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LossyWriter {
    /// Takes one formatted line; `tracing-subscriber` writes each in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(visible(line))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with DEL and the C1 controls written as escapes, which JSON reads as well: some terminals obey
/// them, and the formatters escape only those below the space.
fn visible(line: &[u8]) -> Vec<u8> {
    let mut visible = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr2(0x7f, 0xc2, rest) {
        let (before, from) = rest.split_at(at);
        visible.extend_from_slice(before);
        let (control, length) = match *from {
            [0x7f, ..] => (0x7f, 1),
            [0xc2, control @ 0x80..=0x9f, ..] => (control, 2),
            _ => {
                visible.push(from[0]);
                rest = &from[1..];
                continue;
            }
        };
        visible.extend_from_slice(format!("\\u{control:04x}").as_bytes());
        rest = &from[length..];
    }
    visible.extend_from_slice(rest);
    visible
}

/// The writing end: everything that waits, in as few writes as possible, until the last sender is gone.
fn write_all(messages: &Receiver<Message>, sink: &mut impl Write, dropped: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH_BYTES_MAX);
    while let Ok(first) = messages.recv() {
        let mut lines = 0;
        let mut flushes = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Flush(done) => flushes.push(done),
            }
            next = if batch.len() < BATCH_BYTES_MAX { messages.try_recv().ok() } else { None };
        }
        if sink.write_all(&batch).is_err() {
            dropped.fetch_add(lines, Ordering::Relaxed);
        }
        batch.clear();
        for done in flushes {
            // Whoever waited may have given up.
            done.try_send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::endpoint::Endpoint;
    use crate::telemetry::EndReason;
    use crate::telemetry::access::AccessRecord;

    /// What `speak` logs under `config`, as it would be written.
    fn logged(config: &Log, color: bool, speak: impl FnOnce()) -> String {
        static NONE_DROPPED: AtomicU64 = AtomicU64::new(0);
        let (queue, messages) = mpsc::sync_channel(16);
        let writer = LossyWriter { queue, dropped: &NONE_DROPPED };
        let filter = filter(config).unwrap();
        tracing::subscriber::with_default(subscriber(config.format, filter, color, writer), speak);
        let mut written = Vec::new();
        write_all(&messages, &mut written, &NONE_DROPPED);
        assert_eq!(NONE_DROPPED.load(Ordering::Relaxed), 0);
        String::from_utf8(written).unwrap()
    }

    fn config(format: LogFormat, access: bool) -> Log {
        Log { filter: "info".to_owned(), format, access }
    }

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            request_id: "r-1",
            peer: Some([192, 0, 2, 7].into()),
            method: "POST",
            path: "/v1/chat/completions?api_key=secret",
            endpoint: Some(Endpoint::ChatCompletions),
            model: Some("gpt\n\u{1b}[31m"),
            key: Some("team-a"),
            upstream: Some("openai"),
            status: 200,
            reason: EndReason::ClientCancelled,
            duration: Duration::from_micros(1_234_567),
            time_to_first_token: Some(Duration::from_millis(250)),
            bytes: 4096,
            chunks: 17,
            input_tokens: Some(12),
            output_tokens: None,
            finish_reason: None,
        }
    }

    #[test]
    fn an_access_record_is_one_flat_json_object() {
        let line = logged(&config(LogFormat::Json, true), false, || record().log());
        assert_eq!(line.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        for (field, value) in [
            ("target", Value::from("millstream::access")),
            ("request_id", "r-1".into()),
            ("peer", "192.0.2.7".into()),
            ("path", "/v1/chat/completions".into()),
            ("endpoint", "chat_completions".into()),
            ("key", "team-a".into()),
            ("status", 200.into()),
            ("reason", "client_cancelled".into()),
            ("duration_ms", 1_234.567.into()),
            ("ttft_ms", 250.0.into()),
            ("chunks", 17.into()),
            ("input_tokens", 12.into()),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        assert!(line.get("output_tokens").is_none());
    }

    #[test]
    fn text_from_clients_cannot_forge_lines_or_colours() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = logged(&config(format, true), false, || record().log());
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains('\u{1b}') && !line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn controls_that_formatters_leave_are_escaped() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let error = "a\u{7f}\u{9b}31mé\u{a0}";
            let line = logged(&config(format, true), false, || tracing::info!(%error, "refused"));
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            assert!(line.contains("\\u009b31mé\u{a0}"), "{line}");
            assert!(format == LogFormat::Text || serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
        assert_eq!(visible(b"\xc2"), b"\xc2");
    }

    #[test]
    fn access_lines_can_be_silenced_alone() {
        let lines = logged(&config(LogFormat::Text, false), false, || {
            record().log();
            assert!(!AccessRecord::enabled());
            tracing::info!("still here");
        });
        assert!(lines.contains("still here") && !lines.contains("exchange ended"), "{lines}");
    }

    #[test]
    fn colours_appear_only_where_asked_for() {
        for color in [false, true] {
            let line = logged(&config(LogFormat::Text, true), color, || tracing::info!("hello"));
            assert_eq!(line.contains('\u{1b}'), color, "{line}");
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_instead_of_waiting() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (queue, messages) = mpsc::sync_channel(2);
        let writer = LossyWriter { queue, dropped: &DROPPED };
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            (&writer).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
        drop(writer);
        let mut written = Vec::new();
        write_all(&messages, &mut written, &DROPPED);
        assert_eq!(written, b"1\n2\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        struct FullDisk;
        impl Write for FullDisk {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (queue, messages) = mpsc::sync_channel(4);
        let writer = LossyWriter { queue, dropped: &DROPPED };
        (&writer).write_all(b"lost\n").unwrap();
        drop(writer);
        write_all(&messages, &mut FullDisk, &DROPPED);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_flush_waits_for_what_was_said_before() {
        static NONE_DROPPED: AtomicU64 = AtomicU64::new(0);
        let (queue, messages) = mpsc::sync_channel(1);
        let writer = LossyWriter { queue: queue.clone(), dropped: &NONE_DROPPED };
        // The queue is full, so the flush has to wait for its place in it.
        (&writer).write_all(b"last words\n").unwrap();
        let written = thread::scope(|threads| {
            let written = threads.spawn(move || {
                let mut written = Vec::new();
                write_all(&messages, &mut written, &NONE_DROPPED);
                written
            });
            drop(Flush { queue });
            drop(writer);
            written.join().unwrap()
        });
        assert_eq!(written, b"last words\n");
    }
}
