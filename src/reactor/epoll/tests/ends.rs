//! However a socket ends, nothing of it is left.

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{both_ends, on_epoll, poll_once, tcp_pair, told};
use crate::config::Address;
use crate::reactor::listener::{Listener, bind_tcp};
use crate::reactor::{Conn, SocketOptions, spawn};

#[test]
fn thousands_come_and_go() {
    on_epoll(|| async {
        let descriptors = || fs::read_dir("/proc/self/fd").expect("the list").count();
        let before = descriptors();
        for _ in 0..60 {
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (mut near, mut far) = both_ends();
                    spawn(async move {
                        let hangup = far.hangup();
                        near.write_all(b"hello").await.expect("written");
                        let mut read = [0; 5];
                        far.read_exact(&mut read).await.expect("read");
                        drop(near);
                        hangup.await;
                        assert_eq!(far.read(&mut read).await.expect("the end"), 0);
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
            assert_eq!(told().sockets, 0);
        }
        // Tests beside this one open and close theirs, so only growth by each round is told.
        let after = descriptors();
        assert!(after < before + 60 * 100, "{before} and then {after}");
    });
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn those_who_no_longer_wait_are_not_kept() {
    on_epoll(|| async {
        let wakers: Vec<Arc<Nothing>> = (0..3).map(|_| Arc::new(Nothing)).collect();
        let counts = || wakers.iter().map(Arc::strong_count).collect::<Vec<_>>();
        let poll = |future: std::pin::Pin<&mut dyn Future<Output = ()>>, index: usize| {
            let waker = Waker::from(Arc::clone(&wakers[index]));
            assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
        };
        let (mut conn, _far) = tcp_pair();
        {
            let (mut first, mut second) = (pin!(conn.hangup()), pin!(conn.hangup()));
            poll(first.as_mut(), 0);
            poll(second.as_mut(), 1);
            poll(second.as_mut(), 1);
            assert_eq!(counts(), [2, 2, 1]);
        }
        assert_eq!(counts(), [1, 1, 1]);
        let mut alone = Box::pin(conn.hangup());
        poll(alone.as_mut(), 1);
        poll(alone.as_mut(), 2);
        assert_eq!(counts(), [1, 1, 2]);
        drop(alone);
        poll(pin!(async { conn.read(&mut [0]).await.map(drop).expect("read") }), 0);
        assert_eq!(counts(), [2, 1, 1]);
        drop(conn);
        assert_eq!(counts(), [1, 1, 1]);
    });
}

#[test]
fn connecting_can_be_given_up() {
    on_epoll(|| async {
        let (tcp, address) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 1, 65_536).expect("bound");
        let listener = Listener::new(tcp.into_iter().next().expect("one")).expect("a listener");
        let address = Address::Tcp(address);
        for _ in 0..3 {
            let mut connecting = Box::pin(Conn::connect(&address, SocketOptions::default()));
            assert!(poll_once(&mut connecting).await.is_none());
            assert_eq!(told().sockets, 2);
            drop(connecting);
            assert_eq!(told().sockets, 1);
        }
        drop(listener);
    });
}

#[test]
fn a_socket_that_others_hold_does_not_leave() {
    on_epoll(|| async {
        let (conn, far) = tcp_pair();
        let hangup = conn.hangup();
        assert!(conn.leave().is_err());
        assert_eq!(told().sockets, 1);
        drop((hangup, far));
    });
}
