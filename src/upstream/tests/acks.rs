//! When chunks are acknowledged, with the real kernel on both sides.

use std::future::poll_fn;
use std::pin::Pin;

use http_body::Body as _;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Bench, listen_paced, run, upstream};
use crate::upstream::acks::Trust;

/// Enough for a look at what came of it.
const CHUNKS: usize = 40;

const STREAMS_MAX: usize = 20;

/// What is known of an upstream after one stream of chunks, each sent when the one before has arrived.
async fn after_a_stream(send_chunk: impl AsyncFn(&mut TcpStream) + Copy + 'static) -> Trust {
    let (address, pace) = listen_paced(send_chunk).await;
    let bench = Bench::new(upstream(address));
    let mut body = bench.send().await.expect("sent").into_body();
    for _ in 0..CHUNKS {
        pace.send(()).await.expect("paced");
        let mut missing = 5;
        while missing > 0 {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("more").expect("good");
            missing -= frame.into_data().expect("data").len();
        }
    }
    bench.pool.peers[0].cache.acks.trust()
}

#[test]
fn an_upstream_that_sends_as_it_goes_is_acknowledged_less_often() {
    run(async {
        // A machine that stands still for 40 ms looks like an upstream that waits; it does not do so each time.
        for _ in 0..STREAMS_MAX {
            let trust = after_a_stream(async |stream| {
                stream.set_nodelay(true).expect("set");
                stream.write_all(b"5\r\nhello\r\n").await.expect("written");
            })
            .await;
            if matches!(trust, Trust::Pays(_)) {
                return;
            }
        }
        panic!("acknowledged each time in {STREAMS_MAX} streams");
    });
}

#[test]
fn one_that_waits_for_acknowledgements_gets_them_at_once() {
    run(async {
        let trust = after_a_stream(async |stream| {
            // Nagle's algorithm holds back the second piece.
            stream.set_nodelay(false).expect("set");
            for piece in ["5\r\nhe", "llo\r\n"] {
                stream.write_all(piece.as_bytes()).await.expect("written");
            }
        })
        .await;
        assert!(matches!(trust, Trust::Fails(_)), "{trust:?}");
    });
}
