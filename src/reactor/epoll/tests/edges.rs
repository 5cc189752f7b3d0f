//! No edge is lost, and none is taken for another's.

use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{aside, both_ends, on_epoll, pattern, poll_once, tcp, tcp_pair, unix_pair};
use crate::reactor::conn::Moving;
use crate::reactor::{Conn, spawn};

#[test]
fn what_comes_after_a_short_read_wakes_the_reader() {
    on_epoll(|| async {
        let (mut conn, far) = tcp_pair();
        let (mut near_unix, far_unix) = unix_pair();
        let (mut far, mut far_unix) = (OwnedFd::from(far), OwnedFd::from(far_unix));
        for len in [1, 7, 99, 1_000] {
            for _ in 0..50 {
                (far, far_unix) = aside(move || {
                    for fd in [&far, &far_unix] {
                        rustix::io::write(fd, &pattern(len)).expect("written");
                    }
                    (far, far_unix)
                })
                .await;
                let mut read = [0; 2_000];
                assert_eq!(conn.read(&mut read).await.expect("read"), len);
                assert_eq!(near_unix.read(&mut read).await.expect("read"), len);
            }
        }
    });
}

#[test]
fn the_end_right_behind_the_data_is_told() {
    on_epoll(|| async {
        for (waiting, seen) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut conn, mut far) = tcp_pair();
            if waiting {
                assert!(poll_once(Box::pin(conn.read(&mut [0]))).await.is_none());
            }
            let far = aside(move || {
                far.write_all(b"data").expect("written");
                far.shutdown(Shutdown::Write).expect("shut down");
                far
            })
            .await;
            if seen {
                // Both in one event, before anything was read.
                conn.hangup().await;
            }
            let mut read = [0; 100];
            assert_eq!(conn.read(&mut read).await.expect("read"), 4);
            assert_eq!(conn.read(&mut read).await.expect("the end"), 0);
            assert_eq!(conn.read(&mut read).await.expect("still the end"), 0);
            drop(far);
        }
    });
}

#[test]
fn a_hangup_while_nobody_reads_is_told_to_all_who_wait() {
    on_epoll(|| async {
        let (mut conn, mut far) = tcp_pair();
        let waiting: Vec<_> = (0..3).map(|_| spawn(conn.hangup())).collect();
        yield_now().await;
        far.write_all(b"unread").expect("written");
        sleep(Duration::from_millis(5)).await;
        assert!(waiting.iter().all(|task| !task.is_finished()), "bytes are not the end");
        drop(far);
        for task in waiting {
            task.await.expect("no panic");
        }
        conn.hangup().await;
        let mut read = Vec::new();
        conn.read_to_end(&mut read).await.expect("read");
        assert_eq!(read, b"unread");
    });
}

#[test]
fn a_full_socket_goes_on_when_it_is_drained() {
    on_epoll(|| async {
        let (mut conn, mut far) = tcp_pair();
        for vectored in [false, true] {
            let (bytes, mut written) = (pattern(300_000), 0);
            // Until nothing is taken for a while.
            let mut fill = async |written: &mut usize| {
                loop {
                    let (first, second) = bytes[*written % 200_000..].split_at(50_000);
                    let write = poll_fn(|cx| {
                        let conn = Pin::new(&mut conn);
                        if vectored {
                            conn.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
                        } else {
                            conn.poll_write(cx, first)
                        }
                    });
                    match timeout(Duration::from_millis(50), write).await {
                        Ok(taken) => *written += taken.expect("written"),
                        Err(_) => return,
                    }
                }
            };
            for _ in 0..3 {
                fill(&mut written).await;
                let full = written;
                far = aside(move || {
                    far.read_exact(&mut vec![0; full]).expect("read");
                    far
                })
                .await;
                written = 0;
            }
        }
        drop(far);
    });
}

#[test]
fn buffers_that_are_not_initialised_are_filled_alike() {
    on_epoll(|| async {
        let (mut conn, mut far) = tcp_pair();
        let written = aside(move || {
            far.write_all(&pattern(400_000)).expect("written");
            far.shutdown(Shutdown::Write).expect("shut down");
            far
        });
        let mut read = BytesMut::with_capacity(500_000);
        let reading = async { while conn.read_buf(&mut read).await.expect("read") > 0 {} };
        let (far, ()) = tokio::join!(written, reading);
        assert!(read == pattern(400_000));
        drop(far);
    });
}

#[test]
fn a_peer_that_never_pauses_does_not_keep_the_worker() {
    on_epoll(|| async {
        let (mut conn, mut far) = both_ends();
        far.write_all(&pattern(10_000)).await.expect("written");
        sleep(Duration::from_millis(5)).await;
        let reading = spawn(async move {
            let mut reads = 0;
            while reads < 10_000 {
                reads += conn.read(&mut [0]).await.expect("read");
            }
        });
        let mut laps = 0;
        while !reading.is_finished() {
            yield_now().await;
            laps += 1;
        }
        assert!(laps > 20, "{laps}");
    });
}

#[test]
fn events_of_a_socket_that_is_gone_are_nobodys() {
    on_epoll(|| async {
        let (near, far) = tcp();
        // Keeps the socket open beyond its end here, and so in the instance.
        let kept = near.try_clone().expect("a second descriptor");
        near.set_nonblocking(true).expect("a flag");
        drop(Conn::arrive(Moving::Tcp(near)).expect("taken over"));
        let (mut heir, mut its_far) = tcp_pair();
        assert!(poll_once(Box::pin(heir.read(&mut [0]))).await.is_none());
        let mut hangup = Box::pin(heir.hangup());
        assert!(poll_once(&mut hangup).await.is_none());
        aside(move || drop(far)).await;
        sleep(Duration::from_millis(10)).await;
        assert!(poll_once(&mut hangup).await.is_none(), "its peer is there");
        its_far.write_all(b"x").expect("written");
        assert_eq!(heir.read(&mut [0]).await.expect("read"), 1);
        drop((kept, its_far));
        hangup.await;
    });
}

#[test]
fn an_urgency_outlives_its_socket_and_touches_no_other() {
    on_epoll(|| async {
        let (conn, _far) = tcp_pair();
        let urgent = conn.urgency();
        urgent(false);
        drop(conn);
        let (_heir, _its_far) = tcp_pair();
        urgent(true);
    });
}

#[test]
fn a_listener_takes_all_that_wait_before_it_is_pending() {
    use crate::reactor::listener::{Listener, bind_tcp};
    on_epoll(|| async {
        let (tcp, address) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, 65_536).expect("bound");
        let listener = Listener::new(tcp.into_iter().next().expect("one")).expect("a listener");
        for crowd in [1, 50, 3] {
            let pending = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending())).await;
            assert!(pending);
            let crowd = aside(move || {
                (0..crowd).map(|_| std::net::TcpStream::connect(address).expect("connected")).collect::<Vec<_>>()
            })
            .await;
            for stream in &crowd {
                let accepted = poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepted");
                assert_eq!(accepted.peer, stream.local_addr().ok());
            }
        }
    });
}
