//! Threads, sockets and TLS: moves bytes and knows no HTTP.
//!
//! One OS thread per core, each with a current-thread runtime; what lives on a worker is `!Send` and stays
//! there. [`Conn`] is the seam: nothing above it knows which driver moves its bytes.

pub mod affinity;
pub mod choose;
mod conn;
mod epoll;
pub mod io;
pub mod listener;
pub mod load;
mod lookout;
pub mod spawn;
#[cfg(test)]
mod tests;
mod tick;
pub mod tls;
pub mod turn;
pub mod uring;
pub mod warm;
pub mod worker;

pub use conn::{Conn, Idle, Moving, SocketOptions};
pub use io::Io;
pub use spawn::spawn;
