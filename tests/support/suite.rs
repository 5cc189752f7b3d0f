//! Everything runs twice, once over each reactor: a suite is what its gateways run on where a test does not say.

use std::io::Write as _;
use std::sync::OnceLock;

use super::Gateway;

/// What the gateways of one test binary run on.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    reactor: &'static str,
    tick: &'static str,
}

/// Sockets behind epoll, each event served as it comes.
pub const EPOLL: Suite = Suite { reactor: "epoll", tick: "off" };

/// Sockets behind io_uring, with rests where the worker is busy. Over epoll where io_uring is not to be had.
pub const IO_URING: Suite = Suite { reactor: "io_uring", tick: "auto" };

impl Suite {
    /// `config` with this suite's reactor and tick in it, unless it has its own.
    pub fn configure(self, config: &str) -> String {
        const SERVER: &str = "[server]\n";
        let mut lines = SERVER.to_owned();
        if !config.contains("reactor = ") {
            let reactor = if self.reactor == "io_uring" && !has_io_uring() { "epoll" } else { self.reactor };
            lines += &format!("reactor = \"{reactor}\"\n");
        }
        if !config.contains("tick = ") {
            lines += &format!("tick = \"{}\"\n", self.tick);
        }
        assert!(config.contains(SERVER), "a table to write {lines:?} into\n{config}");
        config.replacen(SERVER, &lines, 1)
    }
}

/// Whether a gateway starts over io_uring here. Asked once; where it does not, that is said past the capture of
/// the test that asks, so that nobody takes the suite for more than it was.
pub fn has_io_uring() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let config = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\npin = false\nreactor = \"io_uring\"\ntick = \"off\"\n\
                      [admin]\nlisten = \"127.0.0.1:0\"\n[[upstreams]]\nname = \"up\"\nkind = \"demo\"\n";
        let Err(told) = Gateway::try_start(config, &[], None) else { return true };
        let refusal = told.lines().find_map(|line| line.strip_prefix("millstream: ")).unwrap_or(&told);
        // Anything else that keeps it from starting is a fault, and not of this machine.
        assert!(refusal.starts_with("server.reactor is \"io_uring\", but "), "{told}");
        writeln!(std::io::stderr(), "\nwhat should run over io_uring runs over epoll here: {refusal}\n").expect("told");
        false
    })
}
