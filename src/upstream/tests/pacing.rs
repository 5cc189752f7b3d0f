//! What a chunk costs: how often the task that reads a stream is polled for it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;

use http_body::Body as _;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::{Bench, listen_paced, run, upstream};
use crate::reactor;
use crate::upstream::Body;

const CHUNKS: usize = 200;

/// Reads a body to its end, counting how often its task is polled, and reports each frame.
async fn read_counted(mut body: Body, polls: Rc<Cell<usize>>, frames: mpsc::Sender<()>) {
    let mut reading = pin!(async move {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frame.expect("good");
            frames.try_send(()).expect("one at a time");
        }
    });
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        reading.as_mut().poll(cx)
    })
    .await;
}

#[test]
fn a_paced_chunk_costs_one_poll_of_the_task() {
    run(async {
        let (address, pace) = listen_paced(async |stream| {
            stream.write_all(b"5\r\nhello\r\n").await.expect("written");
        })
        .await;
        let bench = Bench::new(upstream(address));
        let body = bench.send().await.expect("sent").into_body();
        let polls = Rc::new(Cell::new(0));
        let (frames, mut arrived) = mpsc::channel(1);
        let reader = reactor::spawn(read_counted(body, polls.clone(), frames));
        for _ in 0..CHUNKS {
            pace.send(()).await.expect("paced");
            arrived.recv().await.expect("a frame");
        }
        drop(pace);
        reader.await.expect("read");
        let per_chunk = polls.get() as f64 / CHUNKS as f64;
        assert!(per_chunk <= 1.1, "{per_chunk} polls per chunk");
    });
}
