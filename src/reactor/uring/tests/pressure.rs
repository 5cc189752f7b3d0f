//! What happens when somebody does not read, and when buffers and queues are short.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{TINY, aside, on_each, on_rings, on_worker, pattern, poll_once, tcp_pair, until};
use crate::reactor::uring::{Settings, stats};
use crate::reactor::{Conn, spawn};

/// Writes until nothing more is taken; the number of bytes.
fn fill(far: &mut StdStream) -> usize {
    far.set_nonblocking(true).expect("a flag");
    let mut taken = 0;
    loop {
        match far.write(&[1; 16_384]) {
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    far.set_nonblocking(false).expect("a flag");
    taken
}

#[test]
fn a_reader_that_stops_holds_one_buffer_and_goes_on() {
    on_rings(|| async {
        let (mut conn, far) = tcp_pair();
        // It waits, something comes, and then it does not come back.
        assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
        let (far, taken) = aside(move || {
            let mut far = far;
            let taken = fill(&mut far);
            (far, taken)
        })
        .await;
        until(|stats| stats.receive_buffers > 0).await;
        let held = stats().expect("a ring").receive_buffers;
        assert_eq!(held, 1);
        // The rest lies in the kernel: it comes when it is asked for, and what follows it too.
        let mut read = vec![0; taken];
        conn.read_exact(&mut read).await.expect("read");
        for _ in 0..10 {
            assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
            let mut far = far.try_clone().expect("a clone");
            aside(move || far.write_all(b"more").expect("written")).await;
            let mut read = [0; 4];
            conn.read_exact(&mut read).await.expect("read");
            assert_eq!(&read, b"more");
        }
    });
}

#[test]
fn a_writer_feels_a_peer_that_does_not_read() {
    on_each(|| async {
        let (mut conn, mut far) = tcp_pair();
        let bytes = pattern(16 << 20);
        let mut written = 0;
        // Until it is full for longer than a lap.
        loop {
            let next = (written + 65_536).min(bytes.len());
            let write = Box::pin(conn.write(&bytes[written..next]));
            match tokio::time::timeout(std::time::Duration::from_millis(100), write).await {
                Ok(taken) => written += taken.expect("written"),
                Err(_) => break,
            }
        }
        assert!(written < bytes.len(), "all of it was taken");
        let expected = bytes.clone();
        let far = aside(move || {
            let mut read = vec![0; expected.len()];
            far.read_exact(&mut read).expect("read");
            assert!(read == expected);
        });
        let ((), rest) = tokio::join!(far, conn.write_all(&bytes[written..]));
        rest.expect("written");
    });
}

#[test]
fn more_readers_than_buffers_all_get_their_bytes() {
    on_worker(Some(Settings { buffers: 2, buffer_bytes: 4096, ..Settings::default() }), || async {
        // Twenty that hold what came and don't read it.
        let mut stalled: Vec<(Conn, StdStream)> = (0..20).map(|_| tcp_pair()).collect();
        for (conn, _) in &mut stalled {
            assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
        }
        until(|stats| stats.submitted >= 20).await;
        for (_, far) in &mut stalled {
            far.write_all(&[3; 1000]).expect("written");
        }
        // And twenty that do.
        let mut reading = Vec::new();
        for _ in 0..20 {
            let (mut conn, mut far) = tcp_pair();
            reading.push(spawn(async move {
                let mut read = vec![0; 100_000];
                conn.read_exact(&mut read).await.expect("read");
                assert!(read == pattern(100_000));
            }));
            aside(move || far.write_all(&pattern(100_000)).expect("written")).await;
        }
        for reader in reading {
            reader.await.expect("no panic");
        }
        let told = stats().expect("a ring");
        assert!(told.starved > 0 && told.spills > 0, "{told:?}");
        // Nothing of the others is lost.
        for (conn, _) in &mut stalled {
            let mut read = [0; 1000];
            conn.read_exact(&mut read).await.expect("read");
            assert_eq!(read, [3; 1000]);
        }
    });
}

#[test]
fn a_ring_smaller_than_what_happens_on_it_loses_nothing() {
    on_worker(Some(TINY), || async {
        let mut tasks = Vec::new();
        for _ in 0..60 {
            let (mut conn, far) = tcp_pair();
            tasks.push(spawn(async move {
                let echo = tokio::task::spawn_blocking(move || {
                    let (mut from, mut to) = (far.try_clone().expect("a clone"), far);
                    std::io::copy(&mut from, &mut to).expect("copied");
                });
                let hangup = conn.hangup();
                for round in 0..5_u8 {
                    conn.write_all(&[round; 700]).await.expect("written");
                    let mut read = [0; 700];
                    conn.read_exact(&mut read).await.expect("read");
                    assert_eq!(read, [round; 700]);
                }
                conn.shutdown().await.expect("shut down");
                echo.await.expect("no panic");
                hangup.await;
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        let told = stats().expect("a ring");
        assert!(told.submitted >= 600, "{told:?}");
    });
}
