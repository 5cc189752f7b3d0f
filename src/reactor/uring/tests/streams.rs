//! Bytes go through whole, in order, both ways, and their ends are told.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{TINY, aside, both_ends, nobody, on_each, on_rings, on_worker, pattern, tcp_pair, unix_pair, until};
use crate::config::Address;
use crate::reactor::listener::{Listener, bind_tcp, bind_unix};
use crate::reactor::uring::{Settings, is_installed, pace, stats, turn};
use crate::reactor::{Conn, Idle, SocketOptions, spawn};

#[test]
fn what_is_written_is_read() {
    on_each(|| async {
        let (mut conn, mut far) = tcp_pair();
        conn.write_all(b"there").await.expect("written");
        let mut far = aside(move || {
            let mut read = [0; 5];
            far.read_exact(&mut read).expect("read");
            assert_eq!(&read, b"there");
            far.write_all(b"and back").expect("written");
            far
        })
        .await;
        let mut read = [0; 8];
        conn.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"and back");
        conn.shutdown().await.expect("shut down");
        aside(move || assert_eq!(far.read(&mut [0]).expect("the end"), 0)).await;
    });
}

#[test]
fn large_transfers_are_whole_both_ways_at_once() {
    const BYTES: usize = 3_000_000;
    on_each(|| async {
        let (near, far) = both_ends();
        let mut tasks = Vec::new();
        for conn in [near, far] {
            let (mut reader, mut writer) = tokio::io::split(conn);
            tasks.push(spawn(async move {
                writer.write_all(&pattern(BYTES)).await.expect("written");
                writer.shutdown().await.expect("shut down");
            }));
            tasks.push(spawn(async move {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).await.expect("read");
                assert!(read == pattern(BYTES), "{} bytes, not as they were written", read.len());
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

#[test]
fn unix_sockets_carry_bytes_too() {
    on_each(|| async {
        let (mut conn, mut far) = unix_pair();
        let far = aside(move || {
            far.write_all(&pattern(200_000)).expect("written");
            far
        });
        let mut read = vec![0; 200_000];
        let (far, ()) = tokio::join!(far, async {
            conn.read_exact(&mut read).await.expect("read");
        });
        assert!(read == pattern(200_000));
        drop(far);
        assert_eq!(conn.read(&mut [0]).await.expect("the end"), 0);
    });
}

#[test]
fn several_writes_of_one_lap_are_one_send() {
    on_worker(Some(Settings::default()), || async {
        let (mut conn, mut far) = tcp_pair();
        turn();
        let before = stats().expect("a ring").submitted;
        for _ in 0..100 {
            conn.write_all(&[7; 600]).await.expect("written");
        }
        until(|stats| stats.send_buffers == 0).await;
        assert_eq!(stats().expect("a ring").submitted - before, 1);
        aside(move || far.read_exact(&mut vec![0; 60_000]).expect("read")).await;
    });
}

#[test]
fn a_half_closed_peer_is_still_written_to() {
    on_each(|| async {
        let (mut conn, mut far) = tcp_pair();
        far.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(conn.read(&mut [0]).await.expect("the end"), 0);
        assert_eq!(conn.read(&mut [0]).await.expect("still the end"), 0);
        conn.write_all(b"answer").await.expect("written");
        conn.shutdown().await.expect("shut down");
        let mut read = String::new();
        aside(move || {
            far.read_to_string(&mut read).expect("read");
            assert_eq!(read, "answer");
        })
        .await;
    });
}

#[test]
fn what_was_accepted_and_has_never_left_is_counted() {
    on_rings(|| async {
        let (mut conn, far) = tcp_pair();
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("set");
        drop(far);
        conn.write_all(b"into").await.expect("accepted");
        conn.write_all(b" the void").await.expect("accepted");
        assert_eq!(conn.lost(), 0);
        while conn.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(conn.lost(), 13);
        conn.write_all(b"and on").await.expect_err("it has failed");
        assert_eq!(conn.lost(), 13);
    });
}

#[test]
fn a_reset_is_an_error_once_and_writing_fails() {
    on_each(|| async {
        let (mut conn, far) = tcp_pair();
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("set");
        drop(far);
        let error = conn.read(&mut [0]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(conn.read(&mut [0]).await.expect("the end"), 0);
        // Accepted or not, it is told in the end.
        let failed = async {
            loop {
                conn.write_all(b"into the void").await?;
                conn.flush().await?;
                tokio::task::yield_now().await;
            }
        };
        let failed: std::io::Error = match failed.await {
            Err(error) => error,
            Ok(never) => never,
        };
        assert!(matches!(failed.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{failed}");
    });
}

#[test]
fn bytes_before_a_reset_come_first_and_bytes_given_back_before_those() {
    on_each(|| async {
        let (mut conn, mut far) = tcp_pair();
        far.write_all(b"after").expect("written");
        conn.unread(bytes::Bytes::from_static(b"before "));
        assert_eq!(conn.look(), Idle::Data);
        let mut read = [0; 12];
        conn.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"before after");
    });
}

#[test]
fn connections_are_made_and_refused() {
    on_each(|| async {
        let options = SocketOptions { receive_buffer_bytes: Some(65_536) };
        let refused = Conn::connect(&Address::Tcp(nobody()), options).await.expect_err("nobody there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.sock");
        let refused = Conn::connect(&Address::Unix(path.clone()), options).await.expect_err("nobody there");
        assert_eq!(refused.kind(), ErrorKind::NotFound);

        let (tcp, address) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, 65_536).expect("bound");
        let (unix, _file) = bind_unix(&path, 65_536).expect("bound");
        for (bound, address) in
            tcp.into_iter().map(|tcp| (tcp, Address::Tcp(address))).chain([(unix, Address::Unix(path))])
        {
            let listener = Listener::new(bound).expect("a listener");
            let mut near = Conn::connect(&address, options).await.expect("connected");
            let mut accepted = poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepted");
            assert_eq!(accepted.peer.is_some(), matches!(address, Address::Tcp(_)));
            near.write_all(b"through").await.expect("written");
            let mut read = [0; 7];
            accepted.conn.read_exact(&mut read).await.expect("read");
            assert_eq!(&read, b"through");
        }
    });
}

#[test]
fn a_listener_takes_all_that_wait_before_it_is_pending() {
    on_rings(|| async {
        let (tcp, address) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, 65_536).expect("bound");
        let listener = Listener::new(tcp.into_iter().next().expect("one")).expect("a listener");
        let nobody = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending())).await;
        assert!(nobody);
        let crowd: Vec<_> = (0..50).map(|_| StdStream::connect(address).expect("connected")).collect();
        // In one poll, and so before the ring has told anything.
        let taken = poll_fn(|cx| {
            let accepted = std::iter::from_fn(|| match listener.poll_accept(cx) {
                Poll::Ready(accepted) => Some(accepted.expect("accepted").peer),
                Poll::Pending => None,
            });
            Poll::Ready(accepted.collect::<Vec<_>>())
        })
        .await;
        let expected: Vec<_> = crowd.iter().map(|stream| stream.local_addr().ok()).collect();
        assert_eq!(taken, expected);
        // And the next wakes whoever waits.
        let next = aside(move || StdStream::connect(address).expect("connected"));
        let (next, accepted) = tokio::join!(next, poll_fn(|cx| listener.poll_accept(cx)));
        assert_eq!(accepted.expect("accepted").peer, next.local_addr().ok());
    });
}

#[test]
fn untouched_connections_move_and_others_do_not() {
    on_each(|| async {
        let (conn, mut far) = tcp_pair();
        let mut conn = Conn::arrive(conn.leave().expect("moves")).expect("arrives");
        let hangup = conn.hangup();
        far.write_all(b"x").expect("written");
        assert_eq!(conn.read(&mut [0]).await.expect("read"), 1);
        assert!(conn.leave().is_err(), "somebody waits for its hang-up");
        drop(hangup);
    });
}

#[test]
fn looking_tells_data_from_silence_from_the_end() {
    on_each(|| async {
        let (mut conn, mut far) = tcp_pair();
        assert_eq!(conn.look(), Idle::Quiet);
        // With a read under way.
        assert!(super::poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
        assert_eq!(conn.look(), Idle::Quiet);
        let far = aside(move || {
            far.write_all(b"x").expect("written");
            far
        })
        .await;
        assert_eq!(conn.look(), Idle::Data);
        assert_eq!(conn.read(&mut [0]).await.expect("read"), 1);
        assert_eq!(conn.look(), Idle::Quiet);
        assert!(super::poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
        aside(move || drop(far)).await;
        assert_eq!(conn.look(), Idle::Closed);
    });
}

#[test]
fn a_runtime_that_never_parks_moves_bytes_all_the_same() {
    on_rings(|| async {
        let spinning = spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        for paced in [false, true] {
            pace(paced);
            let (mut near, mut far) = both_ends();
            for _ in 0..100 {
                near.write_all(b"ping").await.expect("written");
                far.read_exact(&mut [0; 4]).await.expect("read");
            }
        }
        pace(false);
        spinning.abort();
    });
}

#[test]
fn whoever_paces_finds_what_came_in() {
    on_worker(Some(TINY), || async {
        pace(true);
        let (mut near, mut far) = both_ends();
        let reader = spawn(async move {
            let mut read = vec![0; 100_000];
            far.read_exact(&mut read).await.expect("read");
            read
        });
        near.write_all(&pattern(100_000)).await.expect("written");
        assert!(reader.await.expect("no panic") == pattern(100_000));
    });
}

#[test]
fn a_worker_without_a_ring_has_none() {
    on_worker(None, || async {
        assert!(!is_installed());
        assert_eq!(turn(), 0);
        assert!(stats().is_none());
        pace(true);
        let (conn, far) = tcp_pair();
        assert!(far.as_raw_fd() > 0);
        drop(conn);
    });
}
