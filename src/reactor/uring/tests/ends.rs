//! However a socket ends, its peer hears of it, and nothing of it is left.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::{
    TINY, aside, both_ends, nothing_left, on_each, on_rings, on_worker, pattern, poll_once, tcp_pair, unix_pair,
    until,
};
use crate::config::Address;
use crate::reactor::listener::{Listener, bind_tcp};
use crate::reactor::uring::close::LINGER;
use crate::reactor::uring::{Settings, stats, turn, uninstall};
use crate::reactor::{Conn, SocketOptions, spawn};

/// What the peer of a closed socket sees: `Ok` for the end, or the error.
fn end_of(mut far: impl Read) -> Result<Vec<u8>, ErrorKind> {
    let mut read = Vec::new();
    far.read_to_end(&mut read).map(|_| read).map_err(|error| error.kind())
}

#[test]
fn an_untouched_socket_is_closed_at_once() {
    on_rings(|| async {
        let (conn, far) = tcp_pair();
        drop(conn);
        nothing_left();
        assert_eq!(end_of(far), Ok(Vec::new()));
    });
}

#[test]
fn a_socket_that_is_waited_for_is_closed_within_one_turn() {
    on_rings(|| async {
        let (mut conn, far) = tcp_pair();
        let mut hangup = Box::pin(conn.hangup());
        assert!(poll_once(&mut hangup).await.is_none());
        assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
        turn();
        drop(hangup);
        drop(conn);
        turn();
        nothing_left();
        assert_eq!(end_of(far), Ok(Vec::new()));
    });
}

#[test]
fn what_was_accepted_is_delivered_after_the_socket_is_dropped() {
    on_rings(|| async {
        for bytes in [1, 4_000, 65_536] {
            let (mut conn, far) = tcp_pair();
            assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
            assert_eq!(conn.write(&pattern(bytes)).await.expect("written"), bytes);
            drop(conn);
            assert_eq!(aside(move || end_of(far)).await, Ok(pattern(bytes)));
        }
    });
}

#[test]
fn unread_bytes_reset_the_connection_as_close_does() {
    on_each(|| async {
        // In the ring's buffer, and still in the kernel.
        for armed in [true, false] {
            let (mut conn, mut far) = tcp_pair();
            if armed {
                assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
            }
            far.write_all(b"nobody reads this").expect("written");
            sleep(Duration::from_millis(20)).await;
            drop(conn);
            assert_eq!(aside(move || end_of(far)).await, Err(ErrorKind::ConnectionReset), "armed: {armed}");
        }
    });
}

#[test]
fn a_peer_that_does_not_read_is_waited_for_only_so_long() {
    on_worker(Some(Settings::default()), || async {
        let (mut conn, far) = tcp_pair();
        while timeout(Duration::from_millis(50), conn.write_all(&pattern(65_536))).await.is_ok() {}
        let dropped = Instant::now();
        drop(conn);
        assert_eq!(stats().expect("a ring").sockets, 1, "bytes are on their way");
        until(|stats| stats.sockets == 0).await;
        let waited = dropped.elapsed();
        assert!(waited >= LINGER && waited < LINGER + Duration::from_secs(2), "{waited:?}");
        nothing_left();
        assert_eq!(aside(move || end_of(far)).await, Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_hangup_is_noticed_with_and_without_a_reader_and_behind_unread_bytes() {
    on_each(|| async {
        for (bytes, reading) in [(0, false), (0, true), (10, false), (300_000, true)] {
            let (mut conn, mut far) = tcp_pair();
            let hangup = conn.hangup();
            if reading {
                assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
            }
            let gone = aside(move || {
                far.write_all(&pattern(bytes)).expect("written");
                far.shutdown(Shutdown::Write).expect("shut down");
                far
            });
            let read = async {
                // The kernel's buffers alone can't hold that much, and so not its end.
                if bytes > 100_000 {
                    conn.read_exact(&mut vec![0; bytes - 10]).await.expect("read");
                }
            };
            let (_far, (), ()) = tokio::join!(gone, hangup, read);
            let mut rest = Vec::new();
            conn.read_to_end(&mut rest).await.expect("read");
            assert_eq!(rest.len(), bytes.min(10));
        }
    });
}

#[test]
fn a_reset_is_a_hangup() {
    on_each(|| async {
        let (conn, far) = tcp_pair();
        let hangup = conn.hangup();
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("set");
        drop(far);
        hangup.await;
        let (conn, far) = unix_pair();
        let hangup = conn.hangup();
        drop(far);
        hangup.await;
    });
}

#[test]
fn a_hangup_that_nobody_waits_for_any_more_is_no_operation() {
    on_rings(|| async {
        let (conn, far) = tcp_pair();
        let mut first = Box::pin(conn.hangup());
        let mut second = Box::pin(conn.hangup());
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        turn();
        assert_eq!(stats().expect("a ring").operations, 1);
        drop(first);
        drop(second);
        // Just being called off, and wanted again.
        let again = conn.hangup();
        let gone = async {
            turn();
            tokio::task::yield_now().await;
            drop(far);
        };
        tokio::join!(again, gone);
        drop(conn);
    });
}

#[test]
fn connecting_can_be_given_up() {
    on_rings(|| async {
        // A backlog that is full: the handshake does not end.
        let (tcp, address) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, 65_536).expect("bound");
        let listener = Listener::new(tcp.into_iter().next().expect("one")).expect("a listener");
        for turns in 0..3 {
            let address = Address::Tcp(address);
            let mut connecting = Box::pin(Conn::connect(&address, SocketOptions::default()));
            drop(poll_once(&mut connecting).await);
            for _ in 0..turns {
                turn();
            }
            drop(connecting);
        }
        drop(listener);
    });
}

#[test]
fn dropping_in_every_state_leaves_no_descriptor() {
    on_rings(|| async {
        let descriptors = || fs::read_dir("/proc/self/fd").expect("the list").count();
        let round = || async {
            let mut fars: Vec<StdStream> = Vec::new();
            for state in 0..24 {
                let (mut conn, mut far) = tcp_pair();
                let mut hangup = Box::pin(conn.hangup());
                if state & 1 != 0 {
                    drop(poll_once(Box::pin(conn.read(&mut [0]))).await);
                }
                if state & 2 != 0 {
                    far.write_all(&[1; 5_000]).expect("written");
                    poll_once(&mut hangup).await;
                }
                if state & 4 != 0 {
                    assert_eq!(conn.write(&[2; 5_000]).await.expect("written"), 5_000);
                }
                if state & 8 != 0 {
                    turn();
                }
                if state & 16 != 0 {
                    drop(far);
                } else {
                    fars.push(far);
                }
                drop(conn);
                drop(hangup);
            }
            until(|stats| stats.sockets == 0).await;
            nothing_left();
        };
        round().await;
        let before = descriptors();
        for _ in 0..20 {
            round().await;
        }
        // Tests beside this one open and close theirs, so only growth by each round is told.
        let after = descriptors();
        assert!(after < before + 20 * 24, "{before} and then {after}");
    });
}

#[test]
fn thousands_come_and_go() {
    on_rings(|| async {
        for _ in 0..40 {
            let mut tasks = Vec::new();
            for _ in 0..50 {
                let (mut near, mut far) = both_ends();
                tasks.push(spawn(async move {
                    near.write_all(b"hello").await.expect("written");
                    let mut read = [0; 5];
                    far.read_exact(&mut read).await.expect("read");
                    drop(near);
                    assert_eq!(far.read(&mut read).await.expect("the end"), 0);
                }));
            }
            for task in tasks {
                task.await.expect("no panic");
            }
        }
    });
}

#[test]
fn a_ring_ends_with_sockets_on_it() {
    for settings in [Settings::default(), TINY] {
        on_worker(Some(settings), || async {
            let (mut waiting, mut far) = tcp_pair();
            let (mut writing, mut reader) = tcp_pair();
            let mut hangup = Box::pin(waiting.hangup());
            assert!(poll_once(&mut hangup).await.is_none());
            assert!(poll_once(Box::pin(waiting.read(&mut [0]))).await.is_none());
            writing.write_all(b"the last words").await.expect("written");
            uninstall();
            let mut read = [0; 14];
            reader.read_exact(&mut read).expect("read");
            assert_eq!(&read, b"the last words");
            hangup.await;
            assert!(waiting.read(&mut [0]).await.is_err());
            assert!(writing.write(b"x").await.is_err());
            assert!(writing.shutdown().await.is_err());
            drop((waiting, writing));
            assert_eq!(far.read(&mut [0]).expect("closed"), 0);
            assert_eq!(reader.read(&mut [0]).expect("closed"), 0);
            // What comes after is epoll's.
            let (mut conn, mut far) = tcp_pair();
            conn.write_all(b"x").await.expect("written");
            assert_eq!(far.read(&mut [0]).expect("read"), 1);
        });
    }
}
