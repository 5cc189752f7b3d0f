//! Whoever drives it: every socket is served, and everything else too.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::{aside, both_ends, on_epoll, tcp_pair, told};
use crate::reactor::{Conn, spawn};

const ROUNDS: u64 = 500;

/// Each read has more room than there are bytes, so the next must wait for an event.
async fn play(near: &mut Conn, far: &mut Conn, rounds: u64) {
    for _ in 0..rounds {
        near.write_all(b"ping").await.expect("written");
        assert_eq!(far.read(&mut [0; 64]).await.expect("read"), 4);
        far.write_all(b"pong").await.expect("written");
        assert_eq!(near.read(&mut [0; 64]).await.expect("read"), 4);
    }
}

#[test]
fn a_message_costs_one_turn() {
    on_epoll(|| async {
        let (mut near, mut far) = both_ends();
        play(&mut near, &mut far, 10).await;
        let before = told();
        play(&mut near, &mut far, ROUNDS).await;
        let turns = told().turns - before.turns;
        assert!(turns <= 2 * ROUNDS + ROUNDS / 5, "{turns}");
    });
}

#[test]
fn one_turn_serves_many() {
    on_epoll(|| async {
        let pairs: Vec<_> = (0..100).map(|_| both_ends()).collect();
        let before = told();
        let tasks: Vec<_> = pairs
            .into_iter()
            .map(|(mut near, mut far)| spawn(async move { play(&mut near, &mut far, 20).await }))
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let turns = told().turns - before.turns;
        assert!(turns < 1_000, "{turns} for 4000 messages");
    });
}

#[test]
fn a_silent_worker_sleeps() {
    on_epoll(|| async {
        let (near, far) = both_ends();
        sleep(Duration::from_millis(10)).await;
        let before = told();
        sleep(Duration::from_millis(200)).await;
        let turns = told().turns - before.turns;
        assert!(turns < 20, "{turns}");
        drop((near, far));
    });
}

#[test]
fn a_worker_that_has_waited_in_vain_goes_to_sleep_at_once() {
    const SLEEPS: u64 = 45;
    on_epoll(|| async {
        let (near, far) = both_ends();
        sleep(Duration::from_millis(10)).await;
        let before = told();
        for _ in 0..SLEEPS {
            sleep(Duration::from_millis(3)).await;
        }
        // One in nine waits first; some room for wake-ups of other kinds.
        let turns = told().turns - before.turns;
        assert!(turns < SLEEPS / 3, "{turns}");
        drop((near, far));
    });
}

#[test]
fn what_comes_to_a_sleeping_worker_wakes_it() {
    on_epoll(|| async {
        let (mut conn, mut far) = tcp_pair();
        for _ in 0..20 {
            let writing = aside(move || {
                far.set_read_timeout(Some(Duration::from_millis(8))).expect("a timeout");
                far.read(&mut [0]).expect_err("nothing is written to it");
                far.write_all(b"x").expect("written");
                far
            });
            let read = async { conn.read(&mut [0; 8]).await.expect("read") };
            let (back, read) = tokio::join!(writing, read);
            assert_eq!(read, 1);
            far = back;
        }
        drop(far);
    });
}

#[test]
fn a_worker_that_sleeps_is_told_though_the_last_event_woke_nobody() {
    on_epoll(|| async {
        let (mut near, mut far) = both_ends();
        let (unread, mut other) = tcp_pair();
        play(&mut near, &mut far, 50).await;
        assert!(told().is_muted, "it is busy");
        for _ in 0..3 {
            other.write_all(b"nobody reads this").expect("written");
            sleep(Duration::from_millis(4)).await;
            assert!(!told().is_muted);
        }
        drop(unread);
    });
}

/// A task that is always ready, and goes to the end of the queue or behind it.
fn spinning(yields: bool) -> JoinHandle<()> {
    spawn(async move {
        loop {
            if yields {
                yield_now().await;
            } else {
                wake_oneself().await;
            }
        }
    })
}

async fn wake_oneself() {
    let mut woken = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn tasks_that_never_rest_keep_nobody_from_being_served() {
    for yields in [false, true] {
        on_epoll(move || async move {
            // Once before the hook has ever been called, and then after it has been.
            for _ in 0..3 {
                let spinning = spinning(yields);
                let (mut near, mut far) = both_ends();
                timeout(Duration::from_secs(5), play(&mut near, &mut far, 100)).await.expect("sockets are served");
                let began = Instant::now();
                sleep(Duration::from_millis(5)).await;
                assert!(began.elapsed() < Duration::from_secs(1), "timers are served");
                aside(|| ()).await;
                spinning.abort();
                play(&mut near, &mut far, 10).await;
            }
        });
    }
}

#[test]
fn a_busy_worker_serves_timers_and_other_threads() {
    on_epoll(|| async {
        let playing = spawn(async {
            let (mut near, mut far) = both_ends();
            play(&mut near, &mut far, u64::MAX).await;
        });
        for _ in 0..20 {
            let began = Instant::now();
            sleep(Duration::from_millis(2)).await;
            aside(|| ()).await;
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
        playing.abort();
        drop(playing.await);
    });
}

fn local() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime")
}

fn plain() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn played() -> (Conn, Conn) {
    let (mut near, mut far) = both_ends();
    play(&mut near, &mut far, 20).await;
    (near, far)
}

#[test]
fn runtimes_without_a_worker_have_an_instance_each() {
    let alone = local().block_on(played());
    let (first, second) = (local(), plain());
    // Now the one, now the other, each with its own.
    let (mut of_first, mut of_second) = (first.block_on(played()), second.block_on(played()));
    for _ in 0..3 {
        first.block_on(play(&mut of_first.0, &mut of_first.1, 20));
        second.block_on(play(&mut of_second.0, &mut of_second.1, 20));
    }
    drop(first);
    // What a runtime leaves behind fails, and harms nobody.
    for mut conn in [alone.0, of_first.0] {
        let read = second.block_on(async { conn.read(&mut [0]).await });
        assert!(read.is_err(), "{read:?}");
        second.block_on(conn.hangup());
    }
    second.block_on(play(&mut of_second.0, &mut of_second.1, 20));
    drop((of_second, second));
    drop(plain().block_on(played()));
}

#[test]
fn without_a_hook_many_are_served_too() {
    local().block_on(async {
        let tasks: Vec<_> = (0..700).map(|_| spawn(async { drop(played().await) })).collect();
        for task in tasks {
            timeout(Duration::from_secs(20), task).await.expect("in time").expect("no panic");
        }
        assert_eq!(told().sockets, 0);
    });
}
