//! Writes that wait for the end of the lap: none is lost, doubled or overtaken, and none waits for longer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Context;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;

use super::{aside, on_epoll, pattern, poll_once, tcp_pair, told, unix_pair};
use crate::reactor::Conn;
use crate::reactor::epoll::outgoing::PIECE_BYTES_MAX;

/// Sockets whose small writes may wait; all were ready in the last turn.
async fn crowd(count: usize) -> Vec<(Conn, UnixStream)> {
    let mut pairs: Vec<_> = (0..count).map(|_| unix_pair()).collect();
    for (conn, far) in &pairs {
        conn.batch_writes(true);
        far.set_nonblocking(true).expect("a flag");
    }
    meet(&mut pairs, count >= 4).await;
    pairs
}

/// All are ready at once, until that is what the last turn has found.
async fn meet<W>(pairs: &mut [(Conn, W)], crowded: bool)
where
    for<'a> &'a W: Write,
{
    for round in 0.. {
        for (_, far) in &*pairs {
            let mut far = far;
            far.write_all(b"x").expect("written");
        }
        // The worker has to wait, so it makes a turn.
        aside(|| ()).await;
        let is_crowded = told().is_crowded;
        for (conn, _) in &mut *pairs {
            assert_eq!(conn.read(&mut [0; 8]).await.expect("read"), 1);
        }
        if is_crowded == crowded {
            return;
        }
        assert!(round < 100, "no turn finds them together");
    }
}

/// What has arrived so far.
fn arrived(mut far: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match far.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
    bytes
}

async fn write(conn: &mut Conn, bytes: &[u8]) {
    assert_eq!(conn.write(bytes).await.expect("written"), bytes.len());
}

#[test]
fn small_writes_of_a_crowd_leave_when_the_lap_is_over() {
    on_epoll(|| async {
        let mut pairs = crowd(5).await;
        for round in [b"once".as_slice(), b"twice"] {
            for (conn, far) in &mut pairs {
                write(conn, round).await;
                write(conn, b" more").await;
                assert_eq!(arrived(far), b"");
            }
            yield_now().await;
            for (_, far) in &pairs {
                assert_eq!(arrived(far), [round, b" more"].concat());
            }
        }
    });
}

#[test]
fn nobody_waits_who_is_nearly_alone_or_in_a_hurry_or_has_much_to_say() {
    on_epoll(|| async {
        let mut few = crowd(2).await;
        write(&mut few[0].0, b"at once").await;
        assert_eq!(arrived(&few[0].1), b"at once");
        let mut pairs = crowd(5).await;
        let (conn, far) = &mut pairs[0];
        conn.batch_writes(false);
        write(conn, b"at once").await;
        assert_eq!(arrived(far), b"at once");
        let (conn, far) = &mut pairs[1];
        let much = pattern(PIECE_BYTES_MAX + 1);
        write(conn, b"what waits goes first").await;
        write(conn, &much).await;
        assert_eq!(arrived(far), [b"what waits goes first", &much[..]].concat());
        let (conn, far) = &mut pairs[2];
        write(conn, b"and when it is taken back").await;
        conn.batch_writes(false);
        assert_eq!(arrived(far), b"and when it is taken back");
    });
}

#[test]
fn a_long_lap_sends_in_between() {
    on_epoll(|| async {
        let mut pairs = crowd(40).await;
        for (conn, _) in &mut pairs {
            write(conn, b"chunk").await;
        }
        let sent = pairs.iter().filter(|(_, far)| arrived(far) == b"chunk").count();
        assert_eq!(sent, 32);
        yield_now().await;
        let sent = pairs.iter().filter(|(_, far)| arrived(far) == b"chunk").count();
        assert_eq!(sent, 8);
    });
}

#[test]
fn a_peer_that_does_not_read_is_felt_at_the_next_write_and_gets_everything() {
    on_epoll(|| async {
        let mut pairs = crowd(5).await;
        let (conn, far) = &mut pairs[0];
        let mut written = Vec::new();
        let chunk = pattern(3_000);
        while let Some(taken) = poll_once(Box::pin(conn.write(&chunk))).await {
            assert_eq!(taken.expect("written"), chunk.len());
            written.extend_from_slice(&chunk);
            yield_now().await;
            assert!(written.len() < 8 << 20, "its buffer has no end");
        }
        let (mut got, mut pieces) = (Vec::new(), 0);
        while got.len() < written.len() {
            got.extend(arrived(far));
            // What was left follows by itself.
            aside(|| ()).await;
            pieces += 1;
            assert!(pieces < 10_000, "{} of {}", got.len(), written.len());
        }
        assert!(got == written);
        write(conn, b"and on").await;
        yield_now().await;
        assert_eq!(arrived(far), b"and on");
    });
}

#[test]
fn whoever_waits_for_room_is_woken_and_the_end_comes_last() {
    on_epoll(|| async {
        let mut pairs = crowd(5).await;
        let (mut conn, mut far) = pairs.swap_remove(0);
        far.set_nonblocking(false).expect("a flag");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).map(|_| bytes)
        });
        let chunk = pattern(4_000);
        for _ in 0..500 {
            conn.write_all(&chunk).await.expect("written");
            yield_now().await;
        }
        conn.write_all(b"last words").await.expect("written");
        conn.shutdown().await.expect("shut down");
        let got = aside(|| reader.join()).await.expect("no panic").expect("the end");
        assert!(got == [&chunk.repeat(500)[..], b"last words"].concat());
    });
}

#[test]
fn what_waits_goes_out_before_its_socket_is_closed() {
    on_epoll(|| async {
        let mut pairs = crowd(5).await;
        for (mut conn, far) in pairs.drain(..) {
            write(&mut conn, b"farewell").await;
            drop(conn);
            assert_eq!(arrived(&far), b"farewell");
        }
    });
}

#[test]
fn a_failure_is_told_with_the_next_write() {
    on_epoll(|| async {
        let mut pairs: Vec<(Conn, TcpStream)> = (0..5).map(|_| tcp_pair()).collect();
        for (conn, _) in &pairs {
            conn.batch_writes(true);
        }
        meet(&mut pairs, true).await;
        let mut pairs = pairs.into_iter();
        let (mut conn, far) = pairs.next().expect("five");
        // The reset is noticed by nobody here before the write.
        SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
        drop(far);
        write(&mut conn, b"lost").await;
        write(&mut conn, b" and lost").await;
        assert_eq!(conn.lost(), 0);
        yield_now().await;
        assert_eq!(conn.lost(), 13);
        let flushed = std::future::poll_fn(|cx: &mut Context<'_>| Pin::new(&mut conn).poll_flush(cx)).await;
        flushed.expect_err("it failed");
        conn.write(b"lost too").await.expect_err("it failed");
        conn.shutdown().await.expect_err("it failed");
    });
}
